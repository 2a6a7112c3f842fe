// SPDX-License-Identifier: Apache-2.0
/* The kernels of products by their tiles: what AMD's compiler makes of each. */
#ifndef VKD_TEST_TILES_H
#define VKD_TEST_TILES_H

#include "gpu/gpu.h"

/* For every tile that the tuner may choose on this device, a line with the kernel and its size, and
 * over layouts, sizes that the tile divides and sizes that it does not: the least and the most of
 * multiply-adds among the inner loop's vector instructions, in percent, and of the worst pipeline
 * registers, waves a SIMD and bytes of shared memory.
 *
 *   matmul 64x64x16-4x4 92 99 60 24 8704
 */
vkd_result tiles_print(vkd_device *d);

#endif
