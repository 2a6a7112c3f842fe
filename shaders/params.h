// SPDX-License-Identifier: Apache-2.0
/* Push constants, one struct for each kernel family, read by C and GLSL: one definition, so that
 * host and shader cannot drift. Only 4-byte scalars, at most 128 bytes. They are baked into the
 * recorded command buffer: what a schedule changes is a () tensor in the input block instead. */
#ifndef VKD_PARAMS_H
#define VKD_PARAMS_H

#ifdef VKD_GLSL
#define vkd_u32 uint
#define vkd_i32 int
#define vkd_f32 float
#else
#include <stdint.h>
typedef uint32_t vkd_u32;
typedef int32_t vkd_i32;
typedef float vkd_f32;
#endif

/* C[b] = act(A[b] B[b] + bias) (+ C[b]), row-major, f32. */
struct vkd_matmul_params {
    vkd_u32 M, N, K;
    vkd_u32 batch;
    vkd_u32 stride_a, stride_b, stride_c; /* elements from one batch item to the next; 0 repeats */
};

/* Row kernels without scalars of their own: (N, V). */
struct vkd_row_params {
    vkd_u32 N, V;
};

/* y = value; count elements, storage padded to a multiple of four. */
struct vkd_fill_params {
    vkd_u32 count;
    vkd_f32 value;
};

struct vkd_place_params {
    vkd_u32 count;
};

#endif
