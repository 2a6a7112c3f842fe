// SPDX-License-Identifier: Apache-2.0
// Philox4x32-10, bit for bit what runtime/base/philox.h gives on the host.
//
//   uvec4 bits = philox(seed, stream, step, index);   // four words for one counter
//   vec4 u = philox_uniform(bits);                    // 0 <= u < 1, exact in f32

uvec4 philox(uint seed, uint stream, uint step_number, uint index) {
    uvec4 c = uvec4(index, step_number, 0u, 0u);
    uvec2 key = uvec2(seed, stream);
    for (int i = 0; i < 10; i++) {
        uint high0, low0, high1, low1;
        umulExtended(0xD2511F53u, c.x, high0, low0);
        umulExtended(0xCD9E8D57u, c.z, high1, low1);
        c = uvec4(high1 ^ c.y ^ key.x, low1, high0 ^ c.w ^ key.y, low0);
        key += uvec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

vec4 philox_uniform(uvec4 bits) {
    return vec4(bits >> 8) * 5.9604644775390625e-8; // 2^-24
}
