// SPDX-License-Identifier: Apache-2.0
// With h = (x - mean) * rstd and dz = dy * act': sums over blocks of rows of dz * h and of dz, the first of two
// steps to gamma's and beta's gradients; and dz itself where it is a residual's gradient too.
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
layout(constant_id = 12) const uint SHARED = 0; // a workgroup is some rows of all columns and leaves one result
layout(constant_id = 13) const uint FROM_Y = 0; // act' follows from y, else from x
layout(constant_id = 14) const uint TRAINING = 0;
layout(constant_id = 15) const uint WITH_DZ = 0;

layout(push_constant) uniform Params { vkd_batchnorm_params p; };
VKD_IN(0, dy);       // (N, D)
VKD_IN(1, x);        // (N, D)
VKD_IN(2, y);        // (N, D)
VKD_IN(3, gamma);    // (D)
VKD_IN(4, beta);     // (D)
VKD_IN(5, mean);     // (D)
VKD_IN(6, spread);   // (D): rstd where TRAINING, else the variance
VKD_OUT(7, partial); // (results, 2, quads)
VKD_OUT(8, dz);      // (N, D)

#include "lib/columns.glsl"

const uint UNROLL = 4u;

struct column {
    vec4 mean, rstd, scale, shift;
};
struct sums {
    vec4 dgamma, dbeta;
};

sums add_row(sums s, column c, uint row, uint q) {
    const vec4 d = ROW_LOAD(x, row, p.D, q, 0.0) - c.mean;
    vec4 v = ROW_LOAD(dy, row, p.D, q, 0.0);
    if (ACTIVATION != ACT_NONE) {
        if (FROM_Y != 0u) v *= act_grad(ACTIVATION, ROW_LOAD(y, row, p.D, q, 0.0));
        else v *= act_slope(ACTIVATION, d * c.scale + c.shift);
    }
    if (WITH_DZ != 0u) ROW_STORE(dz, row, p.D, q, v);
    return sums(s.dgamma + v * d, s.dbeta + v);
}

sums of_block(uint block, uint q) {
    column c;
    const vec4 s = LOAD4(spread, q);
    c.mean = LOAD4(mean, q);
    c.rstd = TRAINING != 0u ? s : 1.0 / sqrt(s + p.eps);
    c.scale = LOAD4(gamma, q) * c.rstd;
    c.shift = LOAD4(beta, q);
    uint row = column_begin(block);
    const uint end = column_end(block);
    sums total = sums(vec4(0.0), vec4(0.0));
    if (column_has(row, UNROLL, end)) {
        do {
            sums part = sums(vec4(0.0), vec4(0.0));
            [[unroll]] for (uint i = 0u; i < UNROLL; ++i) part = add_row(part, c, row + i * p.step, q);
            total = sums(total.dgamma + part.dgamma, total.dbeta + part.dbeta);
            row += UNROLL * p.step;
        } while (column_has(row, UNROLL, end));
    }
    if (row < end) {
        do {
            total = add_row(total, c, row, q);
            row += p.step;
        } while (row < end);
    }
    return sums(total.dgamma * c.rstd, total.dbeta);
}

void store(uint result, uint q, sums s) {
    const uint at = 2u * (p.first + result) * COLUMN_QUADS + q;
    partial[at] = s.dgamma;
    partial[at + COLUMN_QUADS] = s.dbeta;
}

#ifndef VKD_DIRECT
shared vec4 share_dgamma[LOCAL_X], share_dbeta[LOCAL_X];
void share(uint group, sums s) {
    const uint at = gl_LocalInvocationID.x;
    share_dgamma[at] = s.dgamma;
    share_dbeta[at] = s.dbeta;
    for (uint step = LOCAL_X / 2u; step >= COLUMN_QUADS; step /= 2u) {
        barrier();
        if (at < step) {
            s = sums(s.dgamma + share_dgamma[at + step], s.dbeta + share_dbeta[at + step]);
            share_dgamma[at] = s.dgamma;
            share_dbeta[at] = s.dbeta;
        }
    }
    barrier(); // the next turn writes again
    if (at < COLUMN_QUADS) store(group, at, s);
}
#endif

void main() {
    COLUMN_ITEMS(item) {
        sums s = sums(vec4(0.0), vec4(0.0));
        if (item < COLUMN_COUNT) s = of_block(item / COLUMN_QUADS, item % COLUMN_QUADS);
#ifndef VKD_DIRECT
        if (SHARED != 0u) share(item / LOCAL_X, s);
#endif
        if (SHARED == 0u && item < COLUMN_COUNT) store(item / COLUMN_QUADS, item % COLUMN_QUADS, s);
        COLUMN_NEXT(item)
    }
}
