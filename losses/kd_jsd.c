// SPDX-License-Identifier: Apache-2.0
/* Between forward and reverse KL.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), m = beta p + (1-beta) q
 *   J_n = beta sum_v p log(p/m) + (1-beta) sum_v q log(q/m)
 *   loss = f tau^2 / N * sum_n J_n,  f = 1/(beta (1-beta)) (continuous) or 1 (literature)
 *   ds = f tau (1-beta) / N * q (log(q/m) - sum_v q log(q/m))
 *
 * At beta = 0 the loss is KL(p || q), at 1 KL(q || p). Agarwal et al., arXiv:2306.13649, section 2,
 * have f = 1 between, so that their loss jumps at both ends and is small beside them; the
 * continuous form tends to the plain KLs. Without t_squared the factor tau^2 goes.
 *
 * The composed form takes no masked classes (0 * -inf); the fused one does. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float tau;
    float beta;
    uint32_t form; /* vkd_jsd_form */
    bool t_squared;
} config;

static const vkd__field fields[] = {
    {.name = "tau",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, tau),
     .low = 0.05,
     .high = 1000,
     .preset = "1",
     .help = "temperature: higher is softer"},
    {.name = "beta",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, beta),
     .low = 0,
     .high = 1,
     .preset = "0.5",
     .help = "0 is the forward KL, 1 the reverse KL"},
    {.name = "form",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, form),
     .preset = "continuous",
     .words = "continuous|literature",
     .help = "continuous divides by beta*(1-beta), so that nothing jumps at beta 0 and 1"},
    {.name = "t_squared",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, t_squared),
     .preset = "true",
     .help = "times tau^2, so that the gradient keeps its size when tau changes"},
};

static float form_factor(const config *c) {
    const bool end = c->beta <= 0.0f || c->beta >= 1.0f;
    return end || c->form == VKD_JSD_LITERATURE ? 1.0f : 1.0f / (c->beta * (1.0f - c->beta));
}

/* Mean over rows of KL(a || b); log_b is given where its gradient is better taken from there. */
static vkd_tensor kl(vkd_graph *g, vkd_tensor a, vkd_tensor log_a, vkd_tensor log_b) {
    const vkd_tensor terms = vkd_mul(g, a, vkd_sub(g, log_a, log_b));
    return vkd_mean(g, vkd_sum(g, terms, 1u << 1, false), VKD_ALL_AXES, false);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_tensor s = vkd_div(g, io->student, io->tau);
    const vkd_tensor t = vkd_div(g, vkd_stop_gradient(g, io->teacher), io->tau);
    const vkd_tensor p = vkd_softmax(g, t), log_p = vkd_log_softmax(g, t);
    const vkd_tensor q = vkd_softmax(g, s), log_q = vkd_log_softmax(g, s);
    vkd_tensor loss;
    if (c->beta <= 0.0f) {
        loss = kl(g, p, log_p, log_q);
    } else if (c->beta >= 1.0f) {
        loss = kl(g, q, log_q, log_p);
    } else {
        const vkd_tensor log_m =
            vkd_log(g, vkd_add(g, vkd_scale(g, p, c->beta), vkd_scale(g, q, 1.0f - c->beta)));
        loss = vkd_add(g, vkd_scale(g, kl(g, p, log_p, log_m), c->beta),
                       vkd_scale(g, kl(g, q, log_q, log_m), 1.0f - c->beta));
    }
    loss = vkd_scale(g, loss, form_factor(c));
    return c->t_squared ? vkd_mul(g, loss, vkd_square(g, io->tau)) : loss;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    return vkd_kd_jsd(g, io->student, io->teacher, io->tau, c->beta, (vkd_jsd_form)c->form,
                      c->t_squared);
}

/* One row's J, 0 < beta < 1, or the plain KL at either end; ds gets its gradient by s / tau. */
static double row(const double *s, const double *t, uint32_t V, double tau, double beta,
                  double *ds) {
    const double zs = vkd__loss_log_sum_exp(s, V, tau), zt = vkd__loss_log_sum_exp(t, V, tau);
    double J = 0, mean = 0; /* of log(q/m) under q, or of what stands for it */
    for (uint32_t v = 0; v < V; v++) {
        const double log_p = t[v] / tau - zt, log_q = s[v] / tau - zs;
        const double p = exp(log_p), q = exp(log_q), log_m = log(beta * p + (1 - beta) * q);
        if (beta <= 0) {
            J += p * (log_p - log_q);
            ds[v] = -p / q; /* d(J)/dq */
        } else if (beta >= 1) {
            J += q * (log_q - log_p);
            ds[v] = log_q - log_p;
        } else {
            J += beta * p * (log_p - log_m) + (1 - beta) * q * (log_q - log_m);
            ds[v] = (1 - beta) * (log_q - log_m);
        }
        mean += q * ds[v];
    }
    for (uint32_t v = 0; v < V; v++)
        ds[v] = exp(s[v] / tau - zs) * (ds[v] - mean);
    return J;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    const double beta = (double)c->beta, tau = r->tau;
    const bool plain = beta <= 0 || beta >= 1 || c->form == VKD_JSD_LITERATURE;
    const double scale =
        (plain ? 1 : 1 / (beta * (1 - beta))) * (c->t_squared ? tau * tau : 1) / r->N;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        double *ds = r->dstudent + n * r->V;
        r->loss += scale * row(r->student + n * r->V, r->teacher + n * r->V, r->V, tau, beta, ds);
        for (uint32_t v = 0; v < r->V; v++)
            ds[v] *= scale / tau;
    }
}

const vkd__loss_def vkd_loss_kd_jsd = {
    .name = "kd_jsd",
    .summary = "between forward and reverse KL: generalised Jensen-Shannon divergence",
    .paper = "Agarwal et al., arXiv:2306.13649",
    .formula =
        "f tau^2 * mean over rows of beta KL(p||m) + (1-beta) KL(q||m), m = beta p + (1-beta) q",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
