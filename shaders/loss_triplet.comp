// SPDX-License-Identifier: Apache-2.0
// Sums and numbers of the triplets within the margin, anchor by anchor, and the weights of all pairs;
// formula and derivation in runtime/ops/triplet.c. An invocation has four q for its i and looks at every k.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"

layout(constant_id = 11) const uint GRADIENT = 0;

VKD_IN(0, distance); // (N, N)
VKD_IN_INT4(1, labels); // (N)
VKD_OUT(2, parts); // (2, N): sums and numbers
VKD_OUT(3, w);     // (N, N)

// What one k says of the pairs (i, q): the sum and number of i's triplets with q as the positive, and the
// weights. Of k: whether it is i, its label, and its distances to i and to q.
struct seen {
    vec4 value, count, weight;
};

vec4 where(bvec4 a) {
    return mix(vec4(0.0), vec4(1.0), a);
}
// Within the margin, or a NaN, which must show.
vec4 above(vec4 term) {
    return mix(where(greaterThan(term, vec4(0.0))), vec4(1.0), isnan(term));
}

void look(inout seen s, vec4 d, ivec4 label_q, uvec4 q, int label_i, uint i, uint k, int label_k, float to_i,
          vec4 to_q) {
    const float margin = p.scale;
    const vec4 same = where(equal(label_q, ivec4(label_i))), other = 1.0 - same;
    const float k_other = label_k >= 0 && label_k != label_i ? 1.0 : 0.0;
    const float k_same = label_k == label_i && k != i ? 1.0 : 0.0;
    const vec4 term = d - to_i + margin;
    const vec4 within = same * k_other * above(term);
    s.value += mix(vec4(0.0), term, greaterThan(within, vec4(0.0)));
    s.count += within;
    if (GRADIENT == 0u) return;
    const vec4 q_same = where(equal(label_q, ivec4(label_k))) * where(notEqual(q, uvec4(k)));
    s.weight += within + same * k_other * above(d - to_q + margin);
    s.weight -= other * k_same * above(to_i - d + margin);
    s.weight -= other * q_same * above(to_q - d + margin);
}

void main() {
    ROW_FOR(first, p.N) {
        const uint i = row_of(first, p.N);
        const int label_i = LOAD4(labels, i >> 2)[i & 3u];
        vec2 part = vec2(0.0);
        ROW_QUADS(quad, p.N) {
            const uvec4 q = 4u * quad + uvec4(0, 1, 2, 3);
            const ivec4 label_q = LOAD4(labels, quad);
            const vec4 d = PAIR_LOAD(distance, i, quad);
            // Pairs of two rows that have labels.
            const vec4 pairs = label_i < 0 ? vec4(0.0)
                                           : where(greaterThanEqual(label_q, ivec4(0))) *
                                                 where(notEqual(q, uvec4(i))) * where(pair_inside(quad));
            seen s = seen(vec4(0.0), vec4(0.0), vec4(0.0));
            for (uint kq = 0u; kq < pair_quads(); kq++) {
                const ivec4 label_k = LOAD4(labels, kq);
                const vec4 to_i = PAIR_LOAD(distance, i, kq);
                for (uint b = 0u; b < 4u; b++) {
                    const uint k = 4u * kq + b;
                    const vec4 to_q = PAIR_LOAD(distance, min(k, p.N - 1u), quad);
                    if (k < p.N) look(s, d, label_q, q, label_i, i, k, label_k[b], to_i[b], to_q);
                }
            }
            const bvec4 real = greaterThan(pairs, vec4(0.0));
            part += vec2(row_sum4(mix(vec4(0.0), s.value, real)), row_sum4(pairs * s.count));
            if (GRADIENT != 0u && row_live(first, p.N)) {
                const bvec4 apart = greaterThan(pairs * d, vec4(PAIR_NEAREST));
                PAIR_STORE(w, i, quad, mix(vec4(0.0), s.weight / d, apart));
            }
        }
        part = row_sum(part);
        if (!row_writer(first, p.N)) continue;
        STORE1(parts, i, part.x);
        STORE1(parts, p.N + i, part.y);
    }
}
