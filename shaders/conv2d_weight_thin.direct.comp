// SPDX-License-Identifier: Apache-2.0
// conv2d_weight.direct.comp's product for images whose channels are no whole quads; see conv2d_thin.direct.comp.
// A lane sums over runs of its own the products of COLS channels of dy with what the taps of TAP_ROWS rows read,
// TERMS floats a pixel; at the end the lanes' sums are added. dw holds the sums of p.splits workgroups one behind
// the other; matmul_finish adds them up.
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
layout(constant_id = 4) const uint COLS = 8;     // a multiple of four
layout(constant_id = 5) const uint TAP_ROWS = 3; // divides TAPS_H
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 15) const uint RESULT_RAGGED = 0; // four does not divide M
layout(constant_id = 20) const uint CHANNELS = 1;      // of the image
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint GRID_H = 28; // the result's pixels
layout(constant_id = 23) const uint GRID_W = 28;
layout(constant_id = 24) const uint TAPS_H = 3;
layout(constant_id = 27) const uint STEP = 1; // pixels of the image from one of the result to the next

// K counts runs; M channels of dy, N = TAPS_H * TERMS.
layout(push_constant) uniform Params { vkd_conv2d_weight_params p; };
VKD_IN(0, dy);    // (images, GRID_H, GRID_W, M)
VKD_IN(1, image); // (images, in_h, in_w, CHANNELS)
VKD_INOUT(2, dw); // (splits, M, N)

const uint PIXELS = (RUN - 1) * STEP + TAPS_W; // that a run's taps read in a row
#include "lib/floats.glsl"

const uint COLQ = COLS / 4;
const uint TERMS = TAPS_W * CHANNELS;
const uint RUNS = (GRID_W + RUN - 1) / RUN;
const uint SUMS = TAP_ROWS * TERMS * COLS;

uint dy_last;

vec4 slopes[RUN * COLQ];
void fetch_slopes(uint pixel, uint m0, uint count) {
    [[unroll]] for (uint x = 0u; x < RUN; ++x) {
        [[unroll]] for (uint q = 0u; q < COLQ; ++q) {
            const uint e = (pixel + x) * p.dy_c + m0 + 4u * q;
            vec4 v;
            if (RESULT_RAGGED == 0u) {
                v = LOAD4(dy, min(e >> 2, dy_last));
            } else {
                [[unroll]] for (uint c = 0u; c < 4u; ++c) {
                    v[c] = LOAD4(dy, min((e + c) >> 2, dy_last))[(e + c) & 3u];
                }
            }
            slopes[x * COLQ + q] = uintBitsToFloat(floatBitsToUint(v) & uvec4(x < count ? ~0u : 0u));
        }
    }
}

float sum[SUMS];
void add_products(uint row) {
    [[unroll]] for (uint t = 0u; t < TERMS; ++t) {
        [[unroll]] for (uint c = 0u; c < COLS; ++c) {
            float even = 0.0, odd = 0.0; // chained additions would each wait for the last
            [[unroll]] for (uint x = 0u; x < RUN; ++x) {
                const float m = slopes[x * COLQ + c / 4u][c % 4u] * row_floats[x * STEP * CHANNELS + t];
                if (x % 2u == 0u) even += m;
                else odd += m;
            }
            sum[(row * TERMS + t) * COLS + c] += even + odd;
        }
    }
}

// Lane i keeps every LANES-th sum, from i on, and stores it.
void store_sums(uint share, uint row0, uint m0) {
    const uint lane = gl_SubgroupInvocationID;
    [[unroll]] for (uint i0 = 0u; i0 < SUMS; i0 += LANES) {
        float mine = 0.0;
        [[unroll]] for (uint j = 0u; j < LANES; ++j) {
            if (i0 + j < SUMS) {
                float v = sum[i0 + j];
                [[unroll]] for (uint s = 1u; s < LANES; s <<= 1) {
                    v += subgroupShuffle(v, lane ^ s);
                }
                mine = lane == j ? v : mine;
            }
        }
        const uint i = i0 + lane, m = m0 + i % COLS, t = i / COLS;
        if (i < SUMS && m < p.M) {
            const uint e = (share * p.M + m) * p.N + row0 * TERMS + t;
            const float old = ACCUMULATE != 0u ? dw[e >> 2][e & 3u] : 0.0;
            STORE1(dw, e, old + mine);
        }
    }
}

void compute_tile(uint share, uint row0, uint m0) {
    [[unroll]] for (uint i = 0u; i < SUMS; ++i) {
        sum[i] = 0.0;
    }
    const uint end = min(p.K, (share + 1u) * p.chunk);
    for (uint k = share * p.chunk;;) {
        const uint run = k + gl_SubgroupInvocationID, row = run / RUNS, image_index = row / GRID_H;
        const uint gx = (run - row * RUNS) * RUN, gy = row - image_index * GRID_H;
        const uint count = run < end ? min(RUN, GRID_W - gx) : 0u;
        const int x = int(gx * STEP) + p.base_x, y = int(gy) * p.step_y + p.base_y;
        fetch_slopes(row * GRID_W + gx, m0, count);
        [[unroll]] for (uint r = 0u; r < TAP_ROWS; ++r) {
            const int at = y + int(row0 + r) * p.tap_y;
            const int first = ((int(image_index * p.in_h) + at) * int(p.in_w) + x) * int(CHANNELS);
            fetch_floats(first, x, count > 0u && uint(at) < p.in_h);
            add_products(r);
        }
        k += LANES;
        if (k >= end) break;
    }
    store_sums(share, row0, m0);
}

void main() {
    dy_last = uint(textureSize(dy)) - 1u;
    image_last = uint(textureSize(image)) - 1u;
    const uint row_tiles = TAPS_H / TAP_ROWS, tiles = (p.M + COLS - 1u) / COLS * row_tiles;
    // All loops end at the bottom: a loop that tests at the top runs its body once more, masked, on lavapipe.
    for (uint task = gl_WorkGroupID.x;;) {
        const uint tile = task % tiles;
        compute_tile(task / tiles, TAP_ROWS * (tile % row_tiles), COLS * (tile / row_tiles));
        task += GROUPS_X;
        if (task >= tiles * p.splits) break;
    }
}
