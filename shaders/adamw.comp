// SPDX-License-Identifier: Apache-2.0
// w = w - lr * weight_decay * w; m = beta1 m + (1-beta1) g; v = beta2 v + (1-beta2) g^2;
// w = w - lr * (m / bias1) / (sqrt(v) / sqrt(bias2) + eps), with g = factor * gradient and
// bias = 1 - beta^t. A factor of 0 changes nothing.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_adamw_params p; };
VKD_UPDATE(0, 7, w); // (count), a multiple of four
VKD_IN(1, gradient); // (count)
VKD_IN(2, guard);    // (2): norm, factor
VKD_IN(3, lr);       // ()
VKD_UPDATE(4, 8, m); // (count)
VKD_UPDATE(5, 9, v); // (count)
VKD_IN(6, bias);     // (2)

void main() {
    const float factor = LOAD1(guard, 1u), rate = LOAD1(lr, 0u);
    if (factor == 0.0) return;
    const vec4 correction = LOAD4(bias, 0u);
    const float rate1 = rate / correction.x, root2 = sqrt(correction.y);
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < p.count / 4u; i += stride) {
        const vec4 g = LOAD4(gradient, i) * factor;
        vec4 at = NOW4(w, i);
        if (4u * i < p.decayed) at -= rate * p.weight_decay * at;
        const vec4 first = p.beta1 * NOW4(m, i) + p.rest1 * g;
        const vec4 second = p.beta2 * NOW4(v, i) + p.rest2 * g * g;
        m[i] = first;
        v[i] = second;
        w[i] = at - rate1 * first / (sqrt(second) / root2 + p.eps);
    }
}
