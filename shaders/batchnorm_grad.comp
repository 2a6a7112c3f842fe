// SPDX-License-Identifier: Apache-2.0
// With h = (x - mean) * rstd and dz = dy * act':
//   dx = gamma * rstd * (dz - (dbeta + h * dgamma) / rows), or where not TRAINING gamma * rstd * dz
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
layout(constant_id = 13) const uint FROM_Y = 0; // act' follows from y, else from x
layout(constant_id = 14) const uint TRAINING = 0;

layout(push_constant) uniform Params { vkd_batchnorm_params p; };
VKD_IN(0, dy);     // (N, D); dz where that was stored
VKD_IN(1, x);      // (N, D)
VKD_IN(2, y);      // (N, D)
VKD_IN(3, gamma);  // (D)
VKD_IN(4, beta);   // (D)
VKD_IN(5, mean);   // (D)
VKD_IN(6, spread); // (D): rstd where TRAINING, else the variance
VKD_IN(7, dgamma); // (D)
VKD_IN(8, dbeta);  // (D)
VKD_OUT(9, dx);    // (N, D)

#include "lib/columns.glsl"

const uint UNROLL = 4u;

struct column {
    vec4 mean, scale, shift, constant, slope;
};

vec4 dx_of(column c, uint row, uint q) {
    vec4 v = ROW_LOAD(dy, row, p.D, q, 0.0), d = vec4(0.0);
    if (TRAINING != 0u || (ACTIVATION != ACT_NONE && FROM_Y == 0u)) d = ROW_LOAD(x, row, p.D, q, 0.0) - c.mean;
    if (ACTIVATION != ACT_NONE) {
        if (FROM_Y != 0u) v *= act_grad(ACTIVATION, ROW_LOAD(y, row, p.D, q, 0.0));
        else v *= act_slope(ACTIVATION, d * c.scale + c.shift);
    }
    return TRAINING != 0u ? c.scale * (v - c.constant - d * c.slope) : c.scale * v;
}

void walk(uint block, uint q) {
    column c;
    const vec4 s = LOAD4(spread, q);
    const vec4 rstd = TRAINING != 0u ? s : 1.0 / sqrt(s + p.eps);
    c.mean = LOAD4(mean, q);
    c.scale = LOAD4(gamma, q) * rstd;
    c.shift = LOAD4(beta, q);
    c.constant = LOAD4(dbeta, q) * p.share;
    c.slope = LOAD4(dgamma, q) * rstd * p.share;
    uint row = column_begin(block);
    const uint end = column_end(block);
    if (column_has(row, UNROLL, end)) {
        do {
            vec4 v[UNROLL];
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i) v[i] = dx_of(c, row + i * p.step, q);
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i) ROW_STORE(dx, row + i * p.step, p.D, q, v[i]);
            row += UNROLL * p.step;
        } while (column_has(row, UNROLL, end));
    }
    if (row < end) {
        do {
            ROW_STORE(dx, row, p.D, q, dx_of(c, row, q));
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
