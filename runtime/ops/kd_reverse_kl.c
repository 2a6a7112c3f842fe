// SPDX-License-Identifier: Apache-2.0
/* Mode-seeking distillation, value and gradient in two passes over the logits.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), c = tau^2 if t_squared, else 1
 *   loss = c/N * sum_n sum_v q (log q - log p)
 *
 * With x = s / tau and dq_v/dx_k = q_v ([v = k] - q_k), the row's K = sum_v q (log q - log p) has
 * dK/dx_k = q_k (log q_k - log p_k + 1) - q_k sum_v q_v (log q_v - log p_v + 1)
 *         = q_k (log q_k - log p_k - K)
 *         = q_k (d_k - sum_v q_v d_v),  d = (s - t) / tau,
 * since both normalisers are the same for all k: the first pass gathers the mean of d under q, and
 *   ds = dout * c / (tau N) * q (d - mean).
 *
 * Masks: where p is 0 and q is not the loss is infinite, so a class masked by the teacher is taken
 * out of q too, and q is renormalised over the others. A class masked by the student has q = 0 and
 * adds nothing. */
#include <math.h>

#include "ops/row_loss.h"

typedef struct params {
    bool t_squared;
} params;

static const vkd__row_loss what = {
    .kernel = "loss_kd_reverse_kl",
    .inputs = 3,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS, VKD__ROW_SCALAR},
};

vkd_tensor vkd_kd_reverse_kl(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                             bool t_squared) {
    const params p = {t_squared};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_kd_reverse_kl,
                                          .in_count = 3,
                                          .in = {student, teacher, tau},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, sizeof(params), dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    return vkd__row_loss_lower(l, n, &what, (struct vkd_loss_params){.t_squared = p->t_squared});
}

/* One row's KL; writes scale * q (log q - log p - KL) where ds is not NULL. */
static double row(const double *s, const double *t, uint32_t V, double tau, double scale,
                  double *ds) {
    const double lse_s = vkd__row_lse(s, t, V, V, tau), lse_t = vkd__row_lse(t, NULL, V, V, tau);
    const bool live = lse_s > -INFINITY && lse_t > -INFINITY;
    double kl = 0;
    for (uint32_t v = 0; live && v < V; v++) {
        const double q = vkd__masked(t[v]) ? 0 : vkd__row_p(s[v], tau, lse_s);
        if (q > 0) kl += q * (s[v] / tau - lse_s - (t[v] / tau - lse_t));
    }
    for (uint32_t v = 0; ds && v < V; v++) {
        const double q = !live || vkd__masked(t[v]) ? 0 : vkd__row_p(s[v], tau, lse_s);
        ds[v] = q > 0 ? scale * q * (s[v] / tau - lse_s - (t[v] / tau - lse_t) - kl) : 0;
    }
    return kl;
}

static void reference(const vkd__ref *r) {
    const params *p = r->node->params;
    const vkd_shape shape = r->in[0].tensor->shape;
    const uint32_t N = shape.dim[0], V = shape.dim[1];
    const double tau = r->in[2].v[0], unit = (p->t_squared ? tau * tau : 1) / N;
    const double scale = r->in[3].v ? r->in[3].v[0] * unit / tau : 0;
    double loss = 0;
    for (size_t n = 0; n < N; n++)
        loss += row(r->in[0].v + n * V, r->in[1].v + n * V, V, tau, scale,
                    r->in[3].v ? r->out[1].v + n * V : NULL);
    r->out[0].v[0] = unit * loss;
}

static void build_case(vkd__case *c) {
    vkd_tensor student, teacher;
    const vkd_tensor tau = vkd__row_case(c, &student, &teacher);
    vkd__case_output(c, vkd_kd_reverse_kl(c->g, student, teacher, tau, c->index % 2 == 0));
}

const vkd_op_def vkd_op_kd_reverse_kl = {
    .name = "kd_reverse_kl",
    .summary = "KL(student || teacher) at a temperature, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
