// SPDX-License-Identifier: Apache-2.0
/* Triplets, value and gradient in one node. With distances d_ij = |x_i - x_j| (at least 1e-6) over
 * all anchors i, positives j != i of i's label and negatives k of another,
 *
 *   loss = 1/A sum_ijk max(0, d_ij - d_ik + margin),  A = how many of these are above 0, at least 1
 *
 * the mean over the triplets that still have something to learn: those that are right already
 * would only make it small. A row with a negative label takes no part. With [.] = 1 where it
 * holds,
 *
 *   A dloss/dd_pq = sum_k ([d_pq - d_pk + margin > 0] + [d_pq - d_qk + margin > 0])  labels equal,
 *                   k of another
 *   A dloss/dd_pq = -sum_k ([d_pk - d_pq + margin > 0, k of p's label]
 *                         + [d_qk - d_pq + margin > 0, k of q's label])              labels differ
 *   dx_p = dout sum_q dloss/dd_pq (x_p - x_q) / d_pq
 *
 * so one pass over the pairs, each looking at all k, gives the values and the weights of the pairs.
 *
 * Schroff, Kalenichenko, Philbin, arXiv:1503.03832, eq. 1; over all triplets of a batch: Hermans,
 * Beyer, Leibe, arXiv:1703.07737, section 2. Their distances are not squared here either. */
#include <math.h>
#include <string.h>

#include "ops/pairs.h"

enum { ROWS, LABELS, DOUT };
#define GRADIENT 11u

typedef struct triplet_params {
    float margin;
} triplet_params;

vkd_tensor vkd_triplet(vkd_graph *g, vkd_tensor x, vkd_tensor labels, float margin) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_triplet,
                                          .in_count = 2,
                                          .in = {x, labels},
                                          .params = &(triplet_params){margin},
                                          .params_size = sizeof(triplet_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const float margin = ((const triplet_params *)n->params)->margin;
    const vkd_shape labels = vkd_tensor_shape(g, n->in[LABELS]);
    if (!vkd__pairs_infer(g, n, ROWS)) return false;
    if (vkd_tensor_dtype(g, n->in[LABELS]) != VKD_I32 || labels.axes != 1 ||
        labels.dim[0] != vkd_tensor_shape(g, n->in[ROWS]).dim[0])
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "a label i32 a row is wanted: %s and %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[ROWS])),
                               vkd__shape_text(g, labels));
    if (!(margin >= 0) || isinf(margin))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "margin %g is negative", (double)margin);
    return vkd__pairs_loss_out(g, n, DOUT);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[ROWS] = vkd__loss_gradient(g, n, DOUT, sizeof(triplet_params), dout[0]);
}

static bool lower_triplets(vkd__lower *l, const vkd__node *n, vkd__pair_matrix d, uint32_t parts,
                           vkd__pair_matrix w, bool gradient) {
    const uint32_t N = vkd_tensor_shape(l->g, n->in[ROWS]).dim[0], stride = vkd__pair_stride(N);
    vkd__launch *launch = vkd__row_launch(l, "loss_triplet", N, stride);
    if (!launch) return false;
    vkd__pair_bind(launch, d, VKD__READ);
    vkd__bind(launch, n->in[LABELS], VKD__READ);
    vkd__bind_scratch(launch, parts, VKD__WRITE);
    if (gradient)
        vkd__pair_bind(launch, w, VKD__WRITE);
    else
        vkd__bind_scratch(launch, parts, VKD__WRITE); /* declared, not touched */
    vkd__spec(launch, GRADIENT, gradient);
    const struct vkd_pairs_params p = {N, 0, stride, ((const triplet_params *)n->params)->margin};
    vkd__push(launch, &p, sizeof p);
    vkd__cost(launch, (gradient ? 20.0 : 8.0) * N * N * N, 8.0 * N * N);
    return true;
}

static bool lower_total(vkd__lower *l, const vkd__node *n, uint32_t parts, uint32_t factor,
                        bool gradient) {
    const uint32_t N = vkd_tensor_shape(l->g, n->in[ROWS]).dim[0];
    vkd__launch *launch = vkd__reduce_launch(l, "loss_triplet_total");
    if (!launch) return false;
    vkd__bind_scratch(launch, parts, VKD__READ);
    vkd__bind(launch, gradient ? n->in[DOUT] : (vkd_tensor){0}, VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__bind_scratch(launch, factor, VKD__WRITE);
    vkd__push(launch, &(struct vkd_row_params){.N = N}, sizeof(struct vkd_row_params));
    vkd__cost(launch, 2.0 * N, 8.0 * N);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    if (!vkd__pairs_fit(l, n->in[ROWS])) return false;
    const uint32_t N = vkd_tensor_shape(l->g, n->in[ROWS]).dim[0];
    const bool gradient = n->in_count > DOUT && n->in[DOUT].id;
    const vkd__pair_matrix d = vkd__pair_scratch(l, N);
    const vkd__pair_matrix w = gradient ? vkd__pair_scratch(l, N) : d;
    const uint32_t parts = vkd__scratch_add(l, 2 * sizeof(float) * (uint64_t)N);
    const uint32_t factor = vkd__scratch_add(l, sizeof(float));
    return vkd__pair_distances(l, n->in[ROWS], d) && lower_triplets(l, n, d, parts, w, gradient) &&
           lower_total(l, n, parts, factor, gradient) &&
           (!gradient || vkd__pair_gradient(l, n->in[ROWS], w,
                                            &(vkd__pair_matrix){.scratch = factor}, 1, n->out[1]));
}

/* ---- Reference ---- */

typedef struct triplets {
    const double *x, *labels;
    uint32_t N, D;
    double margin, sum, active;
} triplets;

/* All triplets; with dx not NULL their gradients times `scale` into it, else into sum and active.
 */
static void walk(triplets *t, double scale, double *dx) {
    for (uint32_t i = 0; i < t->N; i++)
        for (uint32_t j = 0; j < t->N; j++)
            for (uint32_t k = 0; k < t->N; k++) {
                const double *y = t->labels;
                if (j == i || y[i] < 0 || y[j] != y[i] || y[k] < 0 || y[k] == y[i]) continue;
                const double v = vkd__pair_distance(t->x, t->D, i, j) -
                                 vkd__pair_distance(t->x, t->D, i, k) + t->margin;
                if (v <= 0) continue;
                if (dx) {
                    vkd__pair_push(t->x, t->D, i, j, scale, dx);
                    vkd__pair_push(t->x, t->D, i, k, -scale, dx);
                } else {
                    t->sum += v;
                    t->active++;
                }
            }
}

static void reference(const vkd__ref *r) {
    const vkd_shape shape = r->in[ROWS].tensor->shape;
    triplets t = {.x = r->in[ROWS].v,
                  .labels = r->in[LABELS].v,
                  .N = shape.dim[0],
                  .D = shape.dim[1],
                  .margin = (double)((const triplet_params *)r->node->params)->margin};
    walk(&t, 0, NULL);
    const double unit = 1 / fmax(t.active, 1);
    r->out[0].v[0] = unit * t.sum;
    if (!r->in[DOUT].v) return;
    memset(r->out[1].v, 0, (size_t)t.N * t.D * sizeof(double));
    walk(&t, unit * r->in[DOUT].v[0], r->out[1].v);
}

/* ---- Cases: rows, width, labels drawn below this; the last two have nothing to learn ---- */

static const struct {
    uint32_t N, D;
    int32_t classes;
    float margin;
} sizes[] = {{3, 2, 2, 0.3f},   {5, 3, 2, 0.2f},   {9, 8, 3, 0.2f}, {13, 5, 2, 1},
             {31, 16, 5, 0.2f}, {66, 12, 4, 0.2f}, {6, 4, 1, 0.2f}, {2, 3, 9, 0.2f}};

static void build_case(vkd__case *c) {
    const uint32_t N = sizes[c->index].N, D = sizes[c->index].D;
    c->what = c->index + 2 < VKD_COUNT(sizes) ? "rows with labels, some with none" : "no triplets";
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(N, D), -1, 1);
    const vkd_tensor labels = vkd__case_i32(c, VKD_SHAPE(N), 0, sizes[c->index].classes);
    vkd__case_special(c, -1, 7);
    vkd__case_output(c, vkd_triplet(c->g, x, labels, sizes[c->index].margin));
}

const vkd_op_def vkd_op_triplet = {
    .name = "triplet",
    .summary = "mean of the triplets of a batch within the margin, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD_COUNT(sizes),
    .build_case = build_case,
};
