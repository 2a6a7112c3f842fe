// SPDX-License-Identifier: Apache-2.0
#include "ops/pairs.h"

#include <math.h>

#define SQUARED 11u
#define FACTOR 11u

const uint32_t vkd__pair_cases[VKD__PAIR_CASES][3] = {{2, 1, 1},   {3, 2, 3},   {4, 4, 4},
                                                      {5, 3, 8},   {8, 16, 7},  {9, 8, 5},
                                                      {13, 33, 2}, {31, 6, 12}, {66, 12, 9}};

bool vkd__pairs_infer(vkd_graph *g, const vkd__node *n, uint32_t i) {
    const vkd__tensor *x = vkd__tensor_get(g, n->in[i]);
    if (!vkd__need_f32(g, n, i)) return false;
    if (x->shape.axes != 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "rows (N, D) are wanted, '%s' is %s", x->name,
                               vkd__shape_text(g, x->shape));
    if (x->shape.dim[0] < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "'%s' has one row, and pairs need two; use a larger batch", x->name);
    if (x->shape.dim[0] != vkd_tensor_shape(g, n->in[0]).dim[0])
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s and %s differ in the number of rows",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[0])),
                               vkd__shape_text(g, x->shape));
    return true;
}

bool vkd__pairs_loss_infer(vkd_graph *g, vkd__node *n) {
    return vkd__pairs_infer(g, n, 0) && vkd__pairs_infer(g, n, 1) && vkd__pairs_loss_out(g, n, 2);
}

bool vkd__pairs_loss_out(vkd_graph *g, vkd__node *n, uint32_t slot) {
    vkd__node_out(g, n, 0, VKD_F32, VKD_SCALAR);
    if (n->in_count <= slot || !n->in[slot].id) return true;
    if (!vkd__need_f32(g, n, slot)) return false;
    if (vkd_tensor_shape(g, n->in[slot]).axes)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the gradient of a () loss is (), not %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[slot])));
    vkd__node_out(g, n, 1, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

bool vkd__pairs_fit(vkd__lower *l, vkd_tensor x) {
    const vkd__tensor *t = vkd__tensor_get(l->g, x);
    const uint64_t N = t->shape.dim[0], stride = vkd__pair_stride(t->shape.dim[0]);
    const uint64_t most = l->profile->max_binding;
    if (stride * stride <= most / 4 && vkd__tensor_bytes(t) <= most &&
        (!l->profile->direct || stride * stride / 4 <= l->profile->max_texels))
        return true;
    return vkd__lower_fail(l, VKD_E_SHAPE,
                           "the pairs of %llu rows of '%s' do not fit into a binding of %llu "
                           "bytes, the most on this device; use smaller batches",
                           (unsigned long long)N, t->name, (unsigned long long)most);
}

vkd__pair_matrix vkd__pair_scratch(vkd__lower *l, uint32_t N) {
    const uint64_t stride = vkd__pair_stride(N);
    return (vkd__pair_matrix){.scratch = vkd__scratch_add(l, stride * stride * sizeof(float))};
}

void vkd__pair_bind(vkd__launch *launch, vkd__pair_matrix m, vkd__access access) {
    if (m.tensor.id)
        vkd__bind(launch, m.tensor, access);
    else
        vkd__bind_scratch(launch, m.scratch, access);
}

vkd__launch *vkd__pair_launch(vkd__lower *l, const char *kernel, uint64_t items, uint32_t D) {
    vkd__launch *launch = vkd__item_launch(l, kernel, items);
    if (!launch) return NULL;
    vkd__spec(launch, 3, 1); /* row.glsl: each invocation has rows of its own */
    vkd__spec(launch, 10, D % 4 == 0);
    return launch;
}

static void push(vkd__launch *launch, uint32_t N, uint32_t D, vkd__pair_matrix m, float scale) {
    const struct vkd_pairs_params p = {N, D, m.tensor.id ? N : vkd__pair_stride(N), scale};
    vkd__push(launch, &p, sizeof p);
}

static bool lower_distances(vkd__lower *l, vkd_tensor x, vkd__pair_matrix first,
                            vkd__pair_matrix second, bool squared) {
    const vkd_shape shape = vkd_tensor_shape(l->g, x);
    const uint64_t N = shape.dim[0], edge = vkd__div_up(N, 4);
    vkd__launch *launch = vkd__pair_launch(l, "pair_distance", edge * (edge + 1) / 2, shape.dim[1]);
    if (!launch) return false;
    vkd__bind(launch, x, VKD__READ);
    vkd__pair_bind(launch, first, VKD__WRITE);
    vkd__pair_bind(launch, second, VKD__WRITE); /* without SQUARED declared, not touched */
    vkd__spec(launch, SQUARED, squared);
    push(launch, shape.dim[0], shape.dim[1], first, 1);
    const double pairs = (double)N * (double)N;
    vkd__cost(launch, 1.5 * pairs * shape.dim[1],
              4 * pairs * (squared ? 2 : 1) + 4.0 * (double)N * shape.dim[1]);
    return true;
}

bool vkd__pair_distances(vkd__lower *l, vkd_tensor x, vkd__pair_matrix distances) {
    return lower_distances(l, x, distances, distances, false);
}

bool vkd__pair_squares(vkd__lower *l, vkd_tensor x, vkd__pair_matrix squares,
                       vkd__pair_matrix roots) {
    return lower_distances(l, x, squares, roots, true);
}

bool vkd__pair_weights(vkd__lower *l, uint32_t N, vkd__pair_matrix distances,
                       vkd__pair_matrix gradient, vkd__pair_matrix w) {
    vkd__launch *launch = vkd__pair_launch(l, "pair_weight", N * vkd__div_up(N, 4), 4);
    if (!launch) return false;
    vkd__pair_bind(launch, distances, VKD__READ);
    vkd__pair_bind(launch, gradient, VKD__READ);
    vkd__pair_bind(launch, w, VKD__WRITE);
    push(launch, N, 4, distances, 1);
    vkd__cost(launch, 3.0 * N * N, 16.0 * N * N);
    return true;
}

bool vkd__pair_gradient(vkd__lower *l, vkd_tensor x, vkd__pair_matrix w,
                        const vkd__pair_matrix *factor, float scale, vkd_tensor dx) {
    const vkd_shape shape = vkd_tensor_shape(l->g, x);
    const uint32_t N = shape.dim[0], D = shape.dim[1];
    vkd__launch *launch =
        vkd__pair_launch(l, "pair_gradient", vkd__div_up(N, 4) * vkd__div_up(D, 4), D);
    if (!launch) return false;
    vkd__bind(launch, x, VKD__READ);
    vkd__pair_bind(launch, w, VKD__READ);
    if (factor)
        vkd__pair_bind(launch, *factor, VKD__READ);
    else
        vkd__bind(launch, (vkd_tensor){0}, VKD__READ);
    vkd__spec(launch, FACTOR, factor != NULL);
    vkd__bind(launch, dx, VKD__WRITE);
    push(launch, N, D, w, scale);
    vkd__cost(launch, 3.0 * N * N * D, 4.0 * N * N + 8.0 * N * D);
    return true;
}

bool vkd__pair_total(vkd__lower *l, uint32_t values, uint32_t count, vkd_tensor out) {
    vkd__launch *sum = vkd__row_launch(l, "loss_sum", 1, count);
    if (!sum) return false;
    vkd__bind_scratch(sum, values, VKD__READ);
    vkd__bind(sum, out, VKD__WRITE);
    vkd__push(sum, &(struct vkd_row_params){.N = 1, .V = count}, sizeof(struct vkd_row_params));
    vkd__cost(sum, count, 4.0 * count);
    return true;
}

/* ---- References ---- */

double vkd__pair_square(const double *x, uint32_t D, uint32_t i, uint32_t j) {
    double sum = 0;
    for (uint32_t d = 0; d < D; d++)
        sum += pow(x[(size_t)i * D + d] - x[(size_t)j * D + d], 2);
    return sum;
}

double vkd__pair_distance(const double *x, uint32_t D, uint32_t i, uint32_t j) {
    if (i == j) return 0;
    const double d = sqrt(vkd__pair_square(x, D, i, j));
    return d > VKD__PAIR_NEAREST || isnan(d) ? d : VKD__PAIR_NEAREST;
}

void vkd__pair_push(const double *x, uint32_t D, uint32_t i, uint32_t j, double a, double *dx) {
    const double distance = vkd__pair_distance(x, D, i, j);
    if (i == j || distance <= VKD__PAIR_NEAREST) return;
    for (uint32_t d = 0; d < D; d++) {
        const double along = a * (x[(size_t)i * D + d] - x[(size_t)j * D + d]) / distance;
        dx[(size_t)i * D + d] += along;
        dx[(size_t)j * D + d] -= along;
    }
}

double vkd__huber(double x) {
    return fabs(x) <= 1 ? x * x / 2 : fabs(x) - 0.5;
}

double vkd__huber_slope(double x) {
    return x > 1 ? 1 : x < -1 ? -1 : x;
}

void vkd__pair_case(vkd__case *c, vkd_tensor *student, vkd_tensor *teacher) {
    const bool ragged = c->index < VKD__PAIR_CASES;
    const uint32_t *size = vkd__pair_cases[ragged ? c->index : 4];
    c->what = ragged ? "rows of ragged numbers and widths" : "rows of the teacher are one point";
    *student = vkd__case_f32(c, VKD_SHAPE(size[0], size[1]), -1, 1);
    *teacher = vkd__case_fixed(c, VKD_SHAPE(size[0], size[2]), ragged ? -1 : 0.5, ragged ? 1 : 0.5);
    if (!ragged) vkd__case_special(c, 0.25, 17);
}
