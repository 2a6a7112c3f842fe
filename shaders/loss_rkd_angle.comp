// SPDX-License-Identifier: Apache-2.0
// Huber loss of the angles in all triangles of rows, and its derivative T by their squared sides; formula
// and derivation in runtime/ops/rkd_angle.c. Pairs (p, q) fall into blocks of 4 x 4, of which those of block row
// bi and block column bj >= bi are computed, since all is symmetric. An invocation has ROWS rows of a block
// and looks at every third row k: eight quads are read for all angles of these triangles.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"
#include "lib/huber.glsl"

layout(constant_id = 11) const uint GRADIENT = 0;
// Rows of a block for each invocation, 4 or 2: four of them take all the registers that a GPU has.
layout(constant_id = 12) const uint ROWS = 4;
const uint PARTS = 4u / ROWS;

VKD_IN(0, A_student); // (N, N) squared distances
VKD_IN(1, r_student); // (N, N) inverses of their roots
VKD_IN(2, A_teacher);
VKD_IN(3, r_teacher);
VKD_OUT(4, values); // (blocks * PARTS)
VKD_OUT(5, T);      // (N, N)

// The sides of a triangle with corners p, q, k, seen from four q at once.
struct sides {
    vec4 A_pq, r_pq;
    float A_pk, r_pk;
    vec4 A_qk, r_qk;
};

// Cosines at k, and where a gradient is wanted at p and q.
struct cosines {
    vec4 k, p, q;
};

cosines cosines_of(sides s) {
    cosines c;
    const vec4 half_pq = 0.5 * s.r_pq, d = s.A_pk - s.A_qk;
    c.k = (s.A_pk + s.A_qk - s.A_pq) * (0.5 * s.r_pk * s.r_qk);
    c.p = GRADIENT != 0u ? (s.A_pq + d) * (half_pq * s.r_pk) : vec4(0.0);
    c.q = GRADIENT != 0u ? (s.A_pq - d) * (half_pq * s.r_qk) : vec4(0.0);
    return c;
}

// What corner k gives to T of the pair.
vec4 slope_of(sides s, cosines c, cosines other, vec4 g_k) {
    const vec4 g_p = huber_slope(c.p - other.p), g_q = huber_slope(c.q - other.q);
    return s.r_pq * (g_p * s.r_pk + g_q * s.r_qk) - s.r_pq * s.r_pq * (g_p * c.p + g_q * c.q) -
           g_k * s.r_pk * s.r_qk;
}

// The rows of this invocation's part of a quad, in front.
vec4 mine(vec4 quad, uint part) {
    return part == 0u ? quad : quad.zwxy;
}

void store(uint bi, uint bj, uint first, vec4 sums[ROWS]) {
    for (uint a = 0u; a < ROWS; a++) PAIR_STORE(T, 4u * bi + first + a, bj, sums[a]);
    if (bi == bj) return;
    for (uint b = 0u; b < 4u; b++)
        for (uint a = 0u; a < ROWS; a++)
            STORE1(T, (4u * bj + b) * p.stride + 4u * bi + first + a, sums[a][b]);
}

void main() {
    const uint edge = pair_quads(), step = GROUPS_X * LOCAL_X;
    const uint items = edge * (edge + 1u) / 2u * PARTS;
    for (uint t = gl_GlobalInvocationID.x; t < items; t += step) {
        const uvec2 block = pair_block(t / PARTS, edge);
        const uint bi = block.x, bj = block.y, part = t % PARTS, first = part * ROWS;
        sides s[ROWS], other[ROWS];
        vec4 sums[ROWS], value = vec4(0.0);
        for (uint a = 0u; a < ROWS; a++) {
            const uint i = min(4u * bi + first + a, p.N - 1u); // a row beyond has no sides to any k
            s[a].A_pq = PAIR_LOAD(A_student, i, bj);
            s[a].r_pq = PAIR_LOAD(r_student, i, bj);
            other[a].A_pq = PAIR_LOAD(A_teacher, i, bj);
            other[a].r_pq = PAIR_LOAD(r_teacher, i, bj);
            sums[a] = vec4(0.0);
        }
        for (uint k = 0u; k < p.N; k++) {
            const vec4 A_p = mine(PAIR_LOAD(A_student, k, bi), part), A_q = PAIR_LOAD(A_student, k, bj);
            const vec4 r_p = mine(PAIR_LOAD(r_student, k, bi), part), r_q = PAIR_LOAD(r_student, k, bj);
            const vec4 B_p = mine(PAIR_LOAD(A_teacher, k, bi), part), B_q = PAIR_LOAD(A_teacher, k, bj);
            const vec4 z_p = mine(PAIR_LOAD(r_teacher, k, bi), part), z_q = PAIR_LOAD(r_teacher, k, bj);
            for (uint a = 0u; a < ROWS; a++) {
                s[a].A_pk = A_p[a];
                s[a].r_pk = r_p[a];
                s[a].A_qk = A_q;
                s[a].r_qk = r_q;
                other[a].A_pk = B_p[a];
                other[a].r_pk = z_p[a];
                other[a].A_qk = B_q;
                other[a].r_qk = z_q;
                const cosines c = cosines_of(s[a]), d = cosines_of(other[a]);
                const vec4 e = c.k - d.k, g = huber_slope(e);
                value += huber(e, g);
                if (GRADIENT != 0u) sums[a] += slope_of(s[a], c, d, g);
            }
        }
        // A block off the diagonal stands for the one across it too.
        STORE1(values, t, p.scale * (bi == bj ? 1.0 : 2.0) * row_sum4(value));
        if (GRADIENT != 0u) store(bi, bj, first, sums);
    }
}
