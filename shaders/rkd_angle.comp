// SPDX-License-Identifier: Apache-2.0
// Huber loss of the angles in all triangles of rows, and its derivative T by their squared sides; formula
// and derivation in runtime/ops/rkd_angle.c. An invocation has 4 x 4 pairs (p, q) of block row bi and block
// column bj >= bi, since all is symmetric, and looks at every third row k: eight quads are read for 48
// angles of student and teacher.
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

VKD_IN(0, A_student); // (N, N) squared distances
VKD_IN(1, r_student); // (N, N) inverses of their roots
VKD_IN(2, A_teacher);
VKD_IN(3, r_teacher);
VKD_OUT(4, values); // (blocks)
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

void store(uint bi, uint bj, vec4 sums[4]) {
    const mat4 rows = mat4(sums[0], sums[1], sums[2], sums[3]), columns = transpose(rows);
    for (uint a = 0u; a < 4u; a++) {
        PAIR_STORE(T, 4u * bi + a, bj, rows[a]);
        if (bi != bj) PAIR_STORE(T, 4u * bj + a, bi, columns[a]);
    }
}

void main() {
    const uint edge = pair_quads(), step = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < edge * (edge + 1u) / 2u; t += step) {
        const uvec2 block = pair_block(t, edge);
        const uint bi = block.x, bj = block.y;
        sides s[4], other[4];
        vec4 sums[4], value = vec4(0.0);
        for (uint a = 0u; a < 4u; a++) {
            const uint i = min(4u * bi + a, p.N - 1u); // a row beyond has no sides to any k
            s[a].A_pq = PAIR_LOAD(A_student, i, bj);
            s[a].r_pq = PAIR_LOAD(r_student, i, bj);
            other[a].A_pq = PAIR_LOAD(A_teacher, i, bj);
            other[a].r_pq = PAIR_LOAD(r_teacher, i, bj);
            sums[a] = vec4(0.0);
        }
        for (uint k = 0u; k < p.N; k++) {
            const vec4 A_p = PAIR_LOAD(A_student, k, bi), A_q = PAIR_LOAD(A_student, k, bj);
            const vec4 r_p = PAIR_LOAD(r_student, k, bi), r_q = PAIR_LOAD(r_student, k, bj);
            const vec4 B_p = PAIR_LOAD(A_teacher, k, bi), B_q = PAIR_LOAD(A_teacher, k, bj);
            const vec4 z_p = PAIR_LOAD(r_teacher, k, bi), z_q = PAIR_LOAD(r_teacher, k, bj);
            for (uint a = 0u; a < 4u; a++) {
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
        if (GRADIENT != 0u) store(bi, bj, sums);
    }
}
