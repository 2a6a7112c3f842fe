// SPDX-License-Identifier: Apache-2.0
/* Similarity-preserving: samples that are alike to the teacher are alike to the student.
 *
 *   G = F F^T, F (N, D) a batch's features as rows; U its rows, each divided by its norm
 *   loss = 1/N^2 * |U_t - U_s|^2, summed over the pairs of taps
 *   dU_s = 2/N^2 (U_s - U_t),  dG = (dU - U (U . dU)) / |G| row by row,  dF = (dG + dG^T) F
 *
 * Tung & Mori, arXiv:1907.09682, eq. 1 to 4; the paper weighs it 3000. Neither the size of features
 * nor an orthogonal change of them counts, and the two sides may have any shapes. A sample whose
 * features are all 0 has a row of zeros. */
#include <math.h>

#include "losses/loss.h"

static const float eps = 1e-12f; /* of the norms */

static vkd_tensor products(vkd_graph *g, vkd_tensor features) {
    const vkd_tensor rows = vkd__loss_rows(g, features);
    return vkd_matmul(g, rows, rows, &(vkd_matmul_desc){.transpose_b = true, .f32_operands = true});
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor s = products(g, io->pairs[i].student);
        const vkd_tensor t = products(g, io->pairs[i].teacher);
        const vkd_tensor gap = vkd_sub(g, vkd_l2_normalize(g, s, eps), vkd_l2_normalize(g, t, eps));
        const vkd_tensor one = vkd_mean(g, vkd_square(g, gap), VKD_ALL_AXES, false);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor s = products(g, io->pairs[i].student);
        const vkd_tensor t = products(g, io->pairs[i].teacher);
        if (vkd_tensor_shape(g, s).dim[0] < 2) return build(g, io, cfg); /* rows of one element */
        const vkd_tensor one = vkd_unit_gap(g, s, t, false);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* U[n], which is G[n] over its norm, into u (N); returns the norm. */
static double row_of(const double *f, uint32_t N, size_t D, uint32_t n, double *u) {
    double square = 0;
    for (uint32_t m = 0; m < N; m++) {
        u[m] = 0;
        for (size_t d = 0; d < D; d++)
            u[m] += f[n * D + d] * f[m * D + d];
        square += u[m] * u[m];
    }
    const double norm = fmax(sqrt(square), (double)eps);
    for (uint32_t m = 0; m < N; m++)
        u[m] /= norm;
    return norm;
}

enum { MOST = 256 }; /* samples of a reference's batch */

static void reference_pair(const vkd__loss_ref_pair *p, uint32_t N, double *loss) {
    const size_t S = (size_t)vkd_shape_count(p->student_shape) / N;
    const size_t T = (size_t)vkd_shape_count(p->teacher_shape) / N;
    double us[MOST], ut[MOST];
    for (uint32_t n = 0; n < N; n++) {
        const double norm = row_of(p->student, N, S, n, us);
        row_of(p->teacher, N, T, n, ut);
        double along = 0;
        for (uint32_t m = 0; m < N; m++) {
            const double gap = us[m] - ut[m];
            *loss += gap * gap / ((double)N * N);
            along += us[m] * 2 * gap / ((double)N * N);
        }
        for (uint32_t m = 0; m < N; m++) {
            const double du = 2 * (us[m] - ut[m]) / ((double)N * N);
            const double dG = (du - us[m] * along) / norm; /* of G[n][m] = f[n] . f[m] */
            for (size_t d = 0; d < S; d++) {
                p->dstudent[n * S + d] += dG * p->student[m * S + d];
                p->dstudent[m * S + d] += dG * p->student[n * S + d];
            }
        }
    }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    VKD_ASSERT(r->N <= MOST);
    for (uint32_t i = 0; i < r->pair_count; i++)
        reference_pair(&r->pairs[i], r->N, &r->loss);
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(4, 5)}, .teacher = {VKD__ROWS(4, 9)}},
    {.pair_count = 2,
     .student = {VKD__MAPS(7, 3, 2, 4), VKD__ROWS(7, 33)},
     .teacher = {VKD__MAPS(7, 5, 4, 3), VKD__MAPS(7, 2, 2, 2)}},
    {.pair_count = 1, .student = {VKD__ROWS(33, 16)}, .teacher = {VKD__ROWS(33, 64)}},
};

const vkd__loss_def vkd_loss_similarity = {
    .name = "similarity",
    .summary = "similarity-preserving: samples alike to the teacher are alike to the student",
    .paper = "Tung & Mori, arXiv:1907.09682",
    .formula = "mean over the N x N entries of (U_t - U_s)^2, U the rows of F F^T, normalised; sum "
               "over taps",
    .needs = VKD__LOSS_TAPS,
    .build = build,
    .fused = fused,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
