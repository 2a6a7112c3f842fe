// SPDX-License-Identifier: Apache-2.0
// Decoupled distillation a row and its gradient; formula and derivation in runtime/ops/dkd.c.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/loss.glsl"

VKD_IN(0, student);    // (N, V)
VKD_IN(1, teacher);    // (N, V)
VKD_IN_INT(2, labels); // (all rows)
VKD_IN(3, tau_input);  // ()
VKD_IN(4, dout);       // ()
VKD_OUT(5, loss);      // (all rows)
VKD_OUT(6, dstudent);  // (N, V)

// Logits of quad i without the target.
vec4 others(vec4 x, bvec4 is_target) {
    return mix(x, vec4(MASKED), is_target);
}
// log sigmoid of u and of -u: the target's and the others' share, from the log-odds.
vec2 log_shares(float u) {
    const float tail = row_exp(-abs(u)), both = loss_log(vec4(1.0 + tail), vec4(tail)).x;
    return vec2(min(u, 0.0), min(-u, 0.0)) - both;
}

void main() {
    const float tau = LOAD1(tau_input, 0u), factor = 1.0 / tau;
    const float unit = p.share * tau * tau;
    const float slope = unit * factor * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        const uint label = uint(labels[p.first + row]);
        vec2 zs = vec2(ROW_LOWEST, 0.0), zt = zs;
        ROW_QUADS(i, p.V) {
            const bvec4 is_target = equal(uvec4(4u * i) + uvec4(0, 1, 2, 3), uvec4(label));
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
            zs = row_add(zs, others(s, is_target));
            zt = row_add(zt, others(t, is_target));
        }
        zs = row_lse(zs);
        zt = row_lse(zt);
        const float log_zs = row_log(zs.y), log_zt = row_log(zt.y);

        const uint at = row * p.V + (label < p.V ? label : 0u);
        const vec4 st = loss_logits(vec4(LOAD1(student, at)), factor);
        const float target_s = st.x;
        const float target_t = loss_hide(loss_logits(vec4(LOAD1(teacher, at)), factor), st).x;
        const bool others_live = loss_live(zs) && loss_live(zt);
        const bool live = label < p.V && (target_s > MASKED || loss_live(zs)) &&
                          (target_t > MASKED || loss_live(zt));
        const vec2 lq2 = log_shares(target_s - zs.x - log_zs);
        const vec2 lp2 = log_shares(target_t - zt.x - log_zt);
        const vec4 q2 = row_exp(vec4(lq2, MASKED, MASKED)), p2 = row_exp(vec4(lp2, MASKED, MASKED));
        const float tckd =
            row_sum4(loss_kl(vec4(lp2, MASKED, MASKED), vec4(lq2, MASKED, MASKED), p2, q2));
        const float pull = p.a * (p2.x - q2.x), push = others_live ? p.b : 0.0;

        float nckd = 0.0;
        ROW_QUADS(i, p.V) {
            const bvec4 is_target = equal(uvec4(4u * i) + uvec4(0, 1, 2, 3), uvec4(label));
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
            const vec4 lq = others(s, is_target) - zs.x - log_zs;
            const vec4 lp = others(t, is_target) - zt.x - log_zt;
            const vec4 qq = row_exp(lq), pp = row_exp(lp);
            nckd += row_sum4(loss_kl(lp, lq, pp, qq));
            if (GRADIENT != 0u && row_live(first, p.N)) {
                const vec4 ds = mix(pull * qq + push * (qq - pp), vec4(-pull), is_target);
                ROW_STORE(dstudent, row, p.V, i, live ? slope * ds : vec4(0.0));
            }
        }
        nckd = row_sum(nckd);
        const float value = p.a * tckd + (others_live ? p.b * nckd : 0.0);
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, live ? unit * value : 0.0);
    }
}
