// SPDX-License-Identifier: Apache-2.0
// dx[o][k][i] = dy[o][i] where k is the first largest element, else 0. first (outer, splits, inner)
// comes from max_first: the place in each chunk, and the first chunk that has one counts.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_reduce_params p; };
VKD_IN(0, dy);        // (outer, inner)
VKD_IN_INT(1, first); // (outer, splits, inner)
VKD_OUT(2, dx);       // (outer, reduce, inner)

float gradient(uint e) {
    const uint i = e % p.inner, k = e / p.inner % p.reduce, o = e / p.inner / p.reduce;
    const uint chunk = k / p.chunk, at = o * p.splits * p.inner + i;
    bool here = uint(first[at + chunk * p.inner]) == k;
    for (uint c = 0u; here && c < chunk; c++)
        here = uint(first[at + c * p.inner]) == p.reduce;
    return here ? LOAD1(dy, o * p.inner + i) : 0.0;
}

void main() {
    const uint stride = GROUPS_X * LOCAL_X, count = p.rows * p.reduce * p.inner;
    for (uint q = gl_GlobalInvocationID.x; q < (count + 3u) / 4u; q += stride) {
        vec4 v = vec4(0.0);
        for (uint k = 0u; k < min(count - 4u * q, 4u); k++)
            v[k] = gradient(4u * q + k);
        dx[q] = v;
    }
}
