// SPDX-License-Identifier: Apache-2.0
// y = a op b with broadcasting; y is contiguous, a and b have strides. With VECTOR a quad of y lies
// within one run of the innermost axis, where each operand is a quad or one repeated value.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/index.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 11) const uint VECTOR = 0;
layout(constant_id = 12) const uint REPEAT_A = 0; // a's innermost stride is 0
layout(constant_id = 13) const uint REPEAT_B = 0;
layout(constant_id = 14) const uint KIND = 0; // add, sub, mul, div

layout(constant_id = 15) const uint SCALARS = 0; // y's quads are not vec4s: stored one by one

layout(push_constant) uniform Params { vkd_strided_params p; };
VKD_IN_PLACE(0, a);  // broadcasts to y's shape
VKD_IN_PLACE(1, b);  // broadcasts to y's shape
VKD_OUT_PLACE(2, y); // (count), from offset_y on

#include "lib/strided.glsl"

vec4 combine(vec4 u, vec4 v) {
    if (KIND == 0u) return u + v;
    if (KIND == 1u) return u - v;
    if (KIND == 2u) return u * v;
    return u / v;
}

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
        uvec2 at = strided_seek(4u * i);
        vec4 u = vec4(0.0), v = vec4(0.0);
        if (VECTOR != 0u) {
            u = REPEAT_A != 0u ? vec4(LOAD1(a, at.x)) : LOAD4(a, at.x >> 2);
            v = REPEAT_B != 0u ? vec4(LOAD1(b, at.y)) : LOAD4(b, at.y >> 2);
        } else {
            const uint left = min(p.count - 4u * i, 4u);
            u.x = LOAD1(a, at.x);
            v.x = LOAD1(b, at.y);
            if (left > 1u) {
                at = strided_next(at);
                u.y = LOAD1(a, at.x);
                v.y = LOAD1(b, at.y);
            }
            if (left > 2u) {
                at = strided_next(at);
                u.z = LOAD1(a, at.x);
                v.z = LOAD1(b, at.y);
            }
            if (left > 3u) {
                at = strided_next(at);
                u.w = LOAD1(a, at.x);
                v.w = LOAD1(b, at.y);
            }
        }
        const vec4 w = combine(u, v);
        if (SCALARS == 0u) {
            y[(p.offset_y >> 2) + i] = keep4(w, i, p.count);
        } else {
            const uint to = p.offset_y + 4u * i, left = p.count - 4u * i;
            STORE1(y, to, w.x);
            if (left > 1u) STORE1(y, to + 1u, w.y);
            if (left > 2u) STORE1(y, to + 2u, w.z);
            if (left > 3u) STORE1(y, to + 3u, w.w);
        }
    }
}
