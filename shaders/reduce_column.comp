// SPDX-License-Identifier: Apache-2.0
// y[r][i] = scale * sum (or max) over k of x[r / splits][k][i], k in chunk r % splits: x is (outer,
// reduce, inner). One invocation makes four neighbouring i. With ALIGNED a quad is one vec4 of x, else
// it lies in two.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint ALIGNED = 0;
layout(constant_id = 11) const uint MAX = 0;

layout(push_constant) uniform Params { vkd_reduce_params p; };
VKD_IN(0, x);  // (outer, reduce, inner) from offset_x on
VKD_OUT(1, y); // (rows, inner) from offset_y on

vec4 larger(vec4 a, vec4 b) {
    return mix(a, b, bvec4(uvec4(greaterThan(b, a)) | uvec4(notEqual(b, b))));
}

// Four elements from e on, of which `valid` are there; the others are anything.
vec4 load(uint e, uint valid) {
    const vec4 low = LOAD4(x, e >> 2);
    if (ALIGNED != 0u) return low;
    const vec4 high = LOAD4(x, (e + valid - 1u) >> 2);
    const uint shift = e & 3u;
    if (shift == 1u) return vec4(low.yzw, high.x);
    if (shift == 2u) return vec4(low.zw, high.xy);
    if (shift == 3u) return vec4(low.w, high.xyz);
    return low;
}

void main() {
    const uint quads = (p.inner + 3u) / 4u, stride = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < p.rows * quads; t += stride) {
        const uint row = t / quads, q = t - row * quads;
        const uint valid = min(p.inner - 4u * q, 4u);
        const uint part = (row % p.splits) * p.chunk;
        const uint steps = min(p.chunk, p.reduce - part);
        uint e = p.offset_x + ((row / p.splits) * p.reduce + part) * p.inner + 4u * q;
        vec4 total = load(e, valid);
        for (uint k = 1u; k < steps; k++) {
            e += p.inner;
            const vec4 v = load(e, valid);
            total = MAX != 0u ? larger(total, v) : total + v;
        }
        total *= p.scale;
        const uint to = p.offset_y + row * p.inner + 4u * q;
        if (ALIGNED != 0u) {
            y[to >> 2] = total;
        } else {
            STORE1(y, to, total.x);
            if (valid > 1u) STORE1(y, to + 1u, total.y);
            if (valid > 2u) STORE1(y, to + 2u, total.z);
            if (valid > 3u) STORE1(y, to + 3u, total.w);
        }
    }
}
