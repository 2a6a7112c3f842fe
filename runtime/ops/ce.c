// SPDX-License-Identifier: Apache-2.0
/* Cross-entropy with labels, smoothed or not: one pass for the value, one more for the gradient.
 *
 *   q = softmax(s), y_v = (1-e) [v = label] + e/V
 *   loss = -1/N * sum_n sum_v y_v log q_v = 1/N * sum_n (log sum_v exp s_v - sum_v y_v s_v)
 *   ds = dout/N * (q - y),  as in kd_kl.c, since sum_v y_v = 1
 *
 * Label smoothing: Szegedy et al., arXiv:1512.00567, section 7. A label outside 0..V-1 makes its
 * row 0; so does one on a class that the logits mask. A masked class takes no part in the
 * smoothing: e is spread over the others. */
#include <math.h>

#include "ops/row_loss.h"

typedef struct params {
    float smoothing;
} params;

static const vkd__row_loss what = {
    .kernel = "loss_ce",
    .inputs = 2,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LABELS},
};

vkd_tensor vkd_ce(vkd_graph *g, vkd_tensor logits, vkd_tensor labels, float smoothing) {
    const params p = {smoothing};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_ce,
                                          .in_count = 2,
                                          .in = {logits, labels},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const params *p = n->params;
    if (!(p->smoothing >= 0 && p->smoothing <= 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "smoothing is %g, but must be from 0 to 1",
                               (double)p->smoothing);
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, sizeof(params), dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    return vkd__row_loss_lower(l, n, &what, (struct vkd_loss_params){.a = p->smoothing});
}

/* One row's loss; writes scale * (q - y) where ds is not NULL. */
static double row(const double *s, double label_value, uint32_t V, double smoothing, double scale,
                  double *ds) {
    uint32_t label = 0, open = 0;
    const bool live = vkd__row_label(label_value, V, &label) && !vkd__masked(s[label]);
    for (uint32_t v = 0; v < V; v++)
        open += !vkd__masked(s[v]);
    const double lse = live ? vkd__row_lse(s, NULL, V, V, 1) : 0;
    double loss = 0;
    for (uint32_t v = 0; v < V; v++) {
        const double y =
            vkd__masked(s[v]) ? 0 : smoothing / open + (v == label ? 1 - smoothing : 0);
        if (live && y > 0) loss += y * (lse - s[v]);
        if (ds) ds[v] = live ? scale * (vkd__row_p(s[v], 1, lse) - y) : 0;
    }
    return loss;
}

static void reference(const vkd__ref *r) {
    const params *p = r->node->params;
    const vkd_shape shape = r->in[0].tensor->shape;
    const uint32_t N = shape.dim[0], V = shape.dim[1];
    const double scale = r->in[2].v ? r->in[2].v[0] / N : 0;
    double loss = 0;
    for (size_t n = 0; n < N; n++)
        loss += row(r->in[0].v + n * V, r->in[1].v[n], V, (double)p->smoothing, scale,
                    r->in[2].v ? r->out[1].v + n * V : NULL);
    r->out[0].v[0] = loss / N;
}

static void build_case(vkd__case *c) {
    vkd_tensor logits;
    vkd__row_case(c, &logits, NULL);
    const vkd_shape shape = vkd_tensor_shape(c->g, logits);
    /* From -1 on: some rows have no label. */
    const vkd_tensor labels =
        vkd__case_i32(c, VKD_SHAPE(shape.dim[0]), c->index ? -1 : 0, (int32_t)shape.dim[1]);
    vkd__case_output(c, vkd_ce(c->g, logits, labels, c->index % 2 ? 0.1f : 0.0f));
}

const vkd_op_def vkd_op_ce = {
    .name = "ce",
    .summary = "cross-entropy with labels, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
