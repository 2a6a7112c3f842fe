// SPDX-License-Identifier: Apache-2.0
/* Probabilistic knowledge transfer: whom the teacher would draw as a sample's neighbour, the
 * student would.
 *
 *   c_nm = (1 + f_n . f_m / (|f_n| + e)(|f_m| + e)) / 2, and q_nm = c_nm / sum_m c_nm
 *   loss = 1/N^2 * sum_n sum_m p_nm log((p_nm + e) / (q_nm + e)), p of the teacher, q of the
 * student; summed over the pairs of taps dq = -1/N^2 p/(q + e),  dc_nm = (dq_nm - sum_k q_nk dq_nk)
 * / sum_k c_nk with g_nm = (dc_nm + dc_mn)/2, u_n = f_n / (|f_n| + e): du_n = sum_m g_nm u_m,  df_n
 * = du_n / (|f_n| + e) - f_n (u_n . du_n) / |f_n| (|f_n| + e)
 *
 * Passalis & Tefas, arXiv:1803.10837, eq. 4 to 7, with the cosine as kernel, and as Tian et al.
 * (arXiv:1910.10699) state it: the mean over all entries, each sample beside itself included, with
 * e = 1e-7 and a weight of 30000. */
#include <math.h>

#include "losses/loss.h"

static const float eps = 1e-7f;
static const float tiny = 1e-30f; /* under a root, so that a row of zeros has a gradient: 0 */

static vkd_tensor neighbours(vkd_graph *g, vkd_tensor features) {
    const vkd_tensor rows = vkd__loss_rows(g, features);
    const vkd_tensor squares = vkd_sum(g, vkd_square(g, rows), 1u << 1, true);
    const vkd_tensor norm = vkd_sqrt(g, vkd_add(g, squares, vkd_constant(g, tiny)));
    const vkd_tensor unit = vkd_div(g, rows, vkd_add(g, norm, vkd_constant(g, eps)));
    const vkd_matmul_desc desc = {.transpose_b = true, .f32_operands = true};
    const vkd_tensor cosine = vkd_matmul(g, unit, unit, &desc);
    const vkd_tensor c = vkd_scale(g, vkd_add(g, cosine, vkd_constant(g, 1)), 0.5f);
    return vkd_div(g, c, vkd_sum(g, c, 1u << 1, true));
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    (void)cfg;
    vkd_tensor loss = {0};
    const vkd_tensor e = vkd_constant(g, eps);
    for (uint32_t i = 0; i < io->pair_count; i++) {
        const vkd_tensor q = neighbours(g, io->pairs[i].student);
        const vkd_tensor p = neighbours(g, io->pairs[i].teacher);
        const vkd_tensor log_ratio =
            vkd_sub(g, vkd_log(g, vkd_add(g, p, e)), vkd_log(g, vkd_add(g, q, e)));
        const vkd_tensor one = vkd_mean(g, vkd_mul(g, p, log_ratio), VKD_ALL_AXES, false);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

enum { MOST = 64 }; /* samples of a reference's batch */

typedef struct side {
    size_t D;
    double norm[MOST], sum[MOST], share[MOST][MOST]; /* |f|, sum_m c_nm, and c_nm over it */
} side;

static void neighbours_of(const double *f, uint32_t N, size_t D, side *out) {
    const double e = (double)eps;
    out->D = D;
    for (uint32_t n = 0; n < N; n++) {
        double square = 0;
        for (size_t d = 0; d < D; d++)
            square += f[n * D + d] * f[n * D + d];
        out->norm[n] = sqrt(square);
    }
    for (uint32_t n = 0; n < N; n++) {
        out->sum[n] = 0;
        for (uint32_t m = 0; m < N; m++) {
            double dot = 0;
            for (size_t d = 0; d < D; d++)
                dot += f[n * D + d] * f[m * D + d];
            out->share[n][m] = 0.5 * (1 + dot / ((out->norm[n] + e) * (out->norm[m] + e)));
            out->sum[n] += out->share[n][m];
        }
        for (uint32_t m = 0; m < N; m++)
            out->share[n][m] /= out->sum[n];
    }
}

/* dq becomes dc, and the way from there to the features. */
static void send_back(const vkd__loss_ref_pair *p, uint32_t N, const side *s, double (*dc)[MOST]) {
    const double e = (double)eps;
    for (uint32_t n = 0; n < N; n++) {
        double mean = 0;
        for (uint32_t m = 0; m < N; m++)
            mean += s->share[n][m] * dc[n][m];
        for (uint32_t m = 0; m < N; m++)
            dc[n][m] = (dc[n][m] - mean) / s->sum[n];
    }
    for (uint32_t n = 0; n < N; n++) {
        const double *f = p->student + n * s->D;
        double along = 0; /* u_n . du_n */
        for (size_t d = 0; d < s->D; d++) {
            double du = 0;
            for (uint32_t m = 0; m < N; m++)
                du += 0.5 * (dc[n][m] + dc[m][n]) * p->student[m * s->D + d] / (s->norm[m] + e);
            along += f[d] / (s->norm[n] + e) * du;
            p->dstudent[n * s->D + d] += du / (s->norm[n] + e);
        }
        for (size_t d = 0; d < s->D && s->norm[n] > 0; d++)
            p->dstudent[n * s->D + d] -= f[d] * along / (s->norm[n] * (s->norm[n] + e));
    }
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    (void)cfg;
    side s, t;
    double dc[MOST][MOST];
    const uint32_t N = r->N;
    const double e = (double)eps, share = 1 / ((double)N * N);
    VKD_ASSERT(N <= MOST);
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        neighbours_of(p->student, N, (size_t)vkd_shape_count(p->student_shape) / N, &s);
        neighbours_of(p->teacher, N, (size_t)vkd_shape_count(p->teacher_shape) / N, &t);
        for (uint32_t n = 0; n < N; n++)
            for (uint32_t m = 0; m < N; m++) {
                const double q = s.share[n][m], want = t.share[n][m];
                r->loss += share * want * log((want + e) / (q + e));
                dc[n][m] = -share * want / (q + e);
            }
        send_back(p, N, &s, dc);
    }
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(4, 5)}, .teacher = {VKD__ROWS(4, 9)}},
    {.pair_count = 2,
     .student = {VKD__MAPS(7, 3, 2, 4), VKD__ROWS(7, 3)},
     .teacher = {VKD__MAPS(7, 1, 4, 3), VKD__MAPS(7, 2, 2, 2)}},
    {.pair_count = 1, .student = {VKD__ROWS(33, 6)}, .teacher = {VKD__ROWS(33, 4)}},
};

const vkd__loss_def vkd_loss_pkt = {
    .name = "pkt",
    .summary = "probabilistic knowledge transfer: the teacher's neighbours, by cosine",
    .paper = "Passalis & Tefas, arXiv:1803.10837",
    .formula =
        "mean over the N x N entries of p log(p/q), p, q the rows of (1 + cosines) of teacher "
        "and student over their sums; sum over taps",
    .needs = VKD__LOSS_TAPS,
    .build = build,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
