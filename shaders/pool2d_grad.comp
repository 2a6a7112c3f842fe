// SPDX-License-Identifier: Apache-2.0
// The gradient of pooling: each pixel of the image gathers from the windows that it lies in; of the largest, where
// its place is the one that was found, else its share of the average.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/image.glsl"
#include "lib/pool2d.glsl"

VKD_IN(0, dy);         // (N, FROM_H, FROM_W, CHANNELS)
VKD_OUT(1, dx);        // (N, TO_H, TO_W, CHANNELS)
VKD_IN_INT4(2, place); // as dy

vec4 bins(image_item to) {
    // Which windows hold a pixel is said by the windows' own formula, sizes exchanged.
    const ivec2 rows = bin_of(to.y, FROM_H, TO_H), columns = bin_of(to.x, FROM_W, TO_W);
    vec4 sum = vec4(0.0);
    for (int h = rows.x; h < rows.y; h++) {
        const ivec2 high = bin_of(uint(h), TO_H, FROM_H);
        for (int w = columns.x; w < columns.y; w++) {
            const ivec2 wide = bin_of(uint(w), TO_W, FROM_W);
            sum += LOADC(dy, from_at(to, uint(h), uint(w))) /
                   float((high.y - high.x) * (wide.y - wide.x));
        }
    }
    return sum;
}

vec4 share(image_item to, uint h, uint w, uint at) {
    const uint e = from_at(to, h, w);
    const vec4 v = LOADC(dy, e);
    if (MAX) return mix(vec4(0.0), v, equal(LOADC_INT(place, e), ivec4(at)));
    if (KIND == VKD_POOL_INCLUDE) return v;
    const ivec2 high = clipped(h, STRIDE_H, PAD_H, KERNEL_H, TO_H);
    const ivec2 wide = clipped(w, STRIDE_W, PAD_W, KERNEL_W, TO_W);
    return v / float((high.y - high.x) * (wide.y - wide.x));
}

// As many windows as may hold a pixel along an axis.
const uint COVER_H = (KERNEL_H + STRIDE_H - 1u) / STRIDE_H;
const uint COVER_W = (KERNEL_W + STRIDE_W - 1u) / STRIDE_W;

vec4 windows(image_item to) {
    const uint at_h = to.y + PAD_H, at_w = to.x + PAD_W;
    vec4 sum = vec4(0.0);
    for (uint i = 0u; i < COVER_H; i++) {
        const uint h = at_h / STRIDE_H - i, r = at_h - h * STRIDE_H; // before the first window: huge
        if (h >= FROM_H || r >= KERNEL_H) continue;
        for (uint j = 0u; j < COVER_W; j++) {
            const uint w = at_w / STRIDE_W - j, s = at_w - w * STRIDE_W;
            if (w < FROM_W && s < KERNEL_W) sum += share(to, h, w, r * KERNEL_W + s);
        }
    }
    return KIND == VKD_POOL_INCLUDE ? sum / float(KERNEL_H * KERNEL_W) : sum;
}

void main() {
    for (uint t = gl_GlobalInvocationID.x; t < p.items; t += GROUPS_X * LOCAL_X) {
        const image_item to = item_of(t);
        const vec4 sum = BINS ? bins(to) : windows(to);
        STOREC(dx, t, sum)
    }
}
