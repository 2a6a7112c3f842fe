// SPDX-License-Identifier: Apache-2.0
// C[b] = act(A[b] B[b] + bias + residual) (+ C[b]), C (M,N) row-major, of 16-bit A and B and with f32 sums: the
// kernel for GPUs that multiply small matrices in one instruction (VK_KHR_cooperative_matrix), whose shape
// the host gives as COOP_M x COOP_N x COOP_K. A workgroup computes a TILE_M x TILE_N tile of C from shared
// memory in steps of TILE_K; its subgroups lie beside each other, SUBGROUPS_N in a row, and each owns as
// large a part of the tile. K is split as in matmul.comp.
//
// In shared memory K is contiguous for both operands, whatever the layout: matrices are then loaded from it
// sixteen bytes at a time where a transposed one would be gathered in words of two. What is transposed in
// memory is so in registers, in blocks of 4 x 4 on the way.
//? GL_KHR_cooperative_matrix
//! bf16 -DVKD_BF16 ?GL_EXT_bfloat16
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#ifndef VKD_EMULATED
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_cooperative_matrix : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#ifdef VKD_BF16
#extension GL_EXT_bfloat16 : require
#endif
#endif
#define VKD_GLSL
#define VKD_HALF
#include "params.h"
#include "lib/io.glsl"

layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LOCAL_X = 128;
layout(constant_id = 3) const uint TILE_M = 64;
layout(constant_id = 4) const uint TILE_N = 64;
layout(constant_id = 5) const uint TILE_K = 32;
layout(constant_id = 6) const uint SUBGROUPS_N = 2;
layout(constant_id = 7) const uint SUBGROUP = 32; // invocations of each, all there
layout(constant_id = 10) const uint LAYOUT = 0;   // as in matmul.comp, and so are the following
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint ACCUMULATE = 0;
layout(constant_id = 14) const uint A_SHIFTED = 0;
layout(constant_id = 15) const uint B_SHIFTED = 0;
layout(constant_id = 16) const uint C_SHIFTED = 0;
layout(constant_id = 17) const uint M_WHOLE = 0;
layout(constant_id = 18) const uint N_WHOLE = 0;
layout(constant_id = 19) const uint K_WHOLE = 0;
layout(constant_id = 20) const uint HAS_RESIDUAL = 0;
layout(constant_id = 21) const uint COOP_M = 16;
layout(constant_id = 22) const uint COOP_N = 16;
layout(constant_id = 23) const uint COOP_K = 16;
layout(constant_id = 26) const uint C_HALF = 0; // C has 16 bits, in whole quads, and is bound as c16

layout(push_constant) uniform Params { vkd_matmul_params p; };
VKD_IN_X(0, a);      // (M,K) or (K,row_a), batch items stride_a apart
VKD_IN_X(1, b);      // (K,N) or (N,K)
VKD_IN(2, bias);     // (N)
VKD_INOUT(3, c);     // (M,N), with splits (splits,batch,M,N)
VKD_IN(4, residual); // as C
layout(set = 0, binding = 3, std430) buffer c16_buffer { uvec2 c16[]; };

#include "lib/epilogue.glsl"

const uint NT = 1;
const uint TN = 2;
const bool A_K_CONTIGUOUS = LAYOUT != TN;
const bool B_K_CONTIGUOUS = LAYOUT == NT;

// ---- Shared memory ----

// A's rows and then B's columns, each TILE_K values and sixteen bytes that spread them over the banks. In the
// end each subgroup's C passes through it, COOP_M rows at a time. In uvec2, four values of 16 bits.
const uint SUB_M = TILE_M / (LOCAL_X / SUBGROUP / SUBGROUPS_N), SUB_N = TILE_N / SUBGROUPS_N;
const uint ROW = TILE_K / 4u + 2u;
const uint B_TILE = TILE_M * ROW;
const uint OPERANDS = (TILE_M + TILE_N) * ROW;
const uint STRIP = COOP_M * SUB_N / 2u;
const uint STRIPS = LOCAL_X / SUBGROUP * STRIP;
shared uvec2 memory[OPERANDS > STRIPS ? OPERANDS : STRIPS];

#include "lib/coopmat.glsl"

// ---- Memory to shared memory ----

// The next step's operands wait in registers while the current step computes.
const uint A_QUADS = TILE_M * TILE_K / 4u / LOCAL_X;
const uint B_QUADS = TILE_N * TILE_K / 4u / LOCAL_X;
uvec2 a_next[A_QUADS];
uvec2 b_next[B_QUADS];

// A tile of an operand in memory is lines of TILE_K, or transposed TILE_K lines of `side`. Where this
// invocation's i-th quad lies in it: (line, position). Transposed, four quads in turn are a block of four
// lines; four neighbours take blocks that lie behind each other, so that they do not meet in one bank of
// shared memory, and the next four those beside.
uvec2 place_of(uint i, bool contiguous, uint side) {
    if (contiguous) {
        const uint slot = i * LOCAL_X + gl_LocalInvocationID.x;
        return uvec2(slot / (TILE_K / 4u), slot % (TILE_K / 4u) * 4u);
    }
    const uint slot = i / 4u * LOCAL_X + gl_LocalInvocationID.x;
    return uvec2((slot / side * 4u + slot % 4u) * 4u + i % 4u, slot / 4u % (side / 4u) * 4u);
}

// Value e of an operand, in the low or the high half of a word.
#define HALF_OF(name, e, high) ((name[(e) >> 2][(e) >> 1 & 1u] >> 16 * ((e) & 1u) & 0xffffu) << 16 * (high))

const bool A_LINES_WHOLE = (A_K_CONTIGUOUS ? M_WHOLE : K_WHOLE) != 0u;
const bool A_POSITIONS_WHOLE = (A_K_CONTIGUOUS ? K_WHOLE : M_WHOLE) != 0u;
const bool B_LINES_WHOLE = (B_K_CONTIGUOUS ? N_WHOLE : K_WHOLE) != 0u;
const bool B_POSITIONS_WHOLE = (B_K_CONTIGUOUS ? K_WHOLE : N_WHOLE) != 0u;

void fetch_a(uint item, uint m0, uint k0) {
    const uvec2 origin = A_K_CONTIGUOUS ? uvec2(m0, k0) : uvec2(k0, m0);
    const uvec2 size = A_K_CONTIGUOUS ? uvec2(p.M, p.K) : uvec2(p.K, p.M);
    const uint row = A_K_CONTIGUOUS ? p.K : p.row_a;
    const uint first = item * p.stride_a + (A_K_CONTIGUOUS ? 0u : p.first_a) + origin.x * row + origin.y;
    UNROLL for (uint i = 0u; i < TIMES(A_QUADS); ++i) {
        const uvec2 at = place_of(i, A_K_CONTIGUOUS, TILE_M);
        const uint e = first + at.x * row + at.y;
        const bool line = A_LINES_WHOLE || origin.x + at.x < size.x;
        a_next[i] = uvec2(0u);
        if (A_SHIFTED == 0u) {
            if (line && (A_POSITIONS_WHOLE || origin.y + at.y < size.y)) a_next[i] = a[e >> 2];
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const bool inside = line && (A_POSITIONS_WHOLE || origin.y + at.y + j < size.y);
                if (inside) a_next[i][j / 2u] |= HALF_OF(a, e + j, j & 1u);
            }
        }
    }
}

void fetch_b(uint item, uint n0, uint k0) {
    const uvec2 origin = B_K_CONTIGUOUS ? uvec2(n0, k0) : uvec2(k0, n0);
    const uvec2 size = B_K_CONTIGUOUS ? uvec2(p.N, p.K) : uvec2(p.K, p.N);
    const uint first = item * p.stride_b + origin.x * size.y + origin.y;
    UNROLL for (uint i = 0u; i < TIMES(B_QUADS); ++i) {
        const uvec2 at = place_of(i, B_K_CONTIGUOUS, TILE_N);
        const uint e = first + at.x * size.y + at.y;
        const bool line = B_LINES_WHOLE || origin.x + at.x < size.x;
        b_next[i] = uvec2(0u);
        if (B_SHIFTED == 0u) {
            if (line && (B_POSITIONS_WHOLE || origin.y + at.y < size.y)) b_next[i] = b[e >> 2];
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const bool inside = line && (B_POSITIONS_WHOLE || origin.y + at.y + j < size.y);
                if (inside) b_next[i][j / 2u] |= HALF_OF(b, e + j, j & 1u);
            }
        }
    }
}

// Value j of four quads that lie in lines behind each other: a quad of K.
uvec2 column_of(uvec2 q0, uvec2 q1, uvec2 q2, uvec2 q3, uint j) {
    const uvec4 words = uvec4(q0[j / 2u], q1[j / 2u], q2[j / 2u], q3[j / 2u]);
    const uvec4 values = words >> 16 * (j & 1u) & 0xffffu;
    return uvec2(values.x | values.y << 16, values.z | values.w << 16);
}

void put_a() {
    if (A_K_CONTIGUOUS) {
        UNROLL for (uint i = 0u; i < TIMES(A_QUADS); ++i) {
            const uvec2 at = place_of(i, true, TILE_M);
            memory[at.x * ROW + at.y / 4u] = a_next[i];
        }
    } else {
        UNROLL for (uint i = 0u; i < TIMES(A_QUADS); i += 4u) {
            const uvec2 at = place_of(i, false, TILE_M);
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                memory[(at.y + j) * ROW + at.x / 4u] =
                    column_of(a_next[i], a_next[i + 1u], a_next[i + 2u], a_next[i + 3u], j);
            }
        }
    }
}

void put_b() {
    if (B_K_CONTIGUOUS) {
        UNROLL for (uint i = 0u; i < TIMES(B_QUADS); ++i) {
            const uvec2 at = place_of(i, true, TILE_N);
            memory[B_TILE + at.x * ROW + at.y / 4u] = b_next[i];
        }
    } else {
        UNROLL for (uint i = 0u; i < TIMES(B_QUADS); i += 4u) {
            const uvec2 at = place_of(i, false, TILE_N);
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                memory[B_TILE + (at.y + j) * ROW + at.x / 4u] =
                    column_of(b_next[i], b_next[i + 1u], b_next[i + 2u], b_next[i + 3u], j);
            }
        }
    }
}

// ---- The product ----

const uint MATRICES_M = SUB_M / COOP_M;
const uint MATRICES_N = SUB_N / COOP_N;
MATRIX_C acc[MATRICES_M * MATRICES_N];

uint sub_m() {
    return gl_SubgroupID / SUBGROUPS_N * SUB_M;
}
uint sub_n() {
    return gl_SubgroupID % SUBGROUPS_N * SUB_N;
}

void multiply_tile() {
    UNROLL for (uint k = 0u; k < TIMES(TILE_K); k += COOP_K) {
        MATRIX_A am[MATRICES_M];
        UNROLL for (uint i = 0u; i < TIMES(MATRICES_M); ++i) {
            LOAD_A(am[i], (sub_m() + i * COOP_M) * ROW + k / 4u, ROW);
        }
        UNROLL for (uint j = 0u; j < TIMES(MATRICES_N); ++j) {
            MATRIX_B bm;
            LOAD_B(bm, B_TILE + (sub_n() + j * COOP_N) * ROW + k / 4u, ROW);
            UNROLL for (uint i = 0u; i < TIMES(MATRICES_M); ++i) {
                MULTIPLY_ADD(am[i], bm, acc[i * MATRICES_N + j]);
            }
        }
    }
}

// How a matrix's elements lie in a subgroup is the driver's affair, so C goes through shared memory.
void store_tile(uint item, uint m0, uint n0) {
    const uint strip = gl_SubgroupID * STRIP;
    barrier(); // everyone has read the last step
    UNROLL for (uint i = 0u; i < TIMES(MATRICES_M); ++i) {
        UNROLL for (uint j = 0u; j < TIMES(MATRICES_N); ++j) {
            STORE_C(acc[i * MATRICES_N + j], strip + j * COOP_N / 2u, SUB_N / 2u);
        }
        subgroupBarrier();
        for (uint q = gl_SubgroupInvocationID; q < STRIP / 2u; q += SUBGROUP) {
            const uint m = m0 + sub_m() + i * COOP_M + q / (SUB_N / 4u);
            const uint n = n0 + sub_n() + q % (SUB_N / 4u) * 4u;
            if ((M_WHOLE != 0u || m < p.M) && (N_WHOLE != 0u || n < p.N)) {
                const uvec4 bits = uvec4(memory[strip + 2u * q], memory[strip + 2u * q + 1u]);
                store_sums_of(item, m, n, uintBitsToFloat(bits) + bias_of(n));
            }
        }
        subgroupBarrier();
    }
}

void compute_tile(uint item, uint part, uint m0, uint n0) {
    UNROLL for (uint i = 0u; i < TIMES(MATRICES_M * MATRICES_N); ++i) {
        CLEAR_C(acc[i]);
    }
    const uint begin = part * p.chunk, end = min(begin + p.chunk, p.K);
    fetch_a(item, m0, begin);
    fetch_b(item, n0, begin);
    for (uint k0 = begin; k0 < end; k0 += TILE_K) {
        barrier(); // everyone has read the previous step, and stored the previous tile
        put_a();
        put_b();
        barrier();
        if (k0 + TILE_K < end) {
            fetch_a(item, m0, k0 + TILE_K);
            fetch_b(item, n0, k0 + TILE_K);
        }
        multiply_tile();
    }
    store_tile(part * p.batch + item, m0, n0);
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
