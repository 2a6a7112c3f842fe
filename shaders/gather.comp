// SPDX-License-Identifier: Apache-2.0
// y[n] = table[indices[n]]; zeros for an index outside the table. A launch handles the indices into
// its window of the table; the first one writes the zeros.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_gather_params p; };
VKD_IN(0, table);       // (rows, D)
VKD_IN_INT(1, indices); // (N)
VKD_OUT(2, y);          // (N, D)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        const uint index = uint(indices[row]); // a negative one is beyond V
        if (!row_live(first, p.N)) continue;
        if (index >= p.V && p.first == 0u) {
            ROW_QUADS(q, p.D) ROW_STORE(y, row, p.D, q, vec4(0.0));
        } else if (index >= p.first && index - p.first < p.rows) {
            const uint from = index - p.first;
            ROW_QUADS(q, p.D) ROW_STORE(y, row, p.D, q, ROW_LOAD(table, from, p.D, q, 0.0));
        }
    }
}
