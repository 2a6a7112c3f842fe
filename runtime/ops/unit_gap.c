// SPDX-License-Identifier: Apache-2.0
/* How far apart the directions of two rows are, value and gradient in one pass.
 *
 *   u = s / max(|s|, e), w = t / max(|t|, e), d = u - w, e = 1e-12
 *   loss = 1/(N V) sum_n |d|^2, or, with `root`, 1/N sum_n sqrt(|d|^2 + e)
 *   du = k d with k = 2/(N V), or 1/(N sqrt(|d|^2 + e))
 *   ds = dout (du - u (u . du)) / |s|, and u . d = |d|^2 / 2, since u and w have length 1
 *
 * A row shorter than e is divided by e, and has u . du = 0. This is what is left of attention
 * transfer and of similarity-preserving distillation once their rows are there. */
#include <math.h>

#include "ops/row_loss.h"

typedef struct params {
    bool root;
} params;

static const float eps = 1e-12f;

static const vkd__row_loss what = {
    .kernel = "loss_unit_gap",
    .inputs = 2,
    .role = {VKD__ROW_LOGITS, VKD__ROW_LOGITS},
};

vkd_tensor vkd_unit_gap(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, bool root) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_unit_gap,
                                          .in_count = 2,
                                          .in = {student, teacher},
                                          .params = &(params){root},
                                          .params_size = sizeof(params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    return vkd__row_loss_infer(g, n, &what);
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__row_loss_gradient(g, n, &what, sizeof(params), dout[0]);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    return vkd__row_loss_lower(l, n, &what, (struct vkd_loss_params){.a = p->root, .b = eps});
}

/* The length of a row, or e where that is more; *shorter says so. */
static double length_of(const double *x, uint32_t V, bool *shorter) {
    double sum = 0;
    for (uint32_t v = 0; v < V; v++)
        sum += x[v] * x[v];
    *shorter = !(sqrt(sum) > (double)eps);
    return *shorter ? (double)eps : sqrt(sum);
}

static void reference(const vkd__ref *r) {
    const bool root = ((const params *)r->node->params)->root;
    const uint64_t N = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    r->out[0].v[0] = 0;
    for (uint64_t n = 0; n < N; n++) {
        const double *s = r->in[0].v + n * V, *t = r->in[1].v + n * V;
        bool short_s, short_t;
        const double ls = length_of(s, V, &short_s), lt = length_of(t, V, &short_t);
        double square = 0, along = 0;
        for (uint32_t v = 0; v < V; v++) {
            const double d = s[v] / ls - t[v] / lt;
            square += d * d;
            along += s[v] / ls * d;
        }
        const double far = sqrt(square + (double)eps);
        const double k = root ? 1 / ((double)N * far) : 2 / ((double)N * V);
        r->out[0].v[0] += root ? far / (double)N : square / ((double)N * V);
        for (uint32_t v = 0; r->in[2].v && v < V; v++) {
            const double d = s[v] / ls - t[v] / lt;
            const double du = k * (d - (short_s ? 0 : s[v] / ls * along));
            r->out[1].v[n * V + v] = r->in[2].v[0] * du / ls;
        }
    }
}

/* Ragged rows in both forms, then rows of zeros. */
#define CASES (2 * VKD__ROW_CASES + 2)

static void build_case(vkd__case *c) {
    static const uint32_t sizes[VKD__ROW_CASES][2] = {{1, 2},  {3, 3},   {130, 10}, {7, 31},
                                                      {5, 33}, {3, 64},  {2, 127},  {9, 129},
                                                      {4, 4},  {2, 1001}};
    const uint32_t *size = sizes[c->index % VKD__ROW_CASES];
    const bool zeros = c->index == 2 * VKD__ROW_CASES, same = c->index == 2 * VKD__ROW_CASES + 1;
    const bool root = c->index / VKD__ROW_CASES == 1 || same;
    c->what = zeros  ? "a teacher without direction"
              : same ? "nothing between them, with root"
              : root ? "with root"
                     : "ragged rows";
    if (same) size = sizes[2];
    const vkd_shape shape = VKD_SHAPE(size[0], size[1]);
    const float low = zeros ? 0 : same ? 1.5f : -2, high = zeros ? 0 : same ? 1.5f : 2;
    const vkd_tensor s = vkd__case_f32(c, shape, same ? low : -2, same ? high : 2);
    const vkd_tensor t = vkd__case_fixed(c, shape, low, high);
    vkd__case_output(c, vkd_unit_gap(c->g, s, t, root));
}

const vkd_op_def vkd_op_unit_gap = {
    .name = "unit_gap",
    .summary = "how far apart the directions of rows are, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_case,
};
