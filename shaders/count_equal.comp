// SPDX-License-Identifier: Apache-2.0
// count = how many of the N guesses equal their label; a guess is never negative, so a negative
// label matches none. One workgroup.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_row_params p; };
VKD_IN_INT(0, guesses);  // (N)
VKD_IN_INT(1, labels);   // (N)
VKD_OUT_INT(2, matches); // ()

void main() {
    uint count = 0u;
    for (uint i = gl_LocalInvocationID.x; i < p.N; i += LOCAL_X)
        count += labels[i] == guesses[i] ? 1u : 0u;
    count = row_sum(count);
    if (row_lane() == 0u) matches[0] = int(count);
}
