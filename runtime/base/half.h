// SPDX-License-Identifier: Apache-2.0
/* The two 16-bit floating-point types: IEEE 754 binary16 (f16: 11 bits of precision, up to 65504)
 * and bfloat16 (bf16: 8 bits, the range of f32). Host conversions; shaders/lib/half.glsl does the
 * same on a device, bit for bit but for f16 subnormals, which a device may flush to zero. */
#ifndef VKD_HALF_H
#define VKD_HALF_H

#include <stdint.h>

/* To the nearest, ties to even; beyond the range to infinity; a NaN stays one. */
uint16_t vkd__f16_from(float v);
uint16_t vkd__bf16_from(float v);
/* Exact. */
float vkd__f16_to(uint16_t bits);
float vkd__bf16_to(uint16_t bits);

#endif
