// SPDX-License-Identifier: Apache-2.0
// bias = bias * beta + (1 - beta), so that after t steps bias = 1 - beta^t without a power.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_adamw_params p; };
VKD_IN(0, guard);   // (2): norm, factor
VKD_INOUT(1, bias); // (2)

void main() {
    if (gl_GlobalInvocationID.x != 0u || LOAD1(guard, 1u) == 0.0) return;
    const vec4 now = bias[0];
    bias[0] = vec4(now.xy * vec2(p.beta1, p.beta2) + vec2(p.rest1, p.rest2), 0.0, 0.0);
}
