// SPDX-License-Identifier: Apache-2.0
// dx[n,v] = 2 x[n,v] dy[n].
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, x);   // (N, V)
VKD_IN(1, dy);  // (N)
VKD_OUT(2, dx); // (N, V)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        const float slope = 2.0 * LOAD1(dy, row);
        if (!row_live(first, p.N)) continue;
        ROW_QUADS(q, p.V) ROW_STORE(dx, row, p.V, q, slope * ROW_LOAD(x, row, p.V, q, 0.0));
    }
}
