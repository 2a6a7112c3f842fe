// SPDX-License-Identifier: Apache-2.0
// Softmax over the last axis, z = sum_v exp(x[n,v] - max_v x[n,v]):
//   y[n,v] = exp(x[n,v] - max) / z                 (LOG 0)
//   y[n,v] = x[n,v] - max - log z                  (LOG 1)
// A row that is masked with -inf throughout gives 0, or -inf.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(constant_id = 11) const uint LOG = 0;

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, x);  // (N, V)
VKD_OUT(1, y); // (N, V)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec2 z = vec2(ROW_LOWEST, 0.0);
        ROW_QUADS(q, p.V) z = row_add(z, ROW_LOAD(x, row, p.V, q, -ROW_INFINITY));
        z = row_lse(z);
        if (!row_live(first, p.N)) continue;
        const bool masked = z.y == 0.0; // throughout
        const float shift = masked ? 0.0 : LOG != 0u ? z.x + row_log(z.y) : z.x;
        const float scale = masked ? 0.0 : 1.0 / z.y;
        ROW_QUADS(q, p.V) {
            const vec4 v = ROW_LOAD(x, row, p.V, q, 0.0) - shift;
            ROW_STORE(y, row, p.V, q, LOG != 0u ? v : row_exp(v) * scale);
        }
    }
}
