// SPDX-License-Identifier: Apache-2.0
// C = act(sum over s of part[s] + bias + residual) (+ C): what is left of a product whose K was split, or
// whose kernel cannot add a residual. The parts are added in order: results repeat.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/half.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint ACTIVATION = 0;
layout(constant_id = 11) const uint HAS_BIAS = 0;
layout(constant_id = 12) const uint HAS_RESIDUAL = 0;
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 14) const uint BIAS_SHIFTED = 0;  // N is no multiple of four
layout(constant_id = 15) const uint PARTS_SHIFTED = 0; // count is no multiple of four

#include "lib/activation.glsl"

layout(push_constant) uniform Params { vkd_matmul_finish_params p; };
VKD_IN(0, part);     // (splits, count)
VKD_IN(1, bias);     // (N)
VKD_IN(2, residual); // (count)
VKD_INOUT(3, c);     // (count)
layout(constant_id = 26) const uint C_HALF = 0; // C has 16 bits, in whole quads, and is bound as c16
layout(set = 0, binding = 3, std430) buffer c16_buffer { uvec2 c16[]; };

void store_quad(uint i, vec4 v) {
    if (C_HALF != 0u) {
        c16[i] = pack4(v);
        return;
    }
    c[i] = ACCUMULATE != 0u ? v + c[i] : v;
}

vec4 load_part(uint e) {
    if (PARTS_SHIFTED == 0u) return LOAD4(part, e >> 2);
    vec4 v;
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
        v[j] = LOAD1(part, min(e + j, p.splits * p.count - 1u));
    }
    return v;
}

vec4 load_bias(uint e) {
    const uint n = e % p.N;
    if (BIAS_SHIFTED == 0u) return LOAD4(bias, n >> 2);
    vec4 v;
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
        v[j] = LOAD1(bias, (n + j) % p.N);
    }
    return v;
}

void main() {
    const uint quads = (p.count + 3u) / 4u, stride = GROUPS_X * LOCAL_X;
    for (uint q = gl_GlobalInvocationID.x; q < quads; q += stride) {
        vec4 v = load_part(4u * q);
        for (uint s = 1u; s < p.splits; ++s) {
            v += load_part(s * p.count + 4u * q);
        }
        if (HAS_BIAS != 0u) v += load_bias(4u * q);
        if (HAS_RESIDUAL != 0u) v += LOAD4(residual, q);
        v = act(ACTIVATION, v);
        // What lies behind the last element stays zero: it may be the padding of a flat gradient.
        v = mix(v, vec4(0.0), greaterThanEqual(uvec4(4u * q) + uvec4(0u, 1u, 2u, 3u), uvec4(p.count)));
        store_quad(q, v);
    }
}
