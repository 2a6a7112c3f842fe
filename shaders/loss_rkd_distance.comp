// SPDX-License-Identifier: Apache-2.0
// Huber loss of distances that were divided by their mean; formula and derivation in
// runtime/ops/rkd_distance.c. Row by row of the matrices of distances, in three stages.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/pairs.glsl"
#include "lib/huber.glsl"

layout(constant_id = 11) const uint STAGE = 0; // 0: sums, 1: values, 2: weights

VKD_IN(0, student); // (N, N) distances
VKD_IN(1, teacher); // (N, N)
VKD_IN(2, sums);    // (2, N) of rows, the student's and the teacher's
VKD_IN(3, parts);   // (2, N): values, and sums of slope times distance
VKD_OUT(4, result); // the sums, the parts, or the weights (N, N)

// One over the mean distance of student and teacher, and the sum of the second parts.
vec3 totals() {
    vec3 t = vec3(0.0);
    for (uint i = row_lane(); i < p.N; i += ROW_LANES) {
        t.x += LOAD1(sums, i);
        t.y += LOAD1(sums, p.N + i);
        if (STAGE == 2u) t.z += LOAD1(parts, p.N + i);
    }
    t = row_sum(vec4(t, 0.0)).xyz;
    const float pairs = float(p.N) * float(p.N - 1u);
    return vec3(pairs / t.xy, t.z);
}

void main() {
    vec3 total = vec3(0.0);
    if (STAGE != 0u) total = totals();
    // The gradient through the mean distance, which is that of all pairs.
    const float shift = total.z * total.x * total.x / (float(p.N) * float(p.N - 1u));
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec2 part = vec2(0.0);
        ROW_QUADS(q, p.N) {
            const vec4 s = PAIR_LOAD(student, row, q), t = PAIR_LOAD(teacher, row, q);
            if (STAGE == 0u) {
                part += vec2(row_sum4(s), row_sum4(t));
                continue;
            }
            const vec4 e = s * total.x - t * total.y, g = huber_slope(e);
            if (STAGE == 1u) {
                part += vec2(row_sum4(huber(e, g)), row_sum4(g * s));
            } else if (row_live(first, p.N)) {
                const bvec4 free = bvec4(uvec4(greaterThan(s, vec4(PAIR_NEAREST))) | uvec4(isnan(s)));
                PAIR_STORE(result, row, q, mix(vec4(0.0), (g * total.x - shift) / s, free));
            }
        }
        if (STAGE == 2u) continue;
        part = row_sum(part);
        if (!row_writer(first, p.N)) continue;
        STORE1(result, row, STAGE == 1u ? p.scale * part.x : part.x);
        STORE1(result, p.N + row, part.y);
    }
}
