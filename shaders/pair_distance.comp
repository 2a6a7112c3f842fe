// SPDX-License-Identifier: Apache-2.0
// Of all pairs of rows of x the distance; or, with SQUARED, its square and the inverse of its root, 0
// where the two are one point and no direction leads from one to the other. An invocation makes 4 x 4
// pairs and the same across the diagonal, so that a quad of a row is read once for eight of them.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"

layout(constant_id = 11) const uint SQUARED = 0;

VKD_IN(0, x);      // (N, D)
VKD_OUT(1, y);     // (N, N)
VKD_OUT(2, roots); // (N, N); not touched unless SQUARED

void store(uint i, uint bj, vec4 squares) {
    const bvec4 other = notEqual(4u * bj + uvec4(0, 1, 2, 3), uvec4(i));
    const bvec4 inside = pair_inside(bj);
    if (SQUARED == 0u) {
        const vec4 d = mix(max(sqrt(squares), PAIR_NEAREST), squares, isnan(squares));
        PAIR_STORE(y, i, bj, mix(vec4(0.0), d, bvec4(uvec4(other) & uvec4(inside))));
        return;
    }
    // An infinite square would have a root of 0 and no angle: a NaN keeps it in sight.
    const vec4 inverse = mix(inversesqrt(squares), squares - squares, isinf(squares));
    const bvec4 apart = bvec4(uvec4(greaterThan(squares, vec4(1e-24))) | uvec4(isnan(squares)));
    PAIR_STORE(y, i, bj, mix(vec4(0.0), squares, inside));
    PAIR_STORE(roots, i, bj, mix(vec4(0.0), inverse, bvec4(uvec4(apart) & uvec4(inside))));
}

void main() {
    const uint edge = pair_quads(), last = p.N - 1u, step = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < edge * (edge + 1u) / 2u; t += step) {
        const uvec2 block = pair_block(t, edge);
        const uint bi = block.x, bj = block.y;
        mat4 sums = mat4(0.0); // sums[a][b] of row 4 bi + a and row 4 bj + b
        for (uint q = 0u; q < (p.D + 3u) / 4u; q++) {
            vec4 xi[4], xj[4];
            for (uint a = 0u; a < 4u; a++) {
                xi[a] = ROW_LOAD(x, min(4u * bi + a, last), p.D, q, 0.0);
                xj[a] = ROW_LOAD(x, min(4u * bj + a, last), p.D, q, 0.0);
            }
            for (uint a = 0u; a < 4u; a++)
                for (uint b = 0u; b < 4u; b++) {
                    const vec4 d = xi[a] - xj[b];
                    sums[a][b] += row_sum4(d * d);
                }
        }
        const mat4 across = transpose(sums);
        for (uint a = 0u; a < 4u; a++) {
            if (4u * bi + a < p.N) store(4u * bi + a, bj, sums[a]);
            if (bi != bj && 4u * bj + a < p.N) store(4u * bj + a, bi, across[a]);
        }
    }
}
