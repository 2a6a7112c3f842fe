// SPDX-License-Identifier: Apache-2.0
// average = decay * average + (1 - decay) * source.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_ema_params p; };
VKD_UPDATE(0, 3, average); // (count), a multiple of four
VKD_IN(1, source);         // (count)
VKD_IN(2, decay);          // ()

void main() {
    const float keep = LOAD1(decay, 0u);
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < p.count / 4u; i += stride)
        average[i] = keep * NOW4(average, i) + (1.0 - keep) * LOAD4(source, i);
}
