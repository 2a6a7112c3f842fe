// SPDX-License-Identifier: Apache-2.0
// norm = sqrt(sum of partial); factor = 0 where norm or loss is not finite, else
// min(1, max_norm / (norm + 1e-6)) with max_norm > 0, else 1. Counts applied and skipped steps.
// One workgroup. Finite is asked of the bits: a compiler may assume that there are no NaNs.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_guard_params p; };
VKD_IN(0, partial); // (chunks)
VKD_IN(1, loss);    // ()
layout(set = 0, binding = 2, std430) restrict buffer State { int state[]; }; // (4)
VKD_OUT(3, guard); // (2)

bool finite(float v) {
    return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u;
}

void main() {
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.chunks; i += LOCAL_X) sum += LOAD1(partial, i);
    sum = row_sum(sum);
    if (row_lane() != 0u) return;
    const float norm = sqrt(sum);
    float factor = 1.0;
    if (p.max_norm > 0.0) factor = min(1.0, p.max_norm / (norm + 1e-6));
    if (finite(sum) && finite(LOAD1(loss, 0u))) {
        state[0] += 1;
        state[2] = 0;
    } else {
        factor = 0.0;
        state[1] += 1;
        state[2] += 1;
    }
    // NaN and infinity survive the root on every driver only if it is not taken of them.
    STORE1(guard, 0u, finite(sum) ? norm : sum);
    STORE1(guard, 1u, factor);
}
