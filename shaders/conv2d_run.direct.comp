// SPDX-License-Identifier: Apache-2.0
// conv2d.direct.comp's product where taps lie one pixel apart and so do the pixels that they are applied to:
// stride 1, no dilation along the width, whole quads of channels, one group. Neighbours read the same pixels of
// the image, so a lane computes a run of a row's pixels and fetches what all taps of one row need once: RUN +
// TAPS_W - 1 quads instead of RUN * TAPS_W. A subgroup has as many runs as lanes, and COLS channels of each;
// the weight's quads are fetched a lane each and handed round by shuffles.
//
// An unrolled step is RUN * COLS * TAPS_W * 4 multiply-adds, which should stay within the instruction cache:
// with 16 channels it was slower than with 8, though it fetches less.
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
layout(constant_id = 4) const uint COLS = 8; // a multiple of four
layout(constant_id = 10) const uint TRANSPOSED = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 20) const uint CHANNELS = 16; // of the image, a multiple of four
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint TAPS_H = 3;

#include "lib/activation.glsl"

// M counts runs; tap_x is 1, or -1 where TRANSPOSED.
layout(push_constant) uniform Params { vkd_conv2d_params p; };
VKD_IN(0, image);  // (images, in_h, in_w, CHANNELS)
VKD_IN(1, weight); // (out, TAPS_H, TAPS_W, channels)
VKD_IN(2, bias);   // (N)
VKD_OUT(3, y);
VKD_IN(4, residual); // as y

const uint QUADS = CHANNELS / 4;
const uint COLQ = COLS / 4;
const uint WINDOW = RUN + TAPS_W - 1;
// The COLS x 4 values of the weight under one tap, a quad a lane: along k, or along n where TRANSPOSED.
const uint FETCHES = (COLS + LANES - 1) / LANES;

uint image_last;
uint weight_last;
// Reads outside meet the bound (below zero too, as large numbers); what they return is masked: a product with
// zero would let a NaN through.
vec4 fetch_image(int quad, bool valid) {
    const vec4 v = LOAD4(image, min(uint(quad), image_last));
    return uintBitsToFloat(floatBitsToUint(v) & uvec4(valid ? ~0u : 0u));
}

// A lane's run: the window's first pixel, and the result's.
ivec2 origin;
int first;
uint result;
uint left; // pixels of the row from the run's first on
void place_run(uint run) {
    const uint runs = (p.grid_w + RUN - 1u) / RUN, row = run / runs, image_index = row / p.grid_h;
    const uint gx = (run - row * runs) * RUN, gy = row - image_index * p.grid_h;
    origin = ivec2(int(gy) + p.base_y, int(gx) + p.base_x - (TRANSPOSED != 0u ? int(TAPS_W) - 1 : 0));
    first = ((int(image_index * p.in_h) + origin.x) * int(p.in_w) + origin.y) * int(QUADS);
    result = p.out_first + image_index * p.out_image + gy * p.out_row + gx * p.out_pixel;
    left = p.grid_w - gx;
}

vec4 window[WINDOW];
void fetch_window(uint row, uint quad) {
    const int down = int(row) * p.tap_y;
    const bool valid = uint(origin.x + down) < p.in_h;
    const int at = first + down * int(p.in_w * QUADS) + int(quad);
    [[unroll]] for (uint j = 0u; j < WINDOW; ++j) {
        window[j] = fetch_image(at + int(j * QUADS), valid && uint(origin.y + int(j)) < p.in_w);
    }
}

uint lines[FETCHES]; // the weight's elements of a lane, without the tap
void place_lines(uint n0) {
    [[unroll]] for (uint f = 0u; f < FETCHES; ++f) {
        const uint t = f * LANES + gl_SubgroupInvocationID;
        lines[f] = p.w_first + (TRANSPOSED != 0u ? t / COLQ * p.w_line + min(n0 + t % COLQ * 4u, p.N - 4u)
                                                 : min(n0 + t, p.N - 1u) * p.w_line);
    }
}

vec4 taps[TAPS_W * FETCHES];
void fetch_taps(uint row, uint quad) {
    const uint at = row * p.w_row + 4u * quad * (TRANSPOSED != 0u ? p.w_line : 1u);
    [[unroll]] for (uint s = 0u; s < TAPS_W; ++s) {
        [[unroll]] for (uint f = 0u; f < FETCHES; ++f) {
            taps[s * FETCHES + f] = LOAD4(weight, min((lines[f] + at + s * p.w_tap) >> 2, weight_last));
        }
    }
}

// The weight from the quad's four channels to channel c of the tile.
vec4 tap_of(uint s, uint c) {
    vec4 w;
    [[unroll]] for (uint i = 0u; i < 4u; ++i) {
        const uint t = TRANSPOSED != 0u ? i * COLQ + c / 4u : c;
        w[i] = subgroupShuffle(taps[s * FETCHES + t / LANES][TRANSPOSED != 0u ? c % 4u : i], t % LANES);
    }
    return w;
}

vec4 sum[RUN * COLQ];
void add_products() {
    [[unroll]] for (uint c = 0u; c < COLS; ++c) {
        float t[RUN];
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            t[x] = sum[x * COLQ + c / 4u][c % 4u];
        }
        [[unroll]] for (uint s = 0u; s < TAPS_W; ++s) {
            const vec4 w = tap_of(s, c);
            const uint at = TRANSPOSED != 0u ? TAPS_W - 1u - s : s;
            [[unroll]] for (uint x = 0u; x < RUN; ++x) {
                const vec4 m = w * window[x + at];
                t[x] += (m.x + m.y) + (m.z + m.w); // four chained additions would each wait for the last
            }
        }
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            sum[x * COLQ + c / 4u][c % 4u] = t[x];
        }
    }
}

void store_run(uint n0) {
    [[unroll]] for (uint q = 0u; q < COLQ; ++q) {
        const uint n = n0 + 4u * q;
        vec4 shift = vec4(0.0);
        if (HAS_BIAS != 0u) shift = LOAD4(bias, min(n >> 2, uint(textureSize(bias)) - 1u));
        [[unroll]] for (uint x = 0u; x < RUN; ++x) {
            const uint e = (result + x * p.out_pixel + n) >> 2;
            if (n < p.N && x < left) {
                vec4 v = sum[x * COLQ + q] + shift;
                if (HAS_RESIDUAL != 0u) v += LOAD4(residual, e);
                y[e] = act(ACTIVATION, v);
            }
        }
    }
}

void compute_tile(uint runs, uint n0) {
    const uint run = runs * LANES + gl_SubgroupInvocationID;
    place_run(min(run, p.M - 1u));
    place_lines(n0);
    [[unroll]] for (uint i = 0u; i < RUN * COLQ; ++i) {
        sum[i] = vec4(0.0);
    }
    for (uint step = 0u;;) {
        const uint row = step / QUADS, quad = step - row * QUADS;
        fetch_window(row, quad);
        fetch_taps(row, quad);
        add_products();
        ++step;
        if (step >= TAPS_H * QUADS) break;
    }
    if (run < p.M) store_run(n0);
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
