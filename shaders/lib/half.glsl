// SPDX-License-Identifier: Apache-2.0
// Tensors of 16 bits: four values are a uvec2, the first in the low half of x. Words and integer
// arithmetic alone, so that no device needs 16-bit storage, and so that every device rounds alike: to the
// nearest, ties to even. runtime/base/half.c is the same on the host.
#ifndef VKD_HALF_GLSL
#define VKD_HALF_GLSL
layout(constant_id = 25) const uint HALF_TYPE = 0; // 0: f16, 1: bf16

vec4 unpack4(uvec2 w) {
    if (HALF_TYPE == 0u) return vec4(unpackHalf2x16(w.x), unpackHalf2x16(w.y));
    return uintBitsToFloat(uvec4(w.x << 16, w.x & 0xffff0000u, w.y << 16, w.y & 0xffff0000u));
}

uvec4 f16_bits(vec4 v) {
    const uvec4 bits = floatBitsToUint(v);
    const uvec4 sign = (bits >> 16) & 0x8000u;
    const uvec4 size = bits & 0x7fffffffu;
    // Below 2^-14 the unit is 2^-24, which is that of a float near 0.5: the addition rounds.
    const uvec4 small = floatBitsToUint(uintBitsToFloat(size) + 0.5) - 0x3f000000u;
    // Another bias for the exponent, and the rounding; a carry may reach infinity's exponent.
    const uvec4 normal = (size - 0x38000000u + 0xfffu + ((size >> 13) & 1u)) >> 13;
    uvec4 r = mix(normal, small, lessThan(size, uvec4(0x38800000u)));
    r = mix(r, uvec4(0x7c00u), greaterThanEqual(size, uvec4(0x47800000u)));
    r = mix(r, uvec4(0x7e00u), greaterThan(size, uvec4(0x7f800000u)));
    return sign | r;
}

uvec4 bf16_bits(vec4 v) {
    const uvec4 bits = floatBitsToUint(v);
    const uvec4 rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
    return mix(rounded, (bits >> 16) | 0x40u, greaterThan(bits & 0x7fffffffu, uvec4(0x7f800000u)));
}

uvec2 pack4(vec4 v) {
    const uvec4 h = HALF_TYPE == 0u ? f16_bits(v) : bf16_bits(v);
    return uvec2(h.x | (h.y << 16), h.z | (h.w << 16));
}
#endif
