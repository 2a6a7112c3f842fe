// SPDX-License-Identifier: Apache-2.0
// The gradient of padding: a pixel gathers from itself in the padded image, and where the image is reflected from
// up to two reflections along each axis.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/image.glsl"

layout(constant_id = 16) const uint REFLECT = 0;
layout(constant_id = 17) const uint TOP = 0;
layout(constant_id = 18) const uint LEFT = 0;

VKD_IN(0, dy);  // (N, FROM_H, FROM_W, CHANNELS)
VKD_OUT(1, dx); // (N, TO_H, TO_W, CHANNELS)

// Where pixel i lies in the padded image: itself, in front, behind. What is not there is too large.
uvec3 copies(uint i, uint front, uint size) {
    if (REFLECT == 0u) return uvec3(i + front, ~0u, ~0u);
    return uvec3(i + front, i > 0u ? front - i : ~0u, i + 1u < size ? front + 2u * (size - 1u) - i : ~0u);
}

void main() {
    const uint most = REFLECT != 0u ? 3u : 1u;
    for (uint t = gl_GlobalInvocationID.x; t < p.items; t += GROUPS_X * LOCAL_X) {
        const image_item to = item_of(t);
        const uvec3 rows = copies(to.y, TOP, TO_H), columns = copies(to.x, LEFT, TO_W);
        vec4 sum = vec4(0.0);
        for (uint r = 0u; r < most; r++) {
            if (rows[r] >= FROM_H) continue;
            for (uint s = 0u; s < most; s++) {
                if (columns[s] < FROM_W) sum += LOADC(dy, from_at(to, rows[r], columns[s]));
            }
        }
        STOREC(dx, t, sum)
    }
}
