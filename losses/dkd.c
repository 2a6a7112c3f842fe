// SPDX-License-Identifier: Apache-2.0
/* Decoupled distillation: how sure the teacher is of the target, and what it thinks of the rest,
 * each with a weight of its own.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), y the label; P, Q: without y, renormalised
 *   TCKD = p_y log(p_y/q_y) + (1-p_y) log((1-p_y)/(1-q_y)),  NCKD = sum_{v != y} P log(P/Q)
 *   loss = tau^2 / N * sum_n (alpha TCKD + beta NCKD)
 *   ds_y = tau/N alpha (q_y - p_y),  ds_v = tau/N (alpha (p_y - q_y) Q + beta (Q - P))
 *
 * Zhao et al., arXiv:2203.08679, eq. 7. A row without a label counts as 0.
 *
 * The composed form takes no masked classes, and needs some mass beside the target in f32; the
 * fused one has neither limit. */
#include <math.h>

#include "losses/loss.h"

#define HIDE 1000.0f /* taken off a logit, this leaves exp(-1000) = 0 of its class */

typedef struct config {
    float tau;
    float alpha, beta;
} config;

static const vkd__field fields[] = {
    {.name = "tau",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, tau),
     .low = 0.05,
     .high = 1000,
     .preset = "4",
     .help = "temperature: higher is softer"},
    {.name = "alpha",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, alpha),
     .low = 0,
     .high = 1000,
     .preset = "1",
     .help = "weight of the target's part"},
    {.name = "beta",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, beta),
     .low = 0,
     .high = 1000,
     .preset = "8",
     .help = "weight of the other classes' part"},
};

/* (N): a log(a/b) from (N) shares that are not 0. */
static vkd_tensor share(vkd_graph *g, vkd_tensor a, vkd_tensor b) {
    return vkd_mul(g, a, vkd_sub(g, vkd_log(g, a), vkd_log(g, b)));
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_shape shape = vkd_tensor_shape(g, io->student);
    const vkd_tensor hit = vkd_one_hot(g, io->labels, shape.axes == 2 ? shape.dim[1] : 1);
    const vkd_tensor miss = vkd_sub(g, vkd_constant(g, 1.0f), hit);
    const vkd_tensor s = vkd_div(g, io->student, io->tau);
    const vkd_tensor t = vkd_div(g, vkd_stop_gradient(g, io->teacher), io->tau);
    const vkd_tensor p = vkd_softmax(g, t), q = vkd_softmax(g, s);
    /* Without a label p_y would be 0 and its logarithm -inf: such a row gets p_y = q_y = 1. */
    const vkd_tensor labelled = vkd_sum(g, hit, 1u << 1, false);
    const vkd_tensor fill = vkd_sub(g, vkd_constant(g, 1.0f), labelled);
    const vkd_tensor p_y = vkd_add(g, vkd_sum(g, vkd_mul(g, p, hit), 1u << 1, false), fill);
    const vkd_tensor q_y = vkd_add(g, vkd_sum(g, vkd_mul(g, q, hit), 1u << 1, false), fill);
    const vkd_tensor p_rest = vkd_sum(g, vkd_mul(g, p, miss), 1u << 1, false);
    const vkd_tensor q_rest = vkd_sum(g, vkd_mul(g, q, miss), 1u << 1, false);
    const vkd_tensor tckd = vkd_add(g, share(g, p_y, q_y), share(g, p_rest, q_rest));

    const vkd_tensor hide = vkd_scale(g, hit, HIDE);
    const vkd_tensor s_rest = vkd_sub(g, s, hide), t_rest = vkd_sub(g, t, hide);
    const vkd_tensor gap = vkd_sub(g, vkd_log_softmax(g, t_rest), vkd_log_softmax(g, s_rest));
    const vkd_tensor nckd = vkd_sum(g, vkd_mul(g, vkd_softmax(g, t_rest), gap), 1u << 1, false);

    const vkd_tensor both = vkd_add(g, vkd_scale(g, tckd, c->alpha), vkd_scale(g, nckd, c->beta));
    const vkd_tensor mean = vkd_mean(g, vkd_mul(g, both, labelled), VKD_ALL_AXES, false);
    return vkd_mul(g, mean, vkd_square(g, io->tau));
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    return vkd_dkd(g, io->student, io->teacher, io->labels, io->tau, c->alpha, c->beta);
}

/* sum_{v != y} exp(x_v / tau - most), and the target's term. */
static double others(const double *x, uint32_t V, uint32_t y, double tau, double *target) {
    double most = x[0], rest = 0;
    for (uint32_t v = 1; v < V; v++)
        most = fmax(most, x[v]);
    for (uint32_t v = 0; v < V; v++)
        if (v != y) rest += exp((x[v] - most) / tau);
    *target = exp((x[y] - most) / tau);
    return rest;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const double alpha = (double)((const config *)cfg)->alpha;
    const double beta = (double)((const config *)cfg)->beta, tau = r->tau;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, *t = r->teacher + n * r->V;
        double *ds = r->dstudent + n * r->V;
        for (uint32_t v = 0; v < r->V; v++)
            ds[v] = 0;
        if (r->labels[n] < 0 || (uint32_t)r->labels[n] >= r->V) continue;
        const uint32_t y = (uint32_t)r->labels[n];
        double s_y, t_y;
        const double s_rest = others(s, r->V, y, tau, &s_y), t_rest = others(t, r->V, y, tau, &t_y);
        const double q = s_y / (s_y + s_rest), p = t_y / (t_y + t_rest);
        const double q_not = s_rest / (s_y + s_rest), p_not = t_rest / (t_y + t_rest);
        double row = alpha * (p * log(p / q) + p_not * log(p_not / q_not));
        for (uint32_t v = 0; v < r->V; v++) {
            if (v == y) continue;
            const double Q = exp((s[v] - s[y]) / tau) * s_y / s_rest;
            const double P = exp((t[v] - t[y]) / tau) * t_y / t_rest;
            row += beta * P * log(P / Q);
            ds[v] = tau / r->N * (alpha * (p - q) * Q + beta * (Q - P));
        }
        ds[y] = tau / r->N * alpha * (q - p);
        r->loss += tau * tau / r->N * row;
    }
}

const vkd__loss_def vkd_loss_dkd = {
    .name = "dkd",
    .summary = "decoupled: the target's part and the other classes' part apart",
    .paper = "Zhao et al., arXiv:2203.08679",
    .formula = "tau^2 * mean over rows of alpha KL(p_y||q_y, binary) + beta KL(P||Q without y)",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_LABELS | VKD__LOSS_TAU | VKD__LOSS_TAU_SQUARED,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
