// SPDX-License-Identifier: Apache-2.0
// bank[i] = unit vector along keep * bank[i] + (1 - keep) * v[n] for i = samples[n], the last n with that i;
// where that has no direction, or is not finite, the row stays.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_bank_update_params p; };
VKD_UPDATE(0, 3, bank); // (rows, D)
VKD_IN(1, v);           // (N, D)
VKD_IN_INT(2, samples); // (N)

bool finite(float x) {
    return (floatBitsToUint(x) & 0x7f800000u) != 0x7f800000u;
}

bool comes_again(uint n) {
    for (uint m = n + 1u; m < p.N; m++)
        if (samples[m] == samples[n]) return true;
    return false;
}

#define MOVED(q) (p.keep * NOW4(bank, at * (p.D / 4u) + (q)) + (1.0 - p.keep) * ROW_LOAD(v, row, p.D, q, 0.0))

void main() {
    ROW_FOR(first, p.N) {
        const uint row = row_of(first, p.N), index = uint(samples[row]);
        const bool here = index >= p.first && index - p.first < p.rows;
        const uint at = here ? index - p.first : 0u; // a row that is there to read
        vec4 squares = vec4(0.0);
        ROW_QUADS(q, p.D) {
            const vec4 moved = MOVED(q);
            squares += moved * moved;
        }
        const float norm = sqrt(row_sum(row_sum4(squares)));
        if (!row_live(first, p.N) || !here || comes_again(row) || !finite(norm) || norm == 0.0) continue;
        ROW_QUADS(q, p.D) bank[at * (p.D / 4u) + q] = MOVED(q) / norm;
    }
}
