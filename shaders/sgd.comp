// SPDX-License-Identifier: Apache-2.0
// g = factor * gradient (+ weight_decay * w); v = momentum * v + g; u = v, or g + momentum * v with
// NESTEROV; w = w - lr * u. Without MOMENTUM u = g. A factor of 0 changes nothing.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 11) const uint MOMENTUM = 0;
layout(constant_id = 12) const uint NESTEROV = 0;

layout(push_constant) uniform Params { vkd_sgd_params p; };
VKD_UPDATE(0, 5, w); // (count), a multiple of four
VKD_IN(1, gradient); // (count)
VKD_IN(2, guard);    // (2): norm, factor
VKD_IN(3, lr);       // ()
VKD_UPDATE(4, 6, v); // (count); absent without MOMENTUM

void main() {
    const float factor = LOAD1(guard, 1u), rate = LOAD1(lr, 0u);
    if (factor == 0.0) return;
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < p.count / 4u; i += stride) {
        const vec4 at = NOW4(w, i);
        vec4 g = LOAD4(gradient, i) * factor;
        if (4u * i < p.decayed) g += p.weight_decay * at;
        if (MOMENTUM != 0u) {
            const vec4 velocity = p.momentum * NOW4(v, i) + g;
            v[i] = velocity;
            g = NESTEROV != 0u ? g + p.momentum * velocity : velocity;
        }
        w[i] = at - rate * g;
    }
}
