// SPDX-License-Identifier: Apache-2.0
/* A product to launches: parts where the device cannot bind all at once. */
#include "ops/matmul.h"

/* So many rows of whole elements lie at a multiple of 256 bytes, whatever their length. */
static uint64_t whole_rows(uint64_t rows, uint64_t all) {
    return rows < all ? rows / 128 * 128 : rows;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool refuse(vkd__lower *l, const vkd__matmul *p) {
    return vkd__lower_fail(l, VKD_E_SHAPE,
                           "a product of %u x %u x %u cannot be cut to fit into bindings of %llu "
                           "bytes, the most on this device; make the batch or the layer smaller",
                           p->M, p->N, p->K, (unsigned long long)l->profile->max_binding);
}

/* What an input binding may hold: the direct kernel reads through texel buffers. */
static bool too_long(const vkd__lower *l, const vkd__matmul *p, uint64_t bytes, bool direct) {
    return bytes > (direct ? 4ull * p->in_bytes * l->profile->max_texels : l->profile->max_binding);
}

/* Of an element of C and of the residual, which is f32. */
static uint32_t result_size(const vkd__node *n) {
    return n->in[IN_RESIDUAL].id ? 4 : ((const vkd__matmul *)n->params)->out_bytes;
}

static bool too_large(const vkd__lower *l, const vkd__node *n, bool direct) {
    const vkd__matmul *p = n->params;
    return too_long(l, p, vkd__matrix_bytes(p->in_bytes, p->M, p->K, p->broadcast_a ? 1 : p->batch),
                    direct) ||
           too_long(l, p, vkd__matrix_bytes(p->in_bytes, p->N, p->K, p->broadcast_b ? 1 : p->batch),
                    direct) ||
           vkd__matrix_bytes(result_size(n), p->M, p->N, p->batch) > l->profile->max_binding;
}

/* Items of a batch that one launch may take: each item's matrices begin where a binding may. */
static bool lower_items(vkd__lower *l, const vkd__node *n, bool direct) {
    const vkd__matmul *p = n->params;
    const uint64_t a = p->broadcast_a ? 0 : vkd__matrix_bytes(p->in_bytes, p->M, p->K, 1);
    const uint64_t b = p->broadcast_b ? 0 : vkd__matrix_bytes(p->in_bytes, p->N, p->K, 1);
    const uint64_t c = vkd__matrix_bytes(p->out_bytes, p->M, p->N, 1);
    uint64_t items = vkd__window_rows(l->profile, c / p->out_bytes * result_size(n), p->batch);
    if (a) items = smaller(items, vkd__window_rows(l->profile, a, p->batch));
    if (b) items = smaller(items, vkd__window_rows(l->profile, b, p->batch));
    items = whole_rows(items, p->batch); /* the windows of all three begin aligned */
    if (!items || (!a && too_long(l, p, vkd__matrix_bytes(p->in_bytes, p->M, p->K, 1), direct)) ||
        (!b && too_long(l, p, vkd__matrix_bytes(p->in_bytes, p->N, p->K, 1), direct)))
        return refuse(l, p);
    for (uint64_t at = 0; at < p->batch; at += items) {
        const vkd__matmul_part q = {.push = {.M = p->M,
                                             .N = p->N,
                                             .K = p->K,
                                             .batch = (uint32_t)smaller(items, p->batch - at),
                                             .stride_a = (uint32_t)(a / p->in_bytes),
                                             .stride_b = (uint32_t)(b / p->in_bytes),
                                             .stride_c = (uint32_t)(c / p->out_bytes),
                                             .row_a = p->M},
                                    .a_offset = at * a,
                                    .b_offset = at * b,
                                    .c_offset = at * c};
        if (!vkd__matmul_launch(l, n, &q, direct)) return false;
    }
    return true;
}

/* One large NN or NT product: runs of rows of C and of A. */
static bool lower_rows(vkd__lower *l, const vkd__node *n, bool direct) {
    const vkd__matmul *p = n->params;
    const uint64_t a_row = (uint64_t)p->in_bytes * p->K, c_row = (uint64_t)p->out_bytes * p->N;
    uint64_t rows = smaller(vkd__window_rows(l->profile, a_row, p->M),
                            vkd__window_rows(l->profile, (uint64_t)result_size(n) * p->N, p->M));
    rows = whole_rows(rows, p->M);
    if (!rows || too_long(l, p, vkd__matrix_bytes(p->in_bytes, p->N, p->K, 1), direct))
        return refuse(l, p);
    for (uint64_t at = 0; at < p->M; at += rows) {
        const vkd__matmul_part q = {
            .push = {.M = (uint32_t)smaller(rows, p->M - at), .N = p->N, .K = p->K, .batch = 1},
            .a_offset = at * a_row,
            .c_offset = at * c_row};
        if (!vkd__matmul_launch(l, n, &q, direct)) return false;
    }
    return true;
}

/* One large TN product, a weight's gradient: runs of rows of C, which are columns of A; for each,
 * runs of K, added up in order. */
static bool lower_columns(vkd__lower *l, const vkd__node *n, bool direct) {
    const vkd__matmul *p = n->params;
    const uint64_t a_row = (uint64_t)p->in_bytes * p->M, b_row = (uint64_t)p->in_bytes * p->N;
    const uint64_t c_row = (uint64_t)p->out_bytes * p->N;
    uint64_t rows = vkd__window_rows(l->profile, (uint64_t)result_size(n) * p->N, p->M);
    uint64_t depth = smaller(vkd__window_rows(l->profile, a_row, p->K),
                             vkd__window_rows(l->profile, b_row, p->K));
    rows = whole_rows(rows, p->M);
    depth = whole_rows(depth, p->K);
    /* Partial sums can be added up, but not through an activation or a rounding, and what is added
     * belongs in once.
     */
    const bool split = depth < p->K && (p->activation || n->in[IN_BIAS].id ||
                                        n->in[IN_RESIDUAL].id || vkd__is_half(p->result));
    if (!rows || !depth || split) return refuse(l, p);
    for (uint64_t m = 0; m < p->M; m += rows) {
        for (uint64_t k = 0; k < p->K; k += depth) {
            const vkd__matmul_part q = {.push = {.M = (uint32_t)smaller(rows, p->M - m),
                                                 .N = p->N,
                                                 .K = (uint32_t)smaller(depth, p->K - k),
                                                 .batch = 1,
                                                 .row_a = p->M,
                                                 .first_a = (uint32_t)m},
                                        .a_offset = k * a_row,
                                        .b_offset = k * b_row,
                                        .c_offset = m * c_row,
                                        .accumulate = k > 0};
            if (!vkd__matmul_launch(l, n, &q, direct)) return false;
        }
    }
    return true;
}

/* The second output by a launch of its own. */
static bool sum_apart(vkd__lower *l, const vkd__node *n) {
    const vkd__matmul *p = n->params;
    if (!p->sum) return true;
    const uint32_t columns = p->sum == VKD__SUM_A ? p->M : p->N;
    return vkd__sum_rows(l, n->in[p->sum == VKD__SUM_A ? IN_A : IN_B], n->out[OUT_SUM], p->K,
                         columns);
}

bool vkd__matmul_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__matmul *p = n->params;
    const bool direct = vkd__direct(l, "matmul");
    const vkd__matmul_part all = {.push = {.M = p->M,
                                           .N = p->N,
                                           .K = p->K,
                                           .batch = p->batch,
                                           .stride_a = p->broadcast_a ? 0 : p->M * p->K,
                                           .stride_b = p->broadcast_b ? 0 : p->N * p->K,
                                           .stride_c = p->M * p->N,
                                           .row_a = p->M},
                                  .sums = p->sum && !direct};
    if (!too_large(l, n, direct)) {
        if (!vkd__matmul_launch(l, n, &all, direct)) return false;
        return all.sums || sum_apart(l, n);
    }
    if (!sum_apart(l, n)) return false;
    if (p->batch > 1) return lower_items(l, n, direct);
    return p->layout == TN ? lower_columns(l, n, direct) : lower_rows(l, n, direct);
}
