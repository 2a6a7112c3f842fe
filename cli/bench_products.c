// SPDX-License-Identifier: Apache-2.0
/* What the rows on products of matrices build: m x k by k x n, `batch` of them. */
#include "cli/bench.h"

/* Matrices of rows x columns. */
static vkd_tensor operand(vkd_graph *g, const char *name, const bench_row *r, uint32_t rows,
                          uint32_t columns) {
    const vkd_shape one = VKD_SHAPE(rows, columns), all = VKD_SHAPE(r->batch, rows, columns);
    return bench_normal(g, name, r->batch > 1 ? all : one);
}

void bench_build_nn(vkd_graph *g, const bench_row *r) {
    const vkd_tensor a = operand(g, "b.a", r, r->m, r->k), b = operand(g, "b.b", r, r->k, r->n);
    bench_keep(g, "y", vkd_matmul(g, a, b, NULL));
}

void bench_build_nt(vkd_graph *g, const bench_row *r) {
    const vkd_tensor a = operand(g, "b.a", r, r->m, r->k), b = operand(g, "b.b", r, r->n, r->k);
    bench_keep(g, "y", vkd_matmul(g, a, b, &(vkd_matmul_desc){.transpose_b = true}));
}

void bench_build_tn(vkd_graph *g, const bench_row *r) {
    const vkd_tensor a = operand(g, "b.a", r, r->k, r->m), b = operand(g, "b.b", r, r->k, r->n);
    bench_keep(g, "y", vkd_matmul(g, a, b, &(vkd_matmul_desc){.transpose_a = true}));
}
