// SPDX-License-Identifier: Apache-2.0
/* Dark knowledge with permuted predictions: the teacher's largest probability is where it is, and
 * the others are dealt out anew to each sample in each step. What of a teacher helps besides which
 * classes it takes for alike.
 *
 *   p = softmax(t / tau), p' = p with the classes but the largest permuted, q = softmax(s / tau)
 *   loss = tau^2 / N * sum_n sum_v p' (log p' - log q),  ds = tau / N * (q - p')
 *
 * Furlanello et al., arXiv:1805.04770 (born-again networks), section 3.2, without temperature.
 * Without t_squared both lose the factor tau^2. The permutation is that of shuffle_rest; a mask of
 * the teacher's (-inf) moves with its class. */
#include <math.h>

#include "base/philox.h"
#include "base/shuffle.h"
#include "losses/loss.h"

#define STREAM "dkpp" /* of the random numbers */

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

static vkd_tensor dealt(vkd_graph *g, const vkd__loss_io *io) {
    return vkd_shuffle_rest(g, vkd_stop_gradient(g, io->teacher), STREAM);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const vkd_tensor s = vkd_div(g, io->student, io->tau);
    const vkd_tensor t = vkd_div(g, dealt(g, io), io->tau);
    const vkd_tensor gap = vkd_sub(g, vkd_log_softmax(g, t), vkd_log_softmax(g, s));
    const vkd_tensor rows = vkd_sum(g, vkd_mul(g, vkd_softmax(g, t), gap), 1u << 1, false);
    const vkd_tensor mean = vkd_mean(g, rows, VKD_ALL_AXES, false);
    return ((const config *)cfg)->t_squared ? vkd_mul(g, mean, vkd_square(g, io->tau)) : mean;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    return vkd_kd_kl(g, io->student, dealt(g, io), io->tau, ((const config *)cfg)->t_squared);
}

/* The class whose probability class v is dealt. */
static uint32_t source(vkd__philox key, uint32_t V, uint32_t largest, uint32_t v) {
    if (v == largest) return v;
    const uint32_t k = vkd__shuffle(key, V - 1, v - (v > largest));
    return k + (k >= largest);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const double scale = ((const config *)cfg)->t_squared ? r->tau * r->tau : 1;
    const uint32_t stream = vkd__philox_stream(STREAM);
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, *t = r->teacher + n * r->V;
        const double zs = vkd__loss_log_sum_exp(s, r->V, r->tau),
                     zt = vkd__loss_log_sum_exp(t, r->V, r->tau);
        const vkd__philox key = vkd__philox_at(r->seed, stream, (uint32_t)r->step, (uint32_t)n);
        uint32_t largest = 0;
        for (uint32_t v = 1; v < r->V; v++)
            if (t[v] > t[largest]) largest = v;
        for (uint32_t v = 0; v < r->V; v++) {
            const double log_q = s[v] / r->tau - zs;
            const double log_p = t[source(key, r->V, largest, v)] / r->tau - zt;
            r->loss += scale / r->N * exp(log_p) * (log_p - log_q);
            r->dstudent[n * r->V + v] = scale / (r->N * r->tau) * (exp(log_q) - exp(log_p));
        }
    }
}

const vkd__loss_def vkd_loss_dkpp = {
    .name = "dkpp",
    .summary = "soft labels whose classes, but for the largest, are permuted in each step",
    .paper = "Furlanello et al., arXiv:1805.04770",
    .formula = "tau^2 * mean over rows of sum_v p'_v log(p'_v/q_v), p' = softmax(t/tau) with the "
               "classes but its largest permuted",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
