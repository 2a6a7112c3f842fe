// SPDX-License-Identifier: Apache-2.0
/* softmax and log_softmax over the last axis, and their gradients.
 *
 *   softmax      y[n,v] = exp(x[n,v]) / z[n],  z[n] = sum_v exp(x[n,v])
 *   log_softmax  y[n,v] = x[n,v] - log z[n]
 *
 * dy[v]/dx[w] of softmax is y[v] ([v = w] - y[w]), so dx[w] = y[w] (dy[w] - sum_v y[v] dy[v]).
 * dy[v]/dx[w] of log_softmax is [v = w] - softmax[w], so dx[w] = dy[w] - exp(y[w]) sum_v dy[v].
 * A row that -inf masks throughout has y = 0, or -inf, and receives no NaN. */
#include <math.h>

#include "ops/row.h"

static vkd_tensor emit(vkd_graph *g, const vkd_op_def *op, vkd_tensor a, vkd_tensor b) {
    return vkd__emit(g,
                     &(vkd__emit_desc){.op = op, .in_count = op->backward ? 1u : 2u, .in = {a, b}});
}

vkd_tensor vkd_softmax(vkd_graph *g, vkd_tensor x) {
    return emit(g, &vkd_op_softmax, x, (vkd_tensor){0});
}

vkd_tensor vkd_log_softmax(vkd_graph *g, vkd_tensor x) {
    return emit(g, &vkd_op_log_softmax, x, (vkd_tensor){0});
}

static bool is_log(const vkd__node *n) {
    return n->op == &vkd_op_log_softmax || n->op == &vkd_op_log_softmax_grad;
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!vkd__need_f32(g, n, i)) return false;
        if (!vkd__shape_equal(shape, vkd_tensor_shape(g, n->in[i])))
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "shapes differ");
    }
    if (!shape.axes) return vkd__graph_fail(g, n, VKD_E_SHAPE, "a () tensor has no last axis");
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] =
        emit(g, is_log(n) ? &vkd_op_log_softmax_grad : &vkd_op_softmax_grad, n->out[0], dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const char *kernel = n->in_count == 1 ? "row_softmax" : "row_softmax_grad";
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__row_launch(l, kernel, count, r.length);
        if (!launch) return false;
        for (uint32_t i = 0; i < n->in_count; i++)
            vkd__row_bind(launch, n->in[i], VKD__READ, first, count, r.length);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        vkd__spec(launch, 11, is_log(n));
        vkd__push(launch, &(struct vkd_row_params){(uint32_t)count, r.length},
                  sizeof(struct vkd_row_params));
        const double elements = (double)count * r.length;
        vkd__cost(launch, 10 * elements, 4 * elements * (n->in_count + 1));
    }
    return true;
}

static void softmax_row(const double *x, double *y, uint32_t V, bool log_space) {
    double max = -INFINITY, z = 0;
    for (uint32_t v = 0; v < V; v++)
        if (x[v] > max) max = x[v];
    const double shift = isinf(max) && max < 0 ? 0 : max; /* masked throughout: exp(-inf - 0) = 0 */
    for (uint32_t v = 0; v < V; v++)
        z += exp(x[v] - shift);
    for (uint32_t v = 0; v < V; v++) {
        if (log_space)
            y[v] = z == 0 ? -INFINITY : x[v] - shift - log(z);
        else
            y[v] = z == 0 ? 0 : exp(x[v] - shift) / z;
    }
}

static void reference(const vkd__ref *r) {
    const uint64_t rows = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < rows; n++)
        softmax_row(r->in[0].v + n * V, r->out[0].v + n * V, V, is_log(r->node));
}

static void grad_reference(const vkd__ref *r) {
    const uint64_t rows = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < rows; n++) {
        const double *y = r->in[0].v + n * V, *dy = r->in[1].v + n * V;
        double *dx = r->out[0].v + n * V, sum = 0;
        for (uint32_t v = 0; v < V; v++)
            sum += is_log(r->node) ? dy[v] : y[v] * dy[v];
        for (uint32_t v = 0; v < V; v++)
            dx[v] = is_log(r->node) ? dy[v] - exp(y[v]) * sum : y[v] * (dy[v] - sum);
    }
}

/* Ragged rows, then rows of equal values, large values, and masked ones. */
#define CASES (VKD__ROW_CASES + 3)

static vkd_tensor case_input(vkd__case *c) {
    if (c->index < VKD__ROW_CASES) {
        c->what = "ragged rows";
        const uint32_t *size = vkd__row_cases[c->index];
        return vkd__case_f32(c, VKD_SHAPE(size[0], size[1]), -3, 3);
    }
    const uint32_t kind = c->index - VKD__ROW_CASES;
    c->what = kind == 0 ? "all equal" : kind == 1 ? "large values" : "masked classes";
    if (kind == 0) return vkd__case_f32(c, VKD_SHAPE(2, 3, 37), 5, 5);
    if (kind == 1) return vkd__case_f32(c, VKD_SHAPE(6, 65), 80, 120);
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(9, 66), -3, 3);
    vkd__case_special(c, -INFINITY, 3);
    return x;
}

static void build_softmax(vkd__case *c) {
    vkd__case_output(c, vkd_softmax(c->g, case_input(c)));
}

static void build_log_softmax(vkd__case *c) {
    const vkd_tensor y = vkd_log_softmax(c->g, case_input(c));
    c->difference_bound = 1e-5; /* the sum of thousands of logarithms cancels digits */
    /* Masked classes are -inf here, which no difference can be taken of: look at their exp. */
    vkd__case_output(c, c->index == CASES - 1 ? vkd_exp(c->g, y) : y);
}

static void build_grad(vkd__case *c, const vkd_op_def *op, double low, double high) {
    c->what = "ragged rows";
    const uint32_t *size = vkd__row_cases[c->index];
    const vkd_tensor y = vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), low, high);
    const vkd_tensor dy = vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), -1, 1);
    vkd__case_output(c, emit(c->g, op, y, dy));
}

static void build_softmax_grad(vkd__case *c) {
    build_grad(c, &vkd_op_softmax_grad, 0, 0.1);
}

static void build_log_softmax_grad(vkd__case *c) {
    build_grad(c, &vkd_op_log_softmax_grad, -9, -1);
}

const vkd_op_def vkd_op_softmax = {
    .name = "softmax",
    .summary = "exp(x) / sum of exp(x) over the last axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_softmax,
};
const vkd_op_def vkd_op_log_softmax = {
    .name = "log_softmax",
    .summary = "x - log of the sum of exp(x) over the last axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_log_softmax,
};
const vkd_op_def vkd_op_softmax_grad = {
    .name = "softmax_grad",
    .summary = "gradient of softmax from its result",
    .infer = infer,
    .lower = lower,
    .reference = grad_reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_softmax_grad,
    .no_difference_test = "a gradient itself: checked through softmax",
};
const vkd_op_def vkd_op_log_softmax_grad = {
    .name = "log_softmax_grad",
    .summary = "gradient of log_softmax from its result",
    .infer = infer,
    .lower = lower,
    .reference = grad_reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_log_softmax_grad,
    .no_difference_test = "a gradient itself: checked through log_softmax",
};
