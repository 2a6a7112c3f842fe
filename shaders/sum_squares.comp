// SPDX-License-Identifier: Apache-2.0
// y[n] = sum over v of x[n,v]^2.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, x);  // (N, V)
VKD_OUT(1, y); // (N)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 sums = vec4(0.0);
        ROW_QUADS(q, p.V) {
            const vec4 v = ROW_LOAD(x, row, p.V, q, 0.0);
            sums += v * v;
        }
        const float sum = row_sum(row_sum4(sums));
        if (row_writer(first, p.N)) STORE1(y, row, sum);
    }
}
