// SPDX-License-Identifier: Apache-2.0
// Chains equal indices: links[n] is the next position with the index of n, or N where there is
// none; the top bit says that an earlier position has it too. Comparing all with all is cheap
// next to one row of the table, and needs neither sorting nor atomics.
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;

layout(push_constant) uniform Params { vkd_gather_params p; };
layout(set = 0, binding = 0, std430) readonly restrict buffer Indices { ivec4 indices[]; }; // (N)
layout(set = 0, binding = 1, std430) writeonly restrict buffer Links { uint links[]; };     // (N)

bool seen_before(uint n, int index) {
    for (uint q = 0u; q <= n / 4u; q++) {
        const bvec4 same = equal(indices[q], ivec4(index));
        const bvec4 before = lessThan(4u * q + uvec4(0, 1, 2, 3), uvec4(n));
        if ((uvec4(same) & uvec4(before)) != uvec4(0u)) return true;
    }
    return false;
}

uint next_after(uint n, int index) {
    for (uint q = n / 4u; q < (p.N + 3u) / 4u; q++) {
        const bvec4 same = equal(indices[q], ivec4(index));
        const uvec4 at = 4u * q + uvec4(0, 1, 2, 3);
        const bvec4 after = greaterThan(at, uvec4(n));
        const uvec4 hit = mix(uvec4(p.N), at, bvec4(uvec4(same) & uvec4(after)));
        const uint next = min(min(hit.x, hit.y), min(hit.z, hit.w));
        if (next < p.N) return next;
    }
    return p.N;
}

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint n = gl_GlobalInvocationID.x; n < p.N; n += stride) {
        const int index = indices[n >> 2][n & 3u];
        links[n] = next_after(n, index) | (seen_before(n, index) ? 0x80000000u : 0u);
    }
}
