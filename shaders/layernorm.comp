// SPDX-License-Identifier: Apache-2.0
// y[n,d] = gamma[d] * (x[n,d] - mean[n]) * rstd[n] + beta[d], rstd = 1 / sqrt(variance + eps).
// The variance is summed in a second pass over the row: sums of squares would cancel.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_layernorm_params p; };
VKD_IN(0, x);      // (N, D)
VKD_IN(1, gamma);  // (D)
VKD_IN(2, beta);   // (D)
VKD_OUT(3, y);     // (N, D)
VKD_OUT(4, stats); // (N, 2): mean, rstd

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 sums = vec4(0.0);
        ROW_QUADS(q, p.D) sums += ROW_LOAD(x, row, p.D, q, 0.0);
        const float mean = row_sum(row_sum4(sums)) / float(p.D);
        sums = vec4(0.0);
        ROW_QUADS(q, p.D) {
            const vec4 d = ROW_LOAD(x, row, p.D, q, mean) - mean;
            sums += d * d;
        }
        const float rstd = 1.0 / sqrt(row_sum(row_sum4(sums)) / float(p.D) + p.eps);
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.D) {
            const vec4 v = (ROW_LOAD(x, row, p.D, q, mean) - mean) * rstd;
            ROW_STORE(y, row, p.D, q, v * LOAD4(gamma, q) + LOAD4(beta, q));
        }
        if (row_lane() == 0u) {
            STORE1(stats, 2u * row, mean);
            STORE1(stats, 2u * row + 1u, rstd);
        }
    }
}
