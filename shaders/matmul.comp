// SPDX-License-Identifier: Apache-2.0
// C[b] = act(A[b] B[b] + bias + residual) (+ C[b]), C (M,N) row-major: the kernel for GPUs.
// A workgroup computes a TILE_M x TILE_N tile of C through shared memory: lib/tile.glsl. The sum over K runs
// in order: results repeat.
// Split-k: p.splits workgroups share a tile, each sums p.chunk of K, and C holds their sums one behind the
// other, all items of one split and then the next; matmul_finish adds them up.
// With VKD_SUM it also sums one operand over K: the gradient of a bias beside that of the weight.
#version 450
//! sum -DVKD_SUM
//! half -DVKD_HALF
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
layout(constant_id = 10) const uint LAYOUT = 0; // NN: A (M,K), B (K,N); NT: B (N,K); TN: A (K,M)
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint ACCUMULATE = 0;
// 1 where a row does not begin on a vec4: a row length or a batch stride that four does not divide.
layout(constant_id = 14) const uint A_SHIFTED = 0;
layout(constant_id = 15) const uint B_SHIFTED = 0;
layout(constant_id = 16) const uint C_SHIFTED = 0;
// 1 where tiles end where the matrix does: nothing is tested along that side.
layout(constant_id = 17) const uint M_WHOLE = 0;
layout(constant_id = 18) const uint N_WHOLE = 0;
layout(constant_id = 19) const uint K_WHOLE = 0;
layout(constant_id = 20) const uint HAS_RESIDUAL = 0;
#ifdef VKD_SUM
layout(constant_id = 21) const uint SUM = 1; // 1: TN, and A is summed over K; 2: NN or TN, and B is
#endif

layout(push_constant) uniform Params { vkd_matmul_params p; };
VKD_IN_X(0, a);      // (M,K) or (K,row_a), batch items stride_a apart
VKD_IN_X(1, b);      // (K,N) or (N,K)
VKD_IN(2, bias);     // (N)
VKD_INOUT(3, c);     // (M,N), with splits (splits,batch,M,N)
VKD_IN(4, residual); // as C
#ifdef VKD_SUM
VKD_OUT(5, sums); // (M) or (N), with splits (splits,M) or (splits,N)
#endif

#ifdef VKD_HALF
layout(constant_id = 26) const uint C_HALF = 0; // C has 16 bits, in whole quads, and is bound as c16
layout(set = 0, binding = 3, std430) buffer c16_buffer { uvec2 c16[]; };
#endif

#include "lib/epilogue.glsl"

const uint NT = 1;
const uint TN = 2;
const bool A_K_CONTIGUOUS = LAYOUT != TN;
const bool B_K_CONTIGUOUS = LAYOUT == NT;
const bool A_BY_FLOAT = A_SHIFTED != 0u;
const bool B_BY_FLOAT = B_SHIFTED != 0u;

#include "lib/tile.glsl"

const bool A_LINES_WHOLE = (A_K_CONTIGUOUS ? M_WHOLE : K_WHOLE) != 0u;
const bool A_POSITIONS_WHOLE = (A_K_CONTIGUOUS ? K_WHOLE : M_WHOLE) != 0u;
const bool B_LINES_WHOLE = (B_K_CONTIGUOUS ? N_WHOLE : K_WHOLE) != 0u;
const bool B_POSITIONS_WHOLE = (B_K_CONTIGUOUS ? K_WHOLE : N_WHOLE) != 0u;

void fetch_a(uint item, uint m0, uint k0) {
    const uvec2 origin = A_K_CONTIGUOUS ? uvec2(m0, k0) : uvec2(k0, m0);
    const uvec2 size = A_K_CONTIGUOUS ? uvec2(p.M, p.K) : uvec2(p.K, p.M);
    const uint row = A_K_CONTIGUOUS ? p.K : p.row_a;
    // What all invocations share is added up apart, where a scalar unit can.
    const uint first = item * p.stride_a + (A_K_CONTIGUOUS ? 0u : p.first_a) + origin.x * row + origin.y;
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        if (A_SHIFTED == 0u) {
            const uvec2 at = quad_at(i, A_LINE), start = quad_at(0u, A_LINE);
            const uint e = start.x * row + start.y + (first + (at.x - start.x) * row);
            const bool inside = (A_LINES_WHOLE || origin.x + at.x < size.x) &&
                                (A_POSITIONS_WHOLE || origin.y + at.y < size.y);
            a_next[i] = vec4(0.0);
            if (inside) a_next[i] = LOADX4(a, e >> 2);
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = float_at(i * 4u + j, A_LINE), start = float_at(0u, A_LINE);
                const uint e = start.x * row + start.y + (first + (at.x - start.x) * row);
                const bool inside = (A_LINES_WHOLE || origin.x + at.x < size.x) &&
                                    (A_POSITIONS_WHOLE || origin.y + at.y < size.y);
                a_next[i][j] = 0.0;
                if (inside) a_next[i][j] = LOADX1(a, e);
            }
        }
    }
}

void fetch_b(uint item, uint n0, uint k0) {
    const uvec2 origin = B_K_CONTIGUOUS ? uvec2(n0, k0) : uvec2(k0, n0);
    const uvec2 size = B_K_CONTIGUOUS ? uvec2(p.N, p.K) : uvec2(p.K, p.N);
    const uint row = size.y;
    const uint first = item * p.stride_b + origin.x * row + origin.y;
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        if (B_SHIFTED == 0u) {
            const uvec2 at = quad_at(i, B_LINE), start = quad_at(0u, B_LINE);
            const uint e = start.x * row + start.y + (first + (at.x - start.x) * row);
            const bool inside = (B_LINES_WHOLE || origin.x + at.x < size.x) &&
                                (B_POSITIONS_WHOLE || origin.y + at.y < size.y);
            b_next[i] = vec4(0.0);
            if (inside) b_next[i] = LOADX4(b, e >> 2);
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = float_at(i * 4u + j, B_LINE), start = float_at(0u, B_LINE);
                const uint e = start.x * row + start.y + (first + (at.x - start.x) * row);
                const bool inside = (B_LINES_WHOLE || origin.x + at.x < size.x) &&
                                    (B_POSITIONS_WHOLE || origin.y + at.y < size.y);
                b_next[i][j] = 0.0;
                if (inside) b_next[i][j] = LOADX1(b, e);
            }
        }
    }
}

#ifdef VKD_SUM
// Of the tiles that hold the same rows of A only the first sums them up (of B, columns). It reads
// shared memory once more, a float for each invocation and k; the other workgroups do nothing.
const uint SUM_TILE = SUM == 1u ? TILE_M : TILE_N;
const uint SUM_FLOATS = (SUM_TILE + LOCAL_X - 1u) / LOCAL_X;
float line_sum[SUM_FLOATS];

void add_to_sums() {
    [[unroll]] for (uint i = 0u; i < SUM_FLOATS; ++i) {
        const uint x = i * LOCAL_X + gl_LocalInvocationID.x;
        if (x >= SUM_TILE) continue;
        for (uint k = 0u; k < TILE_K; ++k) {
            line_sum[i] += SUM == 1u ? a_tile[a_row(k) + x / 4u][x % 4u] : b_tile[b_row(k) + x / 4u][x % 4u];
        }
    }
}

void store_sums(uint part, uint x0) {
    const uint size = SUM == 1u ? p.M : p.N;
    [[unroll]] for (uint i = 0u; i < SUM_FLOATS; ++i) {
        const uint x = i * LOCAL_X + gl_LocalInvocationID.x;
        if (x < SUM_TILE && x0 + x < size) STORE1(sums, part * size + x0 + x, line_sum[i]);
    }
}

#endif

void store_tile(uint item, uint m0, uint n0) {
    [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
        const uint n = n0 + column_of(q);
        if (N_WHOLE == 0u && n >= p.N) {
            continue;
        }
        const vec4 shift = bias_of(n);
        [[unroll]] for (uint i = 0u; i < THREAD_M; ++i) {
            const uint m = m0 + row_of(i);
            if (M_WHOLE != 0u || m < p.M) store_sums_of(item, m, n, acc[i * QUADS_N + q] + shift);
        }
    }
}

void compute_tile(uint item, uint part, uint m0, uint n0) {
    clear();
#ifdef VKD_SUM
    const bool sums_up = (SUM == 1u ? n0 : m0) == 0u;
    [[unroll]] for (uint i = 0u; i < SUM_FLOATS; ++i) {
        line_sum[i] = 0.0;
    }
#endif
    const uint begin = part * p.chunk, end = min(begin + p.chunk, p.K);
    fetch_a(item, m0, begin);
    fetch_b(item, n0, begin);
    for (uint k0 = begin; k0 < end; k0 += TILE_K) {
        barrier(); // everyone has read the previous step
        put_a();
        put_b();
        barrier();
        if (k0 + TILE_K < end) {
            fetch_a(item, m0, k0 + TILE_K);
            fetch_b(item, n0, k0 + TILE_K);
        }
        multiply_tile();
#ifdef VKD_SUM
        if (sums_up) add_to_sums();
#endif
    }
    store_tile(part * p.batch + item, m0, n0);
#ifdef VKD_SUM
    if (sums_up) store_sums(part, SUM == 1u ? m0 : n0);
#endif
}

// The loops let a grid that the device limits cover any number of tiles; they are uniform in a workgroup.
void main() {
    for (uint z = gl_WorkGroupID.z; z < p.batch * p.splits; z += GROUPS_Z) {
        for (uint m0 = gl_WorkGroupID.y * TILE_M; m0 < p.M; m0 += GROUPS_Y * TILE_M) {
            for (uint n0 = gl_WorkGroupID.x * TILE_N; n0 < p.N; n0 += GROUPS_X * TILE_N) {
                compute_tile(z % p.batch, z / p.batch, m0, n0);
            }
        }
    }
}
