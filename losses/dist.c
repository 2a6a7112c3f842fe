// SPDX-License-Identifier: Apache-2.0
/* Relations in place of values: the student's probabilities need only be correlated with the
 * teacher's, over the classes of a sample and over the samples of a class.
 *
 *   p = softmax(t / tau), q = softmax(s / tau)
 *   r(a, b) = a' . b' / (|a'| |b'| + 1e-8),  a' = a - mean(a)      (Pearson's correlation)
 *   inter = 1 - 1/N sum_n r(q_n, p_n),  intra = 1 - 1/V sum_v r(q_.v, p_.v)
 *   loss = tau^2 (beta inter + gamma intra)
 *   dr/da = b'/w - (a' . b') |b'| a' / (|a'| w^2), less its mean,  w = |a'| |b'| + 1e-8
 *   ds_v = q_v (dq_v - sum_u q_u dq_u) / tau
 *
 * Huang et al., arXiv:2205.10536 (DIST), eq. 6 to 9; tau^2 is their code's. With two classes, or
 * two samples in a batch, any two vectors are correlated by 1 or -1 and nothing is to be learnt. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float tau, beta, gamma;
} config;

static const vkd__field fields[] = {
    {.name = "tau",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, tau),
     .low = 0.05,
     .high = 1000,
     .preset = "1",
     .help = "temperature: higher is softer"},
    {.name = "beta",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, beta),
     .low = 0,
     .high = 1000,
     .preset = "1",
     .help = "weight of the correlation over the classes of each sample"},
    {.name = "gamma",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, gamma),
     .low = 0,
     .high = 1000,
     .preset = "1",
     .help = "weight of the correlation over the samples of each class"},
};

static const float eps = 1e-8f;
static const float tiny = 1e-30f; /* under a root, so that what does not vary has a gradient: 0 */

static vkd_tensor norm(vkd_graph *g, vkd_tensor x, uint32_t axes) {
    const vkd_tensor squares = vkd_sum(g, vkd_square(g, x), axes, false);
    return vkd_sqrt(g, vkd_add(g, squares, vkd_constant(g, tiny)));
}

/* 1 - the mean of the correlations over one axis. */
static vkd_tensor relation(vkd_graph *g, vkd_tensor q, vkd_tensor p, uint32_t axes) {
    const vkd_tensor a = vkd_sub(g, q, vkd_mean(g, q, axes, true));
    const vkd_tensor b = vkd_sub(g, p, vkd_mean(g, p, axes, true));
    const vkd_tensor dot = vkd_sum(g, vkd_mul(g, a, b), axes, false);
    const vkd_tensor w =
        vkd_add(g, vkd_mul(g, norm(g, a, axes), norm(g, b, axes)), vkd_constant(g, eps));
    const vkd_tensor mean = vkd_mean(g, vkd_div(g, dot, w), VKD_ALL_AXES, false);
    return vkd_sub(g, vkd_constant(g, 1), mean);
}

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_tensor q = vkd_softmax(g, vkd_div(g, io->student, io->tau));
    const vkd_tensor p = vkd_softmax(g, vkd_div(g, vkd_stop_gradient(g, io->teacher), io->tau));
    const vkd_tensor inter = vkd_scale(g, relation(g, q, p, 1u << 1), c->beta);
    const vkd_tensor intra = vkd_scale(g, relation(g, q, p, 1u << 0), c->gamma);
    return vkd_mul(g, vkd_add(g, inter, intra), vkd_square(g, io->tau));
}

enum { MOST = 256 }; /* samples of a reference's batch */

/* Probabilities of both sides. */
typedef struct shares {
    const vkd__loss_ref *r;
    double zs[MOST], zt[MOST]; /* log sum exp */
} shares;

static double q_at(const shares *s, size_t i) {
    return exp(s->r->student[i] / s->r->tau - s->zs[i / s->r->V]);
}
static double p_at(const shares *s, size_t i) {
    return exp(s->r->teacher[i] / s->r->tau - s->zt[i / s->r->V]);
}

/* weight * (1 - r) of `count` elements from `first` on that lie `stride` apart; its gradient is
 * added to dq. */
static double one_relation(const shares *s, size_t first, size_t count, size_t stride,
                           double weight, double *dq) {
    double mean_a = 0, mean_b = 0, aa = 0, bb = 0, ab = 0, mean = 0;
    for (size_t k = 0; k < count; k++) {
        mean_a += q_at(s, first + k * stride) / (double)count;
        mean_b += p_at(s, first + k * stride) / (double)count;
    }
    for (size_t k = 0; k < count; k++) {
        const double a = q_at(s, first + k * stride) - mean_a;
        const double b = p_at(s, first + k * stride) - mean_b;
        aa += a * a;
        bb += b * b;
        ab += a * b;
    }
    const double w = sqrt(aa) * sqrt(bb) + (double)eps;
    const double along = aa > 0 ? ab * sqrt(bb) / (sqrt(aa) * w * w) : 0;
    for (int pass = 0; pass < 2; pass++)
        for (size_t k = 0; k < count; k++) {
            const double a = q_at(s, first + k * stride) - mean_a;
            const double dr = (p_at(s, first + k * stride) - mean_b) / w - along * a;
            if (pass)
                dq[first + k * stride] -= weight * (dr - mean);
            else
                mean += dr / (double)count;
        }
    return weight * (1 - ab / w);
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    const size_t N = r->N, V = r->V;
    const double square = r->tau * r->tau;
    shares s = {.r = r};
    VKD_ASSERT(N <= MOST);
    for (size_t n = 0; n < N; n++) {
        s.zs[n] = vkd__loss_log_sum_exp(r->student + n * V, r->V, r->tau);
        s.zt[n] = vkd__loss_log_sum_exp(r->teacher + n * V, r->V, r->tau);
    }
    for (size_t n = 0; n < N; n++)
        r->loss += one_relation(&s, n * V, V, 1, square * (double)c->beta / (double)N, r->dstudent);
    for (size_t v = 0; v < V; v++)
        r->loss += one_relation(&s, v, N, V, square * (double)c->gamma / (double)V, r->dstudent);
    for (size_t n = 0; n < N; n++) { /* dq becomes ds */
        double *ds = r->dstudent + n * V, mean = 0;
        for (size_t v = 0; v < V; v++)
            mean += q_at(&s, n * V + v) * ds[v];
        for (size_t v = 0; v < V; v++)
            ds[v] = q_at(&s, n * V + v) * (ds[v] - mean) / r->tau;
    }
}

static const vkd__loss_case cases[] = {
    {.student = {VKD__ROWS(5, 3)}},
    {.student = {VKD__ROWS(130, 10)}, .set = {{"beta", "2"}, {"gamma", "0.5"}}},
    {.student = {VKD__ROWS(8, 33)}},
    {.student = {VKD__ROWS(6, 129)}, .set = {{"beta", "0"}}},
    {.student = {VKD__ROWS(4, 1001)}, .set = {{"gamma", "0"}}},
};

const vkd__loss_def vkd_loss_dist = {
    .name = "dist",
    .summary = "relations: probabilities correlated with the teacher's, by sample and by class",
    .paper = "Huang et al., arXiv:2205.10536",
    .formula = "tau^2 (beta (1 - mean over samples of Pearson(q_n, p_n)) + gamma (1 - mean over "
               "classes of Pearson(q_v, p_v)))",
    .needs = VKD__LOSS_TEACHER | VKD__LOSS_TAU | VKD__LOSS_TAU_SQUARED,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
