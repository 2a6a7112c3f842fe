// SPDX-License-Identifier: Apache-2.0
// y[n] = the first v at which x[n,v] is largest; 0 for a row of NaN or -inf alone.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_argmax_params p; };
VKD_IN(0, x);      // (N, V)
VKD_OUT_INT(1, y); // (N)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        float best = -ROW_INFINITY;
        uint at = 0xffffffffu;
        ROW_QUADS(q, p.V) {
            const vec4 v = ROW_LOAD(x, row, p.V, q, -ROW_INFINITY);
            for (uint k = 0u; k < 4u; k++) {
                if (v[k] > best) {
                    best = v[k];
                    at = 4u * q + k;
                }
            }
        }
        const float top = row_max(best);
        const uint index = row_min(best == top ? at : 0xffffffffu);
        if (row_writer(first, p.N)) y[p.first + row] = index == 0xffffffffu ? 0 : int(index);
    }
}
