// SPDX-License-Identifier: Apache-2.0
// A depthwise convolution, and its image's gradient: y[n,y,x,c] = act(sum over taps (r,s) of image[n, y', x', c] *
// w[c,r,s] + bias[c] + residual), where y' and x' are conv2d.comp's. No product of matrices: an invocation
// computes a run of a row's pixels for a quad of channels, and neighbours have neighbouring quads. What a row's
// taps read for the run is read once.
#version 450
//! direct -DVKD_DIRECT
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 3) const uint RUN = 4;
layout(constant_id = 10) const uint TRANSPOSED = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint TAPS_H = 3;
layout(constant_id = 23) const uint STEP = 1; // pixels of the image from one of the result to the next
// The weight's elements: of a channel, in front of the first tap, and from one row and tap to the next.
layout(constant_id = 24) const uint LINE = 9;
layout(constant_id = 27) const uint FIRST = 0;
layout(constant_id = 28) const uint ROW = 3;
layout(constant_id = 29) const uint TAP = 1;

#include "lib/activation.glsl"

// M counts runs; tap_x is 1, or -1 where TRANSPOSED.
layout(push_constant) uniform Params { vkd_conv2d_params p; };
VKD_IN(0, image);  // (images, in_h, in_w, in_c)
VKD_IN(1, weight); // (in_c, LINE)
VKD_IN(2, bias);   // (in_c)
VKD_OUT(3, y);
VKD_IN(4, residual); // as y

#include "lib/depth.glsl"

// The weight's element of a channel of the quad. On a CPU device all of them are fetched at once, by quads; a GPU
// would keep them in registers that it has better use for.
#ifdef VKD_DIRECT
vec4 taps[LINE];
float tap_of(uint quad, uint c, uint r, uint s) {
    const uint e = c * LINE + FIRST + r * ROW + s * TAP;
    return taps[e / 4u][e % 4u];
}
#else
float tap_of(uint quad, uint c, uint r, uint s) {
    const uint e = (4u * quad + c) * LINE + FIRST + r * ROW + s * TAP;
    return LOAD1(weight, e);
}
#endif

vec4 sum[RUN];
void add_row(uint quad, uint r) {
    [[unroll]] for (uint s = 0u; s < TAPS_W; ++s) {
        const vec4 w = vec4(tap_of(quad, 0u, r, s), tap_of(quad, 1u, r, s), tap_of(quad, 2u, r, s),
                            tap_of(quad, 3u, r, s));
        const uint at = TRANSPOSED != 0u ? TAPS_W - 1u - s : s;
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            sum[x] += w * window[x * STEP + at];
        }
    }
}

void compute_run(uint run, uint quad) {
    const uint runs = (p.grid_w + RUN - 1u) / RUN, row = run / runs, image_index = row / p.grid_h;
    const uint gx = (run - row * runs) * RUN, gy = row - image_index * p.grid_h;
#ifdef VKD_DIRECT
    [[unroll]] for (uint i = 0u; i < LINE; ++i) {
        taps[i] = LOAD4(weight, quad * LINE + i);
    }
#endif
    [[unroll]] for (uint x = 0u; x < RUN; ++x) {
        sum[x] = HAS_BIAS != 0u ? LOAD4(bias, quad) : vec4(0.0);
    }
    const int x0 = int(gx * STEP) + p.base_x - (TRANSPOSED != 0u ? int(TAPS_W) - 1 : 0);
    EACH_ROW for (uint r = 0u; r < TAPS_H; ++r) {
        fetch_window(image_index, int(gy) * p.step_y + p.base_y + int(r) * p.tap_y, x0, quad);
        add_row(quad, r);
    }
    const uint first = p.out_first + image_index * p.out_image + gy * p.out_row + gx * p.out_pixel + 4u * quad;
    [[unroll]] for (uint x = 0u; x < RUN; ++x) {
        const uint e = (first + x * p.out_pixel) >> 2;
        if (gx + x < p.grid_w) {
            vec4 v = sum[x];
            if (HAS_RESIDUAL != 0u) v += LOAD4(residual, e);
            y[e] = act(ACTIVATION, v);
        }
    }
}

void main() {
    const uint quads = p.in_c / 4u, count = p.M * quads, stride = GROUPS_X * LOCAL_X;
    // A loop that tests at the top runs its body once more, masked, on lavapipe.
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    for (;;) {
        compute_run(i / quads, i % quads);
        i += stride;
        if (i >= count) break;
    }
}
