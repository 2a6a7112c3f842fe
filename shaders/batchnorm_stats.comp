// SPDX-License-Identifier: Apache-2.0
// First of two steps to the mean and variance of each column of x (N, D): for blocks of rows how many there
// are, their mean, and the sum of squares about it. Eight rows at a time, whose two passes stay in registers;
// what is known of two sets of rows becomes that of both by
//   n = n_a + n_b, d = mean_b - mean_a, mean = mean_a + d n_b / n, m2 = m2_a + m2_b + d^2 n_a n_b / n
// (Chan, Golub, LeVeque, Stanford report STAN-CS-79-773): no difference of large sums anywhere.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(constant_id = 12) const uint SHARED = 0; // a workgroup is some rows of all columns and leaves one result

layout(push_constant) uniform Params { vkd_batchnorm_params p; };
VKD_IN(0, x);        // (N, D)
VKD_OUT(1, partial); // (results, 3, quads): n, mean, m2

#include "lib/columns.glsl"

struct moments {
    float n;
    vec4 mean, m2;
};

moments join(moments a, moments b) {
    const float n = a.n + b.n, share = b.n / max(n, 1.0);
    const vec4 d = b.mean - a.mean;
    return moments(n, a.mean + d * share, a.m2 + b.m2 + d * d * (a.n * share));
}

moments eight(uint row, uint q) {
    vec4 v[8];
    [[unroll]] for (uint i = 0u; i < 8u; ++i) v[i] = ROW_LOAD(x, row + i * p.step, p.D, q, 0.0);
    const vec4 sum = ((v[0] + v[1]) + (v[2] + v[3])) + ((v[4] + v[5]) + (v[6] + v[7]));
    moments m = moments(8.0, 0.125 * sum, vec4(0.0));
    [[unroll]] for (uint i = 0u; i < 8u; ++i) {
        const vec4 d = v[i] - m.mean;
        m.m2 += d * d;
    }
    return m;
}

moments of_block(uint block, uint q) {
    uint row = column_begin(block);
    const uint end = column_end(block);
    moments m = moments(0.0, vec4(0.0), vec4(0.0));
    if (column_has(row, 8u, end)) {
        do {
            m = join(m, eight(row, q));
            row += 8u * p.step;
        } while (column_has(row, 8u, end));
    }
    if (row < end) {
        do {
            m = join(m, moments(1.0, ROW_LOAD(x, row, p.D, q, 0.0), vec4(0.0)));
            row += p.step;
        } while (row < end);
    }
    return m;
}

void store(uint result, uint q, moments m) {
    const uint at = 3u * (p.first + result) * COLUMN_QUADS + q;
    partial[at] = vec4(m.n);
    partial[at + COLUMN_QUADS] = m.mean;
    partial[at + 2u * COLUMN_QUADS] = m.m2;
}

#ifndef VKD_DIRECT
shared float share_n[LOCAL_X];
shared vec4 share_mean[LOCAL_X], share_m2[LOCAL_X];
void share(uint group, moments m) {
    const uint at = gl_LocalInvocationID.x;
    share_n[at] = m.n;
    share_mean[at] = m.mean;
    share_m2[at] = m.m2;
    for (uint step = LOCAL_X / 2u; step >= COLUMN_QUADS; step /= 2u) {
        barrier();
        if (at < step) {
            m = join(m, moments(share_n[at + step], share_mean[at + step], share_m2[at + step]));
            share_n[at] = m.n;
            share_mean[at] = m.mean;
            share_m2[at] = m.m2;
        }
    }
    barrier(); // the next turn writes again
    if (at < COLUMN_QUADS) store(group, at, m);
}
#endif

void main() {
    COLUMN_ITEMS(item) {
        moments m = moments(0.0, vec4(0.0), vec4(0.0));
        if (item < COLUMN_COUNT) m = of_block(item / COLUMN_QUADS, item % COLUMN_QUADS);
#ifndef VKD_DIRECT
        if (SHARED != 0u) share(item / LOCAL_X, m);
#endif
        if (SHARED == 0u && item < COLUMN_COUNT) store(item / COLUMN_QUADS, item % COLUMN_QUADS, m);
        COLUMN_NEXT(item)
    }
}
