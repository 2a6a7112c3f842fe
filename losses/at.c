// SPDX-License-Identifier: Apache-2.0
/* Attention transfer: where the student's features are strong, the teacher's are.
 *
 *   q_p = sum_c F_pc^2 at each place p of a map, u = q / |q|, for each sample
 *   code:  loss = 1/(N P) sum_n |u_s - u_t|^2     with P places
 *   paper: loss = 1/N sum_n |u_s - u_t|           not squared; both summed over the pairs
 *   du_s = 2/(N P) (u_s - u_t), or (u_s - u_t) / (N |u_s - u_t|)
 *   dq = (du - u (u . du)) / |q|,  dF_pc = 2 F_pc dq_p
 *
 * Zagoruyko & Komodakis, arXiv:1612.03928, eq. 2, with p = 2. Their code has the first form and
 * weighs it 1000; the paper writes the second, times beta/2. A mean over channels in place of the
 * sum changes nothing. In the second form |u_s - u_t| is sqrt(|.|^2 + 1e-12), so that its gradient
 * is 0 where both are equal, and not infinite. A map of another size is brought to the smaller of
 * the two sizes by adaptive average pooling of its features, as Tian et al. (arXiv:1910.10699) do.
 */
#include <math.h>

#include "losses/loss.h"

enum { CODE, PAPER };

static const float eps = 1e-12f;

typedef struct config {
    uint32_t mode;
} config;

static const vkd__field fields[] = {
    {.name = "mode",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, mode),
     .preset = "code",
     .words = "code|paper",
     .help = "code: mean of squared differences, as the authors' program; paper: norm of the "
             "difference, as they write it"},
};

static const char *misfit(vkd_shape s, vkd_shape t, const void *cfg) {
    (void)cfg;
    return s.axes == 4 && t.axes == 4 ? NULL : "attention is of maps (N, H, W, C)";
}

/* (N, P) of norm 1. */
static vkd_tensor attention(vkd_graph *g, vkd_tensor map) {
    const vkd_tensor strength = vkd_mean(g, vkd_square(g, map), 1u << 3, false);
    return vkd_l2_normalize(g, vkd__loss_rows(g, strength), eps);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const bool paper = ((const config *)cfg)->mode == PAPER;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        vkd_tensor s = io->pairs[i].student, t = io->pairs[i].teacher;
        vkd__loss_same_size(g, &s, &t);
        const vkd_tensor gap = vkd_square(g, vkd_sub(g, attention(g, s), attention(g, t)));
        vkd_tensor one;
        if (paper) {
            const vkd_tensor rows = vkd_sum(g, gap, 1u << 1, false);
            one = vkd_mean(g, vkd_sqrt(g, vkd_add(g, rows, vkd_constant(g, eps))), VKD_ALL_AXES,
                           false);
        } else {
            one = vkd_mean(g, gap, VKD_ALL_AXES, false);
        }
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* A row loss wants two elements or more. */
static bool has_kernel(const vkd_graph *g, vkd_tensor map) {
    const vkd_shape s = vkd_tensor_shape(g, map);
    return s.axes == 4 && s.dim[1] * s.dim[2] > 1;
}

static vkd_tensor fused(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const bool paper = ((const config *)cfg)->mode == PAPER;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        vkd_tensor s = io->pairs[i].student, t = io->pairs[i].teacher;
        vkd__loss_same_size(g, &s, &t);
        if (!has_kernel(g, s)) return build(g, io, cfg);
        const vkd_tensor one = vkd_unit_gap(g, vkd__loss_rows(g, vkd_sum_squares(g, s)),
                                            vkd__loss_rows(g, vkd_sum_squares(g, t)), paper);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference ---- */

enum { MOST = 1024 }; /* places of a reference's map */

/* u (P), |q| returned. */
static double attention_of(const double *map, vkd_shape shape, vkd__loss_size size, double *u) {
    double square = 0;
    for (uint32_t p = 0; p < size.H * size.W; p++) {
        u[p] = 0;
        for (uint32_t c = 0; c < shape.dim[3]; c++) {
            const double f = vkd__loss_pooled(map, shape, size, p, c);
            u[p] += f * f / shape.dim[3];
        }
        square += u[p] * u[p];
    }
    const double norm = fmax(sqrt(square), (double)eps);
    for (uint32_t p = 0; p < size.H * size.W; p++)
        u[p] /= norm;
    return norm;
}

static double reference_sample(const double *student, vkd_shape ss, const double *teacher,
                               vkd_shape ts, bool paper, double *dstudent) {
    const vkd__loss_size size = vkd__loss_smaller(ss, ts);
    const uint32_t P = size.H * size.W, N = ss.dim[0], C = ss.dim[3];
    double us[MOST], ut[MOST], square = 0, along = 0;
    VKD_ASSERT(P <= MOST);
    const double norm = attention_of(student, ss, size, us);
    attention_of(teacher, ts, size, ut);
    for (uint32_t p = 0; p < P; p++)
        square += (us[p] - ut[p]) * (us[p] - ut[p]);
    const double length = sqrt(square + (double)eps);
    const double slope = paper ? 1 / (N * length) : 2.0 / ((double)N * P);
    for (uint32_t p = 0; p < P; p++)
        along += us[p] * slope * (us[p] - ut[p]);
    for (uint32_t p = 0; p < P; p++) {
        const double dq = (slope * (us[p] - ut[p]) - us[p] * along) / norm;
        for (uint32_t c = 0; c < C; c++)
            vkd__loss_pooled_back(2 * dq / C * vkd__loss_pooled(student, ss, size, p, c), ss, size,
                                  p, c, dstudent);
    }
    return paper ? length / N : square / ((double)N * P);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const bool paper = ((const config *)cfg)->mode == PAPER;
    for (uint32_t i = 0; i < r->pair_count; i++) {
        const vkd__loss_ref_pair *p = &r->pairs[i];
        const size_t S = (size_t)vkd_shape_count(p->student_shape) / r->N;
        const size_t T = (size_t)vkd_shape_count(p->teacher_shape) / r->N;
        for (size_t n = 0; n < r->N; n++)
            r->loss += reference_sample(p->student + n * S, p->student_shape, p->teacher + n * T,
                                        p->teacher_shape, paper, p->dstudent + n * S);
    }
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__MAPS(3, 4, 4, 5)}, .teacher = {VKD__MAPS(3, 4, 4, 8)}},
    {.pair_count = 3,
     .student = {VKD__MAPS(2, 5, 6, 3), VKD__MAPS(2, 3, 3, 16), VKD__MAPS(2, 9, 2, 1)},
     .teacher = {VKD__MAPS(2, 5, 6, 4), VKD__MAPS(2, 7, 7, 3), VKD__MAPS(2, 3, 4, 2)}},
    {.set = {{"mode", "paper"}},
     .pair_count = 2,
     .student = {VKD__MAPS(5, 8, 8, 4), VKD__MAPS(5, 4, 6, 7)},
     .teacher = {VKD__MAPS(5, 8, 8, 4), VKD__MAPS(5, 2, 3, 9)}},
};

const vkd__loss_def vkd_loss_at = {
    .name = "at",
    .summary = "attention transfer: features strong in the same places",
    .paper = "Zagoruyko & Komodakis, arXiv:1612.03928",
    .formula =
        "mean over samples and places of (u_s - u_t)^2 (or mean over samples of |u_s - u_t|), "
        "u = q/|q|, q = sum_c F_c^2; sum over taps",
    .needs = VKD__LOSS_TAPS,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .fused = fused,
    .reference = reference,
    .misfit = misfit,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
