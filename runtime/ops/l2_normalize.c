// SPDX-License-Identifier: Apache-2.0
/* l2_normalize over the last axis: y = x r, r = 1 / max(|x|, eps).
 *
 * Where |x| > eps, dr/dx[e] = -x[e] r^3, so dx[e] = r dy[e] - x[e] r^3 sum_d x[d] dy[d]; elsewhere
 * r is a constant and dx = r dy. */
#include <math.h>

#include "ops/row.h"

typedef struct l2_params {
    float eps;
} l2_params;

static vkd_tensor emit(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, vkd_tensor dy, float eps) {
    return vkd__emit(g, &(vkd__emit_desc){.op = op,
                                          .in_count = op->backward ? 1u : 2u,
                                          .in = {x, dy},
                                          .params = &(l2_params){eps},
                                          .params_size = sizeof(l2_params)});
}

vkd_tensor vkd_l2_normalize(vkd_graph *g, vkd_tensor x, float eps) {
    return emit(g, &vkd_op_l2_normalize, x, (vkd_tensor){0}, eps);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const l2_params *p = n->params;
    const vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (!shape.axes) return vkd__graph_fail(g, n, VKD_E_SHAPE, "a () tensor has no last axis");
    if (!(p->eps > 0) || isinf(p->eps))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "eps %g is not positive", (double)p->eps);
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const l2_params *p = n->params;
    din[0] = emit(g, &vkd_op_l2_normalize_grad, n->in[0], dout[0], p->eps);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const l2_params *p = n->params;
    const char *kernel = n->in_count == 1 ? "l2_normalize" : "l2_normalize_grad";
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__row_launch(l, kernel, count, r.length);
        if (!launch) return false;
        for (uint32_t i = 0; i < n->in_count; i++)
            vkd__row_bind(launch, n->in[i], VKD__READ, first, count, r.length);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        vkd__push(launch, &(struct vkd_l2_normalize_params){(uint32_t)count, r.length, p->eps},
                  sizeof(struct vkd_l2_normalize_params));
        const double elements = (double)count * r.length;
        vkd__cost(launch, 4 * elements, 4 * elements * (n->in_count + 1));
    }
    return true;
}

static double norm_of(const double *x, uint32_t D) {
    double sum = 0;
    for (uint32_t d = 0; d < D; d++)
        sum += x[d] * x[d];
    return sqrt(sum);
}

static void reference(const vkd__ref *r) {
    const l2_params *p = r->node->params;
    const uint64_t rows = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < rows; n++) {
        const double norm = fmax(norm_of(r->in[0].v + n * D, D), (double)p->eps);
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[n * D + d] = r->in[0].v[n * D + d] / norm;
    }
}

static void grad_reference(const vkd__ref *r) {
    const l2_params *p = r->node->params;
    const uint64_t rows = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < rows; n++) {
        const double *x = r->in[0].v + n * D, *dy = r->in[1].v + n * D;
        const double norm = norm_of(x, D), scale = 1 / fmax(norm, (double)p->eps);
        double product = 0;
        for (uint32_t d = 0; d < D; d++)
            product += x[d] * dy[d];
        if (!(norm > (double)p->eps)) product = 0;
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[n * D + d] = scale * (dy[d] - x[d] * scale * scale * product);
    }
}

/* Ragged rows, then rows shorter than eps, and zeros. */
static vkd_tensor case_input(vkd__case *c, float *eps) {
    *eps = 1e-12f;
    if (c->index < VKD__ROW_CASES) {
        c->what = "ragged rows";
        const uint32_t *size = vkd__row_cases[c->index];
        return vkd__case_f32(c, VKD_SHAPE(size[0], size[1]), 0.2, 1.5);
    }
    c->what = "rows whose norm is below eps";
    *eps = 10.0f;
    return vkd__case_f32(c, VKD_SHAPE(3, 4, 5), -1, 1);
}

static void build_case(vkd__case *c) {
    float eps;
    const vkd_tensor x = case_input(c, &eps);
    vkd__case_output(c, vkd_l2_normalize(c->g, x, eps));
}

static void build_grad_case(vkd__case *c) {
    float eps;
    const vkd_tensor x = case_input(c, &eps);
    const vkd_tensor dy = vkd__case_fixed(c, vkd_tensor_shape(c->g, x), -1, 1);
    vkd__case_output(c, emit(c->g, &vkd_op_l2_normalize_grad, x, dy, eps));
}

const vkd_op_def vkd_op_l2_normalize = {
    .name = "l2_normalize",
    .summary = "x / max(norm of x, eps) over the last axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES + 1,
    .build_case = build_case,
};
const vkd_op_def vkd_op_l2_normalize_grad = {
    .name = "l2_normalize_grad",
    .summary = "gradient of l2_normalize",
    .infer = infer,
    .lower = lower,
    .reference = grad_reference,
    .case_count = VKD__ROW_CASES + 1,
    .build_case = build_grad_case,
    .no_difference_test = "a gradient itself: checked through l2_normalize",
};
