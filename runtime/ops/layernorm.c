// SPDX-License-Identifier: Apache-2.0
/* layernorm over the last axis, D elements, and its gradient. Ba, Kiros, Hinton, arXiv:1607.06450.
 *
 *   mean = sum_d x[d] / D, rstd = 1 / sqrt(sum_d (x[d] - mean)^2 / D + eps)
 *   h[d] = (x[d] - mean) rstd,  y[d] = gamma[d] h[d] + beta[d]
 *
 * With g[d] = dy[d] gamma[d] and dh[d]/dx[e] = rstd ([d = e] - 1/D - h[d] h[e] / D):
 *   dx[e] = rstd (g[e] - mean_d(g) - h[e] mean_d(g h))
 *   dgamma[d] = sum_n dy[n,d] h[n,d],  dbeta[d] = sum_n dy[n,d]
 *
 * The second output keeps mean and rstd of each row, (N, 2), for the gradient. */
#include <math.h>

#include "ops/row.h"

typedef struct layernorm_params {
    float eps;
} layernorm_params;

#define COLUMN_BLOCKS 256u /* at most, of the first step to dgamma and dbeta */

vkd_tensor vkd_layernorm(vkd_graph *g, vkd_tensor x, vkd_tensor gamma, vkd_tensor beta, float eps) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_layernorm,
                                          .in_count = 3,
                                          .in = {x, gamma, beta},
                                          .params = &(layernorm_params){eps},
                                          .params_size = sizeof(layernorm_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const layernorm_params *p = n->params;
    for (uint32_t i = 0; i < 3; i++)
        if (!vkd__need_f32(g, n, i)) return false;
    const vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    const vkd_shape row = VKD_SHAPE(vkd__shape_last(shape));
    if (!shape.axes || !vkd__shape_equal(vkd_tensor_shape(g, n->in[1]), row) ||
        !vkd__shape_equal(vkd_tensor_shape(g, n->in[2]), row))
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "for %s gamma and beta must be (%u), not %s and %s",
                               vkd__shape_text(g, shape), row.dim[0],
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[1])),
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[2])));
    if (!(p->eps > 0) || isinf(p->eps))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "eps %g is not positive", (double)p->eps);
    vkd__node_out(g, n, 0, VKD_F32, shape);
    vkd__node_out(g, n, 1, VKD_F32, VKD_SHAPE((uint32_t)vkd__shape_rows(shape), 2));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    if (!dout[0].id) return;
    din[0] = vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_layernorm_grad,
                                            .in_count = 4,
                                            .in = {dout[0], n->in[0], n->in[1], n->out[1]}});
    const vkd__node *made = vkd__producer(g, din[0]);
    if (!made) return;
    din[1] = made->out[1];
    din[2] = made->out[2];
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const layernorm_params *p = n->params;
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__row_launch(l, "layernorm", count, r.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, first, count, r.length);
        vkd__bind(launch, n->in[1], VKD__READ);
        vkd__bind(launch, n->in[2], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        vkd__row_bind(launch, n->out[1], VKD__WRITE, first, count, 2);
        vkd__push(launch, &(struct vkd_layernorm_params){(uint32_t)count, r.length, p->eps},
                  sizeof(struct vkd_layernorm_params));
        const double elements = (double)count * r.length;
        vkd__cost(launch, 8 * elements, 8 * elements);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const layernorm_params *p = r->node->params;
    const uint64_t rows = vkd__shape_rows(r->in[0].tensor->shape);
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    for (uint64_t n = 0; n < rows; n++) {
        const double *x = r->in[0].v + n * D;
        double mean = 0, variance = 0;
        for (uint32_t d = 0; d < D; d++)
            mean += x[d] / D;
        for (uint32_t d = 0; d < D; d++)
            variance += (x[d] - mean) * (x[d] - mean) / D;
        const double rstd = 1 / sqrt(variance + (double)p->eps);
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[n * D + d] = (x[d] - mean) * rstd * r->in[1].v[d] + r->in[2].v[d];
        r->out[1].v[2 * n] = mean;
        r->out[1].v[2 * n + 1] = rstd;
    }
}

/* ---- Gradient: dy, x, gamma, stats to dx, dgamma, dbeta ---- */

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape row = vkd_tensor_shape(g, n->in[2]);
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[1]));
    vkd__node_out(g, n, 1, VKD_F32, row);
    vkd__node_out(g, n, 2, VKD_F32, row);
    return true;
}

static bool lower_dx(vkd__lower *l, const vkd__node *n, uint64_t first, uint64_t count,
                     uint32_t D) {
    vkd__launch *launch = vkd__row_launch(l, "layernorm_grad", count, D);
    if (!launch) return false;
    vkd__row_bind(launch, n->in[0], VKD__READ, first, count, D);
    vkd__row_bind(launch, n->in[1], VKD__READ, first, count, D);
    vkd__bind(launch, n->in[2], VKD__READ);
    vkd__row_bind(launch, n->in[3], VKD__READ, first, count, 2);
    vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, D);
    vkd__push(launch, &(struct vkd_layernorm_params){.N = (uint32_t)count, .D = D},
              sizeof(struct vkd_layernorm_params));
    vkd__cost(launch, 15.0 * (double)count * D, 12.0 * (double)count * D);
    return true;
}

static bool lower_columns(vkd__lower *l, const vkd__node *n, uint64_t first, uint64_t count,
                          const struct vkd_layernorm_columns_params *p, uint32_t scratch) {
    const uint64_t items = vkd__div_up(count, p->block) * vkd__div_up(p->D, 4);
    vkd__launch *launch = vkd__item_launch(l, "layernorm_columns", items);
    if (!launch) return false;
    vkd__row_bind(launch, n->in[0], VKD__READ, first, count, p->D);
    vkd__row_bind(launch, n->in[1], VKD__READ, first, count, p->D);
    vkd__row_bind(launch, n->in[3], VKD__READ, first, count, 2);
    vkd__bind_scratch(launch, scratch, VKD__WRITE);
    vkd__spec(launch, 3, 1);
    vkd__spec(launch, 10, p->D % 4 == 0);
    vkd__push(launch, p, sizeof *p);
    vkd__cost(launch, 5.0 * (double)count * p->D, 8.0 * (double)count * p->D);
    return true;
}

static bool grad_lower(vkd__lower *l, const vkd__node *n) {
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[1], &r)) return false;
    const uint64_t wanted = vkd__div_up(r.rows, COLUMN_BLOCKS);
    const uint64_t block = wanted < 32 ? 32 : wanted;
    const uint64_t windows = vkd__div_up(r.rows, r.rows_at_once);
    const uint64_t blocks_at_once = vkd__div_up(r.rows_at_once, block);
    const uint64_t quads = vkd__div_up(r.length, 4);
    const uint32_t scratch = vkd__scratch_add(l, windows * blocks_at_once * 2 * quads * 16);
    uint64_t blocks = 0;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        const struct vkd_layernorm_columns_params p = {(uint32_t)count, r.length, (uint32_t)block,
                                                       (uint32_t)blocks};
        if (!lower_dx(l, n, first, count, r.length) ||
            !lower_columns(l, n, first, count, &p, scratch))
            return false;
        blocks += vkd__div_up(count, block);
    }
    vkd__launch *launch = vkd__row_launch(l, "column_sum", quads, (uint32_t)(4 * blocks));
    if (!launch) return false;
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__bind(launch, n->out[1], VKD__WRITE);
    vkd__bind(launch, n->out[2], VKD__WRITE);
    vkd__push(launch, &(struct vkd_column_sum_params){(uint32_t)blocks, r.length},
              sizeof(struct vkd_column_sum_params));
    vkd__cost(launch, 8.0 * (double)(blocks * quads), 32.0 * (double)(blocks * quads));
    return true;
}

static void grad_reference(const vkd__ref *r) {
    const uint64_t rows = vkd__shape_rows(r->in[1].tensor->shape);
    const uint32_t D = vkd__shape_last(r->in[1].tensor->shape);
    const double *gamma = r->in[2].v;
    double *dgamma = r->out[1].v, *dbeta = r->out[2].v;
    for (uint32_t d = 0; d < D; d++)
        dgamma[d] = dbeta[d] = 0;
    for (uint64_t n = 0; n < rows; n++) {
        const double *dy = r->in[0].v + n * D, *x = r->in[1].v + n * D;
        const double mean = r->in[3].v[2 * n], rstd = r->in[3].v[2 * n + 1];
        double g_mean = 0, gh_mean = 0;
        for (uint32_t d = 0; d < D; d++) {
            const double h = (x[d] - mean) * rstd;
            g_mean += dy[d] * gamma[d] / D;
            gh_mean += dy[d] * gamma[d] * h / D;
            dgamma[d] += dy[d] * h;
            dbeta[d] += dy[d];
        }
        for (uint32_t d = 0; d < D; d++) {
            const double h = (x[d] - mean) * rstd;
            r->out[0].v[n * D + d] = rstd * (dy[d] * gamma[d] - g_mean - h * gh_mean);
        }
    }
}

/* ---- Cases: ragged rows, then many rows so that several blocks are summed ---- */

static const uint32_t *case_size(const vkd__case *c) {
    static const uint32_t many[2] = {75, 17};
    return c->index < VKD__ROW_CASES ? vkd__row_cases[c->index] : many;
}

static void build_case(vkd__case *c) {
    const uint32_t *size = case_size(c);
    c->what = c->index < VKD__ROW_CASES ? "ragged rows" : "several blocks of rows";
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(size[0], size[1]), -2, 3);
    const vkd_tensor gamma = vkd__case_f32(c, VKD_SHAPE(size[1]), 0.5, 1.5);
    const vkd_tensor beta = vkd__case_f32(c, VKD_SHAPE(size[1]), -1, 1);
    /* A large eps where rows are short: h of two elements is a step function otherwise. */
    vkd__case_output(c, vkd_layernorm(c->g, x, gamma, beta, size[1] < 4 ? 0.5f : 1e-5f));
}

static void build_grad_case(vkd__case *c) {
    const uint32_t *size = case_size(c);
    c->what = c->index < VKD__ROW_CASES ? "ragged rows" : "several blocks of rows";
    const vkd_tensor dy = vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), -1, 1);
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), -2, 3);
    const vkd_tensor gamma = vkd__case_fixed(c, VKD_SHAPE(size[1]), 0.5, 1.5);
    const vkd_tensor stats = vkd__case_fixed(c, VKD_SHAPE(size[0], 2), 0.3, 0.8);
    const vkd_tensor dx = vkd__emit(c->g, &(vkd__emit_desc){.op = &vkd_op_layernorm_grad,
                                                            .in_count = 4,
                                                            .in = {dy, x, gamma, stats}});
    vkd__case_output(c, dx);
    const vkd__node *made = vkd__producer(c->g, dx);
    for (uint32_t i = 1; made && i < 3; i++)
        vkd__case_output(c, made->out[i]);
}

const vkd_op_def vkd_op_layernorm = {
    .name = "layernorm",
    .summary = "gamma * (x - mean) / sqrt(variance + eps) + beta over the last axis",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD__ROW_CASES + 1,
    .build_case = build_case,
};
const vkd_op_def vkd_op_layernorm_grad = {
    .name = "layernorm_grad",
    .summary = "gradients of layernorm by x, gamma and beta",
    .infer = grad_infer,
    .lower = grad_lower,
    .reference = grad_reference,
    .case_count = VKD__ROW_CASES + 1,
    .build_case = build_grad_case,
    .no_difference_test = "a gradient itself: checked through layernorm",
};
