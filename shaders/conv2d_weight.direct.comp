// SPDX-License-Identifier: Apache-2.0
// dw[o,r,s,c] = sum over pixels (n,y,x) of dy[n,y,x,o] * image[n, y', x', c], with y' = y * step_y + base_y +
// r * tap_y and x' likewise, zeros outside: a product of M channels by N = taps * channels over K pixels whose
// right side is gathered, never stored. The kernel for CPU devices: registers, texel fetches and shuffles.
//
// Split-k: p.splits workgroups share a tile, each sums p.chunk of K, and dw holds their sums one behind the
// other, all groups of one split and then the next; matmul_finish adds them up.
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
layout(constant_id = 5) const uint KC = 8;        // a multiple of four
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 14) const uint IMAGE_RAGGED = 0;  // four does not divide CHANNELS, or the image's
layout(constant_id = 15) const uint RESULT_RAGGED = 0; // four does not divide M, or the result's channels
// Constants, so that pixels and columns are divided by them without a division.
layout(constant_id = 20) const uint CHANNELS = 16; // of a group of the image
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint GRID_H = 28; // the result's pixels
layout(constant_id = 23) const uint GRID_W = 28;
layout(constant_id = 29) const uint STRETCH = 48; // columns whose elements of the image lie side by side; divides N

#include "lib/direct.glsl"

layout(push_constant) uniform Params { vkd_conv2d_weight_params p; };
VKD_IN(0, dy);     // (images, GRID_H, GRID_W, dy_c)
VKD_IN(1, image);  // (images, in_h, in_w, in_c)
VKD_INOUT(2, dw);  // (splits, groups, M, N)

// The quads of the (KC, ROWS) block of dy are dealt out to a part's lanes in turn.
const uint MQ = ROWS / 4;
const uint M_FETCHES = (KC * MQ + COL_LANES - 1) / COL_LANES;
// A lane's four columns are of one stretch. Columns behind its last are computed, and never stored.
const uint STRETCH_QUADS = (STRETCH + 3) / 4;
// How many vectors hold one value for each of the KC pixels, a lane each.
const uint K_VECS = (KC + COL_LANES - 1) / COL_LANES;

uint dy_last;
uint image_last;

// The quad from element e on, out of that which holds e and the next one.
vec4 shifted(vec4 v, vec4 next, uint e) {
    const bool one = (e & 1u) != 0u, two = (e & 2u) != 0u;
    const vec4 even = one ? vec4(v.yzw, next.x) : v;
    return two ? vec4(even.zw, one ? next.yz : next.xy) : even;
}

vec4 av[M_FETCHES];
void fetch_lines(uint k, uint end, uint m, uint col) {
    [[unroll]] for (uint f = 0u; f < M_FETCHES; ++f) {
        const uint ki = (f * COL_LANES + col) / MQ, quad = (f * COL_LANES + col) % MQ;
        const uint e = (k + ki) * p.dy_c + m + 4u * quad;
        vec4 v = LOAD4(dy, min(e >> 2, dy_last));
        if (RESULT_RAGGED != 0u) v = shifted(v, LOAD4(dy, min((e >> 2) + 1u, dy_last)), e);
        av[f] = keep(v, k + ki < end);
    }
}

// A lane's columns: the element of the first, from the pixel under tap (0, 0), and the place of their taps. One
// for all four where they are channels of one tap.
const uint COLUMN_SETS = IMAGE_RAGGED != 0u ? 4u : 1u;
ivec2 step_of[COLUMN_SETS];
int offset;
void place_columns(uint n) {
    [[unroll]] for (uint c = 0u; c < COLUMN_SETS; ++c) {
        const uint tap = (n + c) / CHANNELS, row = tap / TAPS_W;
        step_of[c] = ivec2(row, tap - row * TAPS_W) * ivec2(p.tap_y, p.tap_x);
    }
    offset = (step_of[0].x * int(p.in_w) + step_of[0].y) * int(p.in_c) + int(n % CHANNELS);
}

bool inside(ivec2 at) {
    return uint(at.x) < p.in_h && uint(at.y) < p.in_w;
}

vec4 bv[KC];
void fetch_pixels(uint k, uint end, uint item, uint base, uint col) {
    ivec2 origin[K_VECS];
    int first[K_VECS];
    [[unroll]] for (uint v = 0u; v < K_VECS; ++v) {
        const uint pixel = k + v * COL_LANES + col, row = pixel / GRID_W, image_index = row / GRID_H;
        const ivec2 at = ivec2(row - image_index * GRID_H, pixel - row * GRID_W);
        origin[v] = at * ivec2(p.step_y, p.step_x) + ivec2(p.base_y, p.base_x);
        first[v] = ((int(image_index * p.in_h) + origin[v].x) * int(p.in_w) + origin[v].y) * int(p.in_c) +
                   int(item * CHANNELS);
        // Beyond the end nothing is inside, and what is fetched there is masked.
        origin[v].x = pixel < end ? origin[v].x : -0x10000000;
    }
    [[unroll]] for (uint i = 0u; i < KC; ++i) {
        const uint v = i / COL_LANES, lane = base + i % COL_LANES;
        const ivec2 at = ivec2(subgroupShuffle(origin[v].x, lane), subgroupShuffle(origin[v].y, lane));
        const int e = subgroupShuffle(first[v], lane);
        const int quad = (e + offset) >> 2;
        const vec4 x = LOAD4(image, min(uint(quad), image_last));
        if (IMAGE_RAGGED == 0u) {
            bv[i] = keep(x, inside(at + step_of[0]));
        } else {
            bv[i] = shifted(x, LOAD4(image, min(uint(quad + 1), image_last)), uint(e + offset));
            [[unroll]] for (uint c = 0u; c < COLUMN_SETS; ++c) {
                bv[i][c] = inside(at + step_of[c]) ? bv[i][c] : 0.0;
            }
        }
    }
}

// `count`: how many of the quad's columns there are.
void store(vec4 v, uint e, uint count) {
    if (IMAGE_RAGGED == 0u) {
        if (count > 0u) dw[e >> 2] = ACCUMULATE != 0u ? v + dw[e >> 2] : v;
        return;
    }
    [[unroll]] for (uint c = 0u; c < 4u; ++c) {
        if (c < count) {
            const float old = ACCUMULATE != 0u ? dw[(e + c) >> 2][(e + c) & 3u] : 0.0;
            STORE1(dw, e + c, v[c] + old);
        }
    }
}

vec4 sum[ROWS];
void compute_tile(uint item, uint share, uint m0, uint quad0, uint part, uint col) {
    const uint base = part * COL_LANES; // the part's first lane: 0, a constant, where there is one part
    const uint stretch = (quad0 + col) / STRETCH_QUADS, in_stretch = 4u * (quad0 + col - stretch * STRETCH_QUADS);
    const uint n = stretch * STRETCH + in_stretch, count = n < p.N ? STRETCH - in_stretch : 0u;
    const uint end = min(p.K, (share + 1u) * p.chunk);
    place_columns(n);
    [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
        sum[r] = vec4(0.0);
    }
    for (uint k0 = share * p.chunk;;) {
        const uint k = k0 + part * KC;
        fetch_lines(k, end, item * p.M + m0, col);
        fetch_pixels(k, end, item, base, col);
        [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            vec4 t = sum[r];
            [[unroll]] for (uint i = 0u; i < KC; ++i) {
                const uint quad = i * MQ + r / 4u;
                t += subgroupShuffle(av[quad / COL_LANES][r % 4u], base + quad % COL_LANES) * bv[i];
            }
            sum[r] = t;
        }
        k0 += PARTS * KC;
        if (k0 >= end) break;
    }
    [[unroll]] for (uint s = COL_LANES; s < LANES; s <<= 1) {
        [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            sum[r] += shuffle4(sum[r], gl_SubgroupInvocationID ^ s);
        }
    }
    // Every part holds every sum; part q stores the rows r with r % PARTS == q.
    const uint matrix = (share * p.groups + item) * p.M;
    [[unroll]] for (uint r0 = 0u; r0 < ROWS; r0 += PARTS) {
        vec4 v = sum[r0];
        [[unroll]] for (uint q = 1u; q < PARTS; ++q) {
            if (r0 + q < ROWS) v = part == q ? sum[r0 + q] : v;
        }
        const uint r = r0 + part;
        if (m0 + r < p.M && (ROWS % PARTS == 0u || r < ROWS)) store(v, (matrix + m0 + r) * p.N + n, count);
    }
}

void main() {
    const uint part = PARTS == 1u ? 0u : gl_SubgroupInvocationID / COL_LANES;
    const uint col = PARTS == 1u ? gl_SubgroupInvocationID : gl_SubgroupInvocationID % COL_LANES;
    dy_last = uint(textureSize(dy)) - 1u;
    image_last = uint(textureSize(image)) - 1u;
    const uint n_tiles = (p.N / STRETCH * STRETCH_QUADS + COL_LANES - 1u) / COL_LANES;
    const uint tiles = (p.M + ROWS - 1u) / ROWS * n_tiles;
    // All loops end at the bottom: a loop that tests at the top runs its body once more, masked, on lavapipe.
    for (uint task = gl_WorkGroupID.x;;) {
        const uint tile = task % tiles, z = task / tiles;
        compute_tile(z % p.groups, z / p.groups, ROWS * (tile / n_tiles), COL_LANES * (tile % n_tiles), part, col);
        task += GROUPS_X;
        if (task >= tiles * p.groups * p.splits) break;
    }
}
