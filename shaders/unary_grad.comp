// SPDX-License-Identifier: Apache-2.0
// dx = dy * f'(v), element by element; v is x or y = f(x), as activation.glsl says for each kind.
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
layout(constant_id = 10) const uint KIND = 0;

layout(push_constant) uniform Params { vkd_unary_params p; };
VKD_IN_X(0, dy);  // (count)
VKD_IN_X(1, v);   // (count)
VKD_OUT_Y(2, dx); // (count)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride)
        STOREY4(dx, i, keep4(LOADX4(dy, i) * act_grad(KIND, LOADX4(v, i)), i, p.count));
}
