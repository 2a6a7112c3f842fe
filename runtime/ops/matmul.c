// SPDX-License-Identifier: Apache-2.0
/* matmul: C[b] = f(op(A[b]) op(B[b]) + bias), for a batch of row-major matrices.
 *
 *   layout  A       B       C = f(Z)         dA            dB
 *   NN      (M,K)   (K,N)   Z = A B          dZ B^T (NT)   A^T dZ (TN)
 *   NT      (M,K)   (N,K)   Z = A B^T        dZ B   (NN)   dZ^T A (TN)
 *   TN      (K,M)   (K,N)   Z = A^T B        B dZ^T (NT)   A dZ   (NN)
 *
 * with dZ = dC f'(Z), and dbias the sum of dZ over rows and batch: each gradient is one of the
 * three layouts again, so no transposed copy is ever made. f is fused only where its derivative
 * follows from the result C; gelu and silu, which need Z, are fused where no gradient is asked for.
 *
 * Two kernels: matmul (shared-memory tiles, for GPUs) and matmul.direct (registers, texel fetches
 * and shuffles, for CPU devices). */
#include <string.h>

#include "ops/op.h"

typedef enum layout { NN, NT, TN } layout;

typedef struct matmul {
    uint32_t layout;
    uint32_t activation;
    uint32_t M, N, K, batch;
    bool broadcast_a, broadcast_b; /* one matrix for the whole batch */
} matmul;

/* ---- Building ---- */

static vkd_shape leading(vkd_shape s) {
    return vkd_shape_make(s.axes >= 2 ? s.axes - 2 : 0, s.dim);
}

static vkd_shape with_matrix(vkd_shape leading_axes, uint32_t rows, uint32_t columns) {
    vkd_shape s = leading_axes;
    s.axes += 2;
    if (s.axes <= VKD_MAX_AXES) {
        s.dim[s.axes - 2] = rows;
        s.dim[s.axes - 1] = columns;
    }
    return s;
}

static vkd_tensor emit(vkd_graph *g, vkd_tensor a, vkd_tensor b, vkd_tensor bias, layout l,
                       vkd_activation activation) {
    const matmul p = {.layout = l, .activation = activation};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_matmul,
                                          .in_count = 3,
                                          .in = {a, b, bias},
                                          .optional = 1u << 2,
                                          .params = &p,
                                          .params_size = sizeof p});
}

/* A matrix for each row of a batch, times one matrix for all: the batch's rows are just more rows.
 */
static bool folds(vkd_shape a, vkd_shape b, const vkd_matmul_desc *d) {
    return !d->transpose_a && a.axes > 2 && b.axes >= 2 && vkd_shape_count(leading(b)) == 1;
}

static vkd_tensor fold(vkd_graph *g, vkd_tensor a, vkd_tensor b, const vkd_matmul_desc *d) {
    const vkd_shape sa = vkd_tensor_shape(g, a), sb = vkd_tensor_shape(g, b);
    const uint32_t rows = (uint32_t)vkd__shape_rows(sa);
    const vkd_tensor flat_a = vkd_reshape(g, a, VKD_SHAPE(rows, vkd__shape_last(sa)));
    const vkd_tensor flat_b =
        vkd_reshape(g, b, VKD_SHAPE(sb.dim[sb.axes - 2], sb.dim[sb.axes - 1]));
    const vkd_tensor flat = vkd_matmul(g, flat_a, flat_b, d);
    vkd_shape out = sa;
    out.dim[out.axes - 1] = vkd__shape_last(vkd_tensor_shape(g, flat));
    return vkd_reshape(g, flat, out);
}

/* An operand is one matrix for all items or has one for each; what lies between is expanded. */
static vkd_tensor full_batch(vkd_graph *g, vkd_tensor t, vkd_shape batch) {
    const vkd_shape s = vkd_tensor_shape(g, t), own = leading(s);
    if (vkd_shape_count(own) == 1 || vkd_shape_count(own) == vkd_shape_count(batch)) return t;
    return vkd__expand(g, t, with_matrix(batch, s.dim[s.axes - 2], s.dim[s.axes - 1]));
}

static vkd_tensor apply(vkd_graph *g, vkd_tensor x, vkd_activation activation) {
    return activation == VKD_ACT_GELU ? vkd_gelu(g, x) : vkd_silu(g, x);
}

vkd_tensor vkd_matmul(vkd_graph *g, vkd_tensor a, vkd_tensor b, const vkd_matmul_desc *desc) {
    const vkd_matmul_desc none = {0};
    const vkd_matmul_desc *d = desc ? desc : &none;
    if (g->status) return (vkd_tensor){0};
    if (d->transpose_a && d->transpose_b) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT,
                        "matmul('%s', '%s'): only one side may be transposed",
                        vkd__tensor_get(g, a)->name, vkd__tensor_get(g, b)->name);
        return (vkd_tensor){0};
    }
    const vkd_shape sa = vkd_tensor_shape(g, a), sb = vkd_tensor_shape(g, b);
    if (folds(sa, sb, d)) return fold(g, a, b, d);
    const layout l = d->transpose_a ? TN : d->transpose_b ? NT : NN;
    vkd_shape batch;
    if (sa.axes >= 2 && sb.axes >= 2 && vkd__shape_broadcast(leading(sa), leading(sb), &batch)) {
        a = full_batch(g, a, batch);
        b = full_batch(g, b, batch);
    }
    const bool gradient = vkd__tensor_get(g, a)->needs_grad || vkd__tensor_get(g, b)->needs_grad ||
                          vkd__tensor_get(g, d->bias)->needs_grad;
    const bool apart = gradient && (d->activation == VKD_ACT_GELU || d->activation == VKD_ACT_SILU);
    const vkd_tensor c = emit(g, a, b, d->bias, l, apart ? VKD_ACT_NONE : d->activation);
    return apart ? apply(g, c, d->activation) : c;
}

static bool infer(vkd_graph *g, vkd__node *n) {
    matmul *p = (matmul *)n->params; /* the node's own copy, completed here */
    const vkd_shape a = vkd_tensor_shape(g, n->in[0]), b = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__all_f32(g, n)) return false;
    vkd_shape batch;
    if (a.axes < 2 || b.axes < 2 || !vkd__shape_broadcast(leading(a), leading(b), &batch))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s and %s are not matrices of one batch",
                               vkd__shape_text(g, a), vkd__shape_text(g, b));
    const uint32_t *ma = a.dim + a.axes - 2, *mb = b.dim + b.axes - 2;
    p->M = p->layout == TN ? ma[1] : ma[0];
    p->K = p->layout == TN ? ma[0] : ma[1];
    p->N = p->layout == NT ? mb[0] : mb[1];
    if (p->K != (p->layout == NT ? mb[1] : mb[0]))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "inner sizes differ, %s%s and %s%s",
                               vkd__shape_text(g, a), p->layout == TN ? " transposed" : "",
                               vkd__shape_text(g, b), p->layout == NT ? " transposed" : "");
    const vkd_shape bias = vkd_tensor_shape(g, n->in[2]);
    if (n->in[2].id && (bias.axes != 1 || bias.dim[0] != p->N))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the bias is %s, should be (%u)",
                               vkd__shape_text(g, bias), p->N);
    p->batch = (uint32_t)vkd_shape_count(batch);
    p->broadcast_a = p->batch > 1 && vkd_shape_count(leading(a)) == 1;
    p->broadcast_b = p->batch > 1 && vkd_shape_count(leading(b)) == 1;
    vkd__node_out(g, n, 0, VKD_F32, with_matrix(batch, p->M, p->N));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const matmul *p = n->params;
    const vkd_tensor a = n->in[0], b = n->in[1], none = {0};
    vkd_tensor dz = dout[0];
    if (p->activation) dz = vkd__unary_grad(g, dz, n->out[0], n->out[0], p->activation);
    if (vkd__tensor_get(g, a)->needs_grad) {
        const vkd_tensor da = p->layout == NN   ? emit(g, dz, b, none, NT, VKD_ACT_NONE)
                              : p->layout == NT ? emit(g, dz, b, none, NN, VKD_ACT_NONE)
                                                : emit(g, b, dz, none, NT, VKD_ACT_NONE);
        din[0] = vkd__sum_to(g, da, vkd_tensor_shape(g, a));
    }
    if (vkd__tensor_get(g, b)->needs_grad) {
        const vkd_tensor db = p->layout == NN   ? emit(g, a, dz, none, TN, VKD_ACT_NONE)
                              : p->layout == NT ? emit(g, dz, a, none, TN, VKD_ACT_NONE)
                                                : emit(g, a, dz, none, NN, VKD_ACT_NONE);
        din[1] = vkd__sum_to(g, db, vkd_tensor_shape(g, b));
    }
    if (vkd__tensor_get(g, n->in[2])->needs_grad)
        din[2] = vkd__sum_to(g, dz, vkd_tensor_shape(g, n->in[2]));
}

/* ---- Lowering ---- */

/* One launch: a run of rows of C, for TN also a run of K; all of a small matrix. */
typedef struct part {
    struct vkd_matmul_params push;
    uint64_t a_offset, b_offset, c_offset; /* bytes */
    bool accumulate;
} part;

static uint64_t batch_bytes(uint32_t rows, uint32_t columns, uint32_t items) {
    return 4ull * rows * columns * items;
}

static void spec_shared(vkd__launch *launch, const matmul *p, const part *q, bool has_bias) {
    const uint32_t length_a = p->layout == TN ? q->push.row_a : p->K,
                   length_b = p->layout == NT ? p->K : p->N;
    vkd__spec(launch, 10, p->layout);
    vkd__spec(launch, 11, p->activation);
    vkd__spec(launch, 12, has_bias);
    vkd__spec(launch, 13, q->accumulate);
    vkd__spec(launch, 14, length_a % 4 || q->push.stride_a % 4);
    vkd__spec(launch, 15, length_b % 4 || q->push.stride_b % 4);
    vkd__spec(launch, 16, p->N % 4 || q->push.stride_c % 4);
}

/* The direct kernel's tile is ROWS x 4*COL_LANES. Narrow C: the lanes that columns leave over
 * divide K. A short K wants a short chunk; few rows, a low tile. */
static void choose_direct(vkd__lower *l, vkd__launch *launch, const part *q) {
    const uint32_t lanes = l->profile->subgroup, M = q->push.M, N = q->push.N, K = q->push.K;
    uint32_t columns = lanes;
    while (columns > 1 && 2 * columns >= N)
        columns /= 2;
    const uint32_t walked = (K + lanes / columns - 1) / (lanes / columns);
    const uint32_t rows = M <= 4 ? 4 : M <= 8 ? 8 : M <= 12 ? 12 : 16;
    const uint32_t chunk = walked <= 4 ? 4 : walked <= 24 ? 8 : 16;
    vkd__spec(launch, 0, lanes);
    vkd__spec(launch, 3, rows);
    vkd__spec(launch, 4, columns);
    vkd__spec(launch, 5, chunk);
    vkd__spec(launch, 17, K % (chunk * (lanes / columns)) != 0);
    /* A workgroup has a price on a CPU, so there are a few dozen, each with an equal share of
     * tiles. */
    const uint64_t tiles = vkd__div_up(M, rows) * vkd__div_up(N, 4 * columns) * q->push.batch;
    const uint64_t share = vkd__div_up(tiles, 64);
    vkd__grid(l, launch, vkd__div_up(tiles, share));
}

static void choose_tile(vkd__lower *l, vkd__launch *launch, const part *q) {
    const vkd_profile *f = l->profile;
    const uint32_t M = q->push.M, N = q->push.N;
    uint32_t tile[5] = {f->tile_m, f->tile_n, f->tile_k, f->tile_tm, f->tile_tn};
    /* Below some hundred large tiles a large device would idle: smaller ones spread the work. */
    const uint64_t large = vkd__div_up(M, tile[0]) * vkd__div_up(N, tile[1]) * q->push.batch;
    if (large < 128 || M <= 32 || N <= 32)
        memcpy(tile, (uint32_t[]){32, 32, 16, 4, 4}, sizeof tile);
    vkd__spec(launch, 0, tile[0] / tile[3] * (tile[1] / tile[4]));
    for (uint32_t i = 0; i < 5; i++)
        vkd__spec(launch, 3 + i, tile[i]);
    const uint64_t groups[3] = {vkd__div_up(N, tile[1]), vkd__div_up(M, tile[0]), q->push.batch};
    for (uint32_t i = 0; i < 3; i++)
        launch->groups[i] = (uint32_t)(groups[i] < f->max_groups[i] ? groups[i] : f->max_groups[i]);
}

static bool launch_part(vkd__lower *l, const vkd__node *n, const part *q, bool direct) {
    const matmul *p = n->params;
    const struct vkd_matmul_params *push = &q->push;
    vkd__launch *launch = vkd__launch_add(l, direct ? "matmul.direct" : "matmul");
    if (!launch) return false;
    const uint32_t a_items = p->broadcast_a ? 1 : push->batch,
                   b_items = p->broadcast_b ? 1 : push->batch;
    const uint32_t rows_a = p->layout == TN ? push->row_a : push->M;
    vkd__bind_window(launch, n->in[0], VKD__READ, q->a_offset,
                     batch_bytes(rows_a, push->K, a_items));
    vkd__bind_window(launch, n->in[1], VKD__READ, q->b_offset,
                     batch_bytes(push->N, push->K, b_items));
    vkd__bind(launch, n->in[2], VKD__READ);
    vkd__bind_window(launch, n->out[0], q->accumulate ? VKD__READ_WRITE : VKD__WRITE, q->c_offset,
                     batch_bytes(push->M, push->N, push->batch));
    spec_shared(launch, p, q, n->in[2].id != 0);
    if (direct)
        choose_direct(l, launch, q);
    else
        choose_tile(l, launch, q);
    vkd__push(launch, push, sizeof *push);
    const double mnk = (double)push->M * push->N * push->K * push->batch;
    vkd__cost(launch, 2 * mnk,
              (double)(batch_bytes(push->M, push->K, a_items) +
                       batch_bytes(push->N, push->K, b_items) +
                       batch_bytes(push->M, push->N, push->batch)));
    return true;
}

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static bool refuse(vkd__lower *l, const matmul *p) {
    return vkd__lower_fail(l, VKD_E_SHAPE,
                           "a product of %u x %u x %u cannot be cut to fit into bindings of %llu "
                           "bytes, the most on this device; make the batch or the layer smaller",
                           p->M, p->N, p->K, (unsigned long long)l->profile->max_binding);
}

/* What an input binding may hold: the direct kernel reads through texel buffers. */
static bool too_long(const vkd__lower *l, uint64_t bytes, bool direct) {
    return bytes > (direct ? 16 * l->profile->max_texels : l->profile->max_binding);
}

static bool too_large(const vkd__lower *l, const matmul *p, bool direct) {
    return too_long(l, batch_bytes(p->M, p->K, p->broadcast_a ? 1 : p->batch), direct) ||
           too_long(l, batch_bytes(p->N, p->K, p->broadcast_b ? 1 : p->batch), direct) ||
           batch_bytes(p->M, p->N, p->batch) > l->profile->max_binding;
}

/* Items of a batch that one launch may take: each item's matrices begin where a binding may. */
static bool lower_items(vkd__lower *l, const vkd__node *n, bool direct) {
    const matmul *p = n->params;
    const uint64_t a = p->broadcast_a ? 0 : batch_bytes(p->M, p->K, 1);
    const uint64_t b = p->broadcast_b ? 0 : batch_bytes(p->N, p->K, 1);
    const uint64_t c = batch_bytes(p->M, p->N, 1);
    uint64_t items = vkd__window_rows(l->profile, c, p->batch);
    if (a) items = smaller(items, vkd__window_rows(l->profile, a, p->batch));
    if (b) items = smaller(items, vkd__window_rows(l->profile, b, p->batch));
    /* The windows of all three must begin aligned: 64 items always do. */
    if (items < p->batch) items = items / 64 * 64;
    if (!items || (!a && too_long(l, batch_bytes(p->M, p->K, 1), direct)) ||
        (!b && too_long(l, batch_bytes(p->N, p->K, 1), direct)))
        return refuse(l, p);
    for (uint64_t at = 0; at < p->batch; at += items) {
        const part q = {.push = {.M = p->M,
                                 .N = p->N,
                                 .K = p->K,
                                 .batch = (uint32_t)smaller(items, p->batch - at),
                                 .stride_a = (uint32_t)(a / 4),
                                 .stride_b = (uint32_t)(b / 4),
                                 .stride_c = (uint32_t)(c / 4),
                                 .row_a = p->M},
                        .a_offset = at * a,
                        .b_offset = at * b,
                        .c_offset = at * c};
        if (!launch_part(l, n, &q, direct)) return false;
    }
    return true;
}

/* One large NN or NT product: runs of rows of C and of A. */
static bool lower_rows(vkd__lower *l, const vkd__node *n, bool direct) {
    const matmul *p = n->params;
    const uint64_t a_row = 4ull * p->K, c_row = 4ull * p->N;
    uint64_t rows = smaller(vkd__window_rows(l->profile, a_row, p->M),
                            vkd__window_rows(l->profile, c_row, p->M));
    if (rows < p->M) rows = rows / 64 * 64;
    if (!rows || too_long(l, batch_bytes(p->N, p->K, 1), direct)) return refuse(l, p);
    for (uint64_t at = 0; at < p->M; at += rows) {
        const part q = {
            .push = {.M = (uint32_t)smaller(rows, p->M - at), .N = p->N, .K = p->K, .batch = 1},
            .a_offset = at * a_row,
            .c_offset = at * c_row};
        if (!launch_part(l, n, &q, direct)) return false;
    }
    return true;
}

/* One large TN product, a weight's gradient: runs of rows of C, which are columns of A; for each,
 * runs of K, added up in order. */
static bool lower_columns(vkd__lower *l, const vkd__node *n, bool direct) {
    const matmul *p = n->params;
    const uint64_t a_row = 4ull * p->M, other_row = 4ull * p->N;
    uint64_t rows = vkd__window_rows(l->profile, other_row, p->M);
    uint64_t depth = smaller(vkd__window_rows(l->profile, a_row, p->K),
                             vkd__window_rows(l->profile, other_row, p->K));
    if (rows < p->M) rows = rows / 64 * 64;
    if (depth < p->K) depth = depth / 64 * 64;
    /* Partial sums can be added up, but not through an activation, and the bias belongs in once. */
    const bool split = depth < p->K && (p->activation || n->in[2].id);
    if (!rows || !depth || split) return refuse(l, p);
    for (uint64_t m = 0; m < p->M; m += rows) {
        for (uint64_t k = 0; k < p->K; k += depth) {
            const part q = {.push = {.M = (uint32_t)smaller(rows, p->M - m),
                                     .N = p->N,
                                     .K = (uint32_t)smaller(depth, p->K - k),
                                     .batch = 1,
                                     .row_a = p->M,
                                     .first_a = (uint32_t)m},
                            .a_offset = k * a_row,
                            .b_offset = k * other_row,
                            .c_offset = m * other_row,
                            .accumulate = k > 0};
            if (!launch_part(l, n, &q, direct)) return false;
        }
    }
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const matmul *p = n->params;
    const bool direct = vkd__direct(l, "matmul");
    const part all = {.push = {.M = p->M,
                               .N = p->N,
                               .K = p->K,
                               .batch = p->batch,
                               .stride_a = p->broadcast_a ? 0 : p->M * p->K,
                               .stride_b = p->broadcast_b ? 0 : p->N * p->K,
                               .stride_c = p->M * p->N,
                               .row_a = p->M}};
    if (!too_large(l, p, direct)) return launch_part(l, n, &all, direct);
    if (p->batch > 1) return lower_items(l, n, direct);
    return p->layout == TN ? lower_columns(l, n, direct) : lower_rows(l, n, direct);
}

/* ---- Reference ---- */

static void reference(const vkd__ref *r) {
    const matmul *p = r->node->params;
    const uint64_t M = p->M, N = p->N, K = p->K;
    for (uint64_t item = 0; item < p->batch; item++) {
        const double *a = r->in[0].v + (p->broadcast_a ? 0 : item * M * K);
        const double *b = r->in[1].v + (p->broadcast_b ? 0 : item * N * K);
        double *c = r->out[0].v + item * M * N;
        for (uint64_t m = 0; m < M; m++)
            for (uint64_t n = 0; n < N; n++) {
                double sum = r->in[2].v ? r->in[2].v[n] : 0;
                for (uint64_t k = 0; k < K; k++)
                    sum += a[p->layout == TN ? k * M + m : m * K + k] *
                           b[p->layout == NT ? n * K + k : k * N + n];
                c[m * N + n] = vkd__activated((vkd_activation)p->activation, sum);
            }
    }
}

/* ---- Cases ---- */

typedef struct shape_case {
    uint32_t M, N, K;
    layout layout;
    vkd_activation activation;
    bool bias;
    uint32_t batch_a[2], batch_b[2]; /* leading axes, 0 for none */
} shape_case;

static const shape_case shape_cases[] = {
    {1, 1, 1, NN, VKD_ACT_NONE, false, {0}, {0}},
    {2, 3, 5, NT, VKD_ACT_NONE, true, {0}, {0}},
    {31, 33, 17, NN, VKD_ACT_RELU, true, {0}, {0}},
    {33, 31, 64, NT, VKD_ACT_RELU, true, {0}, {0}},
    {17, 100, 9, TN, VKD_ACT_NONE, false, {0}, {0}},
    {128, 10, 100, NT, VKD_ACT_TANH, true, {0}, {0}},
    {10, 100, 127, TN, VKD_ACT_NONE, false, {0}, {0}},
    {64, 100, 10, NN, VKD_ACT_SIGMOID, false, {0}, {0}},
    {64, 64, 64, NN, VKD_ACT_GELU, true, {0}, {0}},
    {65, 129, 130, NT, VKD_ACT_SILU, true, {0}, {0}},
    {128, 128, 32, TN, VKD_ACT_NONE, false, {0}, {0}},
    {5, 7, 6, NN, VKD_ACT_NONE, true, {2, 3}, {2, 3}},
    {4, 8, 4, NT, VKD_ACT_NONE, false, {0, 3}, {0, 0}},
    {9, 5, 4, TN, VKD_ACT_NONE, false, {0, 4}, {0, 4}},
    {9, 5, 7, TN, VKD_ACT_NONE, false, {0, 4}, {0, 0}},
    {6, 5, 3, NN, VKD_ACT_NONE, false, {0, 0}, {0, 4}},
    {3, 4, 5, NT, VKD_ACT_NONE, false, {2, 1}, {1, 3}},
    {100, 7, 5, TN, VKD_ACT_NONE, false, {0}, {0}}, /* columns of A in windows of 2 KiB */
};

static vkd_shape case_shape(const uint32_t *batch, uint32_t rows, uint32_t columns) {
    vkd_shape s = {0};
    for (int i = 0; i < 2; i++)
        if (batch[i]) s.dim[s.axes++] = batch[i];
    return with_matrix(s, rows, columns);
}

static void build_case(vkd__case *c) {
    const shape_case *s = &shape_cases[c->index];
    const vkd_tensor a = vkd__case_f32(
        c, case_shape(s->batch_a, s->layout == TN ? s->K : s->M, s->layout == TN ? s->M : s->K), -1,
        1);
    const vkd_tensor b = vkd__case_f32(
        c, case_shape(s->batch_b, s->layout == NT ? s->N : s->K, s->layout == NT ? s->K : s->N), -1,
        1);
    vkd_matmul_desc d = {.transpose_a = s->layout == TN,
                         .transpose_b = s->layout == NT,
                         .activation = s->activation};
    if (s->bias) d.bias = vkd__case_f32(c, VKD_SHAPE(s->N), -1, 1);
    c->what = s->layout == NN ? "NN" : s->layout == NT ? "NT" : "TN";
    vkd__case_output(c, vkd_matmul(c->g, a, b, &d));
}

const vkd_op_def vkd_op_matmul = {
    .name = "matmul",
    .summary = "matrix product, batched, NN, NT and TN, with bias and activation",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    /* Sums of up to a few thousand products in f32. */
    .rtol = 1e-4,
    .atol = 1e-5,
    .case_count = VKD_COUNT(shape_cases),
    .build_case = build_case,
};
