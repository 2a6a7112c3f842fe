// SPDX-License-Identifier: Apache-2.0
// A convolution's weight, a line for each of its N results, and bias with the normalisation behind it folded in:
// f = gamma / sqrt(variance + eps), y = weight * f, shift = beta - mean * f.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_batchnorm_fold_params p; };
VKD_IN(0, weight);   // (N, D)
VKD_IN(1, gamma);    // (all lines)
VKD_IN(2, beta);     // (all lines)
VKD_IN(3, mean);     // (all lines)
VKD_IN(4, variance); // (all lines)
VKD_OUT(5, y);       // (N, D)
VKD_OUT(6, shift);   // (all lines)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N), line = p.first + row;
        const float f = LOAD1(gamma, line) / sqrt(LOAD1(variance, line) + p.eps);
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.D) ROW_STORE(y, row, p.D, q, ROW_LOAD(weight, row, p.D, q, 0.0) * f);
        if (row_lane() == 0u) STORE1(shift, line, LOAD1(beta, line) - LOAD1(mean, line) * f);
    }
}
