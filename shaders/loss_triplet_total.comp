// SPDX-License-Identifier: Apache-2.0
// loss = sum of the values / number of them, at least 1; factor = dout / that number. One workgroup.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN(0, parts);   // (2, N)
VKD_IN(1, dout);    // ()
VKD_OUT(2, loss);   // ()
VKD_OUT(3, factor); // ()

void main() {
    vec2 sum = vec2(0.0);
    for (uint i = gl_LocalInvocationID.x; i < p.N; i += LOCAL_X)
        sum += vec2(LOAD1(parts, i), LOAD1(parts, p.N + i));
    sum = row_sum(sum);
    if (row_lane() != 0u) return;
    STORE1(loss, 0u, sum.x / max(sum.y, 1.0));
    STORE1(factor, 0u, LOAD1(dout, 0u) / max(sum.y, 1.0));
}
