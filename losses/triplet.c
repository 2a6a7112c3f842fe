// SPDX-License-Identifier: Apache-2.0
/* Triplets: a sample is to lie nearer to the others of its class than to any of another, by a
 * margin. It compares no two models: with it a teacher of a metric learns.
 *
 *   x_i the features, or with `normalize` x_i / |x_i|; d_ij = |x_i - x_j|, at least 1e-6
 *   loss = 1/A sum max(0, d_ij - d_ik + margin) over i, j != i of i's class, k of another
 *   A = how many of these terms are above 0, at least 1; summed over the taps
 *   dd_ij = 1/A, dd_ik = -1/A for each of these; dx_i = sum_j (dd_ij + dd_ji) (x_i - x_j) / d_ij
 *
 * All valid triplets of a batch take part. Schroff et al., arXiv:1503.03832, eq. 1; the mean over
 * what is above 0: Hermans, Beyer, Leibe, arXiv:1703.07737, section 2. Batches want several samples
 * of each class. */
#include <math.h>

#include "losses/loss.h"

typedef struct config {
    float margin;
    bool normalize;
} config;

static const vkd__field fields[] = {
    {.name = "margin",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, margin),
     .low = 0,
     .high = 1000,
     .preset = "0.2",
     .help = "how much nearer"},
    {.name = "normalize",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, normalize),
     .preset = "true",
     .help = "compare directions: features of length 1"},
};

#define SHORTEST 1e-12

static vkd_tensor build(vkd_graph *g, const vkd__loss_io *io, const void *cfg) {
    const config *c = cfg;
    vkd_tensor loss = {0};
    for (uint32_t i = 0; i < io->pair_count; i++) {
        vkd_tensor x = vkd__loss_rows(g, io->pairs[i].student);
        if (c->normalize) x = vkd_l2_normalize(g, x, (float)SHORTEST);
        const vkd_tensor one = vkd_triplet(g, x, io->labels, c->margin);
        loss = i ? vkd_add(g, loss, one) : one;
    }
    return loss;
}

/* ---- Reference ---- */

typedef struct side {
    const double *x; /* (N, D) */
    const int32_t *labels;
    size_t N, D;
    bool normalize;
    double margin;
} side;

static double length(const side *s, size_t i) {
    double sum = 0;
    for (size_t d = 0; d < s->D; d++)
        sum += s->x[i * s->D + d] * s->x[i * s->D + d];
    return s->normalize ? fmax(sqrt(sum), SHORTEST) : 1;
}

static double element(const side *s, size_t i, size_t d) {
    return s->x[i * s->D + d] / length(s, i);
}

static double distance(const side *s, size_t i, size_t j) {
    double sum = 0;
    for (size_t d = 0; d < s->D; d++)
        sum += pow(element(s, i, d) - element(s, j, d), 2);
    return fmax(sqrt(sum), 1e-6);
}

/* Adds to dx what a derivative by d_ij gives to x_i, through its length too. */
static void push(const side *s, size_t i, size_t j, double dd, double *dx) {
    const double size = length(s, i), d = distance(s, i, j);
    double along = 0;
    for (size_t k = 0; k < s->D && s->normalize; k++)
        along += element(s, i, k) * (element(s, i, k) - element(s, j, k));
    for (size_t k = 0; k < s->D; k++)
        dx[i * s->D + k] +=
            dd / d / size * (element(s, i, k) - element(s, j, k) - along * element(s, i, k));
}

/* Sum and number of the triplets above 0; with dx their gradient, `unit` for each. */
static double walk(const side *s, double unit, double *count, double *dx) {
    double sum = 0;
    *count = 0;
    for (size_t i = 0; i < s->N; i++)
        for (size_t j = 0; j < s->N; j++)
            for (size_t k = 0; k < s->N; k++) {
                const int32_t *y = s->labels;
                if (i == j || y[i] < 0 || y[j] != y[i] || y[k] < 0 || y[k] == y[i]) continue;
                const double term = distance(s, i, j) - distance(s, i, k) + s->margin;
                if (term <= 0) continue;
                sum += term;
                *count += 1;
                if (!dx) continue;
                push(s, i, j, unit, dx);
                push(s, j, i, unit, dx);
                push(s, i, k, -unit, dx);
                push(s, k, i, -unit, dx);
            }
    return sum;
}

static void reference(vkd__loss_ref *r, const void *cfg) {
    const config *c = cfg;
    for (uint32_t p = 0; p < r->pair_count; p++) {
        const side s = {r->pairs[p].student,
                        r->labels,
                        r->N,
                        vkd_shape_count(r->pairs[p].student_shape) / r->N,
                        c->normalize,
                        (double)c->margin};
        double count;
        const double sum = walk(&s, 0, &count, NULL), unit = 1 / fmax(count, 1);
        r->loss += unit * sum;
        walk(&s, unit, &count, r->pairs[p].dstudent);
    }
}

static const vkd__loss_case cases[] = {
    {.pair_count = 1, .student = {VKD__ROWS(12, 3)}},
    {.set = {{"normalize", "false"}, {"margin", "0.5"}},
     .pair_count = 2,
     .student = {VKD__ROWS(25, 8), VKD__MAPS(25, 2, 1, 2)}},
};

const vkd__loss_def vkd_loss_triplet = {
    .name = "triplet",
    .summary = "nearer to its class than to others: triplets of a batch, for metric learning",
    .paper = "Schroff, Kalenichenko, Philbin, arXiv:1503.03832",
    .formula = "mean over the triplets above 0 of max(0, |x_i - x_j| - |x_i - x_k| + margin), j of "
               "i's class, k of another",
    .needs = VKD__LOSS_TAPS | VKD__LOSS_OWN_TAPS | VKD__LOSS_LABELS,
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .reference = reference,
    .cases = cases,
    .case_count = VKD_COUNT(cases),
};
