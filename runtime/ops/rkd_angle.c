// SPDX-License-Identifier: Apache-2.0
/* Relational distillation by angles, value and gradient in one node. With N rows s_i and t_i,
 *
 *   u_ij = (s_j - s_i) / |s_j - s_i|, 0 where that is below 1e-12
 *   c_ijk = u_ij . u_ik, the cosine at corner i; c'_ijk the teacher's; e = c - c'
 *   loss = 1/N^3 sum_ijk h(e_ijk),  h(e) = e^2 / 2 where |e| <= 1, else |e| - 1/2
 *
 * over all i, j and k, those that are equal included, as the paper's code has it.
 *
 * Nothing of the size N^3 or N^2 D is held: angles follow from the N^2 squared distances A_ij and
 * r_ij = 1 / sqrt(A_ij), 0 where there is no direction, by the law of cosines,
 *
 *   c_ijk = (A_ij + A_ik - A_jk) r_ij r_ik / 2.
 *
 * What cancels in it is an error of the size that a rounding of s itself makes in the angle:
 * A is taken of differences. With g = h'(e) the derivative by A_pq = A_qp is, over all triples,
 *
 *   N^3 dloss/dA_pq = T_pq = sum_k g_pqk (r_pq r_pk - c_pqk r_pq^2)
 *                          + sum_k g_qpk (r_pq r_qk - c_qpk r_pq^2)
 *                          - sum_k g_kpq r_kp r_kq
 *   ds_p = dout / N^3 sum_q 2 T_pq (s_p - s_q)
 *
 * from dc_ijk/dA_ij = (r_ij r_ik - c_ijk r_ij^2) / 2, dc_ijk/dA_jk = -r_ij r_ik / 2, each triple
 * standing twice, with j and k exchanged. So one pass over the pairs (p, q), each looking at all k,
 * gives the values of the corners k and T. Two rows that are one point have no direction and give
 * each other no gradient. Park, Kim, Lu, Cho, arXiv:1904.05068, section 3.2.2. */
#include <math.h>
#include <string.h>

#include "ops/pairs.h"

enum { STUDENT, TEACHER, DOUT };
#define GRADIENT 11u
#define ROWS 12u

vkd_tensor vkd_rkd_angle(vkd_graph *g, vkd_tensor student, vkd_tensor teacher) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_rkd_angle, .in_count = 2, .in = {student, teacher}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    return vkd__pairs_loss_infer(g, n);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[STUDENT] = vkd__loss_gradient(g, n, DOUT, 0, dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    if (!vkd__pairs_fit(l, n->in[STUDENT]) || !vkd__pairs_fit(l, n->in[TEACHER])) return false;
    const uint32_t N = vkd_tensor_shape(l->g, n->in[STUDENT]).dim[0];
    /* A GPU has more use for threads than for what a thread reads once. */
    const uint32_t rows = vkd__direct(l, "loss_rkd_angle") ? 4 : 2;
    const uint32_t edge = vkd__pair_stride(N) / 4, items = edge * (edge + 1) / 2 * (4 / rows);
    const bool gradient = n->in_count > DOUT && n->in[DOUT].id;
    const vkd__pair_matrix A = vkd__pair_scratch(l, N), r = vkd__pair_scratch(l, N);
    const vkd__pair_matrix A_t = vkd__pair_scratch(l, N), r_t = vkd__pair_scratch(l, N);
    const vkd__pair_matrix T = gradient ? vkd__pair_scratch(l, N) : A;
    const uint32_t values = vkd__scratch_add(l, sizeof(float) * (uint64_t)items);
    if (!vkd__pair_squares(l, n->in[STUDENT], A, r) ||
        !vkd__pair_squares(l, n->in[TEACHER], A_t, r_t))
        return false;
    vkd__launch *launch = vkd__pair_launch(l, "loss_rkd_angle", items, 4);
    if (!launch) return false;
    vkd__pair_bind(launch, A, VKD__READ);
    vkd__pair_bind(launch, r, VKD__READ);
    vkd__pair_bind(launch, A_t, VKD__READ);
    vkd__pair_bind(launch, r_t, VKD__READ);
    vkd__bind_scratch(launch, values, VKD__WRITE);
    if (gradient)
        vkd__pair_bind(launch, T, VKD__WRITE);
    else
        vkd__bind_scratch(launch, values, VKD__WRITE); /* declared, not touched */
    vkd__spec(launch, GRADIENT, gradient);
    vkd__spec(launch, ROWS, rows);
    const double cubed = (double)N * N * N;
    const struct vkd_pairs_params p = {N, 0, vkd__pair_stride(N), (float)(1 / cubed)};
    vkd__push(launch, &p, sizeof p);
    vkd__cost(launch, (gradient ? 40 : 10) * cubed, 20.0 * N * N);
    if (!vkd__pair_total(l, values, items, n->out[0])) return false;
    return !gradient ||
           vkd__pair_gradient(l, n->in[STUDENT], T, &(vkd__pair_matrix){.tensor = n->in[DOUT]},
                              (float)(2 / cubed), n->out[1]);
}

/* ---- Reference: the definition, with directions ---- */

static bool are_apart(const double *x, uint32_t D, uint32_t i, uint32_t j) {
    return !(vkd__pair_square(x, D, i, j) <= VKD__PAIR_APART * VKD__PAIR_APART);
}

static double cosine(const double *x, uint32_t D, uint32_t i, uint32_t j, uint32_t k) {
    if (!are_apart(x, D, i, j) || !are_apart(x, D, i, k)) return 0;
    double sum = 0;
    for (size_t d = 0; d < D; d++)
        sum += (x[j * (size_t)D + d] - x[i * (size_t)D + d]) *
               (x[k * (size_t)D + d] - x[i * (size_t)D + d]);
    return sum / sqrt(vkd__pair_square(x, D, i, j) * vkd__pair_square(x, D, i, k));
}

/* Adds to dx what a loss with the derivative `a` by the cosine c at i gives through u_ij to rows i
 * and j: dc/du_ij = u_ik, less its part along u_ij, over the length. */
static void push(const double *x, uint32_t D, uint32_t i, uint32_t j, uint32_t k, double c,
                 double a, double *dx) {
    if (!are_apart(x, D, i, j) || !are_apart(x, D, i, k)) return;
    const double length = sqrt(vkd__pair_square(x, D, i, j));
    const double other = sqrt(vkd__pair_square(x, D, i, k));
    for (size_t d = 0; d < D; d++) {
        const double at = x[i * (size_t)D + d];
        const double u = (x[j * (size_t)D + d] - at) / length;
        const double part = a * ((x[k * (size_t)D + d] - at) / other - c * u) / length;
        dx[j * (size_t)D + d] += part;
        dx[i * (size_t)D + d] -= part;
    }
}

static void reference(const vkd__ref *r) {
    const double *s = r->in[STUDENT].v, *t = r->in[TEACHER].v;
    const uint32_t N = r->in[STUDENT].tensor->shape.dim[0];
    const uint32_t D = r->in[STUDENT].tensor->shape.dim[1], E = r->in[TEACHER].tensor->shape.dim[1];
    const double unit = 1 / ((double)N * N * N);
    double loss = 0;
    if (r->in[DOUT].v) memset(r->out[1].v, 0, (size_t)N * D * sizeof(double));
    for (uint32_t i = 0; i < N; i++)
        for (uint32_t j = 0; j < N; j++)
            for (uint32_t k = 0; k < N; k++) {
                const double c = cosine(s, D, i, j, k), e = c - cosine(t, E, i, j, k);
                loss += unit * vkd__huber(e);
                if (!r->in[DOUT].v) continue;
                const double a = r->in[DOUT].v[0] * unit * vkd__huber_slope(e);
                push(s, D, i, j, k, c, a, r->out[1].v);
                push(s, D, i, k, j, c, a, r->out[1].v);
            }
    r->out[0].v[0] = loss;
}

static void build_case(vkd__case *c) {
    vkd_tensor student, teacher;
    vkd__pair_case(c, &student, &teacher);
    vkd__case_output(c, vkd_rkd_angle(c->g, student, teacher));
}

const vkd_op_def vkd_op_rkd_angle = {
    .name = "rkd_angle",
    .summary = "Huber loss of the angles between rows, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__PAIR_CASES + 1,
    .build_case = build_case,
};
