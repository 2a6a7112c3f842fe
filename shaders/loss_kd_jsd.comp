// SPDX-License-Identifier: Apache-2.0
// Generalised Jensen-Shannon divergence a row and its gradient, 0 < beta < 1; formula and
// derivation in runtime/ops/kd_jsd.c.
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
    const float beta = p.a, rest = 1.0 - beta;
    const float unit = p.share * p.b * (p.t_squared != 0u ? tau * tau : 1.0);
    const float slope = unit * factor * rest * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec2 zs = vec2(ROW_LOWEST, 0.0), zt = zs;
        ROW_QUADS(i, p.V) {
            zs = row_add(zs, LOSS_LOAD(student, row, i, factor));
            zt = row_add(zt, LOSS_LOAD(teacher, row, i, factor));
        }
        zs = row_lse(zs);
        zt = row_lse(zt);
        const bool live = loss_live(zs) && loss_live(zt);
        const float log_zs = row_log(zs.y), log_zt = row_log(zt.y);

        float value = 0.0, mean = 0.0; // mean of log(q/m) under q
        ROW_QUADS(i, p.V) {
            const vec4 qq = row_exp(LOSS_LOAD(student, row, i, factor) - zs.x - log_zs);
            const vec4 pp = row_exp(LOSS_LOAD(teacher, row, i, factor) - zt.x - log_zt);
            const vec4 m = max(beta * pp + rest * qq, vec4(1e-37)), gap = (pp - qq) / m;
            const vec4 a = rest * gap, b = -beta * gap;
            const vec4 r = pp / m, log_pm = loss_log(r, a), log_qm = loss_log(qq / m, b);
            value += row_sum4(m * (beta * (r * log_pm - a) + rest * (qq / m * log_qm - b)));
            mean += row_sum4(qq * log_qm);
        }
        const vec2 sums = row_sum(vec2(value, mean));
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, live ? unit * sums.x : 0.0);

        if (GRADIENT != 0u && row_live(first, p.N)) ROW_QUADS(i, p.V) {
            const vec4 qq = row_exp(LOSS_LOAD(student, row, i, factor) - zs.x - log_zs);
            const vec4 pp = row_exp(LOSS_LOAD(teacher, row, i, factor) - zt.x - log_zt);
            const vec4 m = max(beta * pp + rest * qq, vec4(1e-37));
            const vec4 log_qm = loss_log(qq / m, beta * (qq - pp) / m);
            ROW_STORE(dstudent, row, p.V, i, live ? slope * qq * (log_qm - sums.y) : vec4(0.0));
        }
    }
}
