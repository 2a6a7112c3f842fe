// SPDX-License-Identifier: Apache-2.0
/* Learning from labels.
 *
 *   loss = 1/N sum_n -sum_v y_v log q_v,  q = softmax(s),  y_v = (1-e) [v = label] + e/V
 *   ds = (q - y)/N
 *
 * The composed form takes no masked classes (0 * -inf); the fused one does. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float smoothing;
} config;

static const vkd__field fields[] = {
    {.name = "smoothing",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, smoothing),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "label smoothing: this share of the target is spread over all classes"},
};

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const float e = ((const config *)cfg)->smoothing;
    const vkd_shape shape = vkd_tensor_shape(g, io->student);
    const uint32_t V = shape.axes == 2 ? shape.dim[1] : 1;
    const vkd_tensor hit = vkd_one_hot(g, io->labels, V);
    const vkd_tensor labelled = vkd_sum(g, hit, 1u << 1, true); /* (N, 1): 0 without a label */
    const vkd_tensor y = vkd_add(g, vkd_scale(g, hit, 1.0f - e),
                                 vkd_mul(g, labelled, vkd_constant(g, e / (float)V)));
    const vkd_tensor rows =
        vkd_sum(g, vkd_mul(g, y, vkd_log_softmax(g, io->student)), 1u << 1, false);
    return vkd_neg(g, vkd_mean(g, rows, VKD_ALL_AXES, false));
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    return vkd_ce(g, io->student, io->labels, ((const config *)cfg)->smoothing);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const double e = (double)((const config *)cfg)->smoothing;
    r->loss = 0;
    for (size_t n = 0; n < r->N; n++) {
        const double *s = r->student + n * r->V;
        double *ds = r->dstudent + n * r->V, most = s[0], z = 0;
        const bool labelled = r->labels[n] >= 0 && (uint32_t)r->labels[n] < r->V;
        for (uint32_t v = 0; v < r->V; v++)
            most = fmax(most, s[v]);
        for (uint32_t v = 0; v < r->V; v++)
            z += exp(s[v] - most);
        for (uint32_t v = 0; v < r->V; v++) {
            const double q = exp(s[v] - most) / z, log_q = s[v] - most - log(z);
            const double y = e / r->V + ((int32_t)v == r->labels[n] ? 1 - e : 0);
            if (labelled) r->loss -= y * log_q / r->N;
            ds[v] = labelled ? (q - y) / r->N : 0;
        }
    }
}

const vkd__loss_def vkd_loss_ce = {
    .name = "ce",
    .summary = "cross-entropy with the labels",
    .paper = "label smoothing: Szegedy et al., arXiv:1512.00567",
    .formula = "mean over rows of -sum_v y_v log q_v, q = softmax(s)",
    .needs = VKD__LOSS_LABELS,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
};
