// SPDX-License-Identifier: Apache-2.0
/* Relational distillation by angles: any three of the student's samples are to form the triangle
 * that the teacher's form.
 *
 *   u_ij = (s_j - s_i) / max(|s_j - s_i|, 1e-12);  c_ijk = u_ij . u_ik; c' the teacher's
 *   loss = 1/N^3 sum_ijk h(c_ijk - c'_ijk), h Huber's loss; summed over the pairs of taps
 *   dc = 1/N^3 h'(c - c');  du_ij = 2 sum_k dc_ijk u_ik
 *   ds_j = -ds_i = (du_ij - (du_ij . u_ij) u_ij) / |s_j - s_i|, summed over both
 *
 * Park, Kim, Lu, Cho, arXiv:1904.05068, section 3.2.2. All N^3 are averaged over, those with equal
 * i, j or k too, as in the authors' code. Maps count as rows of all their elements. The composed
 * form holds N^3 and N^2 D numbers; the fused one does not (runtime/ops/rkd_angle.c). */
#include <math.h>

#include "losses/huber.h"

static vkd_tensor cosines(vkd_graph *g, vkd_tensor features) {
    const vkd_tensor x = vkd__loss_rows(g, features);
    const uint32_t N = vkd_tensor_shape(g, x).dim[0], D = vkd_tensor_shape(g, x).dim[1];
    const vkd_tensor to = vkd_reshape(g, x, VKD_SHAPE(1, N, D));
    const vkd_tensor from = vkd_reshape(g, x, VKD_SHAPE(N, 1, D));
    const vkd_tensor u = vkd_l2_normalize(g, vkd_sub(g, to, from), 1e-12f);
    return vkd_matmul(g, u, u, &(vkd_matmul_desc){.transpose_b = true, .f32_operands = true});
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor gap =
            vkd_sub(g, cosines(g, io->pairs[i].student), cosines(g, io->pairs[i].teacher));
        const vkd_tensor one = vkd__loss_huber_mean(g, gap);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor one = vkd_rkd_angle(g, vkd__loss_rows(g, io->pairs[i].student),
                                             vkd__loss_rows(g, io->pairs[i].teacher));
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference ---- */

typedef struct rows {
    const double *x;
    size_t D;
} rows;

static double length(const rows *r, size_t i, size_t j) {
    double sum = 0;
    for (size_t d = 0; d < r->D; d++)
        sum += pow(r->x[j * r->D + d] - r->x[i * r->D + d], 2);
    return sqrt(sum);
}

static double direction(const rows *r, size_t i, size_t j, size_t d) {
    return (r->x[j * r->D + d] - r->x[i * r->D + d]) / fmax(length(r, i, j), 1e-12);
}

static double cosine(const rows *r, size_t i, size_t j, size_t k) {
    double sum = 0;
    for (size_t d = 0; d < r->D; d++)
        sum += direction(r, i, j, d) * direction(r, i, k, d);
    return sum;
}

/* What dc gives to rows i and j through u_ij; u_ik is the other side. */
static void turn(const rows *r, size_t i, size_t j, size_t k, double c, double dc, double *ds) {
    const double side = length(r, i, j);
    for (size_t d = 0; d < r->D && side > 1e-12; d++) {
        const double part = dc * (direction(r, i, k, d) - c * direction(r, i, j, d)) / side;
        ds[j * r->D + d] += part;
        ds[i * r->D + d] -= part;
    }
}

static void pair_reference(vkd__loss_ref *r, const vkd__loss_ref_pair *p) {
    const size_t N = r->N;
    const rows s = {p->student, vkd_shape_count(p->student_shape) / N};
    const rows t = {p->teacher, vkd_shape_count(p->teacher_shape) / N};
    const double unit = 1 / ((double)N * (double)N * (double)N);
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++) {
                const double c = cosine(&s, i, j, k), e = c - cosine(&t, i, j, k);
                const double dc = unit * vkd__loss_huber_slope(e);
                r->loss += unit * vkd__loss_huber(e);
                turn(&s, i, j, k, c, dc, p->dstudent);
                turn(&s, i, k, j, c, dc, p->dstudent);
            }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    for (uint32_t i = 0; i < r->pair_count; i++)
        pair_reference(r, &r->pairs[i]);
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(5, 3)}, .teacher = {VKD__ROWS(5, 8)}},
    {.pair_count = 1, .student = {VKD__ROWS(13, 8)}, .teacher = {VKD__ROWS(13, 5)}},
    {.pair_count = 2,
     .student = {VKD__MAPS(6, 2, 2, 3), VKD__ROWS(6, 4)},
     .teacher = {VKD__MAPS(6, 1, 4, 2), VKD__ROWS(6, 2)}},
};

const vkd__loss_def vkd_loss_rkd_angle = {
    .name = "rkd_angle",
    .summary = "relations between samples: the angles of all triangles",
    .paper = "Park, Kim, Lu, Cho, arXiv:1904.05068",
    .formula = "mean over i, j, k of huber(c_ijk - c'_ijk), c the cosine at row i between rows j "
               "and k, c' the teacher's",
    .needs = VKD__LOSS_TAPS,
    .build = build,
    .fused = fused,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
