// SPDX-License-Identifier: Apache-2.0
// first[r][i] = the smallest k of chunk r % splits with x[r / splits][k][i] == y[r / splits][i], or
// `reduce` where there is none. x is (outer, reduce, inner).
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_reduce_params p; };
VKD_IN(0, x);          // (outer, reduce, inner)
VKD_IN(1, y);          // (outer, inner)
VKD_OUT_INT(2, first); // (rows, inner)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < p.rows * p.inner; t += stride) {
        const uint row = t / p.inner, i = t - row * p.inner;
        const uint o = row / p.splits, part = (row % p.splits) * p.chunk;
        const float want = LOAD1(y, o * p.inner + i);
        const uint end = min(part + p.chunk, p.reduce);
        uint found = p.reduce;
        for (uint k = part; k < end && found == p.reduce; k++)
            if (LOAD1(x, (o * p.reduce + k) * p.inner + i) == want) found = k;
        first[t] = int(found);
    }
}
