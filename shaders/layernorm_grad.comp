// SPDX-License-Identifier: Apache-2.0
// With h = (x - mean) * rstd and g = dy * gamma:
//   dx[n,d] = rstd[n] * (g[n,d] - mean_d(g)[n] - h[n,d] * mean_d(g * h)[n])
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_layernorm_params p; };
VKD_IN(0, dy);    // (N, D)
VKD_IN(1, x);     // (N, D)
VKD_IN(2, gamma); // (D)
VKD_IN(3, stats); // (N, 2): mean, rstd
VKD_OUT(4, dx);   // (N, D)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        const float mean = LOAD1(stats, 2u * row), rstd = LOAD1(stats, 2u * row + 1u);
        vec4 sum_g = vec4(0.0), sum_gh = vec4(0.0);
        ROW_QUADS(q, p.D) {
            const vec4 h = (ROW_LOAD(x, row, p.D, q, mean) - mean) * rstd;
            const vec4 g = ROW_LOAD(dy, row, p.D, q, 0.0) * LOAD4(gamma, q);
            sum_g += g;
            sum_gh += g * h;
        }
        const vec2 sums = row_sum(vec2(row_sum4(sum_g), row_sum4(sum_gh))) / float(p.D);
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.D) {
            const vec4 h = (ROW_LOAD(x, row, p.D, q, mean) - mean) * rstd;
            const vec4 g = ROW_LOAD(dy, row, p.D, q, 0.0) * LOAD4(gamma, q);
            ROW_STORE(dx, row, p.D, q, rstd * (g - sums.x - h * sums.y));
        }
    }
}
