// SPDX-License-Identifier: Apache-2.0
/* matmul: C[b] = f(op(A[b]) op(B[b]) + bias + residual), for a batch of row-major matrices.
 *
 *   layout  A       B       C = f(Z)         dA            dB
 *   NN      (M,K)   (K,N)   Z = A B          dZ B^T (NT)   A^T dZ (TN)
 *   NT      (M,K)   (N,K)   Z = A B^T        dZ B   (NN)   dZ^T A (TN)
 *   TN      (K,M)   (K,N)   Z = A^T B        B dZ^T (NT)   A dZ   (NN)
 *
 * with dZ = dC f'(Z), and dbias the sum of dZ over rows and batch: each gradient is one of the
 * three layouts again, so no transposed copy is ever made. f is fused only where its derivative
 * follows from the result C; gelu and silu, which need Z, are fused where no gradient is asked for.
 * A residual is part of Z: so a block's f(Z + shortcut) is one launch, and what its gradient needs
 * is still C alone; f(Z) + shortcut would need both. Where dB is made from dZ, it makes dbias on
 * the way, as a second output.
 *
 * Two kernels: matmul (shared-memory tiles, for GPUs) and matmul.direct (registers, texel fetches
 * and shuffles, for CPU devices). */
#include "ops/matmul.h"

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

/* In a mixed graph both operands are cast, once for all their readers; not those of a loss. */
static vkd_tensor emit(vkd_graph *g, const vkd_tensor in[4], const vkd__matmul *p) {
    vkd_tensor a = in[IN_A], b = in[IN_B];
    if (vkd__is_half(g->compute) && !p->f32_operands) {
        a = vkd_cast(g, a, g->compute);
        b = vkd_cast(g, b, g->compute);
    }
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_matmul,
                                          .in_count = 4,
                                          .in = {a, b, in[IN_BIAS], in[IN_RESIDUAL]},
                                          .optional = 1u << IN_BIAS | 1u << IN_RESIDUAL,
                                          .params = p,
                                          .params_size = sizeof *p});
}

/* A product of n's gradient. */
static vkd_tensor product(vkd_graph *g, const vkd__node *n, vkd_tensor a, vkd_tensor b,
                          vkd__layout l, vkd_dtype result) {
    const vkd__matmul *p = n->params;
    return emit(g, (const vkd_tensor[4]){a, b},
                &(vkd__matmul){.layout = l, .f32_operands = p->f32_operands, .result = result});
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
    vkd_matmul_desc flat_d = *d;
    vkd_shape out = sa;
    out.dim[out.axes - 1] = sb.dim[sb.axes - (d->transpose_b ? 2 : 1)];
    /* A residual of another shape stays as it is, for infer to refuse. */
    if (vkd__shape_equal(vkd_tensor_shape(g, d->residual), out))
        flat_d.residual = vkd_reshape(g, d->residual, VKD_SHAPE(rows, vkd__shape_last(out)));
    return vkd_reshape(g, vkd_matmul(g, flat_a, flat_b, &flat_d), out);
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
    const vkd__layout l = d->transpose_a ? TN : d->transpose_b ? NT : NN;
    vkd_shape batch;
    if (sa.axes >= 2 && sb.axes >= 2 && vkd__shape_broadcast(leading(sa), leading(sb), &batch)) {
        a = full_batch(g, a, batch);
        b = full_batch(g, b, batch);
    }
    const bool gradient = vkd__tensor_get(g, a)->needs_grad || vkd__tensor_get(g, b)->needs_grad ||
                          vkd__tensor_get(g, d->bias)->needs_grad ||
                          vkd__tensor_get(g, d->residual)->needs_grad;
    const bool apart = gradient && (d->activation == VKD_ACT_GELU || d->activation == VKD_ACT_SILU);
    const vkd__matmul p = {.layout = l,
                           .activation = apart ? VKD_ACT_NONE : d->activation,
                           .f32_operands = d->f32_operands,
                           .result = d->f32_result || d->f32_operands ? VKD_F32 : g->compute};
    const vkd_tensor c = emit(g, (const vkd_tensor[4]){a, b, d->bias, d->residual}, &p);
    return apart ? apply(g, c, d->activation) : c;
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd__matmul *p = (vkd__matmul *)n->params; /* the node's own copy, completed here */
    const vkd_shape a = vkd_tensor_shape(g, n->in[0]), b = vkd_tensor_shape(g, n->in[1]);
    vkd_dtype dtype;
    if (!vkd__all_one_type(g, n, &dtype)) return false;
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
    const vkd_shape bias = vkd_tensor_shape(g, n->in[IN_BIAS]);
    if (n->in[IN_BIAS].id && (bias.axes != 1 || bias.dim[0] != p->N))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the bias is %s, should be (%u)",
                               vkd__shape_text(g, bias), p->N);
    p->batch = (uint32_t)vkd_shape_count(batch);
    p->broadcast_a = p->batch > 1 && vkd_shape_count(leading(a)) == 1;
    p->broadcast_b = p->batch > 1 && vkd_shape_count(leading(b)) == 1;
    const vkd_shape c = with_matrix(batch, p->M, p->N);
    if (n->in[IN_RESIDUAL].id && !vkd__shape_equal(vkd_tensor_shape(g, n->in[IN_RESIDUAL]), c))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the residual is %s, should be %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[IN_RESIDUAL])),
                               vkd__shape_text(g, c));
    if (!vkd__is_half(dtype) || p->N % 4) p->result = VKD_F32;
    p->in_bytes = (uint32_t)vkd_dtype_size(dtype);
    p->out_bytes = (uint32_t)vkd_dtype_size(p->result);
    vkd__node_out(g, n, OUT_C, p->result, c);
    if (p->sum)
        vkd__node_out(g, n, OUT_SUM, VKD_F32, VKD_SHAPE(p->sum == VKD__SUM_A ? p->M : p->N));
    return true;
}

/* What an operand's gradient is made as: f32 for a leaf and for what was cast from f32, so that a
 * parameter's gradient is never rounded; else the operand's own type. */
static vkd_dtype gradient_type(const vkd_graph *g, vkd_tensor operand) {
    const vkd__node *n = vkd__producer(g, operand);
    return n && n->op != &vkd_op_cast ? vkd_tensor_dtype(g, operand) : VKD_F32;
}

/* dB, and where `dbias` asks for it the sum of dZ over its rows. */
static vkd_tensor gradient_b(vkd_graph *g, const vkd__node *n, vkd_tensor dz, vkd_tensor *dbias) {
    const vkd__matmul *p = n->params;
    const vkd_tensor a = n->in[IN_A];
    const bool dz_first = p->layout == NT;
    vkd__matmul made = {.layout = p->layout == TN ? NN : TN,
                        .f32_operands = p->f32_operands,
                        .result = gradient_type(g, n->in[IN_B])};
    if (dbias) made.sum = dz_first ? VKD__SUM_A : VKD__SUM_B;
    const vkd_tensor db =
        emit(g, (const vkd_tensor[4]){dz_first ? dz : a, dz_first ? a : dz}, &made);
    if (dbias && db.id) *dbias = vkd__producer(g, db)->out[OUT_SUM];
    return vkd__sum_to(g, db, vkd_tensor_shape(g, n->in[IN_B]));
}

/* The second output's gradient: the same for all rows of what it summed. */
static void backward_sum(vkd_graph *g, const vkd__node *n, vkd_tensor dsum, vkd_tensor *din) {
    const vkd__matmul *p = n->params;
    const uint32_t summed = p->sum == VKD__SUM_A ? IN_A : IN_B;
    if (!dsum.id || !vkd__tensor_get(g, n->in[summed])->needs_grad) return;
    const vkd_tensor d = vkd__expand(g, dsum, vkd_tensor_shape(g, n->in[summed]));
    din[summed] = din[summed].id ? vkd_add(g, din[summed], d) : d;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const vkd__matmul *p = n->params;
    const vkd_tensor a = n->in[IN_A], b = n->in[IN_B], bias = n->in[IN_BIAS];
    vkd_tensor dz = dout[OUT_C];
    if (p->sum && !dz.id) {
        backward_sum(g, n, dout[OUT_SUM], din);
        return;
    }
    dz = vkd_cast(g, dz, vkd_tensor_dtype(g, n->out[OUT_C]));
    if (p->activation) dz = vkd__unary_grad(g, dz, n->out[0], n->out[0], p->activation);
    if (vkd__tensor_get(g, a)->needs_grad) {
        const vkd_dtype type = gradient_type(g, a);
        const vkd_tensor da = p->layout == NN   ? product(g, n, dz, b, NT, type)
                              : p->layout == NT ? product(g, n, dz, b, NN, type)
                                                : product(g, n, b, dz, NT, type);
        din[IN_A] = vkd__sum_to(g, da, vkd_tensor_shape(g, a));
    }
    const bool wants_bias = vkd__tensor_get(g, bias)->needs_grad;
    /* A batch's items have a weight gradient each, and one sum for all. What sums apart reads f32.
     */
    const bool together = wants_bias && p->batch == 1 && !vkd__is_half(g->compute);
    if (vkd__tensor_get(g, b)->needs_grad)
        din[IN_B] = gradient_b(g, n, dz, together ? &din[IN_BIAS] : NULL);
    if (wants_bias && !din[IN_BIAS].id)
        din[IN_BIAS] = vkd__sum_to(g, dz, vkd_tensor_shape(g, bias));
    if (vkd__tensor_get(g, n->in[IN_RESIDUAL])->needs_grad) din[IN_RESIDUAL] = dz;
    if (p->sum) backward_sum(g, n, dout[OUT_SUM], din);
}

/* ---- Reference ---- */

static void reference_sum(const vkd__ref *r) {
    const vkd__matmul *p = r->node->params;
    const bool of_a = p->sum == VKD__SUM_A;
    const uint64_t columns = of_a ? p->M : p->N;
    const double *x = r->in[of_a ? IN_A : IN_B].v;
    for (uint64_t i = 0; i < columns; i++) {
        double sum = 0;
        for (uint64_t k = 0; k < p->K; k++)
            sum += x[k * columns + i];
        r->out[OUT_SUM].v[i] = sum;
    }
}

static void reference(const vkd__ref *r) {
    const vkd__matmul *p = r->node->params;
    const uint64_t M = p->M, N = p->N, K = p->K;
    if (p->sum) reference_sum(r);
    for (uint64_t item = 0; item < p->batch; item++) {
        const double *a = r->in[0].v + (p->broadcast_a ? 0 : item * M * K);
        const double *b = r->in[1].v + (p->broadcast_b ? 0 : item * N * K);
        double *c = r->out[0].v + item * M * N;
        for (uint64_t m = 0; m < M; m++)
            for (uint64_t n = 0; n < N; n++) {
                double sum = r->in[IN_BIAS].v ? r->in[IN_BIAS].v[n] : 0;
                if (r->in[IN_RESIDUAL].v) sum += r->in[IN_RESIDUAL].v[(item * M + m) * N + n];
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
    vkd__layout layout;
    vkd_activation activation;
    bool bias;
    uint32_t batch_a[2], batch_b[2]; /* leading axes, 0 for none */
    bool residual;
    uint32_t sum; /* VKD__SUM_..., as a second output; with SUM_ALONE nobody asks for C */
} shape_case;

enum { SUM_ALONE = 4 };

static const shape_case shape_cases[] = {
    {1, 1, 1, NN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {2, 3, 5, NT, VKD_ACT_NONE, true, {0}, {0}, false, 0},
    {31, 33, 17, NN, VKD_ACT_RELU, true, {0}, {0}, false, 0},
    {33, 31, 64, NT, VKD_ACT_RELU, true, {0}, {0}, false, 0},
    {17, 100, 9, TN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {128, 10, 100, NT, VKD_ACT_TANH, true, {0}, {0}, false, 0},
    {10, 100, 127, TN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {64, 100, 10, NN, VKD_ACT_SIGMOID, false, {0}, {0}, false, 0},
    {64, 64, 64, NN, VKD_ACT_GELU, true, {0}, {0}, false, 0},
    {65, 129, 130, NT, VKD_ACT_SILU, true, {0}, {0}, false, 0},
    {128, 128, 32, TN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {5, 7, 6, NN, VKD_ACT_NONE, true, {2, 3}, {2, 3}, false, 0},
    {4, 8, 4, NT, VKD_ACT_NONE, false, {0, 3}, {0, 0}, false, 0},
    {9, 5, 4, TN, VKD_ACT_NONE, false, {0, 4}, {0, 4}, false, 0},
    {9, 5, 7, TN, VKD_ACT_NONE, false, {0, 4}, {0, 0}, false, 0},
    {6, 5, 3, NN, VKD_ACT_NONE, false, {0, 0}, {0, 4}, false, 0},
    {3, 4, 5, NT, VKD_ACT_NONE, false, {2, 1}, {1, 3}, false, 0},
    {100, 7, 5, TN, VKD_ACT_NONE, false, {0}, {0}, false, 0}, /* columns of A in windows of 2 KiB */
    {64, 64, 32, NN, VKD_ACT_RELU, true, {0}, {0}, true, 0},
    {33, 30, 20, NT, VKD_ACT_TANH, true, {0}, {0}, true, 0},
    {12, 20, 9, TN, VKD_ACT_NONE, false, {0}, {0}, true, 0},
    {6, 5, 3, NT, VKD_ACT_GELU, true, {2, 3}, {0}, true, 0}, /* folds */
    {5, 8, 6, NN, VKD_ACT_RELU, true, {0, 3}, {0, 3}, true, 0},
    /* K is long enough to be split, evenly and not. */
    {32, 64, 1024, NN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {10, 30, 790, NT, VKD_ACT_RELU, true, {0}, {0}, true, 0},
    {33, 7, 601, TN, VKD_ACT_SIGMOID, true, {0}, {0}, false, 0},
    {5, 3, 515, NN, VKD_ACT_NONE, false, {0, 3}, {0, 3}, false, 0},
    /* Long only in its gradients: these are split, and so are the sums for the bias. */
    {600, 9, 12, NT, VKD_ACT_RELU, true, {0}, {0}, false, 0},
    {520, 36, 7, NN, VKD_ACT_NONE, true, {0}, {0}, true, 0},
    {12, 36, 520, TN, VKD_ACT_NONE, true, {0}, {0}, false, 0},
    /* As a gradient's product: with the sum over K of an operand, and of that alone. */
    {33, 12, 40, TN, VKD_ACT_NONE, false, {0}, {0}, false, VKD__SUM_A},
    {8, 33, 515, NN, VKD_ACT_NONE, false, {0}, {0}, false, VKD__SUM_B | SUM_ALONE},
    /* Rows of every length modulo four, over several tiles; items that begin anywhere. */
    {37, 33, 41, NN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {70, 71, 39, NN, VKD_ACT_NONE, true, {0}, {0}, false, 0},
    {45, 67, 42, NT, VKD_ACT_NONE, false, {0}, {0}, false, 0},
    {34, 35, 7, TN, VKD_ACT_NONE, false, {0, 3}, {0, 3}, false, 0},
    /* Both cut into windows of 2 KiB and split. */
    {1, 1, 1040, TN, VKD_ACT_NONE, false, {0}, {0}, false, 0},
};

static vkd_shape case_shape(const uint32_t *batch, uint32_t rows, uint32_t columns) {
    vkd_shape s = {0};
    for (int i = 0; i < 2; i++)
        if (batch[i]) s.dim[s.axes++] = batch[i];
    return with_matrix(s, rows, columns);
}

/* What gradient_b emits, for its own gradient to be looked at. */
static void build_sum_case(vkd__case *c, const shape_case *s, vkd_tensor a, vkd_tensor b) {
    const vkd__matmul p = {.layout = s->layout, .sum = s->sum & ~(uint32_t)SUM_ALONE};
    const vkd_tensor y = emit(c->g, (const vkd_tensor[4]){a, b}, &p);
    if (!y.id) return;
    if (!(s->sum & SUM_ALONE)) vkd__case_output(c, y);
    vkd__case_output(c, vkd__producer(c->g, y)->out[OUT_SUM]);
}

/* The list twice: in f32, and as nodes of mixed graphs, of f16 and bf16 in turn; these sum nothing
 * up. */
static void build_case(vkd__case *c) {
    const shape_case *s = &shape_cases[c->index % VKD_COUNT(shape_cases)];
    const bool mixed = c->index >= VKD_COUNT(shape_cases);
    c->g->compute = !mixed ? VKD_F32 : c->index % 2 ? VKD_BF16 : VKD_F16;
    if (mixed) vkd__case_half(c, c->g->compute);
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
    if (s->residual) {
        const vkd_shape batch = case_shape(s->batch_a, s->M, s->N);
        d.residual = vkd__case_f32(c, batch, -1, 1);
    }
    static const char *const what[][3] = {
        {"NN", "NT", "TN"}, {"NN f16", "NT f16", "TN f16"}, {"NN bf16", "NT bf16", "TN bf16"}};
    c->what = what[!mixed ? 0 : 1 + c->index % 2][s->layout];
    if (s->sum && !mixed)
        build_sum_case(c, s, a, b);
    else
        vkd__case_output(c, vkd_matmul(c->g, a, b, &d));
}

const vkd_op_def vkd_op_matmul = {
    .name = "matmul",
    .summary = "matrix product, batched, NN, NT and TN, with bias, residual and activation",
    .infer = infer,
    .backward = backward,
    .lower = vkd__matmul_lower,
    .reference = reference,
    .takes_half = 1u << IN_A | 1u << IN_B,
    /* Sums of up to a few thousand products in f32. */
    .rtol = 1e-4,
    .atol = 1e-5,
    .case_count = 2 * VKD_COUNT(shape_cases),
    .build_case = build_case,
};
