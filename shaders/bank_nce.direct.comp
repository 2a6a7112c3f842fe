// SPDX-License-Identifier: Apache-2.0
// The same for CPU devices, without shared memory and barriers. A workgroup is one subgroup. First each lane
// scores a choice of its own: so one fetch begins to read as many rows of the bank as there are lanes, which
// lie anywhere and take longest to come. Then the lanes share the quads of one row after the other: read
// again, now out of the cache, they cost far less than what a gradient in every lane would.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#define VKD_GLSL
#define VKD_DIRECT
#include "params.h"
#include "lib/io.glsl"
#include "lib/log.glsl"
#include "lib/bank.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
const uint EACH = (QUADS + LANES - 1u) / LANES; // quads of a row for each lane

VKD_IN(0, v);           // (N, D)
VKD_IN(1, bank);        // (rows, D)
VKD_IN_INT(2, choices); // (N, choices)
VKD_IN(3, constant);    // (1)
VKD_OUT(4, sums);       // (parts, N)
VKD_OUT(5, values);     // (parts, N)
VKD_OUT(6, dv);         // (parts, N, D)

const uint NONE = 0xffffffffu;

float over_lanes(float a) {
    [[unroll]] for (uint step = LANES / 2u; step > 0u; step /= 2u) a += subgroupShuffleXor(a, step);
    return a;
}
vec4 of_lane(vec4 a, uint lane) {
    return vec4(subgroupShuffle(a.x, lane), subgroupShuffle(a.y, lane), subgroupShuffle(a.z, lane),
                subgroupShuffle(a.w, lane));
}

// The lane's quad e of a row; beyond its end, the last one again.
uint quad(uint lane, uint e) {
    return min(lane + e * LANES, QUADS - 1u);
}

void main() {
    const uint lane = gl_LocalInvocationID.x;
    const float constant_now = LOAD1(constant, 0u), inverse = 1.0 / constant_now;
    if (ONLY_SUMS != 0u && constant_now != 0.0) return;
    for (uint item = gl_WorkGroupID.x; item < p.N * p.splits; item += GROUPS_X) {
        const uint split = item / p.N, n = item - split * p.N;
        const uint begin = split * p.chunk, end = min(begin + p.chunk, p.choices);
        vec4 anchor[EACH], gradient[EACH];
        [[unroll]] for (uint e = 0u; e < EACH; e++) {
            anchor[e] = LOAD4(v, n * QUADS + quad(lane, e));
            gradient[e] = vec4(0.0);
        }
        vec2 total = vec2(0.0);
        for (uint base = begin; base < end; base += LANES) {
            const uint choice = base + lane;
            const uint sample_ = choice < end ? uint(choices[n * p.choices + choice]) : NONE;
            const bool here = sample_ >= p.first && sample_ - p.first < p.rows;
            const uint from = here ? (sample_ - p.first) * QUADS : 0u; // a row that is there to read
            vec4 dots = vec4(0.0);
            [[unroll]] for (uint q = 0u; q < QUADS; q++)
                dots += of_lane(anchor[q / LANES], q % LANES) * LOAD4(bank, from + q);
            const bank_term t = bank_score((dots.x + dots.y) + (dots.z + dots.w), choice, inverse);
            if (here) total += vec2(t.sum, t.value);
            if (GRADIENT == 0u) continue;
            const float weight = here ? t.weight : 0.0;
            [[unroll]] for (uint k = 0u; k < LANES; k++) {
                const uint row = subgroupShuffle(from, k);
                const float w = subgroupShuffle(weight, k);
                [[unroll]] for (uint e = 0u; e < EACH; e++)
                    gradient[e] += w * LOAD4(bank, row + quad(lane, e));
            }
        }
        const uint slot = p.part + split;
        const float sum = over_lanes(total.x), value = over_lanes(total.y);
        if (lane == 0u) {
            STORE1(sums, slot * p.N + n, sum);
            if (ONLY_SUMS == 0u) STORE1(values, slot * p.N + n, p.share * value);
        }
        [[unroll]] for (uint e = 0u; GRADIENT != 0u && e < EACH; e++)
            if (lane + e * LANES < QUADS) dv[(slot * p.N + n) * QUADS + quad(lane, e)] = gradient[e];
    }
}
