// SPDX-License-Identifier: Apache-2.0
/* Counter-based random numbers, equal on every device and in shaders/lib/philox.glsl.
 *
 * Philox4x32-10. Salmon, Moraes, Dror, Shaw: Parallel Random Numbers: As Easy as 1, 2, 3 (SC 2011).
 * Key = (seed, stream); counter = (index, step, 0, 0). A stream is the hash of a tensor's name, so
 * that two tensors never share numbers and the same tensor draws the same ones in any program. */
#ifndef VKD_PHILOX_H
#define VKD_PHILOX_H

#include <stdint.h>

typedef struct vkd__philox {
    uint32_t v[4];
} vkd__philox;

vkd__philox vkd__philox_at(uint32_t seed, uint32_t stream, uint32_t step, uint32_t index);

/* (bits >> 8) * 2^-24: 0 <= u < 1, exact in f32, the same expression as in the shader. */
static inline float vkd__philox_uniform(uint32_t bits) {
    return (float)(bits >> 8) * 0x1p-24f;
}

/* 32-bit stream for a name. */
uint32_t vkd__philox_stream(const char *name);

#endif
