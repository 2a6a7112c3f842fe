// SPDX-License-Identifier: Apache-2.0
/* expand: y = x broadcast to a shape, as NumPy does. dx is dy summed over the axes that were
 * broadcast: each element of x went to all of them. */
#include "ops/op.h"
#include "ops/strided.h"

typedef struct expand_params {
    vkd_shape shape;
} expand_params;

vkd_tensor vkd__one_value(const vkd_graph *g, vkd_tensor x) {
    const vkd__node *n = vkd__producer(g, x);
    while (n && n->op == &vkd_op_reshape && vkd_shape_count(vkd_tensor_shape(g, x)) == 1 &&
           vkd_tensor_shape(g, n->in[0]).axes < vkd_tensor_shape(g, x).axes) {
        x = n->in[0];
        n = vkd__producer(g, x);
    }
    return x;
}

vkd_tensor vkd__expand(vkd_graph *g, vkd_tensor x, vkd_shape shape) {
    if (!g->status && x.id && vkd__shape_equal(vkd_tensor_shape(g, x), shape)) return x;
    x = vkd__one_value(g, x);
    return vkd__emit1(g, &vkd_op_expand, x, &(expand_params){shape}, sizeof(expand_params));
}

static bool infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__all_f32(g, n)) return false;
    const vkd_shape shape = ((const expand_params *)n->params)->shape;
    const vkd_shape x = vkd_tensor_shape(g, n->in[0]);
    vkd_shape y;
    if (!vkd__shape_broadcast(x, shape, &y) || !vkd__shape_equal(y, shape))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s does not broadcast to %s",
                               vkd__shape_text(g, x), vkd__shape_text(g, shape));
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__sum_to(g, dout[0], vkd_tensor_shape(g, n->in[0]));
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const vkd_shape y = vkd_tensor_shape(l->g, n->out[0]);
    vkd__strided s = vkd__strided_over(y, 2);
    vkd__strided_broadcast(&s, 0, vkd_tensor_shape(l->g, n->in[0]));
    vkd__strided_part(&s, 1, y, NULL, 0);
    vkd__strided_merge(&s);
    return vkd__copy_lower(l, n->in[0], n->out[0], &s);
}

static void reference(const vkd__ref *r) {
    const vkd_shape x = r->in[0].tensor->shape, y = r->out[0].tensor->shape;
    for (uint64_t e = 0; e < vkd_shape_count(y); e++)
        r->out[0].v[e] = r->in[0].v[vkd__broadcast_index(x, y, e)];
}

static void build_case(vkd__case *c) {
    static const vkd_shape shapes[][2] = {
        {{0, {0}}, {1, {31}}},
        {{1, {33}}, {2, {7, 33}}},
        {{2, {5, 1}}, {2, {5, 8}}},
        {{2, {1, 1}}, {2, {2, 1}}},
        {{1, {128}}, {2, {9, 128}}},
        {{5, {2, 1, 3, 1, 2}}, {5, {2, 3, 3, 5, 2}}},
        {{2, {127, 1}}, {3, {2, 127, 3}}},
    };
    const vkd_tensor x = vkd__case_f32(c, shapes[c->index][0], -1, 1);
    vkd__case_output(c, vkd__expand(c->g, x, shapes[c->index][1]));
}

const vkd_op_def vkd_op_expand = {
    .name = "expand",
    .summary = "broadcast to a shape",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 7,
    .build_case = build_case,
};
