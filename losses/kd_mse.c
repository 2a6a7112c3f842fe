// SPDX-License-Identifier: Apache-2.0
/* Matching logits.
 *
 *   loss = 1/(N V) * sum_n sum_v (s - t)^2
 *   ds = 2/(N V) * (s - t)
 *
 * Ba & Caruana, arXiv:1312.6184, up to the constant: the limit of kd_kl for tau -> infinity is half
 * of this for logits with zero mean. The composed form takes no masked classes (inf - inf); the
 * fused one does. */
#include "losses/loss.h"

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    const vkd_tensor gap = vkd_sub(g, io->student, vkd_stop_gradient(g, io->teacher));
    return vkd_mean(g, vkd_square(g, gap), VKD_ALL_AXES, false);
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    return vkd_kd_mse(g, io->student, io->teacher);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    const size_t count = (size_t)r->N * r->V;
    r->loss = 0;
    for (size_t i = 0; i < count; i++) {
        const double gap = r->student[i] - r->teacher[i];
        r->loss += gap * gap / (double)count;
        r->dstudent[i] = 2 * gap / (double)count;
    }
}

const vkd__loss_def vkd_loss_kd_mse = {
    .name = "kd_mse",
    .summary = "matching logits: mean squared difference",
    .paper = "Ba & Caruana, arXiv:1312.6184",
    .formula = "mean over rows and classes of (s - t)^2",
    .needs = VKD__LOSS_TEACHER,
    .build = build,
    .fused = fused,
    .reference = reference,
};
