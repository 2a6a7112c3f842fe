// SPDX-License-Identifier: Apache-2.0
// y = x with nothing in the way: no guard, no loop. The host makes the grid fit exactly; an invocation
// copies four quads that lie a workgroup apart, so that neighbours touch neighbouring addresses.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

VKD_IN(0, x);  // (16 * invocations)
VKD_OUT(1, y); // (16 * invocations)

void main() {
    const uint first = gl_WorkGroupID.x * LOCAL_X * 4u + gl_LocalInvocationID.x;
    [[unroll]] for (uint i = 0u; i < 4u; i++) {
        y[first + i * LOCAL_X] = LOAD4(x, first + i * LOCAL_X);
    }
}
