// SPDX-License-Identifier: Apache-2.0
/* Generalised Jensen-Shannon divergence, value and gradient in three passes over the logits.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), m = beta p + (1-beta) q, 0 < beta < 1
 *   J = beta KL(p || m) + (1-beta) KL(q || m)
 *   loss = f c/N * sum_n J_n,  c = tau^2 if t_squared, else 1
 *   f = 1 (literature) or 1 / (beta (1-beta)) (continuous)
 *
 * Agarwal et al., arXiv:2306.13649, section 2, where J/beta tends to KL(p || q) for beta -> 0 and
 * J/(1-beta) to KL(q || p) for beta -> 1. The other factor tends to 1 at either end, so that the
 * continuous form is the plain KL there; vkd_kd_jsd builds exactly that at 0 and at 1.
 *
 * Gradient. dm = (1-beta) dq, and the terms of dm cancel because sum_v (beta p + (1-beta) q) / m *
 * dm = sum_v dm = 0, and sum_v dq = 0; what is left is dJ = (1-beta) sum_v log(q_v / m_v) dq_v.
 * With dq_v/dx_k = q_v ([v = k] - q_k), x = s / tau, ds = dout * f c (1-beta) / (tau N) * q
 * (log(q/m) - sum_v q_v log(q_v / m_v)).
 *
 * The kernel uses a = p/m - 1 = (1-beta)(p - q)/m and b = q/m - 1 = -beta (p - q)/m. As beta a +
 * (1-beta) b = 0, J = sum_v m (beta psi(a) + (1-beta) psi(b)), psi(a) = (1+a) log(1+a) - a >= 0: no
 * term has a sign, so nothing cancels over classes, and an error in p or q counts only in second
 * order. log(1+a) comes from a, which is exact where p and q are near.
 *
 * Masks: a class masked by one side has p = 0 or q = 0; m is positive wherever either is, so no
 * term is infinite. (Only at beta = 0 and 1 do the rules of the plain KLs apply.) */
#include <math.h>

#include "ops/row_loss.h"

typedef struct params {
    float beta;
    float factor; /* of the form */
    bool t_squared;
} params;

static const vkd__row_loss what = {
    .kernel = "loss_kd_jsd",
    .inputs = 3,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS, VKD__ROW_SCALAR},
};

vkd_tensor vkd_kd_jsd(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                      float beta, vkd_jsd_form form, bool t_squared) {
    if (beta == 0.0f) return vkd_kd_kl(g, student, teacher, tau, t_squared);
    if (beta == 1.0f) return vkd_kd_reverse_kl(g, student, teacher, tau, t_squared);
    const params p = {
        .beta = beta,
        .factor = form == VKD_JSD_CONTINUOUS ? 1.0f / (beta * (1.0f - beta)) : 1.0f,
        .t_squared = t_squared,
    };
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_kd_jsd,
                                          .in_count = 3,
                                          .in = {student, teacher, tau},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const params *p = n->params;
    if (!(p->beta > 0 && p->beta < 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "beta is %g, but must be from 0 to 1",
                               (double)p->beta);
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, sizeof(params), dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    return vkd__row_loss_lower(
        l, n, &what,
        (struct vkd_loss_params){.t_squared = p->t_squared, .a = p->beta, .b = p->factor});
}

/* 0 where x is. */
static double x_log_ratio(double x, double m) {
    return x > 0 ? x * log(x / m) : 0;
}

/* One row's J; writes scale * q (log(q/m) - mean) where ds is not NULL. */
static double row(const double *s, const double *t, uint32_t V, double tau, double beta,
                  double scale, double *ds) {
    const double lse_s = vkd__row_lse(s, NULL, V, V, tau), lse_t = vkd__row_lse(t, NULL, V, V, tau);
    const bool live = lse_s > -INFINITY && lse_t > -INFINITY;
    double kl_p = 0, kl_q = 0;
    for (uint32_t v = 0; live && v < V; v++) {
        const double p = vkd__row_p(t[v], tau, lse_t), q = vkd__row_p(s[v], tau, lse_s);
        const double m = beta * p + (1 - beta) * q;
        kl_p += x_log_ratio(p, m);
        kl_q += x_log_ratio(q, m);
    }
    for (uint32_t v = 0; ds && v < V; v++) {
        const double p = live ? vkd__row_p(t[v], tau, lse_t) : 0;
        const double q = live ? vkd__row_p(s[v], tau, lse_s) : 0;
        ds[v] = scale * (x_log_ratio(q, beta * p + (1 - beta) * q) - q * kl_q);
    }
    return beta * kl_p + (1 - beta) * kl_q;
}

static void reference(const vkd__ref *r) {
    const params *p = r->node->params;
    const vkd_shape shape = r->in[0].tensor->shape;
    const uint32_t N = shape.dim[0], V = shape.dim[1];
    const double tau = r->in[2].v[0], beta = (double)p->beta;
    const double unit = (double)p->factor * (p->t_squared ? tau * tau : 1) / N;
    const double scale = r->in[3].v ? r->in[3].v[0] * unit * (1 - beta) / tau : 0;
    double loss = 0;
    for (size_t n = 0; n < N; n++)
        loss += row(r->in[0].v + n * V, r->in[1].v + n * V, V, tau, beta, scale,
                    r->in[3].v ? r->out[1].v + n * V : NULL);
    r->out[0].v[0] = unit * loss;
}

static void build_case(vkd__case *c) {
    static const float betas[] = {0.5f, 0.1f, 0.9f};
    vkd_tensor student, teacher;
    const vkd_tensor tau = vkd__row_case(c, &student, &teacher);
    const vkd_jsd_form form = c->index % 2 ? VKD_JSD_LITERATURE : VKD_JSD_CONTINUOUS;
    vkd__case_output(
        c, vkd_kd_jsd(c->g, student, teacher, tau, betas[c->index % 3], form, c->index % 4 < 2));
}

const vkd_op_def vkd_op_kd_jsd = {
    .name = "kd_jsd",
    .summary = "generalised Jensen-Shannon divergence at a temperature, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
