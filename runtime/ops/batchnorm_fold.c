// SPDX-License-Identifier: Apache-2.0
/* batchnorm_fold: a normalisation by running statistics behind a linear layer without a bias is a
 * layer with other numbers. With f[o] = gamma[o] / sqrt(var[o] + eps)
 *
 *   gamma (w x - mean) / sqrt(var + eps) + beta = (f w) x + (beta - f mean)
 *
 *   weight'[o,k] = f[o] w[o,k],  bias'[o] = beta[o] - f[o] mean[o]
 *   dw = f dweight',  dbeta = dbias',
 *   dgamma[o] = (sum_k dweight'[o,k] w[o,k] - dbias'[o] mean[o]) / sqrt(var[o] + eps) */
#include <math.h>

#include "ops/row.h"

enum { WEIGHT, GAMMA, BETA, MEAN, VARIANCE, INPUTS };

typedef struct fold_params {
    float eps;
} fold_params;

vkd_tensor vkd_batchnorm_fold(vkd_graph *g, vkd_tensor weight, const vkd_batchnorm_desc *desc,
                              vkd_tensor *bias) {
    const fold_params p = {desc->eps != 0 ? desc->eps : 1e-5f};
    *bias = (vkd_tensor){0};
    const vkd_tensor made =
        vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_batchnorm_fold,
                                       .in_count = INPUTS,
                                       .in = {weight, desc->gamma, desc->beta, desc->running_mean,
                                              desc->running_var},
                                       .params = &p,
                                       .params_size = sizeof p});
    if (made.id) *bias = vkd__producer(g, made)->out[1];
    return made;
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const fold_params *p = n->params;
    if (!vkd__all_f32(g, n)) return false;
    static const char *const names[] = {"gamma", "beta", "the running mean",
                                        "the running variance"};
    const vkd_shape weight = vkd_tensor_shape(g, n->in[WEIGHT]);
    if (weight.axes < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "a weight (C, ...) is wanted, not %s",
                               vkd__shape_text(g, weight));
    for (uint32_t i = GAMMA; i < INPUTS; i++) {
        const vkd_shape shape = vkd_tensor_shape(g, n->in[i]);
        if (shape.axes != 1 || shape.dim[0] != weight.dim[0])
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "for a weight %s %s must be (%u), not %s",
                                   vkd__shape_text(g, weight), names[i - GAMMA], weight.dim[0],
                                   vkd__shape_text(g, shape));
    }
    if (!(p->eps > 0) || isinf(p->eps))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "eps %g is not positive", (double)p->eps);
    vkd__node_out(g, n, 0, VKD_F32, weight);
    vkd__node_out(g, n, 1, VKD_F32, VKD_SHAPE(weight.dim[0]));
    return true;
}

/* Nobody trains through folded weights step after step, so this is made of other ops. */
static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const fold_params *p = n->params;
    const vkd_shape weight = vkd_tensor_shape(g, n->in[WEIGHT]);
    const uint32_t lines = weight.dim[0], line = (uint32_t)(vkd_shape_count(weight) / lines);
    const vkd_tensor one = vkd_constant(g, 1);
    const vkd_tensor rstd =
        vkd_div(g, one, vkd_sqrt(g, vkd_add(g, n->in[VARIANCE], vkd_constant(g, p->eps))));
    vkd_tensor sum = {0};
    if (dout[0].id) {
        const vkd_tensor dw = vkd_reshape(g, dout[0], VKD_SHAPE(lines, line));
        const vkd_tensor w = vkd_reshape(g, n->in[WEIGHT], VKD_SHAPE(lines, line));
        const vkd_tensor f = vkd_reshape(g, vkd_mul(g, n->in[GAMMA], rstd), VKD_SHAPE(lines, 1));
        din[WEIGHT] = vkd_reshape(g, vkd_mul(g, dw, f), weight);
        sum = vkd_sum(g, vkd_mul(g, dw, w), 2u, false);
    }
    if (dout[1].id) {
        const vkd_tensor part = vkd_mul(g, dout[1], n->in[MEAN]);
        sum = sum.id ? vkd_sub(g, sum, part) : vkd_neg(g, part);
        din[BETA] = dout[1];
    }
    din[GAMMA] = vkd_mul(g, sum, rstd);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const fold_params *p = n->params;
    const vkd_shape weight = vkd_tensor_shape(l->g, n->in[WEIGHT]);
    vkd__rows r = {.rows = weight.dim[0],
                   .length = (uint32_t)(vkd_shape_count(weight) / weight.dim[0])};
    if (!vkd__rows_cut(l, n->in[WEIGHT], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__row_launch(l, "batchnorm_fold", count, r.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[WEIGHT], VKD__READ, first, count, r.length);
        for (uint32_t i = GAMMA; i < INPUTS; i++)
            vkd__bind(launch, n->in[i], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        vkd__bind(launch, n->out[1], VKD__WRITE);
        vkd__push(
            launch,
            &(struct vkd_batchnorm_fold_params){(uint32_t)count, r.length, (uint32_t)first, p->eps},
            sizeof(struct vkd_batchnorm_fold_params));
        const double elements = (double)count * r.length;
        vkd__cost(launch, elements, 8 * elements);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const fold_params *p = r->node->params;
    const uint32_t lines = r->in[WEIGHT].tensor->shape.dim[0];
    const uint64_t line = vkd_shape_count(r->in[WEIGHT].tensor->shape) / lines;
    for (uint32_t o = 0; o < lines; o++) {
        const double f = r->in[GAMMA].v[o] / sqrt(r->in[VARIANCE].v[o] + (double)p->eps);
        for (uint64_t k = 0; k < line; k++)
            r->out[0].v[o * line + k] = f * r->in[WEIGHT].v[o * line + k];
        r->out[1].v[o] = r->in[BETA].v[o] - f * r->in[MEAN].v[o];
    }
}

static void build_case(vkd__case *c) {
    static const vkd_shape weights[] = {{4, {8, 3, 3, 4}},
                                        {4, {5, 3, 3, 1}},
                                        {2, {70, 7}},
                                        {4, {130, 1, 1, 2}},
                                        {4, {3, 5, 5, 20}}};
    const vkd_shape weight = weights[c->index], channels = VKD_SHAPE(weight.dim[0]);
    c->what = weight.axes == 2 ? "a dense layer" : "a convolution";
    const vkd_tensor w = vkd__case_f32(c, weight, -1, 1);
    vkd_batchnorm_desc d = {.eps = c->index % 2 ? 0.1f : 0};
    d.gamma = vkd__case_f32(c, channels, 0.5, 1.5);
    d.beta = vkd__case_f32(c, channels, -1, 1);
    d.running_mean = vkd__case_fixed(c, channels, -2, 2);
    d.running_var = vkd__case_fixed(c, channels, 0.25, 4);
    vkd_tensor bias;
    vkd__case_output(c, vkd_batchnorm_fold(c->g, w, &d, &bias));
    vkd__case_output(c, bias);
}

const vkd_op_def vkd_op_batchnorm_fold = {
    .name = "batchnorm_fold",
    .summary = "a weight and a bias with the normalisation behind them folded in",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 5,
    .build_case = build_case,
};
