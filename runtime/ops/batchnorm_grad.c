// SPDX-License-Identifier: Apache-2.0
/* The gradient of batchnorm: dx, dgamma, dbeta, and dz where a residual asks for it. The formulas
 * are derived in batchnorm.c. */
#include "ops/batchnorm.h"

#include <math.h>

vkd_tensor vkd__batchnorm_grad(vkd_graph *g, const vkd_tensor in[BG_INPUTS],
                               const vkd__batchnorm *p) {
    vkd__emit_desc d = {.op = &vkd_op_batchnorm_grad,
                        .in_count = BG_INPUTS,
                        .optional = 1u << BG_Y,
                        .params = p,
                        .params_size = sizeof *p};
    for (uint32_t i = 0; i < BG_INPUTS; i++)
        d.in[i] = in[i];
    return vkd__emit(g, &d);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__batchnorm *p = n->params;
    const vkd_shape x = vkd_tensor_shape(g, n->in[BG_X]);
    const vkd_shape channels = vkd_tensor_shape(g, n->in[BG_GAMMA]);
    vkd__node_out(g, n, BG_DX, VKD_F32, x);
    vkd__node_out(g, n, BG_DGAMMA, VKD_F32, channels);
    vkd__node_out(g, n, BG_DBETA, VKD_F32, channels);
    if (p->with_dz) vkd__node_out(g, n, BG_DZ, VKD_F32, x);
    return true;
}

typedef struct channel {
    uint64_t rows, C, c;
    double mean, rstd;
} channel;

static double h_of(const vkd__ref *r, const channel *k, uint64_t n) {
    return (r->in[BG_X].v[n * k->C + k->c] - k->mean) * k->rstd;
}

static double dz_of(const vkd__ref *r, const channel *k, uint64_t n) {
    const vkd__batchnorm *p = r->node->params;
    const bool from_y = r->in[BG_Y].v != NULL;
    const double v = from_y ? r->in[BG_Y].v[n * k->C + k->c]
                            : h_of(r, k, n) * r->in[BG_GAMMA].v[k->c] + r->in[BG_BETA].v[k->c];
    return r->in[BG_DY].v[n * k->C + k->c] * vkd__activation_slope(p->activation, v, from_y);
}

static void reference(const vkd__ref *r) {
    const vkd__batchnorm *p = r->node->params;
    channel k = {.rows = vkd__shape_rows(r->in[BG_X].tensor->shape),
                 .C = vkd__shape_last(r->in[BG_X].tensor->shape)};
    for (k.c = 0; k.c < k.C; k.c++) {
        const double spread = r->in[BG_SPREAD].v[k.c];
        double dgamma = 0, dbeta = 0;
        k.mean = r->in[BG_MEAN].v[k.c];
        k.rstd = p->training ? spread : 1 / sqrt(spread + (double)p->eps);
        for (uint64_t n = 0; n < k.rows; n++) {
            dgamma += dz_of(r, &k, n) * h_of(r, &k, n);
            dbeta += dz_of(r, &k, n);
        }
        r->out[BG_DGAMMA].v[k.c] = dgamma;
        r->out[BG_DBETA].v[k.c] = dbeta;
        for (uint64_t n = 0; n < k.rows; n++) {
            const double dz = dz_of(r, &k, n);
            const double through =
                p->training ? (dbeta + h_of(r, &k, n) * dgamma) / (double)k.rows : 0;
            r->out[BG_DX].v[n * k.C + k.c] = r->in[BG_GAMMA].v[k.c] * k.rstd * (dz - through);
            if (p->with_dz) r->out[BG_DZ].v[n * k.C + k.c] = dz;
        }
    }
}

static void build_case(vkd__case *c) {
    const uint32_t which = c->index % VKD__BATCHNORM_SHAPES,
                   turn = c->index / VKD__BATCHNORM_SHAPES;
    const vkd_shape shape = vkd__batchnorm_shapes[which];
    const vkd_shape channels = VKD_SHAPE(vkd__shape_last(shape));
    const vkd__batchnorm p = {.eps = 1e-4f,
                              .training = turn < 2,
                              .activation = turn == 1 ? VKD_ACT_RELU6 : which % (VKD_ACT_RELU6 + 1),
                              .with_dz = turn == 1};
    vkd_tensor in[BG_INPUTS] = {{0}};
    in[BG_DY] = vkd__case_fixed(c, shape, -1, 1);
    in[BG_X] = vkd__case_fixed(c, shape, -2, 3);
    in[BG_GAMMA] = vkd__case_fixed(c, channels, 0.5, 1.5);
    in[BG_BETA] = vkd__case_fixed(c, channels, -1, 1);
    in[BG_MEAN] = vkd__case_fixed(c, channels, -0.5, 1.5);
    in[BG_SPREAD] = vkd__case_fixed(c, channels, 0.5, 2);
    if (p.with_dz) {
        in[BG_Y] = vkd__case_fixed(c, shape, -2, 8);
        vkd__case_special(c, 6, 5);
    }
    c->what = turn == 0 ? "training" : turn == 1 ? "training, from y" : "running statistics";
    const vkd_tensor dx = vkd__batchnorm_grad(c->g, in, &p);
    const vkd__node *made = vkd__producer(c->g, dx);
    for (uint32_t i = 0; made && i < made->out_count; i++)
        vkd__case_output(c, made->out[i]);
}

const vkd_op_def vkd_op_batchnorm_grad = {
    .name = "batchnorm_grad",
    .summary = "gradients of batchnorm by x, gamma, beta and residual",
    .infer = infer,
    .lower = vkd__batchnorm_grad_lower,
    .reference = reference,
    /* Sums over all rows of a channel, of both signs. */
    .rtol = 1e-4,
    .atol = 1e-4,
    .case_count = 3 * VKD__BATCHNORM_SHAPES,
    .build_case = build_case,
    .no_difference_test = "a gradient itself: checked through batchnorm",
};
