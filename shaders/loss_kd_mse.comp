// SPDX-License-Identifier: Apache-2.0
// Mean squared difference of logits a row and its gradient; formula in runtime/ops/kd_mse.c.
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
    const float unit = p.share / float(p.V);
    const float slope = 2.0 * unit * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        float value = 0.0;
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(student, row, i, 1.0), t = LOSS_LOAD(teacher, row, i, 1.0);
            const vec4 gap = mix(mix(s - t, vec4(0.0), loss_masked(s)), vec4(0.0), loss_masked(t));
            value += row_sum4(gap * gap);
            if (GRADIENT != 0u && row_live(first, p.N))
                ROW_STORE(dstudent, row, p.V, i, slope * gap);
        }
        value = row_sum(value);
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, unit * value);
    }
}
