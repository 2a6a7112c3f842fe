// SPDX-License-Identifier: Apache-2.0
// loss = the sum of one row of V values, in a fixed order.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, rows);  // (1, V)
VKD_OUT(1, loss); // ()

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        float sum = 0.0;
        ROW_QUADS(q, p.V) sum += row_sum4(ROW_LOAD(rows, row, p.V, q, 0.0));
        sum = row_sum(sum);
        if (row_writer(first, p.N)) STORE1(loss, 0u, sum);
    }
}
