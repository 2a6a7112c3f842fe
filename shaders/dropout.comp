// SPDX-License-Identifier: Apache-2.0
// y[i] = u[i] >= p ? x[i] / (1 - p) : 0, where u[i] is word i % 4 of Philox at counter i / 4 and
// the step. The gradient is the same with dy for x.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
#include "lib/philox.glsl"

layout(push_constant) uniform Params { vkd_dropout_params p; };
VKD_IN(0, x);            // (count)
VKD_IN_INT(1, step_now); // ()
VKD_OUT(2, y);           // (count)

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
        const vec4 u =
            philox_uniform(philox(p.seed, p.stream, uint(step_now[0]), p.first / 4u + i));
        // What lies behind the last element stays zero.
        const bvec4 keep = greaterThanEqual(u, vec4(p.p));
        const bvec4 inside = lessThan(4u * i + uvec4(0, 1, 2, 3), uvec4(p.count));
        y[i] = mix(vec4(0.0), LOAD4(x, i) * p.scale, bvec4(uvec4(keep) & uvec4(inside)));
    }
}
