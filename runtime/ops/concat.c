// SPDX-License-Identifier: Apache-2.0
/* concat: parts joined along one axis. The gradient of each part is its slice of dy. f32 or i32. */
#include "ops/op.h"
#include "ops/strided.h"

typedef struct concat_params {
    uint32_t axis;
} concat_params;

static vkd_tensor emit(vkd_graph *g, const vkd_tensor *parts, uint32_t count, uint32_t axis) {
    vkd__emit_desc d = {.op = &vkd_op_concat,
                        .in_count = count,
                        .params = &(concat_params){axis},
                        .params_size = sizeof(concat_params)};
    for (uint32_t i = 0; i < count; i++)
        d.in[i] = parts[i];
    return vkd__emit(g, &d);
}

/* A node takes a few inputs; more parts are joined to what has been joined so far. */
vkd_tensor vkd_concat(vkd_graph *g, const vkd_tensor *parts, uint32_t count, uint32_t axis) {
    if (!count) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "concat: no parts");
        return (vkd_tensor){0};
    }
    if (count == 1) return parts[0];
    vkd_tensor joined[VKD__MAX_IN] = {parts[0]};
    for (uint32_t next = 1; next < count;) {
        uint32_t n = 1;
        while (n < VKD__MAX_IN && next < count)
            joined[n++] = parts[next++];
        joined[0] = emit(g, joined, n, axis);
    }
    return joined[0];
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const uint32_t axis = ((const concat_params *)n->params)->axis;
    const vkd__tensor *first = vkd__tensor_get(g, n->in[0]);
    vkd_shape y = first->shape;
    if (first->dtype == VKD_U8)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' is u8, not f32 or i32", first->name);
    if (axis >= y.axes)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "there is no axis %u in %s", axis,
                               vkd__shape_text(g, y));
    for (uint32_t i = 1; i < n->in_count; i++) {
        const vkd__tensor *t = vkd__tensor_get(g, n->in[i]);
        if (t->dtype != first->dtype)
            return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' has another type", t->name);
        vkd_shape like = first->shape;
        if (t->shape.axes == like.axes) like.dim[axis] = t->shape.dim[axis];
        if (!vkd__shape_equal(t->shape, like))
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s and %s differ in more than axis %u",
                                   vkd__shape_text(g, first->shape), vkd__shape_text(g, t->shape),
                                   axis);
        if (t->shape.dim[axis] > UINT32_MAX - y.dim[axis])
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "axis %u becomes too long", axis);
        y.dim[axis] += t->shape.dim[axis];
    }
    vkd__node_out(g, n, 0, first->dtype, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const uint32_t axis = ((const concat_params *)n->params)->axis;
    uint32_t start = 0;
    for (uint32_t i = 0; i < n->in_count; i++) {
        const uint32_t length = vkd_tensor_shape(g, n->in[i]).dim[axis];
        if (vkd__tensor_get(g, n->in[i])->needs_grad)
            din[i] = vkd_slice(g, dout[0], axis, start, length);
        start += length;
    }
}

static uint64_t inner_of(vkd_shape shape, uint32_t axis) {
    uint64_t inner = 1;
    for (uint32_t k = axis + 1; k < shape.axes; k++)
        inner *= shape.dim[k];
    return inner;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const uint32_t axis = ((const concat_params *)n->params)->axis;
    const vkd_shape y = vkd_tensor_shape(l->g, n->out[0]);
    uint64_t start = 0;
    for (uint32_t i = 0; i < n->in_count; i++) {
        const vkd_shape x = vkd_tensor_shape(l->g, n->in[i]);
        vkd__strided s = vkd__strided_over(x, 2);
        vkd__strided_part(&s, 0, x, NULL, 0);
        vkd__strided_part(&s, 1, y, NULL, start * inner_of(y, axis));
        vkd__strided_merge(&s);
        if (!vkd__copy_lower(l, n->in[i], n->out[0], &s)) return false;
        start += x.dim[axis];
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const uint32_t axis = ((const concat_params *)r->node->params)->axis;
    const uint32_t size = r->out[0].tensor->shape.dim[axis];
    uint64_t start = 0;
    for (uint32_t i = 0; i < r->node->in_count; i++) {
        const vkd_shape x = r->in[i].tensor->shape;
        const uint64_t inner = inner_of(x, axis), length = x.dim[axis];
        for (uint64_t e = 0; e < vkd_shape_count(x); e++) {
            const uint64_t k = e / inner % length, o = e / inner / length;
            r->out[0].v[(o * size + start + k) * inner + e % inner] = r->in[i].v[e];
        }
        start += length;
    }
}

static void build_case(vkd__case *c) {
    static const struct {
        vkd_shape shape; /* of each part, but for the axis: part i has lengths[i] there */
        uint32_t axis, count, lengths[10];
    } cases[] = {
        {{1, {0}}, 0, 3, {1, 31, 129}},
        {{2, {33, 0}}, 1, 2, {1, 2}},
        {{2, {9, 0}}, 1, 2, {16, 32}},
        {{3, {2, 0, 12}}, 1, 3, {3, 1, 2}},
        {{3, {2, 0, 3}}, 1, 10, {1, 2, 1, 2, 1, 2, 1, 2, 1, 2}},
        {{2, {5, 0}}, 1, 2, {3, 4}},
    };
    const uint32_t which = c->index;
    vkd_tensor parts[10] = {{0}};
    for (uint32_t i = 0; i < cases[which].count; i++) {
        vkd_shape shape = cases[which].shape;
        shape.dim[cases[which].axis] = cases[which].lengths[i];
        /* A case has fewer inputs than this has parts: the last ones repeat. */
        if (i >= VKD__CASE_INPUTS)
            parts[i] = parts[i - 2];
        else if (which == 5)
            parts[i] = vkd__case_i32(c, shape, -1000000, 1000000);
        else
            parts[i] = vkd__case_f32(c, shape, -1, 1);
    }
    vkd__case_output(c, vkd_concat(c->g, parts, cases[which].count, cases[which].axis));
}

const vkd_op_def vkd_op_concat = {
    .name = "concat",
    .summary = "tensors joined along one axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 6,
    .build_case = build_case,
};
