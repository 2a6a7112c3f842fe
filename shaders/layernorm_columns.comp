// SPDX-License-Identifier: Apache-2.0
// First of two steps to dgamma[d] = sum_n dy[n,d] h[n,d] and dbeta[d] = sum_n dy[n,d], h as in
// layernorm.comp: the sums over blocks of p.block rows. One invocation makes four columns of one.
//! direct -DVKD_DIRECT
#version 450
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/row.glsl"

layout(push_constant) uniform Params { vkd_layernorm_columns_params p; };
VKD_IN(0, dy);       // (N, D)
VKD_IN(1, x);        // (N, D)
VKD_IN(2, stats);    // (N, 2): mean, rstd
VKD_OUT(3, partial); // (blocks, 2, D rounded up to a multiple of four)

void main() {
    const uint quads = (p.D + 3u) / 4u, blocks = (p.N + p.block - 1u) / p.block;
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < blocks * quads; i += stride) {
        const uint block = i / quads, q = i % quads;
        vec4 dgamma = vec4(0.0), dbeta = vec4(0.0);
        const uint end = min((block + 1u) * p.block, p.N);
        for (uint row = block * p.block; row < end; row++) {
            const float mean = LOAD1(stats, 2u * row), rstd = LOAD1(stats, 2u * row + 1u);
            const vec4 d = ROW_LOAD(dy, row, p.D, q, 0.0);
            dgamma += d * ((ROW_LOAD(x, row, p.D, q, mean) - mean) * rstd);
            dbeta += d;
        }
        partial[(p.first + block) * 2u * quads + q] = dgamma;
        partial[((p.first + block) * 2u + 1u) * quads + q] = dbeta;
    }
}
