// SPDX-License-Identifier: Apache-2.0
// Second of two steps to dgamma and dbeta: the sums over blocks, in an order that depends on their number and the
// lanes alone. A row is four columns. Lanes beyond D hold zeros and stay zeros.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_column_sum_params p; };
VKD_IN(0, partial); // (blocks, 2, D rounded up to a multiple of four)
VKD_OUT(1, dgamma); // (D)
VKD_OUT(2, dbeta);  // (D)

void main() {
    const uint quads = (p.D + 3u) / 4u;
    ROW_FOR(first, quads) {
        const uint q = row_of(first, quads);
        vec4 a = vec4(0.0), b = vec4(0.0);
        for (uint block = row_lane(); block < p.blocks; block += ROW_LANES) {
            a += LOAD4(partial, 2u * block * quads + q);
            b += LOAD4(partial, (2u * block + 1u) * quads + q);
        }
        a = row_sum(a);
        b = row_sum(b);
        if (!row_writer(first, quads)) continue;
        dgamma[q] = a;
        dbeta[q] = b;
    }
}
