// SPDX-License-Identifier: Apache-2.0
/* Relational distillation by distances: the student's samples are to lie to one another as the
 * teacher's do, at any scale.
 *
 *   d_ij = |s_i - s_j|, at least 1e-6 for i != j;  mu = 1/(N (N-1)) sum_ij d_ij
 *   e_ij = d_ij / mu - d'_ij / mu', with the teacher's d' and mu'
 *   loss = 1/N^2 sum_ij h(e_ij), h Huber's loss; summed over the pairs of taps
 *   dd_ij = 1/N^2 (h'(e_ij) / mu - 1/(N (N-1)) sum_kl h'(e_kl) d_kl / mu^2)
 *   ds_i = sum_j (dd_ij + dd_ji) (s_i - s_j) / d_ij
 *
 * Park, Kim, Lu, Cho, arXiv:1904.05068, section 3.2.1. All N^2 are averaged over, the zeros of i =
 * j too, and the gradient flows through the student's mean: as in the authors' code. Maps count as
 * rows of all their elements. */
#include <math.h>

#include "losses/huber.h"

static vkd_tensor scaled_distances(vkd_graph *g, vkd_tensor features) {
    const vkd_tensor d = vkd_pairwise_distance(g, vkd__loss_rows(g, features));
    const double N = vkd_tensor_shape(g, d).dim[0];
    const vkd_tensor sum = vkd_sum(g, d, VKD_ALL_AXES, false);
    return vkd_div(g, d, vkd_scale(g, sum, (float)(1 / (N * (N - 1)))));
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor gap = vkd_sub(g, scaled_distances(g, io->pairs[i].student),
                                       scaled_distances(g, io->pairs[i].teacher));
        const vkd_tensor one = vkd__loss_huber_mean(g, gap);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor one = vkd_rkd_distance(g, vkd__loss_rows(g, io->pairs[i].student),
                                                vkd__loss_rows(g, io->pairs[i].teacher));
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference ---- */

static double distance(const double *x, size_t D, size_t i, size_t j) {
    double sum = 0;
    for (size_t d = 0; d < D; d++)
        sum += (x[i * D + d] - x[j * D + d]) * (x[i * D + d] - x[j * D + d]);
    return i == j ? 0 : fmax(sqrt(sum), 1e-6);
}

static double mean_distance(const double *x, size_t N, size_t D) {
    double sum = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            sum += distance(x, D, i, j);
    return sum / (double)(N * (N - 1));
}

static void pair_reference(vkd__loss_ref *r, const vkd__loss_ref_pair *p) {
    const size_t N = r->N, D = vkd_shape_count(p->student_shape) / N;
    const size_t E = vkd_shape_count(p->teacher_shape) / N;
    const double mu = mean_distance(p->student, N, D), mu_t = mean_distance(p->teacher, N, E);
    const double unit = 1 / ((double)N * (double)N);
    double through_mean = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            const double d = distance(p->student, D, i, j);
            const double e = d / mu - distance(p->teacher, E, i, j) / mu_t;
            r->loss += unit * vkd__loss_huber(e);
            through_mean -= unit * vkd__loss_huber_slope(e) * d / (mu * mu);
        }
    through_mean /= (double)(N * (N - 1));
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            const double d = distance(p->student, D, i, j);
            const double e = d / mu - distance(p->teacher, E, i, j) / mu_t;
            const double dd = unit * vkd__loss_huber_slope(e) / mu + through_mean;
            for (size_t k = 0; k < D && d > 1e-6; k++) {
                const double along = dd * (p->student[i * D + k] - p->student[j * D + k]) / d;
                p->dstudent[i * D + k] += along;
                p->dstudent[j * D + k] -= along;
            }
        }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    for (uint32_t i = 0; i < r->pair_count; i++)
        pair_reference(r, &r->pairs[i]);
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(5, 3)}, .teacher = {VKD__ROWS(5, 8)}},
    {.pair_count = 1, .student = {VKD__ROWS(18, 16)}, .teacher = {VKD__ROWS(18, 33)}},
    {.pair_count = 2,
     .student = {VKD__MAPS(6, 3, 3, 5), VKD__ROWS(6, 4)},
     .teacher = {VKD__MAPS(6, 2, 4, 3), VKD__ROWS(6, 2)}},
};

const vkd__loss_def vkd_loss_rkd_distance = {
    .name = "rkd_distance",
    .summary = "relations between samples: distances, divided by their mean",
    .paper = "Park, Kim, Lu, Cho, arXiv:1904.05068",
    .formula = "mean over i, j of huber(d_ij / mu - d'_ij / mu'), d distances of rows, mu their "
               "mean over i != j, d' and mu' the teacher's",
    .needs = VKD__LOSS_TAPS,
    .build = build,
    .fused = fused,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
