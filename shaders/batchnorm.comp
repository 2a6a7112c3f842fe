// SPDX-License-Identifier: Apache-2.0
// y = act((x - mean) * rstd * gamma + beta + residual), column by column.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/activation.glsl"

layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 14) const uint TRAINING = 0;

layout(push_constant) uniform Params { vkd_batchnorm_params p; };
VKD_IN(0, x);        // (N, D)
VKD_IN(1, residual); // (N, D)
VKD_IN(2, gamma);    // (D)
VKD_IN(3, beta);     // (D)
VKD_IN(4, mean);     // (D)
VKD_IN(5, spread);   // (D): rstd where TRAINING, else the variance
VKD_OUT(6, y);       // (N, D)

#include "lib/columns.glsl"

const uint UNROLL = 4u;

void walk(uint block, uint q) {
    const vec4 m = LOAD4(mean, q), s = LOAD4(spread, q), shift = LOAD4(beta, q);
    const vec4 scale = LOAD4(gamma, q) * (TRAINING != 0u ? s : 1.0 / sqrt(s + p.eps));
    uint row = column_begin(block);
    const uint end = column_end(block);
    if (column_has(row, UNROLL, end)) {
        do {
            vec4 v[UNROLL];
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i) v[i] = ROW_LOAD(x, row + i * p.step, p.D, q, 0.0);
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i) {
                v[i] = (v[i] - m) * scale + shift;
                if (HAS_RESIDUAL != 0u) v[i] += ROW_LOAD(residual, row + i * p.step, p.D, q, 0.0);
            }
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i)
                ROW_STORE(y, row + i * p.step, p.D, q, act(ACTIVATION, v[i]));
            row += UNROLL * p.step;
        } while (column_has(row, UNROLL, end));
    }
    if (row < end) {
        do {
            vec4 v = (ROW_LOAD(x, row, p.D, q, 0.0) - m) * scale + shift;
            if (HAS_RESIDUAL != 0u) v += ROW_LOAD(residual, row, p.D, q, 0.0);
            ROW_STORE(y, row, p.D, q, act(ACTIVATION, v));
            row += p.step;
        } while (row < end);
    }
}

void main() {
    COLUMN_ITEMS(item) {
        if (item < COLUMN_COUNT) walk(item / COLUMN_QUADS, item % COLUMN_QUADS);
        COLUMN_NEXT(item)
    }
}
