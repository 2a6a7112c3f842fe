// SPDX-License-Identifier: Apache-2.0
// Second of two steps to mean and variance (the first is batchnorm_stats.comp): mean = sum n mean_b / N as
// differences from the first block's, variance = (sum m2_b + n (mean_b - mean)^2) / N. And the running
// statistics: running = (1 - momentum) running + momentum batch, the variance with N - 1 for N. A column whose
// own are not finite keeps its running ones, which an overflow would spoil for good.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/index.glsl"

layout(push_constant) uniform Params { vkd_batchnorm_combine_params p; };
VKD_IN(0, partial); // (results, 3, quads): n, mean, m2
VKD_UPDATE(1, 5, running_mean); // (D)
VKD_UPDATE(2, 6, running_var);  // (D)
VKD_OUT(3, mean);               // (D)
VKD_OUT(4, rstd);               // (D): 1 / sqrt(variance + eps)

vec4 follow(vec4 running, vec4 batch) {
    return mix(running, running + p.momentum * (batch - running),
               lessThan(abs(batch), vec4(ROW_INFINITY)));
}

void main() {
    const uint quads = (p.D + 3u) / 4u;
    ROW_FOR(first, quads) {
        const uint q = row_of(first, quads);
        const vec4 from = LOAD4(partial, quads + q);
        vec4 sum = vec4(0.0);
        for (uint i = row_lane(); i < p.results; i += ROW_LANES)
            sum += LOAD4(partial, 3u * i * quads + q) * (LOAD4(partial, (3u * i + 1u) * quads + q) - from);
        const vec4 m = from + row_sum(sum) / p.rows;
        sum = vec4(0.0);
        for (uint i = row_lane(); i < p.results; i += ROW_LANES) {
            const vec4 d = LOAD4(partial, (3u * i + 1u) * quads + q) - m;
            sum += LOAD4(partial, (3u * i + 2u) * quads + q) + LOAD4(partial, 3u * i * quads + q) * d * d;
        }
        const vec4 m2 = row_sum(sum);
        if (!row_writer(first, quads)) continue;
        mean[q] = keep4(m, q, p.D);
        rstd[q] = keep4(1.0 / sqrt(m2 / p.rows + p.eps), q, p.D);
        running_mean[q] = keep4(follow(NOW4(running_mean, q), m), q, p.D);
        running_var[q] = keep4(follow(NOW4(running_var, q), m2 / (p.rows - 1.0)), q, p.D);
    }
}
