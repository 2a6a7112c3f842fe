// SPDX-License-Identifier: Apache-2.0
// Gradient of softmax and log-softmax over the last axis, from their result y:
//   dx[n,v] = y[n,v] * (dy[n,v] - sum_w y[n,w] dy[n,w])      (LOG 0)
//   dx[n,v] = dy[n,v] - exp(y[n,v]) * sum_w dy[n,w]          (LOG 1)
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(constant_id = 11) const uint LOG = 0;

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, y);   // (N, V)
VKD_IN(1, dy);  // (N, V)
VKD_OUT(2, dx); // (N, V)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 sums = vec4(0.0);
        ROW_QUADS(q, p.V) {
            const vec4 d = ROW_LOAD(dy, row, p.V, q, 0.0);
            sums += LOG != 0u ? d : d * ROW_LOAD(y, row, p.V, q, 0.0);
        }
        const float sum = row_sum(row_sum4(sums));
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.V) {
            const vec4 d = ROW_LOAD(dy, row, p.V, q, 0.0), v = ROW_LOAD(y, row, p.V, q, 0.0);
            ROW_STORE(dx, row, p.V, q, LOG != 0u ? d - row_exp(v) * sum : v * (d - sum));
        }
    }
}
