// SPDX-License-Identifier: Apache-2.0
//! direct -DVKD_DIRECT
// y = x, element by element. The tail is written as scalars: what follows y is another tensor's.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_place_params p; };
VKD_IN(0, x);  // (count)
VKD_OUT(1, y); // (count)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    const uint whole = p.count / 4u;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
        if (i < whole) y[i] = LOAD4(x, i);
        else
            for (uint k = whole * 4u; k < p.count; k++) STORE1(y, k, LOAD1(x, k));
    }
}
