// SPDX-License-Identifier: Apache-2.0
/* A permutation of 0..n-1 that is a function: any element of it at any time, without a table, so
 * that k draws without replacement are the first k elements. Equal on every device and in
 * shaders/lib/shuffle.glsl.
 *
 * A Feistel network over the least number of bits that holds n permutes 0..2^bits-1; what leads out
 * of 0..n-1 is sent through again until it is inside, which is a permutation of the inside (Black &
 * Rogaway: Ciphers with Arbitrary Finite Domains, CT-RSA 2002), after 2 rounds on average at most.
 */
#ifndef VKD_SHUFFLE_H
#define VKD_SHUFFLE_H

#include "base/philox.h"

/* Where the permutation that `key` chooses takes i, i < n. */
uint32_t vkd__shuffle(vkd__philox key, uint32_t n, uint32_t i);

#endif
