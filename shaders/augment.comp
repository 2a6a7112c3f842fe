// SPDX-License-Identifier: Apache-2.0
// Images as the numbers that augment_draw drew for each say: runtime/ops/augment.c has the formula. A
// workgroup works on a part of one image, so that the numbers are read once. Places are integers and
// nothing that computes values is contracted, so all devices read and round alike.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 10) const uint ALIGNED = 1; // four divides an image's elements
layout(constant_id = 11) const uint HEIGHT = 4;
layout(constant_id = 12) const uint WIDTH = 4;
layout(constant_id = 13) const uint CHANNELS = 1;
layout(constant_id = 14) const uint BETWEEN = 1; // places may lie between pixels
layout(constant_id = 15) const uint REFLECT = 0;
layout(constant_id = 16) const uint COLOUR = 1;
layout(constant_id = 17) const uint CUT = 1;

layout(push_constant) uniform Params { vkd_augment_params p; };
VKD_IN(0, x);            // (images, HEIGHT, WIDTH, CHANNELS)
VKD_IN_INT4(1, numbers); // (images, VKD_AUGMENT_NUMBERS)
VKD_OUT(2, y);           // as x

const uint SIZE = HEIGHT * WIDTH * CHANNELS;
const float FIXED = 1.0 / 65536.0; // a product with it is exact, which a division need not be

uint reflected(int i, uint side) {
    if (side == 1u) return 0u;
    const uint at = uint(abs(i)) % (2u * (side - 1u));
    return min(at, 2u * (side - 1u) - at);
}

// Where a row (or column) begins in memory, and whether there is one.
uint pixel_of(int i, uint side) {
    return REFLECT != 0u ? reflected(i, side) : uint(i);
}

float tap(uint base, uint h, uint w) {
    if (REFLECT != 0u) return LOAD1(x, base + (h * WIDTH + w) * CHANNELS);
    const bool inside = h < HEIGHT && w < WIDTH;
    const float v = LOAD1(x, inside ? base + (h * WIDTH + w) * CHANNELS : base);
    return inside ? v : 0.0;
}

// From a to b; a itself, whatever b is, where the weight is 0.
float mixed(float a, float b, float weight) {
    precise const float v = a * (1.0 - weight) + b * weight;
    return weight == 0.0 ? a : v;
}

float sampled(uint base, ivec2 at) {
    const uint h = pixel_of(at.x >> 16, HEIGHT), w = pixel_of(at.y >> 16, WIDTH);
    if (BETWEEN == 0u) return tap(base, h, w);
    const uint below = pixel_of((at.x >> 16) + 1, HEIGHT), right = pixel_of((at.y >> 16) + 1, WIDTH);
    const vec2 weight = vec2(at & 0xffff) * FIXED;
    return mixed(mixed(tap(base, h, w), tap(base, h, right), weight.y),
                 mixed(tap(base, below, w), tap(base, below, right), weight.y), weight.x);
}

void part(uint image, uint first, uint end) {
    const ivec4 rows = LOAD4(numbers, 3u * image), columns = LOAD4(numbers, 3u * image + 1u);
    const ivec4 hole = CUT != 0u ? LOAD4(numbers, 3u * image + 2u) : ivec4(0);
    const float gain = float(rows.w) * FIXED, offset = float(columns.w) * FIXED;
    for (uint q = first + gl_LocalInvocationID.x; q < end; q += LOCAL_X) {
        const uint pixel = 4u * q / CHANNELS;
        uint c = 4u * q - pixel * CHANNELS, i = pixel / WIDTH, j = pixel - i * WIDTH;
        vec4 v = vec4(0.0);
        for (uint k = 0u; k < 4u; k++) {
            const ivec2 at = ivec2(rows.x, columns.x) + ivec2(rows.y, columns.y) * int(i) +
                             ivec2(rows.z, columns.z) * int(j);
            precise float shown = sampled(image * SIZE + c, at);
            if (COLOUR != 0u) shown = shown * gain + offset;
            const ivec2 here = ivec2(i, j);
            const bool cut = CUT != 0u && all(greaterThanEqual(here, hole.xy)) &&
                             all(lessThan(here, hole.zw));
            v[k] = cut ? 0.0 : shown;
            // The next element, without a division.
            c = c + 1u == CHANNELS ? 0u : c + 1u;
            j = c != 0u ? j : j + 1u == WIDTH ? 0u : j + 1u;
            i = c == 0u && j == 0u ? i + 1u : i;
        }
        const uint e = image * SIZE + 4u * q;
        if (ALIGNED != 0u) {
            y[e >> 2] = v;
        } else {
            for (uint k = 0u; k < min(SIZE - 4u * q, 4u); k++) STORE1(y, e + k, v[k]);
        }
    }
}

void main() {
    for (uint g = gl_WorkGroupID.x; g < p.images * p.chunks; g += GROUPS_X) {
        const uint image = g / p.chunks, first = (g - image * p.chunks) * p.span;
        part(image, first, min(first + p.span, (SIZE + 3u) / 4u));
    }
}
