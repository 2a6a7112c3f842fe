// SPDX-License-Identifier: Apache-2.0
// An image with TOP rows and LEFT columns in front and more behind: zeros, or the image reflected.
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

VKD_IN(0, x);  // (N, FROM_H, FROM_W, CHANNELS)
VKD_OUT(1, y); // (N, TO_H, TO_W, CHANNELS)

// The edge pixel is not repeated.
int reflected(int i, uint size) {
    const int last = int(size) - 1;
    return last - abs(last - abs(i));
}

void main() {
    for (uint t = gl_GlobalInvocationID.x; t < p.items; t += GROUPS_X * LOCAL_X) {
        const image_item to = item_of(t);
        int h = int(to.y) - int(TOP), w = int(to.x) - int(LEFT);
        if (REFLECT != 0u) {
            h = reflected(h, FROM_H);
            w = reflected(w, FROM_W);
        }
        vec4 v = vec4(0.0);
        if (uint(h) < FROM_H && uint(w) < FROM_W) v = LOADC(x, from_at(to, uint(h), uint(w)));
        STOREC(y, t, v)
    }
}
