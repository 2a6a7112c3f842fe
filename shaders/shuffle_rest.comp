// SPDX-License-Identifier: Apache-2.0
// Rows with their largest element in its place and the others permuted; formula in
// runtime/ops/shuffle_rest.c. Element by element, because each knows its place by itself.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
#include "lib/philox.glsl"
#include "lib/shuffle.glsl"

layout(push_constant) uniform Params { vkd_shuffle_rest_params p; };
VKD_IN(0, x);            // (N, V)
VKD_IN_INT(1, largest);  // (all rows)
VKD_IN_INT(2, step_now); // ()
VKD_OUT(3, y);           // (N, V)

float dealt(shuffling others, uint at) {
    const uint row = at / p.V, to = at % p.V, m = uint(largest[p.first + row]);
    if (to == m) return LOAD1(x, at);
    const uvec4 key = philox(p.seed, p.stream, uint(step_now[0]), p.first + row);
    const uint k = shuffle(others, key, to > m ? to - 1u : to);
    const uint from = row * p.V + (k >= m ? k + 1u : k);
    return LOAD1(x, from);
}

void main() {
    const shuffling others = shuffle_of(p.V - 1u);
    const uint count = p.N * p.V, stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (count + 3u) / 4u; i += stride) {
        // What lies behind the last element stays zero.
        vec4 v = vec4(0.0);
        for (uint k = 0u; k < min(count - 4u * i, 4u); k++)
            v[k] = dealt(others, 4u * i + k);
        y[i] = v;
    }
}
