// SPDX-License-Identifier: Apache-2.0
// C[b] = act(A[b] B[b] + bias) (+ C[b]), C (M,N) row-major: the kernel for CPU devices.
// There shared memory and barriers cost more than they save, a storage buffer reads lane by lane, and only
// texel fetches and shuffles by a constant lane are cheap. So one subgroup computes ROWS x 4*COL_LANES
// elements in registers: a lane owns a quad of columns in every row. Each step first fetches all of A and B
// for KC values of k, since a fetch drives the sums out of the registers, and then computes row by row.
//
// With COL_LANES < LANES the subgroup falls into parts that share the columns and divide k: for narrow C.
// The parts are added in a fixed order at the end, so results repeat bit for bit.
#version 450
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
// 1 where a row need not begin on a vec4: a row length or a batch stride that four does not divide.
layout(constant_id = 14) const uint A_SHIFTED = 0;
layout(constant_id = 15) const uint B_SHIFTED = 0;
layout(constant_id = 16) const uint C_SHIFTED = 0;
layout(constant_id = 17) const uint K_RAGGED = 0; // 1 unless LANES / COL_LANES * KC divides K

#include "lib/activation.glsl"

layout(push_constant) uniform Params { vkd_matmul_params p; };
VKD_IN(0, a);    // (M,K) or (K,row_a), batch items stride_a apart
VKD_IN(1, b);    // (K,N) or (N,K)
VKD_IN(2, bias); // (N)
VKD_INOUT(3, c); // (M,N)

const uint NT = 1;
const uint TN = 2;
const uint PARTS = LANES / COL_LANES;
const uint KQ = KC / 4;
const uint TILE_N = 4 * COL_LANES;

// A where it is contiguous along k: lane i of a part holds quads of row g * COL_LANES + i.
const uint ROW_GROUPS = (ROWS + COL_LANES - 1) / COL_LANES;
// A where it is contiguous along m: the quads of the (KC, ROWS) block, dealt out to a part's lanes in turn.
const uint MQ = ROWS / 4;
const uint M_FETCHES = (KC * MQ + COL_LANES - 1) / COL_LANES;
const uint A_VECS = LAYOUT == TN ? M_FETCHES : ROW_GROUPS * KQ;
// How many vec4 hold one value for each of the KC values of k, a lane each.
const uint K_VECS = (KC + COL_LANES - 1) / COL_LANES;

// Reads past a matrix meet the bound; what they return never reaches a sum that is stored.
uint a_last;
uint b_last;
vec4 fetch_a(uint i) {
    return LOAD4(a, min(i, a_last));
}
vec4 fetch_b(uint i) {
    return LOAD4(b, min(i, b_last));
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

vec4 shuffle4(vec4 v, uint lane) {
    return vec4(subgroupShuffle(v.x, lane), subgroupShuffle(v.y, lane), subgroupShuffle(v.z, lane),
                subgroupShuffle(v.w, lane));
}

// A lane's quad continues in its right neighbour's, at the end of the line in `end`: one more fetch for
// COL_LANES lines instead of one for every line.
vec4 join(vec4 v, bool at_end, vec4 end, uint start) {
    const vec4 right = shuffle4(v, (gl_SubgroupInvocationID + 1u) % LANES);
    return funnel(v, vec4(at_end ? end.x : right.x, at_end ? end.y : right.y, at_end ? end.z : right.z, 0.0), start);
}

// Selecting, where a product with zero would let a NaN through.
vec4 keep(vec4 v, bool valid) {
    return vec4(valid ? v.x : 0.0, valid ? v.y : 0.0, valid ? v.z : 0.0, valid ? v.w : 0.0);
}
vec4 keep_k(vec4 v, uint k) {
    return vec4(k < p.K ? v.x : 0.0, k + 1u < p.K ? v.y : 0.0, k + 2u < p.K ? v.z : 0.0, k + 3u < p.K ? v.w : 0.0);
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
        for (uint k0 = 0u;;) {
            const uint k = k0 + part * KC;
            vec4 av[A_VECS];
            if (LAYOUT != TN) {
                [[unroll]] for (uint g = 0u; g < ROW_GROUPS; ++g) {
                    const uint e = a_item + (m0 + g * COL_LANES + col) * p.K + k;
                    vec4 v = fetch_a(e >> 2);
                    [[unroll]] for (uint j = 0u; j < KQ; ++j) {
                        vec4 next = v;
                        if (A_SHIFTED != 0u || j + 1u < KQ) {
                            next = fetch_a((e >> 2) + j + 1u);
                        }
                        const vec4 x = A_SHIFTED != 0u ? funnel(v, next, e & 3u) : v;
                        av[g * KQ + j] = K_RAGGED != 0u ? keep_k(x, k + 4u * j) : x;
                        v = next;
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
                    const uint quad = f * COL_LANES + col;
                    const uint ki = quad / MQ;
                    const uint e = a_item + (k + ki) * p.row_a + p.first_a + m0 + 4u * (quad % MQ);
                    vec4 v = fetch_a(e >> 2);
                    if (A_SHIFTED != 0u) {
                        if (COL_LANES % MQ == 0u) {
                            const vec4 end = shuffle4(ends[f / MQ], base + ki % COL_LANES);
                            v = join(v, quad % MQ == MQ - 1u, end, e & 3u);
                        } else {
                            v = funnel(v, fetch_a((e >> 2) + 1u), e & 3u);
                        }
                    }
                    av[f] = K_RAGGED != 0u ? keep(v, k + ki < p.K) : v;
                }
            }

            vec4 bv[KC];
            if (LAYOUT == NT) {
                [[unroll]] for (uint n = 0u; n < 4u; ++n) {
                    const uint e = b_item + (n0 + 4u * col + n) * p.K + k;
                    vec4 v = fetch_b(e >> 2);
                    [[unroll]] for (uint j = 0u; j < KQ; ++j) {
                        vec4 next = v;
                        if (B_SHIFTED != 0u || j + 1u < KQ) {
                            next = fetch_b((e >> 2) + j + 1u);
                        }
                        vec4 x = B_SHIFTED != 0u ? funnel(v, next, e & 3u) : v;
                        x = K_RAGGED != 0u ? keep_k(x, k + 4u * j) : x;
                        bv[4u * j][n] = x.x;
                        bv[4u * j + 1u][n] = x.y;
                        bv[4u * j + 2u][n] = x.z;
                        bv[4u * j + 3u][n] = x.w;
                        v = next;
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
                        v = join(v, col == COL_LANES - 1u, end, e & 3u);
                    }
                    bv[i] = K_RAGGED != 0u ? keep(v, k + i < p.K) : v;
                }
            }

            [[unroll]] for (uint r = 0u; r < ROWS; ++r) {
                vec4 t = sum[r];
                [[unroll]] for (uint i = 0u; i < KC; ++i) {
                    if (LAYOUT == TN) {
                        const uint quad = i * MQ + r / 4u;
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
                    c[e >> 2] = ACCUMULATE != 0u ? v + c[e >> 2] : v;
                }
            } else {
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (row && n + j < p.N) {
                        const float old = ACCUMULATE != 0u ? c[(e + j) >> 2][(e + j) & 3u] : 0.0;
                        STORE1(c, e + j, v[j] + old);
                    }
                }
            }
        }
        task += gl_NumWorkGroups.x;
        if (task >= tiles * p.batch) {
            break;
        }
    }
}
