// SPDX-License-Identifier: Apache-2.0
/* Decoupled distillation, value and gradient in two passes over the logits.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), y the label
 *   P = p without y, renormalised: P_v = p_v / (1 - p_y) for v != y; Q likewise from q
 *   TCKD = p_y log(p_y / q_y) + (1-p_y) log((1-p_y) / (1-q_y))
 *   NCKD = sum_{v != y} P_v (log P_v - log Q_v)
 *   loss = tau^2/N * sum_n (alpha TCKD + beta NCKD)
 *
 * Zhao et al., arXiv:2203.08679, eq. 7. (Plain KL is TCKD + (1-p_y) NCKD, their eq. 6.)
 *
 * Gradient, with x = s / tau. dTCKD/dq_y = -p_y/q_y + (1-p_y)/(1-q_y) = (q_y - p_y) / (q_y
 * (1-q_y)). dq_y/dx_y = q_y (1-q_y), and for k != y dq_y/dx_k = -q_y q_k = -q_y (1-q_y) Q_k. So
 *   dTCKD/dx_y = q_y - p_y,  dTCKD/dx_k = (p_y - q_y) Q_k.
 * NCKD is a KL between softmaxes over the others: dNCKD/dx_y = 0, dNCKD/dx_k = Q_k - P_k (kd_kl.c).
 *   ds_y = dout tau/N * alpha (q_y - p_y)
 *   ds_k = dout tau/N * (alpha (p_y - q_y) Q_k + beta (Q_k - P_k))
 *
 * The kernel never forms 1 - q_y: with u = x_y - log sum_{v != y} exp x_v, q_y = sigmoid(u) and
 * 1 - q_y = sigmoid(-u), whose logarithms are exact at both ends.
 *
 * Masks are those of kd_kl.c. A row where a side has no class left besides y has NCKD 0. A label
 * outside 0..V-1 makes its row 0. */
#include <math.h>

#include "ops/row_loss.h"

typedef struct params {
    float alpha, beta;
} params;

static const vkd__row_loss what = {
    .kernel = "loss_dkd",
    .inputs = 4,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS, VKD__ROW_LABELS, VKD__ROW_SCALAR},
};

vkd_tensor vkd_dkd(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor labels,
                   vkd_tensor tau, float alpha, float beta) {
    const params p = {alpha, beta};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_dkd,
                                          .in_count = 4,
                                          .in = {student, teacher, labels, tau},
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
    return vkd__row_loss_lower(l, n, &what, (struct vkd_loss_params){.a = p->alpha, .b = p->beta});
}

/* log(exp(a) + exp(b)) with -inf allowed. */
static double log_add(double a, double b) {
    const double most = fmax(a, b);
    return most == -INFINITY ? most : most + log1p(exp(fmin(a, b) - most));
}

/* p (log p - log q) from the logarithms, 0 where p is. */
static double kl_term(double lp, double lq) {
    return lp == -INFINITY ? 0 : exp(lp) * (lp - lq);
}

/* One row's alpha TCKD + beta NCKD; writes scale times its gradient by s / tau where ds is not
 * NULL. */
static double row(const double *s, const double *t, double label, uint32_t V, double tau,
                  const params *par, double scale, double *ds) {
    uint32_t y = 0;
    for (uint32_t v = 0; ds && v < V; v++)
        ds[v] = 0;
    if (!vkd__row_label(label, V, &y)) return 0;
    const double lse_s = vkd__row_lse(s, NULL, V, y, tau), lse_t = vkd__row_lse(t, s, V, y, tau);
    const double s_y = vkd__masked(s[y]) ? -INFINITY : s[y] / tau;
    const double t_y = vkd__masked(s[y]) || vkd__masked(t[y]) ? -INFINITY : t[y] / tau;
    const double all_s = log_add(lse_s, s_y), all_t = log_add(lse_t, t_y);
    if (all_s == -INFINITY || all_t == -INFINITY) return 0;

    const double alpha = (double)par->alpha;
    const double beta = lse_s > -INFINITY && lse_t > -INFINITY ? (double)par->beta : 0;
    double loss =
        alpha * (kl_term(t_y - all_t, s_y - all_s) + kl_term(lse_t - all_t, lse_s - all_s));
    const double pull = alpha * (exp(t_y - all_t) - exp(s_y - all_s));
    if (ds) ds[y] = -scale * pull;
    for (uint32_t v = 0; lse_s > -INFINITY && v < V; v++) {
        if (v == y) continue;
        const double Q = vkd__row_p(s[v], tau, lse_s);
        const double P = beta == 0 || vkd__masked(s[v]) ? 0 : vkd__row_p(t[v], tau, lse_t);
        if (P > 0) loss += beta * P * (t[v] / tau - lse_t - (s[v] / tau - lse_s));
        if (ds) ds[v] = scale * (pull * Q + beta * (Q - P));
    }
    return loss;
}

static void reference(const vkd__ref *r) {
    const vkd_shape shape = r->in[0].tensor->shape;
    const uint32_t N = shape.dim[0], V = shape.dim[1];
    const double tau = r->in[3].v[0];
    const double scale = r->in[4].v ? r->in[4].v[0] * tau / N : 0;
    double loss = 0;
    for (size_t n = 0; n < N; n++)
        loss += row(r->in[0].v + n * V, r->in[1].v + n * V, r->in[2].v[n], V, tau, r->node->params,
                    scale, r->in[4].v ? r->out[1].v + n * V : NULL);
    r->out[0].v[0] = tau * tau / N * loss;
}

static void build_case(vkd__case *c) {
    vkd_tensor student, teacher;
    const vkd_tensor tau = vkd__row_case(c, &student, &teacher);
    const vkd_shape shape = vkd_tensor_shape(c->g, student);
    const vkd_tensor labels =
        vkd__case_i32(c, VKD_SHAPE(shape.dim[0]), c->index ? -1 : 0, (int32_t)shape.dim[1]);
    vkd__case_output(c, vkd_dkd(c->g, student, teacher, labels, tau, 1.0f, 8.0f));
}

const vkd_op_def vkd_op_dkd = {
    .name = "dkd",
    .summary = "decoupled distillation: target and non-target classes apart, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
