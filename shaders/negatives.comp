// SPDX-License-Identifier: Apache-2.0
// result[n] = the sample itself, then k samples of other classes; formula in runtime/ops/negatives.c. An
// invocation draws `chunk` of a row's, for which its key is made once.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/grid.glsl"
#include "lib/io.glsl"
#include "lib/philox.glsl"
#include "lib/shuffle.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_negatives_params p; };
VKD_IN_INT(0, table);       // (V) samples, those of a class in a row
VKD_IN_INT(1, starts);      // (classes + 1) where each class begins in it
VKD_IN_INT(2, samples);     // (N)
VKD_IN_INT(3, labels);      // (N)
VKD_IN_INT(4, step_number); // ()
VKD_OUT_INT(5, result);     // (N, 1 + k)

void main() {
    const uint chunks = (p.k + p.chunk - 1u) / p.chunk, step = GROUPS_X * LOCAL_X;
    for (uint t = gl_GlobalInvocationID.x; t < p.N * chunks; t += step) {
        const uint row = t / chunks, part = t - row * chunks, to = row * (p.k + 1u);
        if (part == 0u) result[to] = samples[row];
        const uint label = uint(labels[row]), all = min(uint(starts[p.classes]), p.V);
        const bool known = label < p.classes;
        const uint begin = known ? min(uint(starts[label]), all) : 0u;
        const uint end = known ? min(uint(starts[label + 1u]), all) : 0u;
        const uint own = end > begin ? end - begin : 0u, others = all - own;
        const uvec4 key = philox(p.seed, p.stream, uint(step_number[0]), p.first + row);
        const shuffling s = shuffle_of(others);
        const uint last = min((part + 1u) * p.chunk, p.k);
        uint turn = others == 0u ? 0u : (part * p.chunk) / others, at = part * p.chunk - turn * others;
        for (uint j = part * p.chunk; j < last; j++) {
            uint drawn = ~0u;
            if (others > 0u) {
                const uint position = shuffle(s, key + turn, at);
                drawn = uint(table[position < begin ? position : position + own]);
                at++;
                if (at == others) {
                    at = 0u;
                    turn++;
                }
            }
            result[to + 1u + j] = int(drawn);
        }
    }
}
