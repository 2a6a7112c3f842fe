// SPDX-License-Identifier: Apache-2.0
// Where a permutation of 0..n-1, chosen by a key, takes i: what runtime/base/shuffle.h gives on the host.
//
//   const shuffling s = shuffle_of(n);
//   uint j = shuffle(s, key, i);

struct shuffling {
    uint n, right_bits, right_mask, left_mask;
};

shuffling shuffle_of(uint n) {
    const uint bits = max(2u, n < 2u ? 0u : uint(findMSB(n - 1u)) + 1u);
    const uint right_bits = bits / 2u;
    return shuffling(n, right_bits, (1u << right_bits) - 1u, (1u << (bits - right_bits)) - 1u);
}

uint shuffle_mix(uint v) {
    v = (v ^ (v >> 16)) * 0x85ebca6bu;
    v = (v ^ (v >> 13)) * 0xc2b2ae35u;
    return v ^ (v >> 16);
}

uint shuffle(shuffling s, uvec4 key, uint i) {
    do {
        uint left = i >> s.right_bits, right = i & s.right_mask;
        for (uint r = 0u; r < 8u; r += 2u) {
            left ^= shuffle_mix(right + key[r & 3u] + r * 0x9E3779B9u) & s.left_mask;
            right ^= shuffle_mix(left + key[(r + 1u) & 3u] + r * 0xBB67AE85u) & s.right_mask;
        }
        i = (left << s.right_bits) | right;
    } while (i >= s.n);
    return i;
}
