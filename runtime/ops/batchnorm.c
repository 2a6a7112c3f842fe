// SPDX-License-Identifier: Apache-2.0
/* batchnorm of x (N, C), all axes but the last as rows: Ioffe & Szegedy, arXiv:1502.03167.
 *
 *   mean = sum_n x[n] / N, var = sum_n (x[n] - mean)^2 / N, rstd = 1 / sqrt(var + eps)
 *   h[n] = (x[n] - mean) rstd,  y[n] = f(gamma h[n] + beta + residual[n])
 *
 * for each channel; outside of training mean and var are the running ones. In training these
 * follow,
 *
 *   running_mean += momentum (mean - running_mean)
 *   running_var  += momentum (var N / (N - 1) - running_var)
 *
 * Gradient: with dz = dy f' and, in training, dh[n]/dx[k] = rstd ([n = k] - 1/N - h[n] h[k] / N)
 *
 *   dgamma = sum_n dz[n] h[n],  dbeta = sum_n dz[n],  dresidual = dz
 *   dx[n] = gamma rstd (dz[n] - (dbeta + h[n] dgamma) / N)
 *
 * outside of training, where mean and var are no functions of x, dx = gamma rstd dz.
 *
 * f' follows from x once more without a residual, from y with one: so the gradient keeps nothing
 * alive but x and, with a residual, y, which the next layer keeps anyway. Only gelu and silu behind
 * a residual need what they were applied to, and stand apart where a gradient will be asked for.
 *
 * Outputs: y; in training also mean and rstd, for the gradient. */
#include "ops/batchnorm.h"

#include <math.h>

/* ---- Building ---- */

static bool needs_grad(const vkd_graph *g, vkd_tensor t) {
    return vkd__tensor_get(g, t)->needs_grad;
}

/* What a node changes in place must be its store's, and no optimiser's. */
static bool may_run(vkd_graph *g, vkd_tensor t) {
    const vkd__tensor *tensor = vkd__tensor_get(g, t);
    if (tensor->home == VKD__HOME_STORE) {
        const vkd__entry_kind kind = g->store->entries[tensor->entry].kind;
        if (kind == VKD__ENTRY_BUFFER || kind == VKD__ENTRY_STATE) return true;
    }
    return vkd__graph_fail(g, NULL, VKD_E_ARGUMENT,
                           "batchnorm: training changes '%s' in place, so it must be made by "
                           "vkd_buffer",
                           tensor->name);
}

vkd_tensor vkd_batchnorm(vkd_graph *g, vkd_tensor x, const vkd_batchnorm_desc *desc) {
    const vkd_batchnorm_desc *d = desc;
    vkd__batchnorm p = {.momentum = d->momentum != 0 ? d->momentum : 0.1f,
                        .eps = d->eps != 0 ? d->eps : 1e-5f,
                        .training = d->training,
                        .activation = d->activation};
    if (g->status) return (vkd_tensor){0};
    if (p.training && (!may_run(g, d->running_mean) || !may_run(g, d->running_var)))
        return (vkd_tensor){0};
    const bool gradient = needs_grad(g, x) || needs_grad(g, d->gamma) || needs_grad(g, d->beta) ||
                          needs_grad(g, d->residual);
    const bool apart = gradient && d->residual.id &&
                       (d->activation == VKD_ACT_GELU || d->activation == VKD_ACT_SILU);
    if (apart) p.activation = VKD_ACT_NONE;
    const vkd_tensor y =
        vkd__emit(g, &(vkd__emit_desc){
                         .op = &vkd_op_batchnorm,
                         .in_count = BN_INPUTS,
                         .in = {x, d->gamma, d->beta, d->running_mean, d->running_var, d->residual},
                         .optional = 1u << BN_RESIDUAL,
                         .writes = p.training ? 1u << BN_RUNNING_MEAN | 1u << BN_RUNNING_VAR : 0,
                         .params = &p,
                         .params_size = sizeof p});
    if (!apart) return y;
    return d->activation == VKD_ACT_GELU ? vkd_gelu(g, y) : vkd_silu(g, y);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__batchnorm *p = n->params;
    if (!vkd__all_f32(g, n)) return false;
    static const char *const names[] = {"gamma", "beta", "the running mean",
                                        "the running variance"};
    const vkd_shape x = vkd_tensor_shape(g, n->in[BN_X]);
    const vkd_shape channels = VKD_SHAPE(vkd__shape_last(x));
    if (!x.axes) return vkd__graph_fail(g, n, VKD_E_SHAPE, "a () tensor has no channels");
    for (uint32_t i = BN_GAMMA; i <= BN_RUNNING_VAR; i++) {
        const vkd_shape shape = vkd_tensor_shape(g, n->in[i]);
        if (!vkd__shape_equal(shape, channels))
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "for %s %s must be (%u), not %s",
                                   vkd__shape_text(g, x), names[i - BN_GAMMA], channels.dim[0],
                                   vkd__shape_text(g, shape));
    }
    const vkd_shape residual = vkd_tensor_shape(g, n->in[BN_RESIDUAL]);
    if (n->in[BN_RESIDUAL].id && !vkd__shape_equal(residual, x))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the residual is %s, should be %s",
                               vkd__shape_text(g, residual), vkd__shape_text(g, x));
    if (!(p->eps > 0) || isinf(p->eps) || !(p->momentum > 0 && p->momentum <= 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "eps %g must be positive, momentum %g in 0 < m <= 1", (double)p->eps,
                               (double)p->momentum);
    vkd__node_out(g, n, BN_Y, VKD_F32, x);
    if (!p->training) return true;
    if (vkd__shape_rows(x) < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "one value a channel has no variance; training needs two or more");
    vkd__node_out(g, n, BN_MEAN, VKD_F32, channels);
    vkd__node_out(g, n, BN_RSTD, VKD_F32, channels);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    vkd__batchnorm p = *(const vkd__batchnorm *)n->params;
    if (!dout[BN_Y].id) return;
    const bool residual = n->in[BN_RESIDUAL].id != 0;
    p.with_dz = needs_grad(g, n->in[BN_RESIDUAL]) && p.activation != VKD_ACT_NONE;
    const vkd_tensor in[BG_INPUTS] = {
        [BG_DY] = dout[BN_Y],
        [BG_X] = n->in[BN_X],
        [BG_GAMMA] = n->in[BN_GAMMA],
        [BG_BETA] = n->in[BN_BETA],
        [BG_MEAN] = p.training ? n->out[BN_MEAN] : n->in[BN_RUNNING_MEAN],
        [BG_SPREAD] = p.training ? n->out[BN_RSTD] : n->in[BN_RUNNING_VAR],
        [BG_Y] = residual && p.activation != VKD_ACT_NONE ? n->out[BN_Y] : (vkd_tensor){0}};
    din[BN_X] = vkd__batchnorm_grad(g, in, &p);
    const vkd__node *made = vkd__producer(g, din[BN_X]);
    if (!made) return;
    din[BN_GAMMA] = made->out[BG_DGAMMA];
    din[BN_BETA] = made->out[BG_DBETA];
    if (residual) din[BN_RESIDUAL] = p.with_dz ? made->out[BG_DZ] : dout[BN_Y];
}

/* ---- Reference ---- */

static void follow(double *running, double batch, double momentum) {
    if (isfinite(batch)) *running = (1 - momentum) * *running + momentum * batch;
}

/* Two passes over one channel. */
static void batch_statistics(const vkd__ref *r, uint64_t c, double *mean, double *variance) {
    const uint64_t rows = vkd__shape_rows(r->in[BN_X].tensor->shape);
    const uint64_t C = vkd__shape_last(r->in[BN_X].tensor->shape);
    *mean = *variance = 0;
    for (uint64_t n = 0; n < rows; n++)
        *mean += r->in[BN_X].v[n * C + c] / (double)rows;
    for (uint64_t n = 0; n < rows; n++)
        *variance += pow(r->in[BN_X].v[n * C + c] - *mean, 2) / (double)rows;
}

static void reference(const vkd__ref *r) {
    const vkd__batchnorm *p = r->node->params;
    const uint64_t rows = vkd__shape_rows(r->in[BN_X].tensor->shape);
    const uint64_t C = vkd__shape_last(r->in[BN_X].tensor->shape);
    for (uint64_t c = 0; c < C; c++) {
        double mean = r->in[BN_RUNNING_MEAN].v[c], variance = r->in[BN_RUNNING_VAR].v[c];
        if (p->training) batch_statistics(r, c, &mean, &variance);
        const double rstd = 1 / sqrt(variance + (double)p->eps);
        for (uint64_t n = 0; n < rows; n++) {
            double z = (r->in[BN_X].v[n * C + c] - mean) * rstd * r->in[BN_GAMMA].v[c] +
                       r->in[BN_BETA].v[c];
            if (r->in[BN_RESIDUAL].v) z += r->in[BN_RESIDUAL].v[n * C + c];
            r->out[BN_Y].v[n * C + c] = vkd__activated((vkd_activation)p->activation, z);
        }
        if (!p->training) continue;
        r->out[BN_MEAN].v[c] = mean;
        r->out[BN_RSTD].v[c] = rstd;
        follow(&r->in[BN_RUNNING_MEAN].v[c], mean, (double)p->momentum);
        follow(&r->in[BN_RUNNING_VAR].v[c], variance * (double)rows / (double)(rows - 1),
               (double)p->momentum);
    }
}

/* ---- Cases ---- */

const vkd_shape vkd__batchnorm_shapes[VKD__BATCHNORM_SHAPES] = {
    {4, {2, 3, 3, 4}},  {2, {37, 16}},
    {3, {3, 5, 7}},     {2, {300, 4}}, /* in bindings of 2 KiB: windows, the last a short one */
    {4, {2, 5, 4, 24}}, {2, {150, 3}},
    {2, {2, 130}},      {4, {3, 15, 16, 8}}, /* several turns of eight rows in each block */
};

static void build_case(vkd__case *c) {
    static const vkd_activation activations[] = {VKD_ACT_RELU,    VKD_ACT_NONE, VKD_ACT_RELU6,
                                                 VKD_ACT_SIGMOID, VKD_ACT_GELU, VKD_ACT_TANH,
                                                 VKD_ACT_SILU};
    const uint32_t which = c->index % VKD__BATCHNORM_SHAPES,
                   turn = c->index / VKD__BATCHNORM_SHAPES;
    const vkd_shape shape = vkd__batchnorm_shapes[which];
    const vkd_shape channels = VKD_SHAPE(vkd__shape_last(shape));
    const bool training = turn != 2, residual = turn == 1 || (turn == 2 && which % 2);
    vkd_batchnorm_desc d = {.training = training,
                            .activation = activations[c->index % VKD_COUNT(activations)],
                            /* Of two values h is a step function where eps is small. */
                            .eps = vkd__shape_rows(shape) < 4 ? 0.5f : 1e-4f};
    c->what = !training  ? residual ? "running statistics, residual" : "running statistics"
              : residual ? "training, residual"
                         : "training";
    /* Gradients of gamma and beta are sums of both signs over all rows. */
    if (vkd__shape_rows(shape) > 256) c->rtol = c->atol = 5e-5;
    const vkd_tensor x = vkd__case_f32(c, shape, -3, 4);
    d.gamma = vkd__case_f32(c, channels, 0.5, 1.5);
    d.beta = vkd__case_f32(c, channels, -1, 2);
    if (training) {
        d.running_mean = vkd_buffer(c->g, "case.running_mean", channels,
                                    &(vkd_init){.kind = VKD_INIT_UNIFORM, .value = 2});
        d.running_var = vkd_buffer(c->g, "case.running_var", channels,
                                   &(vkd_init){.kind = VKD_INIT_CONSTANT, .value = 0.75f});
    } else {
        d.running_mean = vkd__case_fixed(c, channels, -1, 1);
        d.running_var = vkd__case_fixed(c, channels, 0.5, 3);
    }
    if (residual) d.residual = vkd__case_f32(c, shape, -2, 2);
    vkd__case_output(c, vkd_batchnorm(c->g, x, &d));
    if (!training) return;
    vkd__case_output(c, d.running_mean);
    vkd__case_output(c, d.running_var);
}

const vkd_op_def vkd_op_batchnorm = {
    .name = "batchnorm",
    .summary = "batch normalisation over all axes but the last, with residual and activation",
    .infer = infer,
    .backward = backward,
    .lower = vkd__batchnorm_lower,
    .reference = reference,
    .writes_aside = true,
    .case_count = 3 * VKD__BATCHNORM_SHAPES,
    .build_case = build_case,
};
