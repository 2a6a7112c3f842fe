// SPDX-License-Identifier: Apache-2.0
// The largest pixel of each window, channel by channel, or the average. Of the largest also the place in its
// window, row by row, which the gradient wants. A NaN is larger than any number.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"
#include "lib/image.glsl"
#include "lib/pool2d.glsl"

VKD_IN(0, x);           // (N, FROM_H, FROM_W, CHANNELS)
VKD_OUT(1, y);          // (N, TO_H, TO_W, CHANNELS)
VKD_OUT_INT4(2, place); // as y

vec4 total;
ivec4 best;

void take(image_item to, int h, int w, int at) {
    const vec4 v = LOADC(x, from_at(to, uint(h), uint(w)));
    if (!MAX) {
        total += v;
        return;
    }
    const bvec4 more = bvec4(uvec4(greaterThan(v, total)) | uvec4(notEqual(v, v)));
    total = mix(total, v, more);
    best = mix(best, ivec4(at), more);
}

void bin(image_item to) {
    const ivec2 rows = bin_of(to.y, FROM_H, TO_H), columns = bin_of(to.x, FROM_W, TO_W);
    for (int h = rows.x; h < rows.y; h++) {
        for (int w = columns.x; w < columns.y; w++) take(to, h, w, 0);
    }
    total /= float((rows.y - rows.x) * (columns.y - columns.x));
}

void window(image_item to) {
    const int first_h = int(to.y * STRIDE_H) - int(PAD_H), first_w = int(to.x * STRIDE_W) - int(PAD_W);
    // Where all is -infinity the first pixel is the largest.
    best = ivec4(max(-first_h, 0) * int(KERNEL_W) + max(-first_w, 0));
    for (uint r = 0u; r < KERNEL_H; r++) {
        const int h = first_h + int(r);
        if (PAD_H != 0u && uint(h) >= FROM_H) continue;
        for (uint s = 0u; s < KERNEL_W; s++) {
            const int w = first_w + int(s);
            if (PAD_W == 0u || uint(w) < FROM_W) take(to, h, w, int(r * KERNEL_W + s));
        }
    }
    if (KIND == VKD_POOL_INCLUDE) total /= float(KERNEL_H * KERNEL_W);
    if (KIND == VKD_POOL_EXCLUDE) {
        const ivec2 rows = clipped(to.y, STRIDE_H, PAD_H, KERNEL_H, FROM_H);
        const ivec2 columns = clipped(to.x, STRIDE_W, PAD_W, KERNEL_W, FROM_W);
        total /= float((rows.y - rows.x) * (columns.y - columns.x));
    }
}

void main() {
    for (uint t = gl_GlobalInvocationID.x; t < p.items; t += GROUPS_X * LOCAL_X) {
        const image_item to = item_of(t);
        total = vec4(MAX ? uintBitsToFloat(0xff800000u) : 0.0);
        if (BINS) bin(to);
        else window(to);
        STOREC(y, t, total)
        if (KIND == VKD_POOL_MAX_PLACES) STOREC(place, t, best)
    }
}
