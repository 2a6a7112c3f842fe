// SPDX-License-Identifier: Apache-2.0
// conv2d.direct.comp's product where channels are no whole quads, as those of grey and coloured images and of
// layers with odd widths: one group, taps one pixel apart along the width. A row of the image is a stretch of
// floats, and so is what all taps of one row need for a run of pixels: a lane fetches it by the quads that hold
// it and shifts it to its place. A float at a time, each fetch would bring one value of use. The weight's values
// are fetched likewise, a stretch of them a lane, and handed round by shuffles.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#define VKD_GLSL
#define VKD_DIRECT
#include "params.h"
#include "lib/io.glsl"

// The workgroup is one subgroup: the host sets LANES to the device's subgroup size.
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 3) const uint RUN = 7;
layout(constant_id = 4) const uint COLS = 8; // a multiple of four but where RESULT_RAGGED
layout(constant_id = 10) const uint TRANSPOSED = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 15) const uint RESULT_RAGGED = 0; // four does not divide N
layout(constant_id = 20) const uint CHANNELS = 1;      // of the image
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint TAPS_H = 3;
layout(constant_id = 23) const uint STEP = 1; // pixels from one of the result to the next

#include "lib/activation.glsl"

// M counts runs; tap_x is 1, or -1 where TRANSPOSED.
layout(push_constant) uniform Params { vkd_conv2d_params p; };
VKD_IN(0, image);  // (images, in_h, in_w, CHANNELS)
VKD_IN(1, weight); // (out, TAPS_H, TAPS_W, channels)
VKD_IN(2, bias);   // (N)
VKD_OUT(3, y);
VKD_IN(4, residual); // as y

const uint PIXELS = (RUN - 1) * STEP + TAPS_W; // that a run's taps read in a row
#include "lib/floats.glsl"

const uint TERMS = TAPS_W * CHANNELS;
// The TERMS x COLS values of the weight under a row of taps, as stretches that lie side by side: those to one
// channel, or where TRANSPOSED those of one term.
const uint STRETCH = TRANSPOSED != 0u ? COLS : TERMS;
const uint STRETCHES = TRANSPOSED != 0u ? TERMS : COLS;
const uint LINES = (STRETCHES + LANES - 1) / LANES;

uint weight_last;

// A lane's run: the first pixel that it reads, and the result's.
ivec2 origin;
int first;
uint result;
uint left; // pixels of the row from the run's first on
void place_run(uint run) {
    const uint runs = (p.grid_w + RUN - 1u) / RUN, row = run / runs, image_index = row / p.grid_h;
    const uint gx = (run - row * runs) * RUN, gy = row - image_index * p.grid_h;
    origin = ivec2(int(gy) * p.step_y + p.base_y, int(gx * STEP) + p.base_x);
    if (TRANSPOSED != 0u) origin.y -= int(TAPS_W) - 1;
    first = ((int(image_index * p.in_h) + origin.x) * int(p.in_w) + origin.y) * int(CHANNELS);
    result = p.out_first + image_index * p.out_image + gy * p.out_row + gx * p.out_pixel;
    left = p.grid_w - gx;
}

// Lane i of part l has stretch l * LANES + i.
float taps[STRETCH * LINES];
void fetch_taps(uint row, uint n0) {
    [[unroll]] for (uint l = 0u; l < LINES; ++l) {
        const uint i = min(l * LANES + gl_SubgroupInvocationID, STRETCHES - 1u);
        const uint tap = i / CHANNELS, channel = i - tap * CHANNELS;
        const uint e = p.w_first + row * p.w_row +
                       (TRANSPOSED != 0u ? tap * p.w_tap + channel * p.w_line + n0 : min(n0 + i, p.N - 1u) * p.w_line);
        float raw[(STRETCH + 6) / 4 * 4];
        [[unroll]] for (uint q = 0u; q < (STRETCH + 6) / 4; ++q) {
            const vec4 v = LOAD4(weight, min((e >> 2) + q, weight_last));
            [[unroll]] for (uint c = 0u; c < 4u; ++c) {
                raw[4u * q + c] = v[c];
            }
        }
        const bool one = (e & 1u) != 0u, two = (e & 2u) != 0u;
        [[unroll]] for (uint t = 0u; t < STRETCH + 2u; ++t) {
            raw[t] = one ? raw[t + 1u] : raw[t];
        }
        [[unroll]] for (uint t = 0u; t < STRETCH; ++t) {
            taps[l * STRETCH + t] = two ? raw[t + 2u] : raw[t];
        }
    }
}

float tap_of(uint t, uint c) {
    const uint i = TRANSPOSED != 0u ? t : c, at = TRANSPOSED != 0u ? c : t;
    return subgroupShuffle(taps[i / LANES * STRETCH + at], i % LANES);
}

float sum[RUN * COLS];
void add_products() {
    [[unroll]] for (uint c = 0u; c < COLS; ++c) {
        float s[RUN];
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            s[x] = sum[x * COLS + c];
        }
        // Two terms at a time: chained additions would each wait for the last.
        [[unroll]] for (uint t = 0u; t < TERMS; t += 2u) {
            const float v = tap_of(t, c);
            const uint a = TRANSPOSED != 0u ? (TAPS_W - 1u - t / CHANNELS) * CHANNELS + t % CHANNELS : t;
            if (t + 1u < TERMS) {
                const uint t1 = t + 1u;
                const float w = tap_of(t1, c);
                const uint b = TRANSPOSED != 0u ? (TAPS_W - 1u - t1 / CHANNELS) * CHANNELS + t1 % CHANNELS : t1;
                [[unroll]] for (uint x = 0u; x < RUN; ++x) {
                    s[x] += v * row_floats[x * STEP * CHANNELS + a] + w * row_floats[x * STEP * CHANNELS + b];
                }
            } else {
                [[unroll]] for (uint x = 0u; x < RUN; ++x) {
                    s[x] += v * row_floats[x * STEP * CHANNELS + a];
                }
            }
        }
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            sum[x * COLS + c] = s[x];
        }
    }
}

void store_quads(uint n0) {
    [[unroll]] for (uint c = 0u; c < COLS; c += 4u) {
        const uint n = n0 + c;
        vec4 shift = vec4(0.0);
        if (HAS_BIAS != 0u) shift = LOAD4(bias, min(n >> 2, uint(textureSize(bias)) - 1u));
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            const uint e = (result + x * p.out_pixel + n) >> 2, at = x * COLS + c;
            if (n < p.N && x < left) {
                vec4 v = vec4(sum[at], sum[at + 1u], sum[at + 2u], sum[at + 3u]) + shift;
                if (HAS_RESIDUAL != 0u) v += LOAD4(residual, e);
                y[e] = act(ACTIVATION, v);
            }
        }
    }
}

void store_floats(uint n0) {
    [[unroll]] for (uint c = 0u; c < COLS; ++c) {
        const uint n = n0 + c, last = p.N - 1u;
        float shift = 0.0;
        if (HAS_BIAS != 0u) shift = LOAD1(bias, min(n, last));
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            const uint e = result + x * p.out_pixel + n;
            if (n < p.N && x < left) {
                float v = sum[x * COLS + c] + shift;
                if (HAS_RESIDUAL != 0u) v += LOAD1(residual, e);
                STORE1(y, e, act(ACTIVATION, vec4(v)).x);
            }
        }
    }
}

void compute_tile(uint runs, uint n0) {
    const uint run = runs * LANES + gl_SubgroupInvocationID;
    place_run(min(run, p.M - 1u));
    [[unroll]] for (uint i = 0u; i < RUN * COLS; ++i) {
        sum[i] = 0.0;
    }
    for (uint row = 0u;;) {
        const int down = int(row) * p.tap_y;
        fetch_floats(first + down * int(p.in_w * CHANNELS), origin.y, uint(origin.x + down) < p.in_h);
        fetch_taps(row, n0);
        add_products();
        ++row;
        if (row >= TAPS_H) break;
    }
    if (run >= p.M) return;
    if (RESULT_RAGGED == 0u) store_quads(n0);
    else store_floats(n0);
}

void main() {
    image_last = uint(textureSize(image)) - 1u;
    weight_last = uint(textureSize(weight)) - 1u;
    const uint m_tiles = (p.M + LANES - 1u) / LANES, n_tiles = (p.N + COLS - 1u) / COLS;
    // Neighbouring tasks, which read the same runs, one behind the other. All loops end at the bottom: a loop
    // that tests at the top runs its body once more, masked, on lavapipe.
    const uint tasks = m_tiles * n_tiles, share = (tasks + GROUPS_X - 1u) / GROUPS_X;
    const uint end = min(tasks, (gl_WorkGroupID.x + 1u) * share);
    uint task = gl_WorkGroupID.x * share;
    if (task >= end) return;
    for (;;) {
        compute_tile(task / n_tiles, COLS * (task % n_tiles));
        ++task;
        if (task >= end) break;
    }
}
