// SPDX-License-Identifier: Apache-2.0
// dtable[v] = sum over n with indices[n] = v of dy[n], in the order of n. The first position of an
// index follows the chain of gather_links.comp; table rows that nobody chose are zeroed beforehand.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_gather_params p; };
VKD_IN(0, dy);                                                                         // (N, D)
VKD_IN_INT(1, indices);                                                                // (N)
layout(set = 0, binding = 2, std430) readonly restrict buffer Links { uint links[]; }; // (N)
VKD_OUT(3, dtable);                                                                    // (rows, D)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        const uint index = uint(indices[row]);
        const bool chosen = index < p.V && index >= p.first && index - p.first < p.rows;
        if (!row_live(first, p.N) || !chosen || links[row] >= 0x80000000u) continue;
        ROW_QUADS(q, p.D) {
            vec4 sum = vec4(0.0);
            for (uint n = row; n < p.N; n = links[n] & 0x7fffffffu)
                sum += ROW_LOAD(dy, n, p.D, q, 0.0);
            ROW_STORE(dtable, index - p.first, p.D, q, sum);
        }
    }
}
