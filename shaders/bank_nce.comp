// SPDX-License-Identifier: Apache-2.0
// Noise-contrastive estimation over rows of a memory bank, with its gradient; formula and derivation in
// runtime/ops/bank_nce.c. A workgroup has one row v and a chunk of its choices, LOCAL_X of them at a time:
// first each invocation scores one, then SPAN of them stand side by side on the quads of the gradient and
// read the rows again, which are still in the cache.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"
#include "lib/log.glsl"
#include "lib/bank.glsl"

layout(constant_id = 13) const uint SPAN = 32; // a power of two that divides LOCAL_X
const uint PARTS = LOCAL_X / SPAN;

VKD_IN(0, v);           // (N, D)
VKD_IN(1, bank);        // (rows, D)
VKD_IN_INT(2, choices); // (N, choices)
VKD_IN(3, constant);    // (1)
VKD_OUT(4, sums);       // (parts, N) of exp(score / temperature)
VKD_OUT(5, values);     // (parts, N)
VKD_OUT(6, dv);         // (parts, N, D)

shared vec4 anchor[QUADS];
shared uint chosen[LOCAL_X];
shared float weight[LOCAL_X];
shared vec4 gradient[PARTS * QUADS];

const uint NONE = 0xffffffffu;

float score(uint row) {
    vec4 dots = vec4(0.0);
    for (uint q = 0u; q < QUADS; q++) dots += anchor[q] * LOAD4(bank, row * QUADS + q);
    return row_sum4(dots);
}

// What the invocations have scored, onto the gradient. `count` of them are there.
void push(uint count) {
    barrier();
    const uint lane = gl_LocalInvocationID.x % SPAN, part = gl_LocalInvocationID.x / SPAN;
    for (uint q = lane; q < QUADS; q += SPAN) {
        vec4 sum = vec4(0.0);
        for (uint j = part; j < count; j += PARTS)
            if (chosen[j] != NONE) sum += weight[j] * LOAD4(bank, chosen[j] * QUADS + q);
        gradient[part * QUADS + q] += sum;
    }
    barrier();
}

void main() {
    const uint me = gl_LocalInvocationID.x;
    const float constant_now = LOAD1(constant, 0u), inverse = 1.0 / constant_now;
    if (ONLY_SUMS != 0u && constant_now != 0.0) return;
    for (uint item = gl_WorkGroupID.x; item < p.N * p.splits; item += GROUPS_X) {
        const uint split = item / p.N, n = item - split * p.N;
        const uint begin = split * p.chunk, end = min(begin + p.chunk, p.choices);
        for (uint q = me; q < QUADS; q += LOCAL_X) anchor[q] = LOAD4(v, n * QUADS + q);
        for (uint q = me; q < PARTS * QUADS; q += LOCAL_X) gradient[q] = vec4(0.0);
        barrier();
        vec2 total = vec2(0.0);
        for (uint base = begin; base < end; base += LOCAL_X) {
            const uint choice = base + me;
            const uint sample_ = choice < end ? uint(choices[n * p.choices + choice]) : NONE;
            const bool here = sample_ >= p.first && sample_ - p.first < p.rows;
            chosen[me] = here ? sample_ - p.first : NONE;
            if (here) {
                const bank_term t = bank_score(score(sample_ - p.first), choice, inverse);
                total += vec2(t.sum, t.value);
                weight[me] = t.weight;
            }
            if (GRADIENT != 0u) push(min(LOCAL_X, end - base));
        }
        total = row_sum(total);
        const uint slot = p.part + split;
        if (me == 0u) {
            STORE1(sums, slot * p.N + n, total.x);
            if (ONLY_SUMS == 0u) STORE1(values, slot * p.N + n, p.share * total.y);
        }
        for (uint q = me; GRADIENT != 0u && q < QUADS; q += LOCAL_X) {
            vec4 sum = gradient[q];
            for (uint part = 1u; part < PARTS; part++) sum += gradient[part * QUADS + q];
            dv[(slot * p.N + n) * QUADS + q] = sum;
        }
        barrier();
    }
}
