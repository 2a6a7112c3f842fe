// SPDX-License-Identifier: Apache-2.0
/* Matching logits, value and gradient in one pass.
 *
 *   loss = 1/(N V) * sum_n sum_v (s - t)^2
 *   ds = dout * 2/(N V) * (s - t)
 *
 * Ba & Caruana, arXiv:1312.6184, up to the constant. A class masked by either side counts as 0 and
 * gets no gradient; it still counts in V. */
#include "ops/row_loss.h"

static const vkd__row_loss what = {
    .kernel = "loss_kd_mse",
    .inputs = 2,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS},
};

vkd_tensor vkd_kd_mse(vkd_graph *g, vkd_tensor student, vkd_tensor teacher) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_kd_mse, .in_count = 2, .in = {student, teacher}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, 0, dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    return vkd__row_loss_lower(l, n, &what, (struct vkd_loss_params){0});
}

static void reference(const vkd__ref *r) {
    const uint64_t count = vkd_shape_count(r->in[0].tensor->shape);
    const double *s = r->in[0].v, *t = r->in[1].v;
    double sum = 0;
    for (uint64_t i = 0; i < count; i++) {
        const double gap = vkd__masked(s[i]) || vkd__masked(t[i]) ? 0 : s[i] - t[i];
        sum += gap * gap;
        if (r->in[2].v) r->out[1].v[i] = r->in[2].v[0] * 2 * gap / (double)count;
    }
    r->out[0].v[0] = sum / (double)count;
}

static void build_case(vkd__case *c) {
    vkd_tensor student, teacher;
    vkd__row_case(c, &student, &teacher);
    vkd__case_output(c, vkd_kd_mse(c->g, student, teacher));
}

const vkd_op_def vkd_op_kd_mse = {
    .name = "kd_mse",
    .summary = "mean squared difference of logits, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
