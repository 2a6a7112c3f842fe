// SPDX-License-Identifier: Apache-2.0
// The constant of a bank's scores: their mean times the samples; formula in runtime/ops/bank_nce.c. With
// keep > 0 it moves towards that, else it is set where it is 0; never to what is not finite.
// One workgroup.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_bank_constant_params p; };
VKD_IN(0, sums);        // (count)
VKD_INOUT(1, constant); // (1)

bool finite(float v) {
    return (floatBitsToUint(v) & 0x7f800000u) != 0x7f800000u;
}

void main() {
    float sum = 0.0;
    for (uint i = gl_LocalInvocationID.x; i < p.count; i += LOCAL_X) sum += LOAD1(sums, i);
    sum = row_sum(sum) * p.factor;
    if (row_lane() != 0u) return;
    const float now = LOAD1(constant, 0u);
    if (!finite(sum) || (p.keep == 0.0 && now != 0.0)) return;
    STORE1(constant, 0u, p.keep * now + (1.0 - p.keep) * sum);
}
