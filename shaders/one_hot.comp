// SPDX-License-Identifier: Apache-2.0
// y[n,v] = 1 where v is labels[n], else 0.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_one_hot_params p; };
VKD_IN_INT(0, labels); // (all rows)
VKD_OUT(1, y);         // (N, V)

void main() {
    const uint stride = GROUPS_X * LOCAL_X, count = p.N * p.V;
    for (uint i = gl_GlobalInvocationID.x; i < (count + 3u) / 4u; i += stride) {
        vec4 quad = vec4(0.0);
        for (uint k = 0; k < 4u && 4u * i + k < count; k++) {
            const uint at = 4u * i + k;
            if (labels[p.first + at / p.V] == int(at % p.V)) quad[k] = 1.0;
        }
        y[i] = quad;
    }
}
