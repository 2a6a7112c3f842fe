// SPDX-License-Identifier: Apache-2.0
// y = f(x), element by element; for kind SCALE y = factor * x.
#version 450
//! direct -DVKD_DIRECT
//! half -DVKD_HALF
//! direct.half -DVKD_DIRECT -DVKD_HALF
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/activation.glsl"
#include "lib/index.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint KIND = 0; // ACT_... of activation.glsl, NONE for scale

layout(push_constant) uniform Params { vkd_unary_params p; };
VKD_IN_X(0, x);  // (count)
VKD_OUT_Y(1, y); // (count)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
        vec4 v = LOADX4(x, i);
        v = KIND == ACT_NONE ? p.factor * v : act(KIND, v);
        STOREY4(y, i, keep4(v, i, p.count));
    }
}
