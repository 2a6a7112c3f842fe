// SPDX-License-Identifier: Apache-2.0
// y[n,y,x,o] = act(sum over taps (r,s) and channels c of image[n, y', x', c] * w[o,r,s,c] + bias[o] +
// residual): a product of M pixels by N channels over K = taps * channels whose left side is gathered, never
// stored. The kernel for GPUs: shared-memory tiles, as matmul.comp.
//
// With TRANSPOSED the weight's channels are summed over its lines instead (w[c,r,s,o]): the gradient of
// the image, one launch for each residue of its pixels modulo the stride.
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
layout(constant_id = 10) const uint TRANSPOSED = 0;
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint HAS_RESIDUAL = 0;
layout(constant_id = 14) const uint A_SHIFTED = 0; // four does not divide CHANNELS
layout(constant_id = 15) const uint B_SHIFTED = 0; // nor the weight's contiguous axis: CHANNELS, or N where TRANSPOSED
layout(constant_id = 16) const uint C_SHIFTED = 0; // nor N
// Constants, so that k is divided by them without a division.
layout(constant_id = 20) const uint CHANNELS = 16; // of a group of the image
layout(constant_id = 21) const uint TAPS_W = 3;

#include "lib/activation.glsl"

layout(push_constant) uniform Params { vkd_conv2d_params p; };
VKD_IN(0, image);  // (images, in_h, in_w, in_c)
VKD_IN(1, weight); // (out, taps_h, taps_w, channels)
VKD_IN(2, bias);   // (groups * N)
VKD_OUT(3, y);
VKD_IN(4, residual); // as y

#include "lib/conv2d.glsl"

const bool A_K_CONTIGUOUS = true;
const bool B_K_CONTIGUOUS = TRANSPOSED == 0u;
const bool A_BY_FLOAT = false; // whose rows would be as many again, each to be divided out
const bool B_BY_FLOAT = B_SHIFTED != 0u;
#include "lib/tile.glsl"

// An invocation fetches the same rows in every step.
place rows[A_QUADS];

void fetch_a(uint item, uint m0, uint k0) {
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        const uint k = k0 + quad_at(i, A_LINE).y;
        a_next[i] = vec4(0.0);
        if (A_SHIFTED == 0u) {
            const uvec3 tap = tap_of(k);
            if (k < p.K && inside(rows[i].origin + step_of(tap))) {
                a_next[i] = LOAD4(image, uint(rows[i].first + offset_of(tap)) >> 2);
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec3 tap = tap_of(k + j);
                if (k + j < p.K && inside(rows[i].origin + step_of(tap))) {
                    a_next[i][j] = LOAD1(image, uint(rows[i].first + offset_of(tap)));
                }
            }
        }
    }
}

// The weight's element for a place of the tile, (line, position); `start` is the first of this invocation's, in
// whose lines the others lie behind each other. Where lines are channels of the result, they are as far apart
// as the two are: what all invocations share is added up apart, where a scalar unit can.
uint weight_at(uvec2 at, uvec2 start, uint item, uint n0, uint k0) {
    if (B_K_CONTIGUOUS) {
        return weight_of(tap_of(k0 + start.y), n0 + start.x, item) + (at.x - start.x) * p.w_line;
    }
    return weight_of(tap_of(k0 + at.x), n0 + at.y, item);
}

void fetch_b(uint item, uint n0, uint k0) {
    const uvec2 origin = B_K_CONTIGUOUS ? uvec2(n0, k0) : uvec2(k0, n0);
    const uvec2 size = B_K_CONTIGUOUS ? uvec2(p.N, p.K) : uvec2(p.K, p.N);
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        b_next[i] = vec4(0.0);
        if (B_SHIFTED == 0u) {
            const uvec2 at = quad_at(i, B_LINE), start = quad_at(0u, B_LINE);
            if (all(lessThan(origin + at, size))) {
                b_next[i] = LOAD4(weight, weight_at(at, start, item, n0, k0) >> 2);
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = float_at(i * 4u + j, B_LINE), start = float_at(0u, B_LINE);
                if (all(lessThan(origin + at, size))) {
                    b_next[i][j] = LOAD1(weight, weight_at(at, start, item, n0, k0));
                }
            }
        }
    }
}

void store_tile(uint item, uint m0, uint n0) {
    [[unroll]] for (uint i = 0u; i < THREAD_M; ++i) {
        const uint m = m0 + row_of(i);
        if (m >= p.M) continue;
        const uint row = place_of(m, item).result;
        [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
            const uint n = n0 + column_of(q);
            if (n >= p.N) continue;
            vec4 v = acc[i * QUADS_N + q];
            if (C_SHIFTED == 0u) {
                if (HAS_BIAS != 0u) v += LOAD4(bias, (item * p.N + n) >> 2);
                if (HAS_RESIDUAL != 0u) v += LOAD4(residual, (row + n) >> 2);
                y[(row + n) >> 2] = act(ACTIVATION, v);
                clear_gaps(row + n);
            } else {
                const uint valid = min(p.N - n, 4u);
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (HAS_BIAS != 0u && j < valid) v[j] += LOAD1(bias, item * p.N + n + j);
                    if (HAS_RESIDUAL != 0u && j < valid) v[j] += LOAD1(residual, row + n + j);
                }
                v = act(ACTIVATION, v);
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (j < valid) STORE1(y, row + n + j, v[j]);
                }
            }
        }
    }
}

void compute_tile(uint item, uint m0, uint n0) {
    clear();
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        rows[i] = place_of(min(m0 + quad_at(i, A_LINE).x, p.M - 1u), item);
    }
    fetch_a(item, m0, 0u);
    fetch_b(item, n0, 0u);
    for (uint k0 = 0u; k0 < p.K; k0 += TILE_K) {
        barrier(); // everyone has read the previous step
        put_a();
        put_b();
        barrier();
        if (k0 + TILE_K < p.K) {
            fetch_a(item, m0, k0 + TILE_K);
            fetch_b(item, n0, k0 + TILE_K);
        }
        multiply_tile();
    }
    store_tile(item, m0, n0);
}

// The loops let a grid that the device limits cover any number of tiles; they are uniform in a workgroup.
void main() {
    for (uint item = gl_WorkGroupID.z; item < p.groups; item += GROUPS_Z) {
        for (uint m0 = gl_WorkGroupID.y * TILE_M; m0 < p.M; m0 += GROUPS_Y * TILE_M) {
            for (uint n0 = gl_WorkGroupID.x * TILE_N; n0 < p.N; n0 += GROUPS_X * TILE_N) {
                compute_tile(item, m0, n0);
            }
        }
    }
}
