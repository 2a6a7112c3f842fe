// SPDX-License-Identifier: Apache-2.0
// y[...] = x[...] over up to five axes, both with strides: broadcasting, transposing, cutting out and
// putting in are all this. VECTOR: 1 when every quad of elements lies together on both sides, 2 when
// it lies together in y and is one repeated element of x. CONTIGUOUS: y is one run from offset_b on.
#version 450
//! direct -DVKD_DIRECT
//! int -DVKD_INT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 11) const uint VECTOR = 0;
layout(constant_id = 12) const uint CONTIGUOUS = 0;

layout(push_constant) uniform Params { vkd_strided_params p; };
#ifdef VKD_INT
#define value ivec4
layout(set = 0, binding = 0, std430) readonly restrict buffer X { ivec4 x[]; };
layout(set = 0, binding = 1, std430) writeonly restrict buffer Y { ivec4 y[]; };
#else
#define value vec4
VKD_IN(0, x);  // elements at offset_a + the strides of a
VKD_OUT(1, y); // elements at offset_b + the strides of b
#endif

#include "lib/strided.glsl"

void main() {
    const uint stride = GROUPS_X * LOCAL_X;
    for (uint i = gl_GlobalInvocationID.x; i < (p.count + 3u) / 4u; i += stride) {
        uvec2 at = strided_seek(4u * i);
        const uint left = min(p.count - 4u * i, 4u);
        if (VECTOR != 0u) {
            value v = VECTOR == 2u ? value(LOAD1(x, at.x)) : LOAD4(x, at.x >> 2);
            if (left < 4u) v.w = 0;
            if (left < 3u) v.z = 0;
            if (left < 2u) v.y = 0;
            y[at.y >> 2] = v;
            continue;
        }
        const uint start = at.y >> 2;
        value v = value(0);
        for (uint k = 0u; k < left; k++) {
            if (k > 0u) at = strided_next(at);
            if (CONTIGUOUS != 0u) v[k] = LOAD1(x, at.x);
            else STORE1(y, at.y, LOAD1(x, at.x));
        }
        if (CONTIGUOUS != 0u) y[start] = v;
    }
}
