// SPDX-License-Identifier: Apache-2.0
/* Mode-seeking: the student keeps to where the teacher has mass, and may leave some of it out.
 *
 *   p = softmax(t / tau), q = softmax(s / tau), K_n = sum_v q (log q - log p)
 *   loss = tau^2 / N * sum_n K_n
 *   ds = tau / N * q (log q - log p - K_n)
 *
 * Gu et al., arXiv:2306.08543 (MiniLLM) argue for this direction, and take tau = 1. Without
 * t_squared both lose the factor tau^2.
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
     .preset = "1",
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
    const vkd_tensor gap = vkd_sub(g, vkd_log_softmax(g, s), vkd_log_softmax(g, t));
    const vkd_tensor rows = vkd_sum(g, vkd_mul(g, vkd_softmax(g, s), gap), 1u << 1, false);
    const vkd_tensor mean = vkd_mean(g, rows, VKD_ALL_AXES, false);
    return ((const config *)cfg)->t_squared ? vkd_mul(g, mean, vkd_square(g, io->tau)) : mean;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    return vkd_kd_reverse_kl(g, io->student, io->teacher, io->tau,
                             ((const config *)cfg)->t_squared);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const double scale = ((const config *)cfg)->t_squared ? r->tau * r->tau : 1;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, *t = r->teacher + n * r->V;
        double *ds = r->dstudent + n * r->V, K = 0;
        const double zs = vkd__loss_log_sum_exp(s, r->V, r->tau),
                     zt = vkd__loss_log_sum_exp(t, r->V, r->tau);
        for (uint32_t v = 0; v < r->V; v++) {
            ds[v] = s[v] / r->tau - zs - (t[v] / r->tau - zt);
            K += exp(s[v] / r->tau - zs) * ds[v];
        }
        r->loss += scale / r->N * K;
        for (uint32_t v = 0; v < r->V; v++)
            ds[v] = scale / (r->N * r->tau) * exp(s[v] / r->tau - zs) * (ds[v] - K);
    }
}

const vkd__loss_def vkd_loss_kd_reverse_kl = {
    .name = "kd_reverse_kl",
    .summary = "mode-seeking: KL from the student's distribution to the teacher's",
    .paper = "Gu et al., arXiv:2306.08543",
    .formula =
        "tau^2 * mean over rows of sum_v q_v log(q_v/p_v), p, q = softmax(t/tau), softmax(s/tau)",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
