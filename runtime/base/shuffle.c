// SPDX-License-Identifier: Apache-2.0
#include "base/shuffle.h"

enum { ROUNDS = 8 };

/* The finaliser of MurmurHash3: each bit of v reaches every bit of the result. */
static uint32_t mix(uint32_t v) {
    v = (v ^ (v >> 16)) * 0x85ebca6bu;
    v = (v ^ (v >> 13)) * 0xc2b2ae35u;
    return v ^ (v >> 16);
}

uint32_t vkd__shuffle(vkd__philox key, uint32_t n, uint32_t i) {
    uint32_t bits = 2;
    while (bits < 32 && (n - 1) >> bits)
        bits++;
    const uint32_t right_bits = bits / 2, left_bits = bits - right_bits;
    const uint32_t right_mask = (1u << right_bits) - 1, left_mask = (1u << left_bits) - 1;
    do {
        uint32_t left = i >> right_bits, right = i & right_mask;
        for (uint32_t r = 0; r < ROUNDS; r += 2) {
            left ^= mix(right + key.v[r % 4] + r * 0x9E3779B9u) & left_mask;
            right ^= mix(left + key.v[(r + 1) % 4] + r * 0xBB67AE85u) & right_mask;
        }
        i = left << right_bits | right;
    } while (i >= n);
    return i;
}
