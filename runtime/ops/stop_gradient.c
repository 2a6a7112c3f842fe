// SPDX-License-Identifier: Apache-2.0
/* stop_gradient: the same values; having no backward, it ends every gradient's way. */
#include "ops/op.h"

vkd_tensor vkd_stop_gradient(vkd_graph *g, vkd_tensor x) {
    if (!g->status && x.id && !vkd__tensor_get(g, x)->needs_grad) return x;
    return vkd__emit1(g, &vkd_op_stop_gradient, x, NULL, 0);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd__node_out(g, n, 0, vkd_tensor_dtype(g, n->in[0]), vkd_tensor_shape(g, n->in[0]));
    return true;
}

static void build_case(vkd__case *c) {
    /* y = x * stop(x * x): differences would see 3 x^2, the gradient is x^2. */
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(33), 0.5, 2);
    const vkd_tensor w = vkd__case_f32(c, VKD_SHAPE(33), 0.5, 2);
    vkd__case_output(c, vkd_stop_gradient(c->g, vkd_mul(c->g, x, w)));
}

const vkd_op_def vkd_op_stop_gradient = {
    .name = "stop_gradient",
    .summary = "the same values, no gradient",
    .infer = infer,
    .is_view = true,
    .case_count = 1,
    .build_case = build_case,
    .no_difference_test = "differences see the dependence that it hides",
};
