// SPDX-License-Identifier: Apache-2.0
// What products through shared memory share. A workgroup computes a TILE_M x TILE_N tile, walking K in
// steps of TILE_K; both operands lie in shared memory k by k. An invocation owns THREAD_M x THREAD_N
// elements, in quads that lie apart so that neighbours read neighbouring words.
//
// Before including, declare the constants LOCAL_X, TILE_M, TILE_N, TILE_K, THREAD_M and THREAD_N, and for both
// operands whether K is contiguous in memory (A_K_CONTIGUOUS) and whether it is dealt out float by float, as
// where its rows begin anywhere, and not quad by quad (A_BY_FLOAT). The host sets LOCAL_X = (TILE_M / THREAD_M) *
// (TILE_N / THREAD_N). vkd__tile_fits says what the sizes keep to, so that each invocation moves whole quads,
// and as many as any other.

// Row k of a tile begins at quad k * TILE / 4, plus one quad of padding for every TILE_K / 8 rows. TILE is
// a multiple of 32 words, the number of banks, so only the padding spreads what lies in different rows:
// - a transposing store (K contiguous in memory, 16-byte loads): invocation i stores float j of quad
//   (m, kq) = (i / (TILE_K/4), i % (TILE_K/4)) at row 4 kq + j, so 32 of them reach TILE_K/4 rows that are
//   four apart, and 128/TILE_K neighbouring m. Four rows of padding are 128/TILE_K words: as wide as those
//   m, so all 32 banks are met once.
// - the same, shifted: 32 floats along k, at most 32 rows. The padding shifts by quads, so there are eight
//   places and two to four of them meet: the price of ragged rows.
// - not transposing (M contiguous): neighbours store neighbouring quads or floats, no conflict.
// - reads: one row, where invocations read neighbouring quads of B and few different ones of A, which
//   the others share. No conflict.
const uint PAD_ROWS = TILE_K / 8u;
const uint A_ROW = TILE_M / 4u; // quads
const uint B_ROW = TILE_N / 4u;
shared vec4 a_tile[TILE_K * A_ROW + 8u]; // (TILE_K, TILE_M)
shared vec4 b_tile[TILE_K * B_ROW + 8u]; // (TILE_K, TILE_N)
uint a_row(uint k) {
    return k * A_ROW + k / PAD_ROWS;
}
uint b_row(uint k) {
    return k * B_ROW + k / PAD_ROWS;
}

// The next step's operands wait in registers while the current step computes.
const uint A_QUADS = TILE_M * TILE_K / 4u / LOCAL_X;
const uint B_QUADS = TILE_N * TILE_K / 4u / LOCAL_X;
vec4 a_next[A_QUADS];
vec4 b_next[B_QUADS];

// A tile of an operand in memory is lines: (TILE_M, TILE_K), or transposed (TILE_K, TILE_M). Where this
// invocation's i-th quad lies in it: (line, position). Floats are dealt out one by one, so that neighbours
// read neighbouring addresses. LOCAL_X is a multiple of a line, so the position is the same for every i, and
// all addresses follow from the first.
uvec2 quad_at(uint i, uint line) {
    const uint quads = line / 4u;
    return uvec2(gl_LocalInvocationID.x / quads + i * (LOCAL_X / quads),
                 gl_LocalInvocationID.x % quads * 4u);
}
uvec2 float_at(uint i, uint line) {
    return uvec2(gl_LocalInvocationID.x / line + i * (LOCAL_X / line), gl_LocalInvocationID.x % line);
}

const uint A_LINE = A_K_CONTIGUOUS ? TILE_K : TILE_M;
const uint B_LINE = B_K_CONTIGUOUS ? TILE_K : TILE_N;

void put_a() {
    [[unroll]] for (uint i = 0u; i < A_QUADS; ++i) {
        const uvec2 quad = quad_at(i, A_LINE);
        if (!A_BY_FLOAT && !A_K_CONTIGUOUS) {
            a_tile[a_row(quad.x) + quad.y / 4u] = a_next[i];
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = A_BY_FLOAT ? float_at(i * 4u + j, A_LINE) : quad + uvec2(0u, j);
                const uint k = A_K_CONTIGUOUS ? at.y : at.x;
                const uint m = A_K_CONTIGUOUS ? at.x : at.y;
                a_tile[a_row(k) + m / 4u][m % 4u] = a_next[i][j];
            }
        }
    }
}

void put_b() {
    [[unroll]] for (uint i = 0u; i < B_QUADS; ++i) {
        const uvec2 quad = quad_at(i, B_LINE);
        if (!B_BY_FLOAT && !B_K_CONTIGUOUS) {
            b_tile[b_row(quad.x) + quad.y / 4u] = b_next[i];
        } else {
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                const uvec2 at = B_BY_FLOAT ? float_at(i * 4u + j, B_LINE) : quad + uvec2(0u, j);
                const uint k = B_K_CONTIGUOUS ? at.y : at.x;
                const uint n = B_K_CONTIGUOUS ? at.x : at.y;
                b_tile[b_row(k) + n / 4u][n % 4u] = b_next[i][j];
            }
        }
    }
}

const uint THREADS_M = TILE_M / THREAD_M;
const uint THREADS_N = TILE_N / THREAD_N;
const uint QUADS_M = THREAD_M / 4u;
const uint QUADS_N = THREAD_N / 4u;
vec4 acc[THREAD_M * QUADS_N];

// Where acc[i * QUADS_N + q] lies in the tile.
uint row_of(uint i) {
    return ((i / 4u) * THREADS_M + gl_LocalInvocationID.x / THREADS_N) * 4u + i % 4u;
}
uint column_of(uint q) {
    return (q * THREADS_N + gl_LocalInvocationID.x % THREADS_N) * 4u;
}

void clear() {
    [[unroll]] for (uint i = 0u; i < THREAD_M * QUADS_N; ++i) {
        acc[i] = vec4(0.0);
    }
}

// Four rows of the tile: all their reads are one address and constants.
void multiply(uint a_at, uint b_at) {
    [[unroll]] for (uint k = 0u; k < 4u; ++k) {
        vec4 bq[QUADS_N];
        [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
            bq[q] = b_tile[b_at + b_row(k) + q * THREADS_N];
        }
        [[unroll]] for (uint i = 0u; i < QUADS_M; ++i) {
            const vec4 aq = a_tile[a_at + a_row(k) + i * THREADS_M];
            [[unroll]] for (uint j = 0u; j < 4u; ++j) {
                [[unroll]] for (uint q = 0u; q < QUADS_N; ++q) {
                    acc[(i * 4u + j) * QUADS_N + q] += aq[j] * bq[q];
                }
            }
        }
    }
}

void multiply_tile() {
    const uint tm = gl_LocalInvocationID.x / THREADS_N, tn = gl_LocalInvocationID.x % THREADS_N;
    for (uint k = 0u; k < TILE_K; k += 4u) {
        multiply(a_row(k) + tm, b_row(k) + tn);
    }
}
