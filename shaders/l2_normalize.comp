// SPDX-License-Identifier: Apache-2.0
// y[n,d] = x[n,d] / max(|x[n]|, eps).
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_l2_normalize_params p; };
VKD_IN(0, x);  // (N, D)
VKD_OUT(1, y); // (N, D)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 sums = vec4(0.0);
        ROW_QUADS(q, p.D) {
            const vec4 v = ROW_LOAD(x, row, p.D, q, 0.0);
            sums += v * v;
        }
        const float norm = max(sqrt(row_sum(row_sum4(sums))), p.eps);
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.D) ROW_STORE(y, row, p.D, q, ROW_LOAD(x, row, p.D, q, 0.0) / norm);
    }
}
