// SPDX-License-Identifier: Apache-2.0
// With r = 1 / max(|x|, eps):
//   dx = r * dy - x * (x . dy) * r^3    where |x| > eps
//   dx = r * dy                         elsewhere: the divisor is a constant there
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_l2_normalize_params p; };
VKD_IN(0, x);   // (N, D)
VKD_IN(1, dy);  // (N, D)
VKD_OUT(2, dx); // (N, D)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 squares = vec4(0.0), products = vec4(0.0);
        ROW_QUADS(q, p.D) {
            const vec4 v = ROW_LOAD(x, row, p.D, q, 0.0);
            squares += v * v;
            products += v * ROW_LOAD(dy, row, p.D, q, 0.0);
        }
        const vec2 sums = row_sum(vec2(row_sum4(squares), row_sum4(products)));
        const float norm = sqrt(sums.x), r = 1.0 / max(norm, p.eps);
        const float slope = norm > p.eps ? sums.y * r * r : 0.0;
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.D) {
            const vec4 v = ROW_LOAD(x, row, p.D, q, 0.0), d = ROW_LOAD(dy, row, p.D, q, 0.0);
            ROW_STORE(dx, row, p.D, q, r * (d - slope * v));
        }
    }
}
