// SPDX-License-Identifier: Apache-2.0
// norm = sqrt(sum of partial); factor = 0 where norm or loss is not finite, else
// min(1, max_norm / (norm + 1e-6)) with max_norm > 0, else 1. Counts applied and skipped steps.
// With VKD_SCALED the gradient carries a loss scale, which norm and factor take out, and which is doubled
// after growth_interval good steps and halved after one that is not finite.
// One workgroup. Finite is asked of the bits: a compiler may assume that there are no NaNs.
#version 450
//! scaled -DVKD_SCALED
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
#ifdef VKD_SCALED
VKD_IN(4, scale); // ()
layout(set = 0, binding = 5, std430) restrict buffer ScaleState { int scale_state[]; }; // (4)

void move_scale(bool good) {
    const float now = LOAD1(scale, 0u);
    scale_state[1] = good ? scale_state[1] + 1 : 0;
    if (!good) {
        scale_state[2] += 1;
        if (now > 1.0) scale_state[0] -= 1;
    } else if (scale_state[1] >= int(p.growth_interval)) {
        scale_state[1] = 0;
        if (now < 16777216.0) scale_state[0] += 1;
    }
}
#endif

bool finite(float v) {
    return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u;
}

void main() {
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.chunks; i += LOCAL_X) sum += LOAD1(partial, i);
    sum = row_sum(sum);
    if (row_lane() != 0u) return;
#ifdef VKD_SCALED
    const float unscale = 1.0 / LOAD1(scale, 0u);
#else
    const float unscale = 1.0;
#endif
    const float norm = sqrt(sum) * unscale;
    float factor = 1.0;
    if (p.max_norm > 0.0) factor = min(1.0, p.max_norm / (norm + 1e-6));
    factor *= unscale;
    const bool good = finite(sum) && finite(LOAD1(loss, 0u));
#ifdef VKD_SCALED
    move_scale(good);
#endif
    if (good) {
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
