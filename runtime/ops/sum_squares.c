// SPDX-License-Identifier: Apache-2.0
/* sum_squares over the last axis: y[n] = sum_d x[n,d]^2, dx[n,d] = 2 x[n,d] dy[n]. Composed of
 * square and sum it would write and read all squares. */
#include "ops/row.h"

static vkd_tensor emit(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, vkd_tensor dy) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = op, .in_count = op->backward ? 1u : 2u, .in = {x, dy}});
}

vkd_tensor vkd_sum_squares(vkd_graph *g, vkd_tensor x) {
    return emit(g, &vkd_op_sum_squares, x, (vkd_tensor){0});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (!shape.axes) return vkd__graph_fail(g, n, VKD_E_SHAPE, "a () tensor has no last axis");
    shape.axes--;
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__all_f32(g, n)) return false;
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = emit(g, &vkd_op_sum_squares_grad, n->in[0], dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const bool grad = n->in_count == 2;
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch =
            vkd__row_launch(l, grad ? "sum_squares_grad" : "sum_squares", count, r.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, first, count, r.length);
        if (grad) vkd__row_bind(launch, n->in[1], VKD__READ, first, count, 1);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, grad ? r.length : 1);
        vkd__push(launch, &(struct vkd_row_params){(uint32_t)count, r.length},
                  sizeof(struct vkd_row_params));
        const double elements = (double)count * r.length;
        vkd__cost(launch, 2 * elements, 4 * elements * (grad ? 2 : 1) + 4 * (double)count);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < vkd__shape_rows(r->in[0].tensor->shape); n++) {
        r->out[0].v[n] = 0;
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[n] += r->in[0].v[n * D + d] * r->in[0].v[n * D + d];
    }
}

static void grad_reference(const vkd__ref *r) {
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++)
        r->out[0].v[i] = 2 * r->in[0].v[i] * r->in[1].v[i / D];
}

#define CASES (VKD__ROW_CASES + 1)

/* Ragged rows, then rows of a map. */
static vkd_shape case_shape(vkd__case *c) {
    c->what = c->index < VKD__ROW_CASES ? "ragged rows" : "a map";
    if (c->index == VKD__ROW_CASES) return VKD_SHAPE(3, 4, 5, 6);
    return VKD_SHAPE(vkd__row_cases[c->index][0], vkd__row_cases[c->index][1]);
}

static void build_case(vkd__case *c) {
    const vkd_tensor x = vkd__case_f32(c, case_shape(c), -2, 2);
    vkd__case_output(c, vkd_sum_squares(c->g, x));
}

static void build_grad_case(vkd__case *c) {
    vkd_shape shape = case_shape(c);
    const vkd_tensor x = vkd__case_fixed(c, shape, -2, 2);
    shape.axes--;
    const vkd_tensor dy = vkd__case_fixed(c, shape, -1, 1);
    vkd__case_output(c, emit(c->g, &vkd_op_sum_squares_grad, x, dy));
}

const vkd_op_def vkd_op_sum_squares = {
    .name = "sum_squares",
    .summary = "sum of squares over the last axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_case,
};
const vkd_op_def vkd_op_sum_squares_grad = {
    .name = "sum_squares_grad",
    .summary = "gradient of sum_squares",
    .infer = grad_infer,
    .lower = lower,
    .reference = grad_reference,
    .case_count = CASES,
    .build_case = build_grad_case,
    .no_difference_test = "a gradient itself: checked through sum_squares",
};
