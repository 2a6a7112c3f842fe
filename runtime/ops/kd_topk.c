// SPDX-License-Identifier: Apache-2.0
/* Soft labels of which only the teacher's k most likely classes are told apart, value and gradient.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), T = the k classes with the largest t (the smaller
 *   index first among equals), r_p = sum of p outside T, r_q = sum of q outside T
 *   loss = c/N * sum_n [ sum_{v in T} p_v (log p_v - log q_v) + r_p (log r_p - log r_q) ],
 *   c = tau^2 if t_squared, else 1
 *
 * It is the KL between the distributions over k + 1 events, T's classes and "another": never more
 * than the KL over all classes (data processing inequality), and equal to it for k = V. Unlike a
 * KL over T alone, renormalised, it tells the student how much the teacher leaves to the others.
 *
 * Gradient, with x = s / tau. A log q_v inside T gives [v = k] - q_k as in kd_kl.c. For the rest,
 * dr_q/dx_k = q_k ([k outside T] - r_q), so d(-r_p log r_q)/dx_k = r_p q_k - [k outside T] r_p q_k
 * / r_q. The sum over T of p_v is 1 - r_p; together
 *   dx_k = q_k - p_k inside T,   q_k - r_p Q_k outside, Q = q renormalised there (Q_k = q_k / r_q),
 *   ds = dout * c / (tau N) * dx.
 *
 * Masks are those of kd_kl.c; a masked class is never in T. */
#include <math.h>

#include "ops/row_loss.h"

#define LARGEST_K 64u

typedef struct params {
    uint32_t k;
    bool t_squared;
} params;

static const vkd__row_loss what = {
    .kernel = "loss_kd_topk",
    .inputs = 3,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS, VKD__ROW_SCALAR},
};

vkd_tensor vkd_kd_topk(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, vkd_tensor tau,
                       uint32_t k, bool t_squared) {
    const params p = {k, t_squared};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_kd_topk,
                                          .in_count = 3,
                                          .in = {student, teacher, tau},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const uint32_t k = ((const params *)n->params)->k;
    if (!k || k > LARGEST_K)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "k is %u, but 1 to %u are supported", k,
                               LARGEST_K);
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, sizeof(params), dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    return vkd__row_loss_lower(l, n, &what,
                               (struct vkd_loss_params){.t_squared = p->t_squared, .k = p->k});
}

/* Whether class v is among the k largest of t, where s does not mask it either. */
static bool in_top(const double *t, const double *s, uint32_t V, uint32_t v, uint32_t k) {
    if (vkd__masked(t[v]) || vkd__masked(s[v])) return false;
    uint32_t before = 0;
    for (uint32_t u = 0; u < V; u++)
        before += !vkd__masked(s[u]) && (t[u] > t[v] || (t[u] == t[v] && u < v));
    return before < k;
}

/* log(exp(a) + exp(b)) with -inf allowed. */
static double log_add(double a, double b) {
    const double most = fmax(a, b);
    return most == -INFINITY ? most : most + log1p(exp(fmin(a, b) - most));
}

/* One row's KL; writes scale times its gradient by s / tau where ds is not NULL. */
static double row(const double *s, const double *t, uint32_t V, double tau, uint32_t k,
                  double scale, double *ds) {
    const double lse_s = vkd__row_lse(s, NULL, V, V, tau), lse_t = vkd__row_lse(t, s, V, V, tau);
    const bool live = lse_s > -INFINITY && lse_t > -INFINITY;
    double kl = 0, rest_p = -INFINITY, rest_q = -INFINITY; /* logarithms */
    for (uint32_t v = 0; live && v < V; v++) {
        if (vkd__masked(s[v])) continue;
        const double lq = s[v] / tau - lse_s;
        const double lp = vkd__masked(t[v]) ? -INFINITY : t[v] / tau - lse_t;
        if (in_top(t, s, V, v, k)) {
            kl += exp(lp) * (lp - lq);
        } else {
            rest_p = log_add(rest_p, lp);
            rest_q = log_add(rest_q, lq);
        }
    }
    if (rest_p > -INFINITY) kl += exp(rest_p) * (rest_p - rest_q);
    for (uint32_t v = 0; ds && v < V; v++) {
        const double q = live ? vkd__row_p(s[v], tau, lse_s) : 0;
        double p = 0;
        if (live && !vkd__masked(s[v]))
            p = in_top(t, s, V, v, k) ? vkd__row_p(t[v], tau, lse_t)
                                      : exp(rest_p + s[v] / tau - lse_s - rest_q);
        ds[v] = scale * (q - p);
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
        loss += row(r->in[0].v + n * V, r->in[1].v + n * V, V, tau, p->k, scale,
                    r->in[3].v ? r->out[1].v + n * V : NULL);
    r->out[0].v[0] = unit * loss;
}

static void build_case(vkd__case *c) {
    static const uint32_t ks[VKD__ROW_CASES] = {1, 1, 3, 5, 2, 7, 64, 16, 2, 30};
    vkd_tensor student, teacher;
    const vkd_tensor tau = vkd__row_case(c, &student, &teacher);
    vkd__case_output(c, vkd_kd_topk(c->g, student, teacher, tau, ks[c->index], c->index % 2 == 0));
}

const vkd_op_def vkd_op_kd_topk = {
    .name = "kd_topk",
    .summary = "KL over the teacher's k most likely classes and the rest, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES,
    .build_case = build_case,
};
