// SPDX-License-Identifier: Apache-2.0
// dx_i = scale * factor * sum_j w_ij (x_i - x_j). An invocation makes a quad of the width in four rows.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"

layout(constant_id = 11) const uint FACTOR = 0; // it is there, else 1

const uint CHUNK = 4; // rows j that are read before any is used: on a CPU the faster order

VKD_IN(0, x);      // (N, D)
VKD_IN(1, w);      // (N, N), symmetric
VKD_IN(2, factor); // ()
VKD_OUT(3, dx);    // (N, D)

void main() {
    const float by = FACTOR != 0u ? p.scale * LOAD1(factor, 0u) : p.scale;
    const uint widths = (p.D + 3u) / 4u, items = pair_quads() * widths, step = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < items; t += step) {
        const uint bi = t / widths, q = t - bi * widths, last = p.N - 1u;
        vec4 xi[4], sums[4];
        for (uint a = 0u; a < 4u; a++) {
            xi[a] = ROW_LOAD(x, min(4u * bi + a, last), p.D, q, 0.0);
            sums[a] = vec4(0.0);
        }
        for (uint j = 0u; j < p.N; j += CHUNK) {
            vec4 xj[CHUNK], wj[CHUNK]; // w_ij of the four rows i
            for (uint b = 0u; b < CHUNK; b++) {
                xj[b] = ROW_LOAD(x, min(j + b, last), p.D, q, 0.0);
                wj[b] = PAIR_LOAD(w, min(j + b, last), bi);
            }
            for (uint b = 0u; b < CHUNK; b++)
                if (b == 0u || j + b < p.N)
                    for (uint a = 0u; a < 4u; a++) sums[a] += wj[b][a] * (xi[a] - xj[b]);
        }
        for (uint a = 0u; a < 4u; a++)
            if (4u * bi + a < p.N) ROW_STORE(dx, 4u * bi + a, p.D, q, by * sums[a]);
    }
}
