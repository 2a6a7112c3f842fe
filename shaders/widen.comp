// SPDX-License-Identifier: Apache-2.0
// y = x, 16 bits to f32, element by element.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#define VKD_HALF
#include "params.h"
#include "lib/io.glsl"
#include "lib/index.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_cast_params p; };
VKD_IN_X(0, x); // (count)
VKD_OUT(1, y);  // (count)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride)
        y[i] = keep4(LOADX4(x, i), i, p.count);
}
