// SPDX-License-Identifier: Apache-2.0
#include "base/half.h"

#include <string.h>

static uint32_t bits_of(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static float from_bits(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

uint16_t vkd__f16_from(float v) {
    const uint32_t bits = bits_of(v), sign = bits >> 16 & 0x8000u, size = bits & 0x7fffffffu;
    if (size > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (size >= 0x47800000u) return (uint16_t)(sign | 0x7c00u); /* 2^16 and more */
    /* Below 2^-14 the unit is 2^-24, which is that of a float near 0.5: the addition rounds. */
    if (size < 0x38800000u)
        return (uint16_t)(sign | (bits_of(from_bits(size) + 0.5f) - 0x3f000000u));
    /* Another bias for the exponent, and just under half a unit; the half when the last bit is odd.
     * A carry out of the mantissa raises the exponent, at the top to infinity's. */
    return (uint16_t)(sign | (size - 0x38000000u + 0xfffu + (size >> 13 & 1u)) >> 13);
}

uint16_t vkd__bf16_from(float v) {
    const uint32_t bits = bits_of(v);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)(bits >> 16 | 0x40u);
    return (uint16_t)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

float vkd__f16_to(uint16_t half) {
    const uint32_t sign = (half & 0x8000u) << 16, size = half & 0x7fffu;
    if (size >= 0x7c00u) return from_bits(sign | 0x7f800000u | (size & 0x3ffu) << 13);
    if (size >= 0x400u) return from_bits(sign | ((size << 13) + 0x38000000u));
    const float small = (float)size * 0x1p-24f;
    return sign ? -small : small;
}

float vkd__bf16_to(uint16_t half) {
    return from_bits((uint32_t)half << 16);
}
