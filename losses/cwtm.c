// SPDX-License-Identifier: Apache-2.0
/* Confidence-weighted by the teacher's max: the labels, and a sample counts by how sure its teacher
 * is of anything. What of a teacher helps besides its dark knowledge.
 *
 *   p = softmax(t / tau), w_n = max_v p_nv / sum_m max_v p_mv, q = softmax(s)
 *   loss = sum_n w_n (-log q_n[y_n]),  ds_nv = w_n (q_nv - [v = y_n])
 *
 * Furlanello et al., arXiv:1805.04770 (born-again networks), section 3.2, without temperature. The
 * weights sum to 1 over the batch; a row without a label is 0 and still weighs. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float tau;
} config;

static const vkd__field fields[] = {
    {.name = "tau",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, tau),
     .low = 0.05,
     .high = 1000,
     .preset = "1",
     .help = "temperature of the teacher's probabilities"},
};

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg; /* tau arrives as a tensor, so that a schedule may turn it */
    const vkd_shape shape = vkd_tensor_shape(g, io->student);
    const vkd_tensor t = vkd_div(g, vkd_stop_gradient(g, io->teacher), io->tau);
    const vkd_tensor sure = vkd_max(g, vkd_softmax(g, t), 1u << 1, true); /* (N, 1) */
    const vkd_tensor w = vkd_div(g, sure, vkd_sum(g, sure, VKD_ALL_AXES, false));
    const vkd_tensor hit = vkd_one_hot(g, io->labels, shape.axes == 2 ? shape.dim[1] : 1);
    const vkd_tensor log_q = vkd_log_softmax(g, io->student);
    const vkd_tensor picked = vkd_mul(g, vkd_mul(g, hit, w), log_q);
    return vkd_neg(g, vkd_sum(g, picked, VKD_ALL_AXES, false));
}

/* The largest probability of a row. */
static double sureness(const vkd__loss_ref *r, size_t n) {
    const double *t = r->teacher + n * r->V;
    const double z = vkd__loss_log_sum_exp(t, r->V, r->tau);
    double most = 0;
    for (uint32_t v = 0; v < r->V; v++)
        most = fmax(most, exp(t[v] / r->tau - z));
    return most;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    double sum = 0;
    for (size_t n = 0; n < r->N; n++)
        sum += sureness(r, n);
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V, w = sureness(r, n) / sum;
        const double z = vkd__loss_log_sum_exp(s, r->V, 1);
        const int32_t y = r->labels[n];
        if (y < 0 || (uint32_t)y >= r->V) continue;
        r->loss -= w * (s[y] - z);
        for (uint32_t v = 0; v < r->V; v++)
            r->dstudent[n * r->V + v] = w * (exp(s[v] - z) - ((uint32_t)y == v));
    }
}

const vkd__loss_def vkd_loss_cwtm = {
    .name = "cwtm",
    .summary = "labels, each sample weighted by its teacher's largest probability",
    .paper = "Furlanello et al., arXiv:1805.04770",
    .formula = "sum over rows of w (-log q_label), w = max_v p_v over its sum in the batch, p = "
               "softmax(t/tau)",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_LABELS | VKD__LOSS_TAU,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .reference = reference,
};
