// SPDX-License-Identifier: Apache-2.0
// y[n,y,x,o] = act(sum over taps (r,s) and channels c of image[n, y', x', c] * w[o,r,s,c] + bias[o] +
// residual): a product of M pixels by N channels over K = taps * channels whose left side is gathered, never
// stored. The kernel for CPU devices: registers, texel fetches and shuffles, as
// matmul.direct.comp.
//
// With TRANSPOSED the weight's channels are summed over its lines instead (w[c,r,s,o]): the gradient of
// the image, one launch for each residue of its pixels modulo the stride.
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
layout(constant_id = 3) const uint ROWS = 16;     // a multiple of four
layout(constant_id = 4) const uint COL_LANES = 8; // divides LANES
layout(constant_id = 5) const uint KC = 8;        // a multiple of four; divides CHANNELS but where ragged
layout(constant_id = 10) const uint TRANSPOSED = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 14) const uint IMAGE_RAGGED = 0;  // four does not divide CHANNELS, or the image's
layout(constant_id = 15) const uint RESULT_RAGGED = 0; // four does not divide N, or the result's channels
layout(constant_id = 17) const uint K_RAGGED = 0;      // LANES / COL_LANES * KC does not divide K
// Constants, so that k is divided by them without a division.
layout(constant_id = 20) const uint CHANNELS = 16; // of a group of the image
layout(constant_id = 21) const uint TAPS_W = 3;

#include "lib/activation.glsl"
#include "lib/direct.glsl"

layout(push_constant) uniform Params { vkd_conv2d_params p; };
VKD_IN(0, image);  // (images, in_h, in_w, in_c)
VKD_IN(1, weight); // (out, taps_h, taps_w, channels)
VKD_IN(2, bias);   // (groups * N)
VKD_OUT(3, y);
VKD_IN(4, residual); // as y

#include "lib/conv2d.glsl"

const uint ROW_GROUPS = (ROWS + COL_LANES - 1) / COL_LANES;

uint image_last;
uint weight_last;
// Reads outside meet the bound (below zero too, as large numbers); what they return is masked.
vec4 fetch_image(int quad) {
    return LOAD4(image, min(uint(quad), image_last));
}
float fetch_image1(int e) {
    return LOAD4(image, min(uint(e) >> 2, image_last))[e & 3];
}
vec4 fetch_weight(uint e) {
    return LOAD4(weight, min(e >> 2, weight_last));
}
float fetch_weight1(uint e) {
    return LOAD4(weight, min(e >> 2, weight_last))[e & 3u];
}

// Rows of the tile: lane i of a part holds those of row g * COL_LANES + i.
place rows[ROW_GROUPS];

vec4 av[ROW_GROUPS * KQ];
void fetch_rows(uint k, bool valid) {
    const uvec3 tap = tap_of(k);
    const ivec2 by = step_of(tap);
    const int offset = offset_of(tap);
    [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
        const bool reads = valid && inside(rows[g].origin + by);
        [[unroll]] for (uint j = 0u; j < KQ; ++j) {
            av[g * KQ + j] = keep(fetch_image(((rows[g].first + offset) >> 2) + int(j)), reads);
        }
    }
}
void fetch_rows_ragged(uint k) {
    [[unroll]] for (uint i = 0u; i < KC; ++i) {
        const uvec3 tap = tap_of(k + i);
        [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
            const float v = fetch_image1(rows[g].first + offset_of(tap));
            av[g * KQ + i / 4u][i % 4u] = k + i < p.K && inside(rows[g].origin + step_of(tap)) ? v : 0.0;
        }
    }
}

vec4 bv[KC];
// Lines along k: a channel of the result each. Some beyond the last are read, and never stored.
void fetch_lines(uint k, uint n, uint item, bool valid) {
    const uint first = weight_of(tap_of(k), n, item);
    [[unroll]] for (uint c = 0u; c < 4u; ++c) {
        [[unroll]] for (uint j = 0u; j < KQ; ++j) {
            const vec4 v = keep(fetch_weight(first + c * p.w_line + 4u * j), valid);
            bv[4u * j][c] = v.x;
            bv[4u * j + 1u][c] = v.y;
            bv[4u * j + 2u][c] = v.z;
            bv[4u * j + 3u][c] = v.w;
        }
    }
}
// Lines along n: a channel of the image each.
void fetch_columns(uint k, uint n, uint item, bool valid) {
    const uint first = weight_of(tap_of(k), n, item);
    [[unroll]] for (uint i = 0u; i < KC; ++i) {
        bv[i] = keep(fetch_weight(first + i * p.w_line), valid);
    }
}
void fetch_weight_ragged(uint k, uint n, uint item) {
    [[unroll]] for (uint i = 0u; i < KC; ++i) {
        const uvec3 tap = tap_of(k + i);
        [[unroll]] for (uint c = 0u; c < 4u; ++c) {
            const float v = fetch_weight1(weight_of(tap, n + c, item));
            bv[i][c] = k + i < p.K ? v : 0.0;
        }
    }
}

void fetch(uint k, uint n, uint item) {
    const bool valid = K_RAGGED == 0u || k < p.K;
    if (IMAGE_RAGGED != 0u) fetch_rows_ragged(k);
    else fetch_rows(k, valid);
    if (IMAGE_RAGGED != 0u || (TRANSPOSED != 0u && RESULT_RAGGED != 0u)) fetch_weight_ragged(k, n, item);
    else if (TRANSPOSED != 0u) fetch_columns(k, n, item, valid);
    else fetch_lines(k, n, item, valid);
}

// What the sum has with its bias, to its place.
void store(vec4 v, uint e, uint n) {
    if (RESULT_RAGGED == 0u) {
        if (n >= p.N) return;
        if (HAS_RESIDUAL != 0u) v += LOAD4(residual, e >> 2);
        y[e >> 2] = act(ACTIVATION, v);
        clear_gaps(e);
        return;
    }
    [[unroll]] for (uint c = 0u; c < 4u; ++c) {
        if (HAS_RESIDUAL != 0u && n + c < p.N) v[c] += LOAD1(residual, e + c);
    }
    v = act(ACTIVATION, v);
    [[unroll]] for (uint c = 0u; c < 4u; ++c) {
        if (n + c < p.N) STORE1(y, e + c, v[c]);
    }
}

vec4 sum[ROWS];
void compute_tile(uint item, uint m0, uint n0, uint part, uint col) {
    const uint base = part * COL_LANES; // the part's first lane: 0, a constant, where there is one part
    const uint n = n0 + 4u * col;
    [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
        rows[g] = place_of(min(m0 + g * COL_LANES + col, p.M - 1u), item);
    }
    [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
        sum[r] = vec4(0.0);
    }
    for (uint k0 = 0u;;) {
        fetch(k0 + part * KC, n, item);
        [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            vec4 t = sum[r];
            [[unroll]] for (uint i = 0u; i < KC; ++i) {
                t += subgroupShuffle(av[(r / COL_LANES) * KQ + i / 4u][i % 4u], base + r % COL_LANES) * bv[i];
            }
            sum[r] = t;
        }
        k0 += PARTS * KC;
        if (k0 >= p.K) break;
    }
    [[unroll]] for (uint s = COL_LANES; s < LANES; s <<= 1) {
        [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            sum[r] += shuffle4(sum[r], gl_SubgroupInvocationID ^ s);
        }
    }
    vec4 shift = vec4(0.0);
    if (HAS_BIAS != 0u && RESULT_RAGGED == 0u) {
        shift = LOAD4(bias, min((item * p.N + n) >> 2, uint(textureSize(bias)) - 1u));
    } else if (HAS_BIAS != 0u) {
        [[unroll]] for (uint c = 0u; c < 4u; ++c) {
            const uint e = item * p.N + min(n + c, p.N - 1u);
            shift[c] = LOAD1(bias, e);
        }
    }
    // Every part holds every sum; part q stores the rows r with r % PARTS == q.
    [[unroll]] for (uint r0 = 0u; r0 < ROWS; r0 += PARTS) {
        vec4 v = sum[r0];
        uint e = subgroupShuffle(rows[r0 / COL_LANES].result, base + r0 % COL_LANES);
        [[unroll]] for (uint q = 1u; q < PARTS; ++q) {
            if (r0 + q < ROWS) {
                const uint row = subgroupShuffle(rows[(r0 + q) / COL_LANES].result, base + (r0 + q) % COL_LANES);
                v = part == q ? sum[r0 + q] : v;
                e = part == q ? row : e;
            }
        }
        const uint r = r0 + part;
        if (m0 + r < p.M && (ROWS % PARTS == 0u || r < ROWS)) store(v + shift, e + n, n);
    }
}

void main() {
    const uint part = PARTS == 1u ? 0u : gl_SubgroupInvocationID / COL_LANES;
    const uint col = PARTS == 1u ? gl_SubgroupInvocationID : gl_SubgroupInvocationID % COL_LANES;
    image_last = uint(textureSize(image)) - 1u;
    weight_last = uint(textureSize(weight)) - 1u;
    const uint m_tiles = (p.M + ROWS - 1u) / ROWS;
    const uint n_tiles = (p.N + TILE_N - 1u) / TILE_N;
    const uint tiles = m_tiles * n_tiles;
    // Neighbouring tasks, which read the same pixels, one behind the other. All loops end at the bottom: a loop
    // that tests at the top runs its body once more, masked, on lavapipe.
    const uint tasks = tiles * p.groups, share = (tasks + GROUPS_X - 1u) / GROUPS_X;
    const uint end = min(tasks, (gl_WorkGroupID.x + 1u) * share);
    uint task = gl_WorkGroupID.x * share;
    if (task >= end) return;
    for (;;) {
        const uint tile = task % tiles;
        compute_tile(task / tiles, ROWS * (tile / n_tiles), TILE_N * (tile % n_tiles), part, col);
        ++task;
        if (task >= end) break;
    }
}
