// SPDX-License-Identifier: Apache-2.0
// partial[c] = sum of the squares of the elements of chunk c: the first step to a norm.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_squares_params p; };
VKD_IN(0, x);        // (4 * quads)
VKD_OUT(1, partial); // (chunks)

void main() {
    ROW_FOR(first, p.chunks) {
        const uint chunk = row_of(first, p.chunks);
        const uint end = min((chunk + 1u) * VKD_SQUARES_CHUNK, p.quads);
        vec4 sums = vec4(0.0);
        for (uint i = chunk * VKD_SQUARES_CHUNK + row_lane(); i < end; i += ROW_LANES) {
            const vec4 v = LOAD4(x, i);
            sums += v * v;
        }
        const float sum = row_sum(row_sum4(sums));
        if (row_writer(first, p.chunks)) STORE1(partial, p.first + chunk, sum);
    }
}
