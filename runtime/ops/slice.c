// SPDX-License-Identifier: Apache-2.0
/* slice: y is `length` elements of one axis of x, from `start` on. unslice is its gradient: zeros
 * of x's shape, with dy where y was taken from. f32 or i32. */
#include <string.h>

#include "ops/op.h"
#include "ops/strided.h"

typedef struct slice_params {
    uint32_t axis, start, length;
    uint32_t size; /* unslice: of the axis before it was sliced */
} slice_params;

/* Elements behind one step of an axis. */
static uint64_t inner_of(vkd_shape shape, uint32_t axis) {
    uint64_t inner = 1;
    for (uint32_t k = axis + 1; k < shape.axes; k++)
        inner *= shape.dim[k];
    return inner;
}

vkd_tensor vkd_slice(vkd_graph *g, vkd_tensor x, uint32_t axis, uint32_t start, uint32_t length) {
    if (!g->status && x.id && start == 0) {
        const vkd_shape shape = vkd_tensor_shape(g, x);
        if (axis < shape.axes && length == shape.dim[axis]) return x;
    }
    const slice_params p = {axis, start, length, 0};
    return vkd__emit1(g, &vkd_op_slice, x, &p, sizeof p);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const slice_params *p = n->params;
    const vkd__tensor *x = vkd__tensor_get(g, n->in[0]);
    if (x->dtype == VKD_U8)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' is u8, not f32 or i32", x->name);
    if (p->axis >= x->shape.axes || !p->length || p->start > x->shape.dim[p->axis] ||
        p->length > x->shape.dim[p->axis] - p->start)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%u elements from %u on of axis %u are not in %s",
                               p->length, p->start, p->axis, vkd__shape_text(g, x->shape));
    vkd_shape y = x->shape;
    y.dim[p->axis] = p->length;
    vkd__node_out(g, n, 0, x->dtype, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    slice_params p = *(const slice_params *)n->params;
    p.size = vkd_tensor_shape(g, n->in[0]).dim[p.axis];
    din[0] = vkd__emit1(g, &vkd_op_unslice, dout[0], &p, sizeof p);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const slice_params *p = n->params;
    const vkd_shape x = vkd_tensor_shape(l->g, n->in[0]), y = vkd_tensor_shape(l->g, n->out[0]);
    vkd__strided s = vkd__strided_over(y, 2);
    vkd__strided_part(&s, 0, x, NULL, p->start * inner_of(x, p->axis));
    vkd__strided_part(&s, 1, y, NULL, 0);
    vkd__strided_merge(&s);
    return vkd__copy_lower(l, n->in[0], n->out[0], &s);
}

/* Both references run over (outer, length, inner) of the small tensor; `size` is the large axis. */
static void move(const slice_params *p, vkd_shape small, uint32_t size, const double *from,
                 double *to, bool into_large) {
    const uint64_t inner = inner_of(small, p->axis);
    const uint64_t count = vkd_shape_count(small);
    for (uint64_t e = 0; e < count; e++) {
        const uint64_t i = e % inner, k = e / inner % p->length, o = e / inner / p->length;
        const uint64_t large = (o * size + p->start + k) * inner + i;
        if (into_large)
            to[large] = from[e];
        else
            to[e] = from[large];
    }
}

static void reference(const vkd__ref *r) {
    const slice_params *p = r->node->params;
    move(p, r->out[0].tensor->shape, r->in[0].tensor->shape.dim[p->axis], r->in[0].v, r->out[0].v,
         false);
}

static const struct {
    vkd_shape shape;
    uint32_t axis, start, length;
    bool integer;
} cases[] = {
    {{1, {1000}}, 0, 31, 129, false},    {{2, {9, 33}}, 1, 1, 31, false},
    {{2, {9, 64}}, 1, 16, 32, false},    {{3, {3, 7, 12}}, 1, 2, 4, false},
    {{4, {2, 3, 4, 5}}, 0, 1, 1, false}, {{2, {33, 2}}, 1, 1, 1, false},
    {{2, {6, 10}}, 1, 3, 5, true},
};

static void build_case(vkd__case *c) {
    const vkd_shape shape = cases[c->index].shape;
    const vkd_tensor x = cases[c->index].integer ? vkd__case_i32(c, shape, -1000000, 1000000)
                                                 : vkd__case_f32(c, shape, -1, 1);
    vkd__case_output(
        c, vkd_slice(c->g, x, cases[c->index].axis, cases[c->index].start, cases[c->index].length));
}

const vkd_op_def vkd_op_slice = {
    .name = "slice",
    .summary = "a part of one axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = (uint32_t)VKD_COUNT(cases),
    .build_case = build_case,
};

/* ---- unslice ---- */

static bool unslice_infer(vkd_graph *g, vkd__node *n) {
    const slice_params *p = n->params;
    if (!vkd__all_f32(g, n)) return false;
    vkd_shape x = vkd_tensor_shape(g, n->in[0]);
    x.dim[p->axis] = p->size;
    vkd__node_out(g, n, 0, VKD_F32, x);
    return true;
}

/* Zeros everywhere, then dy over them: two launches, and no index tests in either. */
static bool unslice_lower(vkd__lower *l, const vkd__node *n) {
    const slice_params *p = n->params;
    const vkd_shape dy = vkd_tensor_shape(l->g, n->in[0]), dx = vkd_tensor_shape(l->g, n->out[0]);
    struct vkd_fill_params push = {.value = 0};
    if (!vkd__flat_lower(l, &(vkd__flat){.kernel = "fill",
                                         .count = vkd_shape_count(dx),
                                         .tensor_count = 1,
                                         .tensor = {n->out[0]},
                                         .access = {VKD__WRITE},
                                         .push = &push,
                                         .push_size = sizeof push}))
        return false;
    vkd__strided s = vkd__strided_over(dy, 2);
    vkd__strided_part(&s, 0, dy, NULL, 0);
    vkd__strided_part(&s, 1, dx, NULL, p->start * inner_of(dx, p->axis));
    vkd__strided_merge(&s);
    return vkd__copy_lower(l, n->in[0], n->out[0], &s);
}

static void unslice_reference(const vkd__ref *r) {
    const slice_params *p = r->node->params;
    memset(r->out[0].v, 0, vkd_shape_count(r->out[0].tensor->shape) * sizeof(double));
    move(p, r->in[0].tensor->shape, p->size, r->in[0].v, r->out[0].v, true);
}

static void unslice_build_case(vkd__case *c) {
    vkd_shape shape = cases[c->index].shape;
    slice_params p = {cases[c->index].axis, cases[c->index].start, cases[c->index].length, 0};
    p.size = shape.dim[p.axis];
    shape.dim[p.axis] = p.length;
    const vkd_tensor dy = vkd__case_fixed(c, shape, -1, 1);
    vkd__case_output(c, vkd__emit1(c->g, &vkd_op_unslice, dy, &p, sizeof p));
}

const vkd_op_def vkd_op_unslice = {
    .name = "unslice",
    .summary = "the gradient of slice: zeros around it",
    .infer = unslice_infer,
    .lower = unslice_lower,
    .reference = unslice_reference,
    .case_count = (uint32_t)VKD_COUNT(cases) - 1,
    .build_case = unslice_build_case,
    .no_difference_test = "it is a gradient itself; slice's cases check it",
};
