// SPDX-License-Identifier: Apache-2.0
// scale = initial * 2^exponent, 1 to 2^24: the bounds of runtime/ops/loss_scale.c.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_loss_scale_params p; };
VKD_IN_INT(0, state); // (4)
VKD_OUT(1, scale);    // ()

void main() {
    if (gl_GlobalInvocationID.x != 0u) return;
    // ldexp by bits: an exponent this far away is beyond a bound, whatever the start.
    const int e = clamp(state[0], -60, 60);
    STORE1(scale, 0u, clamp(p.initial * uintBitsToFloat(uint(e + 127) << 23), 1.0, 16777216.0));
}
