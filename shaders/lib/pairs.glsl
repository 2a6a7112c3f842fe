// SPDX-License-Identifier: Apache-2.0
// What kernels over all pairs of N rows share. Matrices (N, N) have rows of p.stride elements: in scratch
// memory a multiple of four, with zeros behind the N-th, so that whole quads are read and written; a tensor
// has N. Included after io.glsl and row.glsl, which gives rows of x as quads; runtime/ops/pairs.h is the
// host's half.

layout(push_constant) uniform Params { vkd_pairs_params p; };

// What two distinct rows are apart at least: the gradient of a distance ends there. Park et al. take the
// root of max(squared distance, 1e-12).
const float PAIR_NEAREST = 1e-6;

uint pair_quads() {
    return (p.N + 3u) / 4u;
}
// The elements of quad q of a row that are there.
bvec4 pair_inside(uint q) {
    return lessThan(4u * q + uvec4(0, 1, 2, 3), uvec4(p.N));
}
// Block row and, not below it, block column of number t among the edge * (edge + 1) / 2 blocks of the upper
// triangle: what is symmetric is computed there. Rows of blocks are folded, the first with the last, so that
// each such pair has edge + 1 of them.
uvec2 pair_block(uint t, uint edge) {
    const uint row = t / (edge + 1u), column = t - row * (edge + 1u);
    if (column < edge - row) return uvec2(row, row + column);
    const uint other = edge - 1u - row;
    return uvec2(other, other + column - (edge - row));
}
#define PAIR_LOAD(from, i, q) LOAD4(from, (i) * (p.stride / 4u) + (q))
// Element (i, j) of a matrix of any stride.
#define PAIR_LOAD1(from, i, j) LOAD1(from, (i) * p.stride + (j))
#define PAIR_STORE(to, i, q, value)                                                                \
    {                                                                                              \
        const vec4 pair_value = value;                                                             \
        const uint pair_at = (i) * p.stride + 4u * (q);                                            \
        if (p.stride % 4u == 0u) {                                                                 \
            to[pair_at >> 2] = pair_value;                                                         \
        } else {                                                                                   \
            const uint pair_end = p.N - 4u * (q);                                                  \
            STORE1(to, pair_at, pair_value.x);                                                     \
            if (pair_end > 1u) STORE1(to, pair_at + 1u, pair_value.y);                             \
            if (pair_end > 2u) STORE1(to, pair_at + 2u, pair_value.z);                             \
            if (pair_end > 3u) STORE1(to, pair_at + 3u, pair_value.w);                             \
        }                                                                                          \
    }
