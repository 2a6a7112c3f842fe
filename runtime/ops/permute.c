// SPDX-License-Identifier: Apache-2.0
/* permute: axis i of y is axis order[i] of x. dx is dy permuted back. f32 or i32. */
#include "ops/op.h"
#include "ops/strided.h"

typedef struct permute_params {
    uint32_t order[VKD_MAX_AXES];
} permute_params;

static bool is_order(const uint32_t *order, uint32_t axes) {
    uint32_t seen = 0;
    for (uint32_t i = 0; i < axes; i++) {
        if (order[i] >= axes) return false;
        seen |= 1u << order[i];
    }
    return seen == (1u << axes) - 1u;
}

/* Whether memory stays as it is: the axes larger than one keep their order. */
static bool keeps_memory(vkd_shape x, const uint32_t *order) {
    uint32_t last = 0;
    for (uint32_t i = 0; i < x.axes; i++) {
        if (x.dim[order[i]] == 1) continue;
        if (order[i] < last) return false;
        last = order[i];
    }
    return true;
}

static vkd_shape permuted(vkd_shape x, const uint32_t *order) {
    vkd_shape y = {.axes = x.axes};
    for (uint32_t i = 0; i < x.axes; i++)
        y.dim[i] = x.dim[order[i]];
    return y;
}

static vkd_tensor emit(vkd_graph *g, vkd_tensor x, const uint32_t *order, uint32_t axes) {
    permute_params p = {{0}};
    for (uint32_t i = 0; i < axes; i++)
        p.order[i] = order[i];
    return vkd__emit1(g, &vkd_op_permute, x, &p, sizeof p);
}

vkd_tensor vkd_permute(vkd_graph *g, vkd_tensor x, const uint32_t *order) {
    if (g->status || !x.id) return emit(g, x, NULL, 0);
    const vkd_shape shape = vkd_tensor_shape(g, x);
    if (is_order(order, shape.axes) && keeps_memory(shape, order))
        return vkd_reshape(g, x, permuted(shape, order));
    return emit(g, x, order, shape.axes);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__tensor *x = vkd__tensor_get(g, n->in[0]);
    const uint32_t *order = ((const permute_params *)n->params)->order;
    if (x->dtype == VKD_U8)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' is u8, not f32 or i32", x->name);
    if (!is_order(order, x->shape.axes))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "the order does not name each of the %u axes once", x->shape.axes);
    vkd__node_out(g, n, 0, x->dtype, permuted(x->shape, order));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const uint32_t *order = ((const permute_params *)n->params)->order;
    uint32_t back[VKD_MAX_AXES] = {0};
    const uint32_t axes = vkd_tensor_shape(g, dout[0]).axes;
    for (uint32_t i = 0; i < axes; i++)
        back[order[i]] = i;
    din[0] = vkd_permute(g, dout[0], back);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const vkd_shape y = vkd_tensor_shape(l->g, n->out[0]);
    vkd__strided s = vkd__strided_over(y, 2);
    vkd__strided_part(&s, 0, vkd_tensor_shape(l->g, n->in[0]),
                      ((const permute_params *)n->params)->order, 0);
    vkd__strided_part(&s, 1, y, NULL, 0);
    vkd__strided_merge(&s);
    return vkd__copy_lower(l, n->in[0], n->out[0], &s);
}

static void reference(const vkd__ref *r) {
    const uint32_t *order = ((const permute_params *)r->node->params)->order;
    const vkd_shape x = r->in[0].tensor->shape, y = r->out[0].tensor->shape;
    for (uint64_t e = 0; e < vkd_shape_count(y); e++) {
        uint64_t rest = e, at[VKD_MAX_AXES] = {0}, from = 0; /* at: coordinates in x */
        for (uint32_t i = y.axes; i-- > 0; rest /= y.dim[i])
            at[order[i]] = rest % y.dim[i];
        for (uint32_t axis = 0; axis < x.axes; axis++)
            from = from * x.dim[axis] + at[axis];
        r->out[0].v[e] = r->in[0].v[from];
    }
}

static void build_case(vkd__case *c) {
    static const struct {
        vkd_shape shape;
        uint32_t order[VKD_MAX_AXES];
        bool integer;
    } cases[] = {
        {{2, {33, 31}}, {1, 0}, false},
        {{2, {128, 2}}, {1, 0}, false},
        {{4, {2, 3, 5, 8}}, {0, 2, 1, 3}, false},
        {{4, {2, 3, 5, 7}}, {0, 2, 1, 3}, false},
        {{5, {2, 3, 4, 5, 6}}, {4, 2, 0, 3, 1}, false},
        {{3, {3, 1, 127}}, {2, 1, 0}, false},
        {{3, {2, 1, 9}}, {1, 0, 2}, false}, /* keeps memory */
        {{3, {5, 4, 3}}, {2, 0, 1}, true},
    };
    const vkd_shape shape = cases[c->index].shape;
    const vkd_tensor x = cases[c->index].integer ? vkd__case_i32(c, shape, -1000000, 1000000)
                                                 : vkd__case_f32(c, shape, -1, 1);
    vkd__case_output(c, vkd_permute(c->g, x, cases[c->index].order));
}

const vkd_op_def vkd_op_permute = {
    .name = "permute",
    .summary = "axes in another order",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 8,
    .build_case = build_case,
};
