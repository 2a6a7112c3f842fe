// SPDX-License-Identifier: Apache-2.0
// KL(p || q) a row and its gradient; formula and derivation in runtime/ops/kd_kl.c.
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
VKD_IN(2, tau_input); // ()
VKD_IN(3, dout);      // ()
VKD_OUT(4, loss);     // (all rows)
VKD_OUT(5, dstudent); // (N, V)

void main() {
    const float tau = LOAD1(tau_input, 0u), factor = 1.0 / tau;
    const float unit = p.share * (p.t_squared != 0u ? tau * tau : 1.0);
    const float slope = unit * factor * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec2 zs = vec2(ROW_LOWEST, 0.0), zt = zs;
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            zs = row_add(zs, s);
            zt = row_add(zt, loss_hide(LOSS_LOAD(teacher, row, i, factor), s));
        }
        zs = row_lse(zs);
        zt = row_lse(zt);
        const bool live = loss_live(zs) && loss_live(zt);
        const float log_zs = row_log(zs.y), log_zt = row_log(zt.y);

        float value = 0.0;
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
            const vec4 lq = s - zs.x - log_zs, lp = t - zt.x - log_zt;
            const vec4 qq = row_exp(lq), pp = row_exp(lp);
            value += row_sum4(loss_kl(lp, lq, pp, qq));
            if (GRADIENT != 0u && row_live(first, p.N))
                ROW_STORE(dstudent, row, p.V, i, live ? slope * (qq - pp) : vec4(0.0));
        }
        value = row_sum(value);
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, live ? unit * value : 0.0);
    }
}
