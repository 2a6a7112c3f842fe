// SPDX-License-Identifier: Apache-2.0
// Rows of logits from their k most likely classes; what a packed row is: runtime/ops/topk_expand.c.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_topk_expand_params p; };
VKD_IN(0, packed); // (N, 2 k + 1)
VKD_OUT(1, y);     // (N, V)

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N), at = row * (2u * p.k + 1u);
        if (!row_live(first, p.N)) continue;
        const float others = p.temperature * (LOAD1(packed, at + p.k) + p.log_share);
        ROW_QUADS(q, p.V) {
            vec4 quad = vec4(others);
            for (uint j = 0u; j < p.k; j++) {
                const float value = p.temperature * LOAD1(packed, at + j);
                const bvec4 here = equal(vec4(4u * q) + vec4(0, 1, 2, 3),
                                         vec4(LOAD1(packed, at + p.k + 1u + j)));
                quad = mix(quad, vec4(value), here);
            }
            ROW_STORE(y, row, p.V, q, quad);
        }
    }
}
