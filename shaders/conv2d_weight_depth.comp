// SPDX-License-Identifier: Apache-2.0
// The gradient of a depthwise convolution's weight: dw[c,r,s] = sum over pixels (n,y,x) of dy[n,y,x,c] *
// image[n, y', x', c]. An invocation sums over its share of the runs of pixels, for a quad of channels and
// TAP_ROWS rows of taps; dw holds the sums of p.splits shares one behind the other, and matmul_finish adds them
// up.
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
layout(constant_id = 5) const uint TAP_ROWS = 1; // divides TAPS_H
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint GRID_H = 28; // the result's pixels
layout(constant_id = 23) const uint GRID_W = 28;
layout(constant_id = 24) const uint TAPS_H = 3;
layout(constant_id = 27) const uint STEP = 1; // pixels of the image from one of the result to the next

// K counts runs.
layout(push_constant) uniform Params { vkd_conv2d_weight_params p; };
VKD_IN(0, dy);    // (images, GRID_H, GRID_W, in_c)
VKD_IN(1, image); // (images, in_h, in_w, in_c)
VKD_INOUT(2, dw); // (splits, in_c, TAPS_H * TAPS_W)

#include "lib/depth.glsl"

const uint LINE = TAPS_H * TAPS_W;
const uint RUNS = (GRID_W + RUN - 1) / RUN;

vec4 sum[TAP_ROWS * TAPS_W]; // of the quad's four channels
void add_run(uint run, uint row0, uint quad) {
    const uint quads = p.in_c / 4u, row = run / RUNS, image_index = row / GRID_H;
    const uint gx = (run - row * RUNS) * RUN, gy = row - image_index * GRID_H;
    vec4 slopes[RUN];
    [[unroll]] for (uint x = 0u; x < RUN; ++x) {
        const uint at = row * GRID_W + min(gx + x, GRID_W - 1u);
        const vec4 v = LOAD4(dy, at * quads + quad);
        slopes[x] = gx + x < GRID_W ? v : vec4(0.0);
    }
    [[unroll]] for (uint r = 0u; r < TAP_ROWS; ++r) {
        const int y = int(gy) * p.step_y + p.base_y + int(row0 + r) * p.tap_y;
        fetch_window(image_index, y, int(gx * STEP) + p.base_x, quad);
        [[unroll]] for (uint s = 0u; s < TAPS_W; ++s) {
            vec4 even = vec4(0.0), odd = vec4(0.0); // chained additions would each wait for the last
            [[unroll]] for (uint x = 0u; x < RUN; ++x) {
                const vec4 m = slopes[x] * window[x * STEP + s];
                if (x % 2u == 0u) even += m;
                else odd += m;
            }
            sum[r * TAPS_W + s] += even + odd;
        }
    }
}

void store_sums(uint share, uint row0, uint quad) {
    const uint first = (share * p.in_c + 4u * quad) * LINE + row0 * TAPS_W;
    [[unroll]] for (uint c = 0u; c < 4u; ++c) {
        [[unroll]] for (uint t = 0u; t < TAP_ROWS * TAPS_W; ++t) {
            const uint e = first + c * LINE + t;
            const float old = ACCUMULATE != 0u ? dw[e >> 2][e & 3u] : 0.0;
            STORE1(dw, e, old + sum[t][c]);
        }
    }
}

void compute_share(uint share, uint row0, uint quad) {
    [[unroll]] for (uint i = 0u; i < TAP_ROWS * TAPS_W; ++i) {
        sum[i] = vec4(0.0);
    }
    const uint end = min(p.K, (share + 1u) * p.chunk);
    for (uint run = share * p.chunk;;) {
        add_run(run, row0, quad);
        ++run;
        if (run >= end) break;
    }
    store_sums(share, row0, quad);
}

void main() {
    const uint quads = p.in_c / 4u, rows = TAPS_H / TAP_ROWS;
    const uint count = p.splits * rows * quads, stride = GROUPS_X * LOCAL_X;
    // A loop that tests at the top runs its body once more, masked, on lavapipe.
    uint i = gl_GlobalInvocationID.x;
    if (i >= count) return;
    for (;;) {
        compute_share(i / quads / rows, i / quads % rows * TAP_ROWS, i % quads);
        i += stride;
        if (i >= count) break;
    }
}
