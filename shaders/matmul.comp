// SPDX-License-Identifier: Apache-2.0
// C[b] = act(A[b] B[b] + bias) (+ C[b]), C (M,N) row-major: the kernel for GPUs.
// A workgroup computes a TILE_M x TILE_N tile of C. It walks K in steps of TILE_K through shared memory,
// where both operands lie k by k; an invocation owns THREAD_M x THREAD_N elements, in quads that lie
// apart so that neighbours read neighbouring words. The sum over K runs in order: results repeat.
#version 450
#extension GL_GOOGLE_include_directive : require
#extension GL_EXT_control_flow_attributes : require
#define VKD_GLSL
#include "params.h"
#include "lib/io.glsl"

// The host sets LOCAL_X = (TILE_M / THREAD_M) * (TILE_N / THREAD_N). All five sizes are multiples of four.
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

#include "lib/activation.glsl"

layout(push_constant) uniform Params { vkd_matmul_params p; };
VKD_IN(0, a);    // (M,K) or (K,row_a), batch items stride_a apart
VKD_IN(1, b);    // (K,N) or (N,K)
VKD_IN(2, bias); // (N)
VKD_INOUT(3, c); // (M,N)

const uint NT = 1;
const uint TN = 2;
const bool A_K_CONTIGUOUS = LAYOUT != TN;
const bool B_K_CONTIGUOUS = LAYOUT == NT;

// One quad of padding a row spreads the transposing stores over the banks.
const uint A_STRIDE = TILE_M / 4u + 1u;
const uint B_STRIDE = TILE_N / 4u + 1u;
shared vec4 a_tile[TILE_K * A_STRIDE]; // (TILE_K, TILE_M)
shared vec4 b_tile[TILE_K * B_STRIDE]; // (TILE_K, TILE_N)

// The next step's operands wait in registers while the current step computes. A shifted operand is
// fetched float by float, so that neighbours still read neighbouring addresses.
const uint A_QUADS = (TILE_M * TILE_K / 4u + LOCAL_X - 1u) / LOCAL_X;
const uint B_QUADS = (TILE_N * TILE_K / 4u + LOCAL_X - 1u) / LOCAL_X;
vec4 a_next[A_QUADS];
vec4 b_next[B_QUADS];

// Splits a number that counts along rows of `length` into (row, position).
uvec2 split(uint i, uint length) {
    return uvec2(i / length, i % length);
}

void fetch_a(uint item, uint m0, uint k0) {
    const uint line = A_K_CONTIGUOUS ? TILE_K : TILE_M;
    const uvec2 origin = A_K_CONTIGUOUS ? uvec2(m0, k0) : uvec2(k0, m0);
    const uvec2 size = A_K_CONTIGUOUS ? uvec2(p.M, p.K) : uvec2(p.K, p.M);
    const uint row = A_K_CONTIGUOUS ? p.K : p.row_a;
    if (!A_K_CONTIGUOUS) item += p.first_a;
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        const uint slot = i * LOCAL_X + gl_LocalInvocationID.x;
        vec4 v = vec4(0.0);
        if (A_SHIFTED == 0u) {
            const uvec2 at = origin + split(slot, line / 4u) * uvec2(1u, 4u);
            if (at.x < size.x && at.y < size.y) {
                v = LOAD4(a, (item + at.x * row + at.y) >> 2);
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = origin + split((i * 4u + j) * LOCAL_X + gl_LocalInvocationID.x, line);
                const uint e = item + at.x * row + at.y;
                if (at.x < size.x && at.y < size.y) {
                    v[j] = LOAD1(a, e);
                }
            }
        }
        a_next[i] = v;
    }
}

void fetch_b(uint item, uint n0, uint k0) {
    const uint line = B_K_CONTIGUOUS ? TILE_K : TILE_N;
    const uvec2 origin = B_K_CONTIGUOUS ? uvec2(n0, k0) : uvec2(k0, n0);
    const uvec2 size = B_K_CONTIGUOUS ? uvec2(p.N, p.K) : uvec2(p.K, p.N);
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        const uint slot = i * LOCAL_X + gl_LocalInvocationID.x;
        vec4 v = vec4(0.0);
        if (B_SHIFTED == 0u) {
            const uvec2 at = origin + split(slot, line / 4u) * uvec2(1u, 4u);
            if (at.x < size.x && at.y < size.y) {
                v = LOAD4(b, (item + at.x * size.y + at.y) >> 2);
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = origin + split((i * 4u + j) * LOCAL_X + gl_LocalInvocationID.x, line);
                const uint e = item + at.x * size.y + at.y;
                if (at.x < size.x && at.y < size.y) {
                    v[j] = LOAD1(b, e);
                }
            }
        }
        b_next[i] = v;
    }
}

void put_a() {
    const uint line = A_K_CONTIGUOUS ? TILE_K : TILE_M;
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        const uint slot = i * LOCAL_X + gl_LocalInvocationID.x;
        if (A_SHIFTED == 0u && !A_K_CONTIGUOUS) {
            const uvec2 at = split(slot, line / 4u);
            if (at.x < TILE_K) {
                a_tile[at.x * A_STRIDE + at.y] = a_next[i];
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = A_SHIFTED == 0u
                                     ? split(slot, line / 4u) * uvec2(1u, 4u) + uvec2(0u, j)
                                     : split((i * 4u + j) * LOCAL_X + gl_LocalInvocationID.x, line);
                const uint k = A_K_CONTIGUOUS ? at.y : at.x;
                const uint m = A_K_CONTIGUOUS ? at.x : at.y;
                if (k < TILE_K && m < TILE_M) {
                    a_tile[k * A_STRIDE + m / 4u][m % 4u] = a_next[i][j];
                }
            }
        }
    }
}

void put_b() {
    const uint line = B_K_CONTIGUOUS ? TILE_K : TILE_N;
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        const uint slot = i * LOCAL_X + gl_LocalInvocationID.x;
        if (B_SHIFTED == 0u && !B_K_CONTIGUOUS) {
            const uvec2 at = split(slot, line / 4u);
            if (at.x < TILE_K) {
                b_tile[at.x * B_STRIDE + at.y] = b_next[i];
            }
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = B_SHIFTED == 0u
                                     ? split(slot, line / 4u) * uvec2(1u, 4u) + uvec2(0u, j)
                                     : split((i * 4u + j) * LOCAL_X + gl_LocalInvocationID.x, line);
                const uint k = B_K_CONTIGUOUS ? at.y : at.x;
                const uint n = B_K_CONTIGUOUS ? at.x : at.y;
                if (k < TILE_K && n < TILE_N) {
                    b_tile[k * B_STRIDE + n / 4u][n % 4u] = b_next[i][j];
                }
            }
        }
    }
}

const uint THREADS_M = TILE_M / THREAD_M;
const uint THREADS_N = TILE_N / THREAD_N;
const uint QUADS_M = THREAD_M / 4u;
const uint QUADS_N = THREAD_N / 4u;
vec4 acc[THREAD_M * QUADS_N];

void store_tile(uint item, uint m0, uint n0, uint tm, uint tn) {
    [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
        const uint n = n0 + (q * THREADS_N + tn) * 4u;
        if (n >= p.N) {
            continue;
        }
        const vec4 shift = HAS_BIAS != 0u ? LOAD4(bias, n >> 2) : vec4(0.0);
        [[unroll]] for (uint i = 0u; i < THREAD_M; ++i) {
            const uint m = m0 + ((i / 4u) * THREADS_M + tm) * 4u + i % 4u;
            if (m >= p.M) {
                continue;
            }
            const uint e = item + m * p.N + n;
            const vec4 v = act(ACTIVATION, acc[i * QUADS_N + q] + shift);
            if (C_SHIFTED == 0u) {
                c[e >> 2] = ACCUMULATE != 0u ? v + c[e >> 2] : v;
            } else {
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    if (n + j < p.N) {
                        const float old = ACCUMULATE != 0u ? c[(e + j) >> 2][(e + j) & 3u] : 0.0;
                        STORE1(c, e + j, v[j] + old);
                    }
                }
            }
        }
    }
}

void compute_tile(uint item, uint m0, uint n0) {
    const uint tm = gl_LocalInvocationID.x / THREADS_N;
    const uint tn = gl_LocalInvocationID.x % THREADS_N;
    [[unroll]] for (uint i = 0u; i < THREAD_M * QUADS_N; ++i) {
        acc[i] = vec4(0.0);
    }
    fetch_a(item * p.stride_a, m0, 0u);
    fetch_b(item * p.stride_b, n0, 0u);
    for (uint k0 = 0u; k0 < p.K; k0 += TILE_K) {
        barrier(); // everyone has read the previous step
        put_a();
        put_b();
        barrier();
        if (k0 + TILE_K < p.K) {
            fetch_a(item * p.stride_a, m0, k0 + TILE_K);
            fetch_b(item * p.stride_b, n0, k0 + TILE_K);
        }
        for (uint k = 0u; k < TILE_K; ++k) {
            vec4 bq[QUADS_N];
            [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
                bq[q] = b_tile[k * B_STRIDE + q * THREADS_N + tn];
            }
            [[unroll]] for (uint i = 0u; i < QUADS_M; ++i) {
                const vec4 aq = a_tile[k * A_STRIDE + i * THREADS_M + tm];
                [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                    [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
                        acc[(i * 4u + j) * QUADS_N + q] += aq[j] * bq[q];
                    }
                }
            }
        }
    }
    store_tile(item * p.stride_c, m0, n0, tm, tn);
}

// The loops let a grid that the device limits cover any number of tiles; they are uniform in a workgroup.
void main() {
    for (uint item = gl_WorkGroupID.z; item < p.batch; item += gl_NumWorkGroups.z) {
        for (uint m0 = gl_WorkGroupID.y * TILE_M; m0 < p.M; m0 += gl_NumWorkGroups.y * TILE_M) {
            for (uint n0 = gl_WorkGroupID.x * TILE_N; n0 < p.N; n0 += gl_NumWorkGroups.x * TILE_N) {
                compute_tile(item, m0, n0);
            }
        }
    }
}
