// SPDX-License-Identifier: Apache-2.0
// KL over the teacher's k most likely classes and the rest, a row and its gradient; formula and
// derivation in runtime/ops/kd_topk.c.
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

// The k-th class of the row in falling order of the teacher's logits: a class is in the top when it
// comes no later. Equal logits come in the order of their index.
struct Last {
    float logit;
    uint index;
};
uvec4 indices(uint quad) {
    return 4u * quad + uvec4(0, 1, 2, 3);
}
bvec4 later(vec4 t, uint quad, Last last) {
    const bvec4 below = lessThan(t, vec4(last.logit));
    const bvec4 behind = greaterThan(indices(quad), uvec4(last.index));
    const bvec4 same = equal(t, vec4(last.logit));
    return bvec4(uvec4(below) | (uvec4(same) & uvec4(behind)));
}
bvec4 in_top(vec4 t, uint quad, Last last) {
    return not(bvec4(uvec4(later(t, quad, last)) | uvec4(loss_masked(t))));
}

// The largest of the row's classes that come after `last`; itself again where there is none.
Last next(uint row, float factor, Last last) {
    float most = MASKED;
    uint at = 0xffffffffu;
    ROW_QUADS(i, p.V) {
        const vec4 s = LOSS_LOAD(student, row, i, factor);
        const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
        const bvec4 candidate = later(t, i, last);
        for (uint j = 0u; j < 4u; j++)
            if (candidate[j] && t[j] > most) {
                most = t[j];
                at = 4u * i + j;
            }
    }
    const float top = row_max(most);
    const uint index = row_min(most == top ? at : 0xffffffffu);
    if (top > MASKED) last = Last(top, index);
    return last;
}

void main() {
    const float tau = LOAD1(tau_input, 0u), factor = 1.0 / tau;
    const float unit = p.share * (p.t_squared != 0u ? tau * tau : 1.0);
    const float slope = unit * factor * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        Last last = Last(ROW_INFINITY, 0u);
        for (uint k = 0u; k < p.k; k++)
            last = next(row, factor, last);

        // Sums over the top and over the rest, apart.
        vec2 zs = vec2(ROW_LOWEST, 0.0), zt = zs, rs = zs, rt = zs;
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
            const bvec4 top = in_top(t, i, last);
            zs = row_add(zs, s);
            zt = row_add(zt, t);
            rs = row_add(rs, mix(s, vec4(MASKED), top));
            rt = row_add(rt, mix(t, vec4(MASKED), top));
        }
        zs = row_lse(zs);
        zt = row_lse(zt);
        rs = row_lse(rs);
        rt = row_lse(rt);
        const bool live = loss_live(zs) && loss_live(zt);
        const bool rest = loss_live(rt);
        const float log_zs = row_log(zs.y), log_zt = row_log(zt.y), log_rs = row_log(rs.y);
        const float rest_q = rs.x + log_rs - zs.x - log_zs;
        const float rest_p = rt.x + row_log(rt.y) - zt.x - log_zt;
        const float share_p = rest ? row_exp(min(rest_p, 0.0)) : 0.0;

        float value = 0.0;
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(student, row, i, factor);
            const vec4 t = loss_hide(LOSS_LOAD(teacher, row, i, factor), s);
            const bvec4 top = in_top(t, i, last);
            const vec4 lq = s - zs.x - log_zs, lp = t - zt.x - log_zt;
            const vec4 qq = row_exp(lq), pp = row_exp(lp);
            value += row_sum4(mix(vec4(0.0), loss_kl(lp, lq, pp, qq), top));
            if (GRADIENT != 0u && row_live(first, p.N)) {
                const vec4 others = share_p > 0.0 ? share_p * row_exp(s - rs.x - log_rs) : vec4(0.0);
                const vec4 ds = qq - mix(others, pp, top);
                ROW_STORE(dstudent, row, p.V, i, live ? slope * ds : vec4(0.0));
            }
        }
        value = row_sum(value);
        // loss_kl's terms hold - p + q each: the rest's completes the sums to 1 - 1.
        const float share_q = loss_live(rs) ? row_exp(min(rest_q, 0.0)) : 0.0;
        value += rest ? loss_kl(vec4(rest_p), vec4(rest_q), vec4(share_p), vec4(share_q)).x : share_q;
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, live ? unit * value : 0.0);
    }
}
