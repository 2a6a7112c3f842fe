// SPDX-License-Identifier: Apache-2.0
/* pairwise_distance: d_ij = max(|x_i - x_j|, 1e-6) between all rows of x, 0 for i = j; and its
 * gradient. With a = the gradient of d,
 *
 *   d(d_ij)/dx_i = (x_i - x_j) / d_ij = -d(d_ij)/dx_j, 0 where d stands at its least,
 *   dx_i = sum_j (a_ij + a_ji) / d_ij (x_i - x_j)
 *
 * in two steps: the weights, for which a must be read across, and the sum. */
#include <string.h>

#include "ops/pairs.h"

vkd_tensor vkd_pairwise_distance(vkd_graph *g, vkd_tensor x) {
    return vkd__emit1(g, &vkd_op_pairwise_distance, x, NULL, 0);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__pairs_infer(g, n, 0)) return false;
    const uint32_t N = vkd_tensor_shape(g, n->in[0]).dim[0];
    vkd__node_out(g, n, 0, VKD_F32, VKD_SHAPE(N, N));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_pairwise_distance_grad,
                                            .in_count = 3,
                                            .in = {n->in[0], n->out[0], dout[0]}});
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    return vkd__pairs_fit(l, n->in[0]) &&
           vkd__pair_distances(l, n->in[0], (vkd__pair_matrix){.tensor = n->out[0]});
}

static void reference(const vkd__ref *r) {
    const uint32_t N = r->in[0].tensor->shape.dim[0], D = r->in[0].tensor->shape.dim[1];
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            r->out[0].v[(size_t)i * N + j] = vkd__pair_distance(r->in[0].v, D, i, j);
}

/* ---- Gradient: x (N, D), d and a (N, N) to dx (N, D) ---- */

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

static bool grad_lower(vkd__lower *l, const vkd__node *n) {
    if (!vkd__pairs_fit(l, n->in[0])) return false;
    const uint32_t N = vkd_tensor_shape(l->g, n->in[0]).dim[0];
    const vkd__pair_matrix w = vkd__pair_scratch(l, N);
    return vkd__pair_weights(l, N, (vkd__pair_matrix){.tensor = n->in[1]},
                             (vkd__pair_matrix){.tensor = n->in[2]}, w) &&
           vkd__pair_gradient(l, n->in[0], w, NULL, 1, n->out[0]);
}

static void grad_reference(const vkd__ref *r) {
    const uint32_t N = r->in[0].tensor->shape.dim[0], D = r->in[0].tensor->shape.dim[1];
    memset(r->out[0].v, 0, (size_t)N * D * sizeof(double));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            vkd__pair_push(r->in[0].v, D, i, j, r->in[2].v[(size_t)i * N + j], r->out[0].v);
}

/* ---- Cases ---- */

/* Ragged sizes, and one where all rows but a few are one point. */
static vkd_tensor case_rows(vkd__case *c) {
    if (c->index < VKD__PAIR_CASES) {
        c->what = "rows of ragged numbers and widths";
        return vkd__case_f32(
            c, VKD_SHAPE(vkd__pair_cases[c->index][0], vkd__pair_cases[c->index][1]), -1, 1);
    }
    c->what = "rows that are one point";
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(10, 3), 0.5, 0.5);
    vkd__case_special(c, 0.25, 7);
    return x;
}

static void build_case(vkd__case *c) {
    const vkd_tensor d = vkd_pairwise_distance(c->g, case_rows(c));
    /* Of one point the distances are the least there are: made large enough to be compared. */
    vkd__case_output(c, c->index < VKD__PAIR_CASES ? d : vkd_scale(c->g, d, 1e4f));
}

static void build_grad_case(vkd__case *c) {
    const vkd_tensor x = case_rows(c), d = vkd_pairwise_distance(c->g, x);
    const vkd_tensor a = vkd__case_fixed(c, vkd_tensor_shape(c->g, d), -1, 1);
    vkd__case_output(c, vkd__emit(c->g, &(vkd__emit_desc){.op = &vkd_op_pairwise_distance_grad,
                                                          .in_count = 3,
                                                          .in = {x, d, a}}));
}

const vkd_op_def vkd_op_pairwise_distance = {
    .name = "pairwise_distance",
    .summary = "Euclidean distances between all rows",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__PAIR_CASES + 1,
    .build_case = build_case,
};
const vkd_op_def vkd_op_pairwise_distance_grad = {
    .name = "pairwise_distance_grad",
    .summary = "gradient of pairwise_distance",
    .infer = grad_infer,
    .lower = grad_lower,
    .reference = grad_reference,
    .case_count = VKD__PAIR_CASES + 1,
    .build_case = build_grad_case,
    .no_difference_test = "a gradient itself: checked through pairwise_distance",
};
