// SPDX-License-Identifier: Apache-2.0
/* argmax of each row of the last axis, the first one where several are largest; and correct, how
 * many rows have theirs at the label. correct counts in one workgroup what a first launch found. */
#include <math.h>

#include "ops/row.h"

vkd_tensor vkd_argmax(vkd_graph *g, vkd_tensor x) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_argmax, .in_count = 1, .in = {x}});
}

vkd_tensor vkd_correct(vkd_graph *g, vkd_tensor logits, vkd_tensor labels) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_correct, .in_count = 2, .in = {logits, labels}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (!shape.axes) return vkd__graph_fail(g, n, VKD_E_SHAPE, "a () tensor has no last axis");
    shape.axes--;
    vkd__node_out(g, n, 0, VKD_I32, shape);
    return true;
}

static bool correct_infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape logits = vkd_tensor_shape(g, n->in[0]), labels = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (vkd_tensor_dtype(g, n->in[1]) != VKD_I32)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "the labels are not i32");
    if (!logits.axes || vkd_shape_count(labels) != vkd__shape_rows(logits))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "one label a row is wanted: %s and %s",
                               vkd__shape_text(g, logits), vkd__shape_text(g, labels));
    vkd__node_out(g, n, 0, VKD_I32, VKD_SCALAR);
    return true;
}

/* The launches that find the largest; `out` is a tensor, or {0}, and then it is the scratch. */
static bool lower_argmax(vkd__lower *l, const vkd__node *n, vkd_tensor out, uint32_t scratch) {
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__row_launch(l, "argmax", count, r.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, first, count, r.length);
        if (out.id)
            vkd__bind(launch, out, VKD__WRITE);
        else
            vkd__bind_scratch(launch, scratch, VKD__WRITE);
        vkd__push(launch, &(struct vkd_argmax_params){(uint32_t)count, r.length, (uint32_t)first},
                  sizeof(struct vkd_argmax_params));
        vkd__cost(launch, (double)count * r.length, 4.0 * (double)count * r.length);
    }
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    return lower_argmax(l, n, n->out[0], 0);
}

static bool correct_lower(vkd__lower *l, const vkd__node *n) {
    const uint64_t rows = vkd__shape_rows(vkd_tensor_shape(l->g, n->in[0]));
    const uint32_t scratch = vkd__scratch_add(l, rows * sizeof(int32_t));
    if (!lower_argmax(l, n, (vkd_tensor){0}, scratch)) return false;
    vkd__launch *launch = vkd__reduce_launch(l, "count_equal");
    if (!launch) return false;
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__push(launch, &(struct vkd_row_params){.N = (uint32_t)rows}, sizeof(struct vkd_row_params));
    vkd__cost(launch, (double)rows, 8.0 * (double)rows);
    return true;
}

static uint32_t largest(const double *x, uint32_t V) {
    uint32_t best = 0;
    for (uint32_t v = 1; v < V; v++)
        if (x[v] > x[best]) best = v;
    return best;
}

static void reference(const vkd__ref *r) {
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < vkd__shape_rows(r->in[0].tensor->shape); n++)
        r->out[0].v[n] = largest(r->in[0].v + n * V, V);
}

static void correct_reference(const vkd__ref *r) {
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    r->out[0].v[0] = 0;
    for (uint64_t n = 0; n < vkd__shape_rows(r->in[0].tensor->shape); n++)
        r->out[0].v[0] += r->in[1].v[n] == largest(r->in[0].v + n * V, V);
}

/* Ragged rows, rows that are equal throughout (the first counts), and masked ones. */
#define CASES (VKD__ROW_CASES + 2)

static vkd_tensor case_input(vkd__case *c) {
    if (c->index < VKD__ROW_CASES) {
        c->what = "ragged rows";
        const uint32_t *size = vkd__row_cases[c->index];
        return vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), -3, 3);
    }
    c->what = c->index == VKD__ROW_CASES ? "all equal" : "ties and masked classes";
    if (c->index == VKD__ROW_CASES) return vkd__case_fixed(c, VKD_SHAPE(4, 70), 2, 2);
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(40, 13), -3, -1);
    vkd__case_special(c, -INFINITY, 2);
    return x;
}

static void build_case(vkd__case *c) {
    vkd__case_output(c, vkd_argmax(c->g, case_input(c)));
}

static void build_correct(vkd__case *c) {
    const vkd_tensor logits = case_input(c);
    const vkd_shape shape = vkd_tensor_shape(c->g, logits);
    /* Few labels, some of them negative, so that rows do match. */
    const int32_t high = shape.dim[1] < 3 ? (int32_t)shape.dim[1] : 3;
    const vkd_tensor labels = vkd__case_i32(c, VKD_SHAPE(shape.dim[0]), -1, high);
    vkd__case_output(c, vkd_correct(c->g, logits, labels));
}

const vkd_op_def vkd_op_argmax = {
    .name = "argmax",
    .summary = "index of the first largest element of each row",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_case,
    .no_difference_test = "integers have no gradient",
};
const vkd_op_def vkd_op_correct = {
    .name = "correct",
    .summary = "number of rows whose largest element is at the label",
    .infer = correct_infer,
    .lower = correct_lower,
    .reference = correct_reference,
    .case_count = CASES,
    .build_case = build_correct,
    .no_difference_test = "integers have no gradient",
};
