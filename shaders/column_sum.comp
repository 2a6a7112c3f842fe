// SPDX-License-Identifier: Apache-2.0
// Second of two steps to dgamma and dbeta: the sums over blocks, in order. Lanes beyond D hold
// zeros and stay zeros.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_column_sum_params p; };
VKD_IN(0, partial); // (blocks, 2, D rounded up to a multiple of four)
VKD_OUT(1, dgamma); // (D)
VKD_OUT(2, dbeta);  // (D)

void main() {
    const uint quads = (p.D + 3u) / 4u, stride = GROUPS_X * LOCAL_X;
    for (uint q = gl_GlobalInvocationID.x; q < quads; q += stride) {
        vec4 a = vec4(0.0), b = vec4(0.0);
        for (uint block = 0u; block < p.blocks; block++) {
            a += LOAD4(partial, 2u * block * quads + q);
            b += LOAD4(partial, (2u * block + 1u) * quads + q);
        }
        dgamma[q] = a;
        dbeta[q] = b;
    }
}
