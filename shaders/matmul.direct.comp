// SPDX-License-Identifier: Apache-2.0
// C[b] = act(A[b] B[b] + bias) (+ C[b]), C (M,N) row-major: the kernel for CPU devices.
// There shared memory and barriers cost more than they save, a storage buffer reads lane by lane, and only
// texel fetches and shuffles by a constant lane are cheap. So one subgroup computes ROWS x 4*COL_LANES
// elements in registers: a lane owns a quad of columns in every row. Each step first fetches all of A and B
// for KC values of k, since a fetch drives the sums out of the registers, and then computes row by row.
//
// With COL_LANES < LANES the subgroup falls into parts that share the columns and divide k: for narrow C.
// The parts are added in a fixed order at the end, so results repeat bit for bit.
//
// Where four does not divide a row's length, rows begin 0 to 3 floats into a vec4: their phase. It
// repeats every four rows, so with the length's residue as a constant most phases are constants too,
// and what turns two vec4 into the wanted one is register renaming. A selection by a phase that is
// only known at run time costs a third of the kernel's speed.
#version 450
//! half -DVKD_HALF
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_shuffle : require
#define VKD_GLSL
#ifndef VKD_DIRECT
#define VKD_DIRECT
#endif
#include "params.h"
#include "lib/io.glsl"

// The workgroup is one subgroup: the host sets LANES to the device's subgroup size.
layout(local_size_x_id = 0) in;
layout(constant_id = 0) const uint LANES = 8;
layout(constant_id = 3) const uint ROWS = 16;     // a multiple of four
layout(constant_id = 4) const uint COL_LANES = 8; // divides LANES
layout(constant_id = 5) const uint KC = 16;       // a multiple of four
layout(constant_id = 10) const uint LAYOUT = 0;   // NN: A (M,K), B (K,N); NT: B (N,K); TN: A (K,M)
layout(constant_id = 11) const uint ACTIVATION = 0;
layout(constant_id = 12) const uint HAS_BIAS = 0;
layout(constant_id = 13) const uint ACCUMULATE = 0;
// Row length modulo four; 4 where an item of a batch need not begin on a vec4.
layout(constant_id = 14) const uint A_SHIFTED = 0;
layout(constant_id = 15) const uint B_SHIFTED = 0;
layout(constant_id = 16) const uint C_SHIFTED = 0;
layout(constant_id = 17) const uint K_RAGGED = 0; // 1 unless LANES / COL_LANES * KC divides K

#include "lib/activation.glsl"
#include "lib/direct.glsl"

layout(push_constant) uniform Params { vkd_matmul_params p; };
VKD_IN_X(0, a);    // (M,K) or (K,row_a), batch items stride_a apart
VKD_IN_X(1, b);    // (K,N) or (N,K)
VKD_IN(2, bias); // (N)
VKD_INOUT(3, c); // (M,N)
#ifdef VKD_HALF
layout(constant_id = 26) const uint C_HALF = 0; // C is 16-bit, of whole quads; bound as `c16` then
layout(set = 0, binding = 3, std430) buffer c16_buffer { uvec2 c16[]; };
#endif

void store_quad(uint i, vec4 v) {
#ifdef VKD_HALF
    if (C_HALF != 0u) {
        c16[i] = pack4(v);
        return;
    }
#endif
    c[i] = ACCUMULATE != 0u ? v + c[i] : v;
}

const uint NT = 1;
const uint TN = 2;
// A where it is contiguous along k: lane i of a part holds quads of row g * COL_LANES + i.
const uint ROW_GROUPS = (ROWS + COL_LANES - 1) / COL_LANES;
// A where it is contiguous along m: the quads of the (KC, ROWS) block, dealt out to a part's lanes in turn.
const uint MQ = ROWS / 4;
const uint M_FETCHES = (KC * MQ + COL_LANES - 1) / COL_LANES;
// A fetch takes M_LINES lines of that block. Dealt, they lie four lines apart: of one phase.
const uint M_LINES = (COL_LANES + MQ - 1) / MQ;
// The last vec4 of a line along k is the first of its next chunk. (Macros: glslang 11 makes invalid
// SPIR-V of constants with &&.)
#define M_DEALT                                                                                    \
    (A_SHIFTED != 0u && COL_LANES % MQ == 0u && KC % (4u * M_LINES) == 0u && COL_LANES % (4u * M_LINES) == 0u)
#define A_CARRIED (LAYOUT != TN && A_SHIFTED != 0u && PARTS == 1u)
#define B_CARRIED (LAYOUT == NT && B_SHIFTED != 0u && PARTS == 1u)
const uint A_VECS = LAYOUT == TN ? M_FETCHES : ROW_GROUPS * KQ;
// How many vec4 hold one value for each of the KC values of k, a lane each.
const uint K_VECS = (KC + COL_LANES - 1) / COL_LANES;

// Reads past a matrix meet the bound; what they return never reaches a sum that is stored.
uint a_last;
uint b_last;
vec4 fetch_a(uint i) {
    return LOADX4(a, min(i, a_last));
}
vec4 fetch_b(uint i) {
    return LOADX4(b, min(i, b_last));
}

const uint UNKNOWN = 4;

// The phase of the row that begins at or before element e, `row` rows below one with phase 0.
uint phase(uint shifted, uint row, uint e) {
    return shifted == UNKNOWN ? e & 3u : (row * shifted) & 3u;
}

// The four floats that begin at float `start` (0 to 3) of lo, hi.
vec4 funnel(vec4 lo, vec4 hi, uint start) {
    const bool two = (start & 2u) != 0u;
    const bool one = (start & 1u) != 0u;
    const float x0 = two ? lo.z : lo.x;
    const float x1 = two ? lo.w : lo.y;
    const float x2 = two ? hi.x : lo.z;
    const float x3 = two ? hi.y : lo.w;
    const float x4 = two ? hi.z : hi.x;
    return vec4(one ? x1 : x0, one ? x2 : x1, one ? x3 : x2, one ? x4 : x3);
}

// A lane's quad continues in its right neighbour's, at the end of the line in `end`: one more fetch for
// COL_LANES lines instead of one for every line.
vec4 join(vec4 v, bool at_end, vec4 end, uint start) {
    const vec4 right = shuffle4(v, (gl_SubgroupInvocationID + 1u) % LANES);
    return funnel(v, vec4(at_end ? end.x : right.x, at_end ? end.y : right.y, at_end ? end.z : right.z, 0.0), start);
}

vec4 keep_k(vec4 v, uint k) {
    const uvec4 valid = uvec4(k < p.K ? ~0u : 0u, k + 1u < p.K ? ~0u : 0u, k + 2u < p.K ? ~0u : 0u,
                              k + 3u < p.K ? ~0u : 0u);
    return uintBitsToFloat(floatBitsToUint(v) & valid);
}

// Stores a lane's v, the elements of C from e on, of column n, where a row begins `start` floats into a
// vec4: the lane stores the whole vec4 that holds v's first element, the begin of it from its left
// neighbour's v. What is not whole, at both ends of the line, is stored float by float.
void store_row(vec4 v, uint e, uint n, uint col, bool row, uint start) {
    vec4 x = v;
    if (start != 0u) {
        x = funnel(shuffle4(v, (gl_SubgroupInvocationID + LANES - 1u) % LANES), v, 4u - start);
    }
    const uint i = e >> 2;
    const bool whole = (start == 0u || col != 0u) && n + 3u - start < p.N;
    if (row && whole) {
        c[i] = ACCUMULATE != 0u ? x + c[i] : x;
    }
    [[unroll]] for (uint j = 0u; j < 4u; ++j) {
        // Past a whole vec4, the line's last lane has the elements that no right neighbour stores.
        const bool end = j < start && col == COL_LANES - 1u && whole;
        const uint column = end ? n + 4u + j - start : n + j - start;
        const bool mine = end || (!whole && (j >= start || col != 0u));
        if (row && mine && column < p.N) {
            const float value = end ? v[(4u + j - start) & 3u] : x[j];
            const uint at = end ? i + 1u : i;
            c[at][j] = ACCUMULATE != 0u ? value + c[at][j] : value;
        }
    }
}

void main() {
    const uint lane = gl_SubgroupInvocationID;
    const uint part = PARTS == 1u ? 0u : lane / COL_LANES;
    const uint col = PARTS == 1u ? lane : lane % COL_LANES;
    const uint base = part * COL_LANES; // the part's first lane: 0, a constant, where there is one part

    a_last = uint(textureSize(a)) - 1u;
    b_last = uint(textureSize(b)) - 1u;
    const uint m_tiles = (p.M + ROWS - 1u) / ROWS;
    const uint n_tiles = (p.N + TILE_N - 1u) / TILE_N;
    const uint tiles = m_tiles * n_tiles;
    // The operand with fewer tiles is walked in the inner loop, so that it stays in the cache.
    const bool m_inner = p.M <= p.N;
    const uint inner_tiles = m_inner ? m_tiles : n_tiles;

    // All loops end at the bottom: a loop that tests at the top runs its body once more, masked, on lavapipe.
    for (uint task = gl_WorkGroupID.x;;) {
        const uint item = task / tiles;
        const uint tile = task % tiles;
        const uint m0 = ROWS * (m_inner ? tile % inner_tiles : tile / inner_tiles);
        const uint n0 = TILE_N * (m_inner ? tile / inner_tiles : tile % inner_tiles);
        const uint a_item = item * p.stride_a;
        const uint b_item = item * p.stride_b;

        vec4 sum[ROWS];
        [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
            sum[r] = vec4(0.0);
        }
        vec4 a_carried[ROW_GROUPS];
        if (A_CARRIED) {
            [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
                a_carried[g] = fetch_a((a_item + (m0 + g * COL_LANES + col) * p.K) >> 2);
            }
        }
        vec4 b_carried[4];
        if (B_CARRIED) {
            [[unroll]] for (uint n = 0u; n < 4u; ++n) {
                b_carried[n] = fetch_b((b_item + (n0 + 4u * col + n) * p.K) >> 2);
            }
        }
        for (uint k0 = 0u;;) {
            const uint k = k0 + part * KC;
            vec4 av[A_VECS];
            if (LAYOUT != TN) {
                [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
                    const uint line = a_item + (m0 + g * COL_LANES + col) * p.K;
                    const uint e = line + k;
                    vec4 v = A_CARRIED ? a_carried[g] : fetch_a(e >> 2);
                    [[unroll]] for (uint j = 0u; j < KQ; ++j) {
                        vec4 next = v;
                        if (A_SHIFTED != 0u || j + 1u < KQ) {
                            next = fetch_a((e >> 2) + j + 1u);
                        }
                        const vec4 x = A_SHIFTED != 0u ? funnel(v, next, line & 3u) : v;
                        av[g * KQ + j] = K_RAGGED != 0u ? keep_k(x, k + 4u * j) : x;
                        v = next;
                    }
                    if (A_CARRIED) {
                        a_carried[g] = v;
                    }
                }
            } else {
                vec4 ends[K_VECS];
                if (A_SHIFTED != 0u && COL_LANES % MQ == 0u) {
                    [[unroll]] for (uint i = 0u; i < K_VECS; ++i) {
                        const uint e = a_item + (k + i * COL_LANES + col) * p.row_a + p.first_a + m0;
                        ends[i] = fetch_a((e >> 2) + MQ);
                    }
                }
                [[unroll]] for (uint f = 0u; f < M_FETCHES; ++f) {
                    const uint quad = COL_LANES == MQ ? col : (f * COL_LANES + col) % MQ;
                    const uint line = COL_LANES == MQ ? 0u : col / MQ; // of the fetch's, where it takes several
                    const uint ki = M_DEALT ? f % 4u + 4u * (f / 4u * M_LINES + line) : (f * COL_LANES + col) / MQ;
                    const uint e = a_item + (k + ki) * p.row_a + p.first_a + m0 + 4u * quad;
                    const uint start = M_DEALT ? phase(A_SHIFTED, f, e) : e & 3u;
                    vec4 v = fetch_a(e >> 2);
                    if (A_SHIFTED != 0u) {
                        if (COL_LANES % MQ == 0u) {
                            // Both lines of a fetch, or more, have their ends in one vec4 of ends.
                            const uint i = M_DEALT ? 4u * (f / 4u * M_LINES) / COL_LANES : f / MQ;
                            const vec4 end = shuffle4(ends[i], base + ki % COL_LANES);
                            v = join(v, quad == MQ - 1u, end, start);
                        } else {
                            v = funnel(v, fetch_a((e >> 2) + 1u), start);
                        }
                    }
                    av[f] = K_RAGGED != 0u ? keep(v, k + ki < p.K) : v;
                }
            }

            vec4 bv[KC];
            if (LAYOUT == NT) {
                [[unroll]] for (uint n = 0u; n < 4u; ++n) {
                    const uint e = b_item + (n0 + 4u * col + n) * p.K + k;
                    const uint start = phase(B_SHIFTED, n, e);
                    const bool straddles = B_SHIFTED == UNKNOWN || (n * B_SHIFTED) % 4u != 0u;
                    vec4 v = B_CARRIED && straddles ? b_carried[n] : fetch_b(e >> 2);
                    [[unroll]] for (uint j = 0u; j < KQ; ++j) {
                        vec4 next = v;
                        if (straddles || j + 1u < KQ) {
                            next = fetch_b((e >> 2) + j + 1u);
                        }
                        vec4 x = straddles ? funnel(v, next, start) : v;
                        x = K_RAGGED != 0u ? keep_k(x, k + 4u * j) : x;
                        bv[4u * j][n] = x.x;
                        bv[4u * j + 1u][n] = x.y;
                        bv[4u * j + 2u][n] = x.z;
                        bv[4u * j + 3u][n] = x.w;
                        v = next;
                    }
                    if (B_CARRIED && straddles) {
                        b_carried[n] = v;
                    }
                }
            } else {
                vec4 ends[K_VECS];
                if (B_SHIFTED != 0u) {
                    [[unroll]] for (uint i = 0u; i < K_VECS; ++i) {
                        const uint e = b_item + (k + i * COL_LANES + col) * p.N + n0;
                        ends[i] = fetch_b((e >> 2) + COL_LANES);
                    }
                }
                [[unroll]] for (uint i = 0u; i < KC; ++i) {
                    const uint e = b_item + (k + i) * p.N + n0;
                    vec4 v = fetch_b((e >> 2) + col);
                    if (B_SHIFTED != 0u) {
                        const vec4 end = shuffle4(ends[i / COL_LANES], base + i % COL_LANES);
                        v = join(v, col == COL_LANES - 1u, end, phase(B_SHIFTED, i, e));
                    }
                    bv[i] = K_RAGGED != 0u ? keep(v, k + i < p.K) : v;
                }
            }

            [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
                vec4 t = sum[r];
                [[unroll]] for (uint i = 0u; i < KC; ++i) {
                    if (LAYOUT == TN) {
                        const uint line = M_DEALT ? (i / 4u / M_LINES * 4u + i % 4u) * M_LINES + i / 4u % M_LINES : i;
                        const uint quad = line * MQ + r / 4u;
                        t += subgroupShuffle(av[quad / COL_LANES][r % 4u], base + quad % COL_LANES) * bv[i];
                    } else {
                        const uint vec = (r / COL_LANES) * KQ + i / 4u;
                        t += subgroupShuffle(av[vec][i % 4u], base + r % COL_LANES) * bv[i];
                    }
                }
                sum[r] = t;
            }
            k0 += PARTS * KC;
            if (k0 >= p.K) {
                break;
            }
        }

        [[unroll]] for (uint s = COL_LANES; s < LANES; s <<= 1) {
            [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
                sum[r] += shuffle4(sum[r], lane ^ s);
            }
        }

        // Every part now holds every sum; part q stores the rows r with r % PARTS == q.
        const uint n = n0 + 4u * col;
        vec4 shift = vec4(0.0);
        if (HAS_BIAS != 0u) {
            shift = LOAD4(bias, min(n >> 2, uint(textureSize(bias)) - 1u));
        }
        [[unroll]] for (uint r0 = 0u; r0 < ROWS; r0 += PARTS) {
            vec4 v = sum[r0];
            [[unroll]] for (uint q = 1u; q < PARTS; ++q) {
                if (r0 + q < ROWS) {
                    v = part == q ? sum[r0 + q] : v;
                }
            }
            v = act(ACTIVATION, v + shift);
            const uint r = r0 + part;
            const bool row = m0 + r < p.M && (ROWS % PARTS == 0u || r < ROWS);
            const uint e = item * p.stride_c + (m0 + r) * p.N + n;
            if (C_SHIFTED == 0u) {
                if (row && n < p.N) {
                    store_quad(e >> 2, v);
                }
            } else if (C_SHIFTED != UNKNOWN && PARTS == 1u && LANES > 1u) {
                store_row(v, e, n, col, row, (r0 * C_SHIFTED) & 3u);
            } else {
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (row && n + j < p.N) {
                        const float old = ACCUMULATE != 0u ? c[(e + j) >> 2][(e + j) & 3u] : 0.0;
                        STORE1(c, e + j, v[j] + old);
                    }
                }
            }
        }
        task += GROUPS_X;
        if (task >= tiles * p.batch) {
            break;
        }
    }
}
