// SPDX-License-Identifier: Apache-2.0
/* A part of a product to its launches. One does all, but where K is split, or where a residual
 * meets a kernel that adds none: then that launch leaves bare sums in scratch memory, and
 * matmul_finish adds them up, in order, and does the rest. */
#include "ops/matmul.h"

static uint64_t result_count(const vkd__matmul_part *q) {
    return vkd__matrix_bytes(1, q->push.M, q->push.N, q->push.batch);
}

static uint64_t result_bytes(const vkd__matmul *p, const vkd__matmul_part *q) {
    return p->out_bytes * result_count(q);
}

static vkd_tensor absent(void) {
    return (vkd_tensor){0};
}

/* `bare`: no epilogue, C goes to scratch memory. */
static void spec_shared(vkd__launch *launch, const vkd__node *n, const vkd__matmul_part *q,
                        bool bare) {
    const vkd__matmul *p = n->params;
    const uint32_t length_a = p->layout == TN ? q->push.row_a : p->K,
                   length_b = p->layout == NT ? p->K : p->N;
    vkd__spec(launch, 10, p->layout);
    vkd__spec(launch, 11, bare ? VKD_ACT_NONE : p->activation);
    vkd__spec(launch, 12, !bare && n->in[IN_BIAS].id);
    vkd__spec(launch, 13, !bare && q->accumulate);
    vkd__spec(launch, 14, length_a % 4 || q->push.stride_a % 4);
    vkd__spec(launch, 15, length_b % 4 || q->push.stride_b % 4);
    vkd__spec(launch, 16, p->N % 4 || q->push.stride_c % 4);
}

static void spec_half(vkd__launch *launch, vkd_dtype half, bool c) {
    vkd__spec(launch, 25, half == VKD_BF16);
    vkd__spec(launch, 26, c);
}

static void bind_c(vkd__launch *launch, const vkd__node *n, const vkd__matmul_part *q) {
    vkd__bind_window(launch, n->out[OUT_C], q->accumulate ? VKD__READ_WRITE : VKD__WRITE,
                     q->c_offset, result_bytes(n->params, q));
}

/* In f32, whatever C is. */
static void bind_residual(vkd__launch *launch, const vkd__node *n, const vkd__matmul_part *q) {
    if (n->in[IN_RESIDUAL].id)
        vkd__bind_window(launch, n->in[IN_RESIDUAL], VKD__READ,
                         q->c_offset / ((const vkd__matmul *)n->params)->out_bytes * 4,
                         4 * result_count(q));
    else
        vkd__bind(launch, absent(), VKD__READ);
}

/* What one launch leaves for the others; 0 where it is made at once. */
typedef struct leftover {
    bool c, sums;
    uint32_t scratch_c, scratch_sums;
} leftover;

typedef enum family { TILE, DIRECT, COOPMAT } kernel_family;

static bool launch_product(vkd__lower *l, const vkd__node *n, const vkd__matmul_part *q,
                           kernel_family family, const leftover *left) {
    const vkd__matmul *p = n->params;
    const struct vkd_matmul_params *push = &q->push;
    static const char *const kernels[][3] = {
        [TILE] = {"matmul", "matmul.half", "matmul.half"},
        [DIRECT] = {"matmul.direct", "matmul.direct.half", "matmul.direct.half"},
        [COOPMAT] = {NULL, "matmul.coopmat", "matmul.coopmat.bf16"}};
    const vkd_dtype half = vkd__half_of(l);
    const int type = half == VKD_F32 ? 0 : half == VKD_F16 ? 1 : 2;
    vkd__launch *launch = vkd__launch_add(l, q->sums ? "matmul.sum" : kernels[family][type]);
    if (!launch) return false;
    const uint32_t a_items = p->broadcast_a ? 1 : push->batch,
                   b_items = p->broadcast_b ? 1 : push->batch;
    const uint32_t rows_a = p->layout == TN ? push->row_a : push->M;
    vkd__bind_window(launch, n->in[IN_A], VKD__READ, q->a_offset,
                     vkd__matrix_bytes(p->in_bytes, rows_a, push->K, a_items));
    vkd__bind_window(launch, n->in[IN_B], VKD__READ, q->b_offset,
                     vkd__matrix_bytes(p->in_bytes, push->N, push->K, b_items));
    vkd__bind(launch, left->c ? absent() : n->in[IN_BIAS], VKD__READ);
    if (left->c)
        vkd__bind_scratch(launch, left->scratch_c, VKD__WRITE);
    else
        bind_c(launch, n, q);
    spec_shared(launch, n, q, left->c);
    if (half != VKD_F32) spec_half(launch, half, !left->c && vkd__is_half(p->result));
    if (family == DIRECT) {
        vkd__matmul_size_direct(l, launch, p->layout, q);
    } else {
        if (left->c)
            vkd__bind(launch, absent(), VKD__READ);
        else
            bind_residual(launch, n, q);
        if (left->sums)
            vkd__bind_scratch(launch, left->scratch_sums, VKD__WRITE);
        else if (q->sums)
            vkd__bind(launch, n->out[OUT_SUM], VKD__WRITE);
        vkd__spec(launch, 20, !left->c && n->in[IN_RESIDUAL].id);
        if (q->sums) vkd__spec(launch, 21, p->sum);
        if (family == COOPMAT)
            vkd__matmul_size_coopmat(l, launch, q);
        else
            vkd__matmul_size_tile(l, launch, q);
    }
    vkd__push(launch, push, sizeof *push);
    const double mnk = (double)push->M * push->N * push->K * push->batch;
    vkd__cost(launch, 2 * mnk,
              (double)(vkd__matrix_bytes(p->in_bytes, push->M, push->K, a_items) +
                       vkd__matrix_bytes(p->in_bytes, push->N, push->K, b_items) +
                       result_bytes(p, q) * push->splits));
    return true;
}

/* Adds partial results of `count` elements: with everything that belongs to C, or bare sums. */
static vkd__launch *launch_finish(vkd__lower *l, uint32_t scratch, uint64_t count, uint32_t N,
                                  uint32_t splits) {
    const bool texels = vkd__div_up(count * splits, 4) <= l->profile->max_texels;
    vkd__launch *launch = vkd__launch_add(
        l, texels && vkd__direct(l, "matmul_finish") ? "matmul_finish.direct" : "matmul_finish");
    if (!launch) return NULL;
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__spec(launch, 14, N % 4 != 0);
    vkd__spec(launch, 15, count % 4 != 0 && splits > 1);
    vkd__grid(l, launch, vkd__div_up(vkd__div_up(count, 4), l->profile->flat_workgroup));
    const struct vkd_matmul_finish_params push = {(vkd_u32)count, N, splits};
    vkd__push(launch, &push, sizeof push);
    vkd__cost(launch, (double)count * splits, 4.0 * (double)count * (splits + 1));
    return launch;
}

static bool finish_c(vkd__lower *l, const vkd__node *n, const vkd__matmul_part *q,
                     uint32_t scratch) {
    const vkd__matmul *p = n->params;
    const uint64_t count = result_count(q);
    vkd__launch *launch = launch_finish(l, scratch, count, q->push.N, q->push.splits);
    if (!launch) return false;
    vkd__bind(launch, n->in[IN_BIAS], VKD__READ);
    bind_residual(launch, n, q);
    bind_c(launch, n, q);
    vkd__spec(launch, 10, p->activation);
    vkd__spec(launch, 11, n->in[IN_BIAS].id != 0);
    vkd__spec(launch, 12, n->in[IN_RESIDUAL].id != 0);
    vkd__spec(launch, 13, q->accumulate);
    if (vkd__is_half(p->result)) spec_half(launch, p->result, true);
    return true;
}

bool vkd__matmul_add_splits(vkd__lower *l, uint32_t scratch, uint64_t count, uint32_t splits,
                            vkd_tensor out, bool accumulate) {
    vkd__launch *launch = launch_finish(l, scratch, count, (uint32_t)count, splits);
    if (!launch) return false;
    vkd__bind(launch, absent(), VKD__READ);
    vkd__bind(launch, absent(), VKD__READ);
    vkd__bind(launch, out, accumulate ? VKD__READ_WRITE : VKD__WRITE);
    if (accumulate) vkd__spec(launch, 13, 1);
    return true;
}

bool vkd__matmul_launch(vkd__lower *l, const vkd__node *n, const vkd__matmul_part *part,
                        bool direct) {
    const vkd__matmul *p = n->params;
    vkd__matmul_part q = *part;
    q.push.splits = 1;
    q.push.chunk = q.push.K;
    const kernel_family family = direct ? DIRECT : vkd__matmul_coopmat(l, &q) ? COOPMAT : TILE;
    if (!direct) vkd__matmul_split(l, &q, family == COOPMAT);
    /* A window of one matrix sets no stride; its splits lie one behind the other all the same. */
    if (q.push.splits > 1) q.push.stride_c = q.push.M * q.push.N;
    leftover left = {.c = q.push.splits > 1 || (direct && n->in[IN_RESIDUAL].id),
                     .sums = q.push.splits > 1 && q.sums};
    const uint32_t sums = p->sum == VKD__SUM_A ? q.push.M : q.push.N;
    if (left.c) left.scratch_c = vkd__scratch_add(l, 4 * result_count(&q) * q.push.splits);
    if (left.sums) left.scratch_sums = vkd__scratch_add(l, 4ull * sums * q.push.splits);
    if (!launch_product(l, n, &q, family, &left)) return false;
    if (left.c && !finish_c(l, n, &q, left.scratch_c)) return false;
    return !left.sums || vkd__matmul_add_splits(l, left.scratch_sums, sums, q.push.splits,
                                                n->out[OUT_SUM], false);
}
