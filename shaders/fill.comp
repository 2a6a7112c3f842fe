// SPDX-License-Identifier: Apache-2.0
// y = value, element by element.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_fill_params p; };
VKD_OUT(0, y);

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) y[i] = vec4(p.value);
}
