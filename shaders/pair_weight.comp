// SPDX-License-Identifier: Apache-2.0
// w_ij = (a_ij + a_ji) / d_ij: what x_i - x_j has to be weighted with for the gradient, where a is the
// gradient of the distances d; 0 where d stands at its least.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"

VKD_IN(0, distance); // (N, N) of p.stride
VKD_IN(1, a);        // (N, N) of p.stride
VKD_OUT(2, w);       // (N, N) of whole quads

void main() {
    const uint quads = pair_quads(), step = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < p.N * quads; t += step) {
        const uint i = t / quads, q = t - i * quads;
        vec4 value = vec4(0.0);
        for (uint b = 0u; b < 4u; b++) {
            const uint j = min(4u * q + b, p.N - 1u);
            const float d = PAIR_LOAD1(distance, i, j);
            const float both = PAIR_LOAD1(a, i, j) + PAIR_LOAD1(a, j, i);
            value[b] = d > PAIR_NEAREST || isnan(d) ? both / d : 0.0;
        }
        w[t] = mix(vec4(0.0), value, pair_inside(q));
    }
}
