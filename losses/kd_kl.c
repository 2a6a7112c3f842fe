// SPDX-License-Identifier: Apache-2.0
/* Soft labels: the student's softened distribution is drawn to the teacher's.
 *
 *   p = softmax(t / tau), q = softmax(s / tau)
 *   loss = tau^2 / N * sum_n sum_v p (log p - log q)
 *   ds = tau / N * (q - p)
 *
 * Hinton, Vinyals, Dean, arXiv:1503.02531, section 2. Summed over classes: a mean over them would
 * divide the loss by V. Without t_squared both lose the factor tau^2.
 *
 * The composed form takes no masked classes (0 * -inf); the fused one does. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float tau;
    bool t_squared;
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
};

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const vkd_tensor s = vkd_div(g, io->student, io->tau);
    const vkd_tensor t = vkd_div(g, vkd_stop_gradient(g, io->teacher), io->tau);
    const vkd_tensor gap = vkd_sub(g, vkd_log_softmax(g, t), vkd_log_softmax(g, s));
    const vkd_tensor rows = vkd_sum(g, vkd_mul(g, vkd_softmax(g, t), gap), 1u << 1, false);
    const vkd_tensor mean = vkd_mean(g, rows, VKD_ALL_AXES, false);
    return ((const config *)cfg)->t_squared ? vkd_mul(g, mean, vkd_square(g, io->tau)) : mean;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    return vkd_kd_kl(g, io->student, io->teacher, io->tau, ((const config *)cfg)->t_squared);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const double scale = ((const config *)cfg)->t_squared ? r->tau * r->tau : 1;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, *t = r->teacher + n * r->V;
        const double zs = vkd__loss_log_sum_exp(s, r->V, r->tau),
                     zt = vkd__loss_log_sum_exp(t, r->V, r->tau);
        for (uint32_t v = 0; v < r->V; v++) {
            const double log_q = s[v] / r->tau - zs, log_p = t[v] / r->tau - zt;
            r->loss += scale / r->N * exp(log_p) * (log_p - log_q);
            r->dstudent[n * r->V + v] = scale / (r->N * r->tau) * (exp(log_q) - exp(log_p));
        }
    }
}

const vkd__loss_def vkd_loss_kd_kl = {
    .name = "kd_kl",
    .summary = "soft labels: KL from the teacher's distribution to the student's",
    .paper = "Hinton, Vinyals, Dean, arXiv:1503.02531",
    .formula =
        "tau^2 * mean over rows of sum_v p_v log(p_v/q_v), p, q = softmax(t/tau), softmax(s/tau)",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
