// SPDX-License-Identifier: Apache-2.0
/* Soft labels of which only the teacher's k most likely classes are told apart: what a cache of the
 * top k can give, and the same loss without one.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), T = the teacher's k largest classes,
 *   r_p = sum outside T of p, r_q = sum outside T of q
 *   loss = tau^2 / N * sum_n [ sum_{v in T} p (log p - log q) + r_p (log r_p - log r_q) ]
 *
 * With the bucket for the rest it is a KL, at most that over all classes and equal to it for
 * k >= V; a KL over T alone, renormalised, would say nothing of what lies outside. Derivation of
 * the gradient in runtime/ops/kd_topk.c. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float tau;
    bool t_squared;
    uint32_t k;
} config;

static const vkd__field fields[] = {
    {.name = "tau",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, tau),
     .low = 0.05,
     .high = 1000,
     .preset = "4",
     .help = "temperature: higher is softer"},
    {.name = "t_squared",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, t_squared),
     .preset = "true",
     .help = "times tau^2, so that the gradient keeps its size when tau changes"},
    {.name = "k",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, k),
     .low = 1,
     .high = 64,
     .preset = "5",
     .help = "the teacher's classes that are told apart; the others are one bucket"},
};

/* (N, V): 1 at the k largest of t. Each round takes the largest that is left. */
static vkd_tensor top(vkd_graph *g, vkd_tensor t, uint32_t k) {
    const uint32_t V = vkd_tensor_shape(g, t).dim[1];
    vkd_tensor mask = {0};
    for (uint32_t i = 0; i < k; i++) {
        const vkd_tensor one = vkd_one_hot(g, vkd_argmax(g, t), V);
        mask = mask.id ? vkd_add(g, mask, one) : one;
        t = vkd_sub(g, t, vkd_scale(g, one, 1e30f));
    }
    return mask;
}

static vkd_tensor row_sum(vkd_graph *g, vkd_tensor x) {
    return vkd_sum(g, x, 1u << 1, false);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_tensor teacher = vkd_stop_gradient(g, io->teacher);
    const vkd_tensor s = vkd_div(g, io->student, io->tau), t = vkd_div(g, teacher, io->tau);
    const uint32_t V = vkd_tensor_shape(g, s).dim[1];
    const vkd_tensor p = vkd_softmax(g, t), q = vkd_softmax(g, s);
    const vkd_tensor gap = vkd_sub(g, vkd_log_softmax(g, t), vkd_log_softmax(g, s));
    vkd_tensor rows = vkd_mul(g, p, gap);
    if (c->k < V) {
        const vkd_tensor inside = top(g, teacher, c->k);
        const vkd_tensor outside = vkd_sub(g, vkd_constant(g, 1), inside);
        const vkd_tensor rp = row_sum(g, vkd_mul(g, outside, p));
        const vkd_tensor rq = row_sum(g, vkd_mul(g, outside, q));
        const vkd_tensor rest = vkd_mul(g, rp, vkd_sub(g, vkd_log(g, rp), vkd_log(g, rq)));
        rows = vkd_add(g, row_sum(g, vkd_mul(g, inside, rows)), rest);
    } else {
        rows = row_sum(g, rows);
    }
    const vkd_tensor mean = vkd_mean(g, rows, VKD_ALL_AXES, false);
    return c->t_squared ? vkd_mul(g, mean, vkd_square(g, io->tau)) : mean;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    return vkd_kd_topk(g, io->student, io->teacher, io->tau, c->k, c->t_squared);
}

/* How many classes come before v in falling order of t. */
static uint32_t rank(const double *t, uint32_t V, uint32_t v) {
    uint32_t before = 0;
    for (uint32_t u = 0; u < V; u++)
        before += t[u] > t[v] || (t[u] == t[v] && u < v);
    return before;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    const double scale = c->t_squared ? r->tau * r->tau : 1;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, *t = r->teacher + n * r->V;
        const double zs = vkd__loss_log_sum_exp(s, r->V, r->tau),
                     zt = vkd__loss_log_sum_exp(t, r->V, r->tau);
        double rp = 0, rq = 0;
        for (uint32_t v = 0; v < r->V; v++) {
            if (rank(t, r->V, v) < c->k) continue;
            rp += exp(t[v] / r->tau - zt);
            rq += exp(s[v] / r->tau - zs);
        }
        if (rp > 0) r->loss += scale / r->N * rp * log(rp / rq);
        for (uint32_t v = 0; v < r->V; v++) {
            const double log_q = s[v] / r->tau - zs, log_p = t[v] / r->tau - zt;
            const bool inside = rank(t, r->V, v) < c->k;
            if (inside) r->loss += scale / r->N * exp(log_p) * (log_p - log_q);
            r->dstudent[n * r->V + v] = scale / (r->N * r->tau) *
                                        (exp(log_q) - (inside ? exp(log_p) : rp / rq * exp(log_q)));
        }
    }
}

const vkd__loss_def vkd_loss_kd_topk = {
    .name = "kd_topk",
    .summary = "soft labels over the teacher's k most likely classes and one bucket for the rest",
    .paper = "Hinton, Vinyals, Dean, arXiv:1503.02531; the bucket makes it a KL for any k",
    .formula = "tau^2 * mean over rows of sum_{v in top k} p_v log(p_v/q_v) + r_p log(r_p/r_q)",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
