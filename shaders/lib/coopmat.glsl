// SPDX-License-Identifier: Apache-2.0
// Matrices that a subgroup holds together, of the shape COOP_M x COOP_N x COOP_K: MATRIX_A and MATRIX_B of 16
// bits, MATRIX_C of f32. They are loaded from and stored to `memory`, an array of uvec2 that is declared
// before; elements and strides count uvec2. A is row-major and B column-major there: K is contiguous in both.
//
// With VKD_EMULATED the same in plain GLSL, for drivers without cooperative matrices: A and B are where they lie,
// and of C an invocation keeps every SUBGROUP-th element. Tests run the kernel's own logic with it.
#ifdef VKD_EMULATED

// A driver must not unroll: it would compile for minutes. So it is kept from knowing how often a loop runs.
#define UNROLL
#define TIMES(count) (p.batch != 0u ? (count) : 0u)

struct MATRIX_A {
    uint at, stride;
};
#define MATRIX_B MATRIX_A
struct MATRIX_C {
    float e[COOP_M * COOP_N / SUBGROUP];
};

#define LOAD_A(x, first, apart)                                                                    \
    x.at = first;                                                                                  \
    x.stride = apart
#define LOAD_B(x, first, apart) LOAD_A(x, first, apart)

#define FOR_EACH(e) for (uint e = 0u; e < TIMES(COOP_M * COOP_N / SUBGROUP); ++e)
#define CLEAR_C(x) FOR_EACH(e_) x.e[e_] = 0.0
#define MULTIPLY_ADD(a, b, c)                                                                      \
    FOR_EACH(e_) {                                                                                 \
        const uint i_ = e_ * SUBGROUP + gl_SubgroupInvocationID;                                   \
        const uint a_ = a.at + i_ / COOP_N * a.stride, b_ = b.at + i_ % COOP_N * b.stride;         \
        for (uint k_ = 0u; k_ < TIMES(COOP_K / 4u); ++k_) {                                        \
            c.e[e_] += dot(unpack4(memory[a_ + k_]), unpack4(memory[b_ + k_]));                    \
        }                                                                                          \
    }
#define STORE_C(x, first, apart)                                                                   \
    FOR_EACH(e_) {                                                                                 \
        const uint i_ = e_ * SUBGROUP + gl_SubgroupInvocationID, n_ = i_ % COOP_N;                 \
        memory[(first) + i_ / COOP_N * (apart) + n_ / 2u][n_ % 2u] = floatBitsToUint(x.e[e_]);     \
    }

#else

#define UNROLL [[unroll]]
#define TIMES(count) (count)
#ifdef VKD_BF16
#define COOP_HALF bfloat16_t
#else
#define COOP_HALF float16_t
#endif
#define MATRIX_A coopmat<COOP_HALF, gl_ScopeSubgroup, COOP_M, COOP_K, gl_MatrixUseA>
#define MATRIX_B coopmat<COOP_HALF, gl_ScopeSubgroup, COOP_K, COOP_N, gl_MatrixUseB>
#define MATRIX_C coopmat<float, gl_ScopeSubgroup, COOP_M, COOP_N, gl_MatrixUseAccumulator>
#define LOAD_A(x, at, stride) coopMatLoad(x, memory, at, stride, gl_CooperativeMatrixLayoutRowMajor)
#define LOAD_B(x, at, stride) coopMatLoad(x, memory, at, stride, gl_CooperativeMatrixLayoutColumnMajor)
#define CLEAR_C(x) x = MATRIX_C(0.0)
#define MULTIPLY_ADD(a, b, c) c = coopMatMulAdd(a, b, c)
#define STORE_C(x, at, stride) coopMatStore(x, memory, at, stride, gl_CooperativeMatrixLayoutRowMajor)

#endif
