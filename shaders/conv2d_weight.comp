// SPDX-License-Identifier: Apache-2.0
// dw[o,r,s,c] = sum over pixels (n,y,x) of dy[n,y,x,o] * image[n, y', x', c], with y' = y * step_y + base_y +
// r * tap_y and x' likewise, zeros outside: a product of M channels by N = taps * channels over K pixels whose
// right side is gathered, never stored. The kernel for GPUs: shared-memory tiles, as matmul.comp.
//
// Split-k: p.splits workgroups share a tile, each sums p.chunk of K, and dw holds their sums one behind the
// other, all groups of one split and then the next; matmul_finish adds them up.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 64;
layout(constant_id = 3) const uint TILE_M = 32;
layout(constant_id = 4) const uint TILE_N = 32;
layout(constant_id = 5) const uint TILE_K = 16;
layout(constant_id = 6) const uint THREAD_M = 4;
layout(constant_id = 7) const uint THREAD_N = 4;
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 14) const uint A_SHIFTED = 0; // four does not divide M
layout(constant_id = 15) const uint B_SHIFTED = 0; // nor CHANNELS
// Constants, so that pixels and columns are divided by them without a division.
layout(constant_id = 20) const uint CHANNELS = 16; // of a group of the image
layout(constant_id = 21) const uint TAPS_W = 3;
layout(constant_id = 22) const uint GRID_H = 28; // the result's pixels
layout(constant_id = 23) const uint GRID_W = 28;

layout(push_constant) uniform Params { vkd_conv2d_weight_params p; };
VKD_IN(0, dy);    // (images, GRID_H, GRID_W, dy_c)
VKD_IN(1, image); // (images, in_h, in_w, in_c)
VKD_INOUT(2, dw); // (splits, groups, M, N)

const bool A_K_CONTIGUOUS = false;
const bool B_K_CONTIGUOUS = false;
const bool A_BY_FLOAT = A_SHIFTED != 0u;
const bool B_BY_FLOAT = B_SHIFTED != 0u;
#include "lib/tile.glsl"

void fetch_a(uint item, uint m0, uint k0, uint end) {
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        a_next[i] = vec4(0.0);
        if (A_SHIFTED == 0u) {
            const uvec2 at = quad_at(i, A_LINE) + uvec2(k0, m0);
            if (at.x < end && at.y < p.M) a_next[i] = LOAD4(dy, (at.x * p.dy_c + item * p.M + at.y) >> 2);
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = float_at(i * 4u + j, A_LINE) + uvec2(k0, m0);
                if (at.x < end && at.y < p.M) a_next[i][j] = LOAD1(dy, at.x * p.dy_c + item * p.M + at.y);
            }
        }
    }
}

// The image's element under column n for a pixel of the result, -1 outside.
int gathered(uint pixel, uint n, uint item) {
    const uint tap = n / CHANNELS, tap_row = tap / TAPS_W;
    const ivec2 by = ivec2(tap_row, tap - tap_row * TAPS_W) * ivec2(p.tap_y, p.tap_x);
    const uint row = pixel / GRID_W, image_index = row / GRID_H;
    const ivec2 grid = ivec2(row - image_index * GRID_H, pixel - row * GRID_W);
    const ivec2 at = grid * ivec2(p.step_y, p.step_x) + ivec2(p.base_y, p.base_x) + by;
    const bool inside = uint(at.x) < p.in_h && uint(at.y) < p.in_w;
    const int e = ((int(image_index * p.in_h) + at.x) * int(p.in_w) + at.y) * int(p.in_c);
    return inside ? e + int(item * CHANNELS + n - tap * CHANNELS) : -1;
}

void fetch_b(uint item, uint n0, uint k0, uint end) {
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        b_next[i] = vec4(0.0);
        if (B_SHIFTED == 0u) {
            const uvec2 at = quad_at(i, B_LINE) + uvec2(k0, n0);
            const int e = gathered(at.x, at.y, item);
            if (at.x < end && at.y < p.N && e >= 0) b_next[i] = LOAD4(image, uint(e) >> 2);
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = float_at(i * 4u + j, B_LINE) + uvec2(k0, n0);
                const int e = gathered(at.x, at.y, item);
                if (at.x < end && at.y < p.N && e >= 0) b_next[i][j] = LOAD1(image, uint(e));
            }
        }
    }
}

void store_tile(uint matrix, uint m0, uint n0) {
    [[unroll]] for (uint i = 0u; i < THREAD_M; ++i) {
        const uint m = m0 + row_of(i);
        if (m >= p.M) continue;
        [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
            const uint n = n0 + column_of(q);
            if (n >= p.N) continue;
            const uint e = (matrix * p.M + m) * p.N + n;
            const vec4 v = acc[i * QUADS_N + q];
            if (B_SHIFTED == 0u) {
                dw[e >> 2] = ACCUMULATE != 0u ? v + dw[e >> 2] : v;
            } else {
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (n + j < p.N) {
                        const float old = ACCUMULATE != 0u ? dw[(e + j) >> 2][(e + j) & 3u] : 0.0;
                        STORE1(dw, e + j, v[j] + old);
                    }
                }
            }
        }
    }
}

void compute_tile(uint item, uint part, uint m0, uint n0) {
    clear();
    const uint begin = part * p.chunk, end = min(begin + p.chunk, p.K);
    fetch_a(item, m0, begin, end);
    fetch_b(item, n0, begin, end);
    for (uint k0 = begin; k0 < end; k0 += TILE_K) {
        barrier(); // everyone has read the previous step
        put_a();
        put_b();
        barrier();
        if (k0 + TILE_K < end) {
            fetch_a(item, m0, k0 + TILE_K, end);
            fetch_b(item, n0, k0 + TILE_K, end);
        }
        multiply_tile();
    }
    store_tile(part * p.groups + item, m0, n0);
}

// The loops let a grid that the device limits cover any number of tiles; they are uniform in a workgroup.
void main() {
    for (uint z = gl_WorkGroupID.z; z < p.groups * p.splits; z += GROUPS_Z) {
        for (uint m0 = gl_WorkGroupID.y * TILE_M; m0 < p.M; m0 += GROUPS_Y * TILE_M) {
            for (uint n0 = gl_WorkGroupID.x * TILE_N; n0 < p.N; n0 += GROUPS_X * TILE_N) {
                compute_tile(z % p.groups, z / p.groups, m0, n0);
            }
        }
    }
}
