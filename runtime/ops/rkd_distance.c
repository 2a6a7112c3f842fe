// SPDX-License-Identifier: Apache-2.0
/* Relational distillation by distances, value and gradient in one node. With N rows s_i and t_i,
 *
 *   d_ij = |s_i - s_j|, at least 1e-6 for i != j    mu = 1/(N (N-1)) sum_ij d_ij
 *   d'_ij, mu' the teacher's                        e_ij = d_ij / mu - d'_ij / mu'
 *   loss = 1/N^2 sum_ij h(e_ij),  h(e) = e^2 / 2 where |e| <= 1, else |e| - 1/2
 *
 * over all i and j, the zeros of i = j included, as the paper's code has it: leaving them out
 * would make the loss N / (N-1) times as large. mu is the mean of the positive distances, and the
 * gradient flows through it. With g = h'(e) = e within +-1,
 *
 *   dloss/dd_ij = 1/N^2 (g_ij / mu - 1/(N (N-1)) sum_kl g_kl d_kl / mu^2)   for i != j
 *   ds_i = dout sum_j 2 dloss/dd_ij (s_i - s_j) / d_ij
 *
 * since e is symmetric. Park, Kim, Lu, Cho, arXiv:1904.05068, section 3.2.1.
 *
 * Launches: both matrices of distances; sums of their rows; values and sums of g d of rows, and
 * their sum; with a gradient the weights of the pairs, and the sum over them. */
#include <string.h>

#include "ops/pairs.h"

enum { STUDENT, TEACHER, DOUT };
enum { STAGE_SUMS, STAGE_VALUES, STAGE_WEIGHTS };
#define STAGE 11u

vkd_tensor vkd_rkd_distance(vkd_graph *g, vkd_tensor student, vkd_tensor teacher) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_rkd_distance, .in_count = 2, .in = {student, teacher}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    return vkd__pairs_loss_infer(g, n);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[STUDENT] = vkd__loss_gradient(g, n, DOUT, 0, dout[0]);
}

/* ---- Launches ---- */

typedef struct matrices {
    vkd__pair_matrix student, teacher;
    uint32_t sums, parts; /* scratch, (2, N) each */
} matrices;

static bool lower_stage(vkd__lower *l, const matrices *m, uint32_t N, uint32_t stage,
                        vkd__pair_matrix out) {
    const uint32_t stride = vkd__pair_stride(N);
    vkd__launch *launch = vkd__row_launch(l, "loss_rkd_distance", N, stride);
    if (!launch) return false;
    vkd__pair_bind(launch, m->student, VKD__READ);
    vkd__pair_bind(launch, m->teacher, VKD__READ);
    if (stage == STAGE_SUMS)
        vkd__bind(launch, (vkd_tensor){0}, VKD__READ);
    else
        vkd__bind_scratch(launch, m->sums, VKD__READ);
    if (stage == STAGE_WEIGHTS)
        vkd__bind_scratch(launch, m->parts, VKD__READ);
    else
        vkd__bind(launch, (vkd_tensor){0}, VKD__READ);
    vkd__pair_bind(launch, out, VKD__WRITE);
    vkd__spec(launch, STAGE, stage);
    const struct vkd_pairs_params p = {N, 0, stride, 1.0f / ((float)N * (float)N)};
    vkd__push(launch, &p, sizeof p);
    vkd__cost(launch, 10.0 * N * N, (stage == STAGE_WEIGHTS ? 12.0 : 8.0) * N * N);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    if (!vkd__pairs_fit(l, n->in[STUDENT]) || !vkd__pairs_fit(l, n->in[TEACHER])) return false;
    const uint32_t N = vkd_tensor_shape(l->g, n->in[STUDENT]).dim[0];
    const matrices m = {vkd__pair_scratch(l, N), vkd__pair_scratch(l, N),
                        vkd__scratch_add(l, 2 * sizeof(float) * (uint64_t)N),
                        vkd__scratch_add(l, 2 * sizeof(float) * (uint64_t)N)};
    if (!vkd__pair_distances(l, n->in[STUDENT], m.student) ||
        !vkd__pair_distances(l, n->in[TEACHER], m.teacher) ||
        !lower_stage(l, &m, N, STAGE_SUMS, (vkd__pair_matrix){.scratch = m.sums}) ||
        !lower_stage(l, &m, N, STAGE_VALUES, (vkd__pair_matrix){.scratch = m.parts}) ||
        !vkd__pair_total(l, m.parts, N, n->out[0]))
        return false;
    if (n->in_count <= DOUT || !n->in[DOUT].id) return true;
    const vkd__pair_matrix w = vkd__pair_scratch(l, N);
    return lower_stage(l, &m, N, STAGE_WEIGHTS, w) &&
           vkd__pair_gradient(l, n->in[STUDENT], w, &(vkd__pair_matrix){.tensor = n->in[DOUT]},
                              2.0f / ((float)N * (float)N), n->out[1]);
}

/* ---- Reference ---- */

static double mean_distance(const double *x, uint32_t N, uint32_t D) {
    double sum = 0;
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            sum += vkd__pair_distance(x, D, i, j);
    return sum / ((double)N * (N - 1));
}

static void reference(const vkd__ref *r) {
    const double *s = r->in[STUDENT].v, *t = r->in[TEACHER].v;
    const uint32_t N = r->in[STUDENT].tensor->shape.dim[0];
    const uint32_t D = r->in[STUDENT].tensor->shape.dim[1], E = r->in[TEACHER].tensor->shape.dim[1];
    const double mu = mean_distance(s, N, D), mu_t = mean_distance(t, N, E);
    const double unit = 1 / ((double)N * N);
    double loss = 0, through_mean = 0;
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            const double d = vkd__pair_distance(s, D, i, j);
            const double e = d / mu - vkd__pair_distance(t, E, i, j) / mu_t;
            loss += unit * vkd__huber(e);
            through_mean -= unit * vkd__huber_slope(e) * d / (mu * mu);
        }
    r->out[0].v[0] = loss;
    if (!r->in[DOUT].v) return;
    memset(r->out[1].v, 0, (size_t)N * D * sizeof(double));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++) {
            const double e =
                vkd__pair_distance(s, D, i, j) / mu - vkd__pair_distance(t, E, i, j) / mu_t;
            const double a = unit * vkd__huber_slope(e) / mu + through_mean / ((double)N * (N - 1));
            vkd__pair_push(s, D, i, j, r->in[DOUT].v[0] * a, r->out[1].v);
        }
}

static void build_case(vkd__case *c) {
    vkd_tensor student, teacher;
    vkd__pair_case(c, &student, &teacher);
    vkd__case_output(c, vkd_rkd_distance(c->g, student, teacher));
}

const vkd_op_def vkd_op_rkd_distance = {
    .name = "rkd_distance",
    .summary = "Huber loss of normalised distances between rows, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__PAIR_CASES + 1,
    .build_case = build_case,
};
