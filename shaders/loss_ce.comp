// SPDX-License-Identifier: Apache-2.0
// Cross-entropy with labels a row and its gradient; formula and derivation in runtime/ops/ce.c.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/loss.glsl"

VKD_IN(0, logits);     // (N, V)
VKD_IN_INT(1, labels); // (all rows)
VKD_IN(2, dout);       // ()
VKD_OUT(3, loss);      // (all rows)
VKD_OUT(4, dlogits);   // (N, V)

void main() {
    const float smoothing = p.a;
    const float slope = p.share * LOAD1(dout, 0u);
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N);
        vec2 z = vec2(ROW_LOWEST, 0.0);
        vec2 all = vec2(0.0); // the unmasked logits: their sum, and how many they are
        ROW_QUADS(i, p.V) {
            const vec4 s = LOSS_LOAD(logits, row, i, 1.0);
            z = row_add(z, s);
            if (smoothing != 0.0)
                all += vec2(row_sum4(mix(s, vec4(0.0), loss_masked(s))),
                            row_sum4(mix(vec4(1.0), vec4(0.0), loss_masked(s))));
        }
        z = row_lse(z);
        if (smoothing != 0.0) all = row_sum(all);

        // A label outside the classes reads element 0 and is dead.
        const uint label = uint(labels[p.first + row]);
        const float target = LOAD1(logits, row * p.V + (label < p.V ? label : 0u));
        const bool live = label < p.V && !(target < MASKED);
        const float spread = smoothing / max(all.y, 1.0), hit = 1.0 - smoothing;
        const float value =
            loss_log(z.y) + hit * (z.x - target) + spread * (all.y * z.x - all.x);
        if (row_writer(first, p.N)) STORE1(loss, p.first + row, live ? p.share * value : 0.0);

        if (GRADIENT != 0u && row_live(first, p.N)) {
            const float log_z = row_log(z.y);
            ROW_QUADS(i, p.V) {
                const vec4 s = LOSS_LOAD(logits, row, i, 1.0);
                const bvec4 is_target = equal(uvec4(4u * i) + uvec4(0, 1, 2, 3), uvec4(label));
                const vec4 want = mix(vec4(spread), vec4(0.0), loss_masked(s)) +
                                  mix(vec4(0.0), vec4(hit), is_target);
                ROW_STORE(dlogits, row, p.V, i,
                          live ? slope * (row_exp(s - z.x - log_z) - want) : vec4(0.0));
            }
        }
    }
}
