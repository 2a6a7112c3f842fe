// SPDX-License-Identifier: Apache-2.0
// What the device's arithmetic units give at best: independent chains of x = x*a + b with nothing else
// to wait for. The chains are few enough to stay in registers on every device, and unrolled, because
// CPU devices pay for each turn of a loop. y keeps the work from being removed.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_ceiling_params p; };
VKD_OUT(0, y); // (4 * invocations)

void main() {
    const float a = p.a;
    const vec4 b = vec4(p.b);
    vec4 x0 = vec4(float(gl_GlobalInvocationID.x));
    vec4 x1 = x0 + 1.0, x2 = x0 + 2.0;
    for (uint turn = 0; turn < p.turns; turn++) {
        [[unroll]] for (int i = 0; i < 16; i++) {
            x0 = x0 * a + b;
            x1 = x1 * a + b;
            x2 = x2 * a + b;
        }
    }
    y[gl_GlobalInvocationID.x] = x0 + x1 + x2;
}
