// SPDX-License-Identifier: Apache-2.0
/* reshape: the same elements in the same order under another shape. dx is dy under x's shape. */
#include "ops/op.h"

typedef struct reshape_params {
    vkd_shape shape;
} reshape_params;

vkd_tensor vkd_reshape(vkd_graph *g, vkd_tensor x, vkd_shape shape) {
    if (!g->status && x.id && vkd__shape_equal(vkd_tensor_shape(g, x), shape)) return x;
    return vkd__emit1(g, &vkd_op_reshape, x, &(reshape_params){shape}, sizeof(reshape_params));
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape shape = ((const reshape_params *)n->params)->shape;
    const vkd_shape x = vkd_tensor_shape(g, n->in[0]);
    if (shape.axes > VKD_MAX_AXES || vkd_shape_count(x) != vkd_shape_count(shape))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s has not as many elements as %s",
                               vkd__shape_text(g, x), vkd__shape_text(g, shape));
    vkd__node_out(g, n, 0, vkd_tensor_dtype(g, n->in[0]), shape);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd_reshape(g, dout[0], vkd_tensor_shape(g, n->in[0]));
}

static void build_case(vkd__case *c) {
    static const vkd_shape shapes[][2] = {
        {{2, {3, 4}}, {1, {12}}}, {{1, {1}}, {0, {0}}}, {{3, {2, 3, 5}}, {5, {1, 5, 3, 1, 2}}}};
    const vkd_tensor x = vkd__case_f32(c, shapes[c->index][0], -1, 1);
    /* A view of a leaf and a view of a result, which something else reads too. */
    const vkd_tensor y = vkd_square(c->g, x);
    vkd__case_output(c, vkd_reshape(c->g, x, shapes[c->index][1]));
    vkd__case_output(c, vkd_reshape(c->g, y, shapes[c->index][1]));
    vkd__case_output(c, vkd_scale(c->g, vkd_reshape(c->g, y, shapes[c->index][1]), 0.5f));
}

const vkd_op_def vkd_op_reshape = {
    .name = "reshape",
    .summary = "another shape, no copy",
    .infer = infer,
    .backward = backward,
    .is_view = true,
    .case_count = 3,
    .build_case = build_case,
};
