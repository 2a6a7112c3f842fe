// SPDX-License-Identifier: Apache-2.0
// Squared distance, or distance, of a row's direction to another's, and its gradient; formula in
// runtime/ops/unit_gap.c. p.a says whether the root is taken, p.b is the least length.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/loss.glsl"

VKD_IN(0, student);   // (N, V)
VKD_IN(1, teacher);   // (N, V)
VKD_IN(2, dout);      // ()
VKD_OUT(3, loss);     // (all rows)
VKD_OUT(4, dstudent); // (N, V)

void main() {
    const bool root = p.a != 0.0;
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec4 ss = vec4(0.0), tt = vec4(0.0);
        ROW_QUADS(i, p.V) {
            const vec4 s = ROW_LOAD(student, row, p.V, i, 0.0);
            const vec4 t = ROW_LOAD(teacher, row, p.V, i, 0.0);
            ss += s * s;
            tt += t * t;
        }
        const vec2 lengths = sqrt(row_sum(vec2(row_sum4(ss), row_sum4(tt))));
        const vec2 scale = 1.0 / max(lengths, vec2(p.b));

        vec4 squares = vec4(0.0), along = vec4(0.0);
        ROW_QUADS(i, p.V) {
            const vec4 u = ROW_LOAD(student, row, p.V, i, 0.0) * scale.x;
            const vec4 d = u - ROW_LOAD(teacher, row, p.V, i, 0.0) * scale.y;
            squares += d * d;
            along += u * d;
        }
        const vec2 sums = row_sum(vec2(row_sum4(squares), row_sum4(along)));
        const float far = sqrt(sums.x + p.b);
        const float value = p.share * (root ? far : sums.x / float(p.V));
        const float slope = p.share * LOAD1(dout, 0u) * (root ? 1.0 / far : 2.0 / float(p.V));
        // A row without direction is divided by a constant.
        const float back = lengths.x > p.b ? sums.y : 0.0;
        if (GRADIENT != 0u && row_live(first, p.N)) {
            ROW_QUADS(i, p.V) {
                const vec4 u = ROW_LOAD(student, row, p.V, i, 0.0) * scale.x;
                const vec4 d = u - ROW_LOAD(teacher, row, p.V, i, 0.0) * scale.y;
                ROW_STORE(dstudent, row, p.V, i, slope * scale.x * (d - back * u));
            }
        }
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, value);
    }
}
