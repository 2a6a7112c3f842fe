// SPDX-License-Identifier: Apache-2.0
/* adamw over a flat group: Loshchilov & Hutter, arXiv:1711.05101, in PyTorch's order.
 *
 *   g = factor * gradient
 *   w = w - lr * weight_decay * w                (the group's first decay_count elements)
 *   m = beta1 m + (1 - beta1) g,  v = beta2 v + (1 - beta2) g^2
 *   w = w - lr * (m / bias1) / (sqrt(v) / sqrt(bias2) + eps)
 *
 * with bias = 1 - beta^t after t steps. bias = bias * beta + (1 - beta) keeps that without a power
 * or a step counter: from 1 - beta^t it makes beta - beta^(t+1) + 1 - beta = 1 - beta^(t+1). It is
 * a state, so a skipped step (factor 0) leaves it, m, v and w alone. Parameters that the loss does
 * not depend on are left alone always, as PyTorch leaves those whose gradient is None. */
#include <math.h>

#include "ops/optimiser.h"

void vkd_adamw(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
               vkd_tensor lr, const vkd_adamw_desc *desc) {
    vkd_adamw_desc d = desc ? *desc : (vkd_adamw_desc){0};
    if (d.beta1 == 0) d.beta1 = 0.9f;
    if (d.beta2 == 0) d.beta2 = 0.999f;
    if (d.eps == 0) d.eps = 1e-8f;
    const vkd_tensor flat = vkd__group_flat(g, group);
    const vkd_shape shape = vkd_tensor_shape(g, flat);
    const vkd_tensor m = vkd__group_state(g, group, "adam_m", VKD_F32, shape);
    const vkd_tensor v = vkd__group_state(g, group, "adam_v", VKD_F32, shape);
    const vkd_tensor bias = vkd__group_state(g, group, "adam_bias", VKD_F32, VKD_SHAPE(2));
    vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_adamw,
                                   .in_count = 7,
                                   .in = {flat, gradient, guard, lr, m, v, bias},
                                   .writes = 1u | 7u << 4,
                                   .params = &d,
                                   .params_size = sizeof d});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_adamw_desc *d = n->params;
    if (!vkd__optimiser_infer(g, n)) return false;
    if (!(d->beta1 >= 0 && d->beta1 < 1) || !(d->beta2 >= 0 && d->beta2 < 1) || !(d->eps > 0) ||
        !(d->weight_decay >= 0))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "betas %g and %g must be in 0 <= beta < 1, eps %g positive, "
                               "weight_decay %g not negative",
                               (double)d->beta1, (double)d->beta2, (double)d->eps,
                               (double)d->weight_decay);
    return true;
}

static struct vkd_adamw_params push_of(const vkd_adamw_desc *d) {
    return (struct vkd_adamw_params){.beta1 = d->beta1,
                                     .beta2 = d->beta2,
                                     .rest1 = 1.0f - d->beta1,
                                     .rest2 = 1.0f - d->beta2,
                                     .eps = d->eps,
                                     .weight_decay = d->weight_decay};
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    struct vkd_adamw_params p = push_of(n->params);
    vkd__launch *launch = vkd__item_launch(l, "adamw_bias", 1);
    if (!launch) return false;
    vkd__bind(launch, n->in[2], VKD__READ);
    vkd__bind(launch, n->in[6], VKD__READ_WRITE);
    vkd__push(launch, &p, sizeof p);

    for (vkd__span s = {0}; vkd__span_next(l, n, &s);) {
        if (!(launch = vkd__item_launch(l, "adamw", s.count / 4))) return false;
        vkd__span_bind(launch, n->in[0], VKD__READ, &s);
        vkd__span_bind(launch, n->in[1], VKD__READ, &s);
        vkd__bind(launch, n->in[2], VKD__READ);
        vkd__bind(launch, n->in[3], VKD__READ);
        vkd__span_bind(launch, n->in[4], VKD__READ, &s);
        vkd__span_bind(launch, n->in[5], VKD__READ, &s);
        vkd__bind(launch, n->in[6], VKD__READ);
        vkd__span_bind(launch, n->in[0], VKD__READ_WRITE, &s);
        vkd__span_bind(launch, n->in[4], VKD__READ_WRITE, &s);
        vkd__span_bind(launch, n->in[5], VKD__READ_WRITE, &s);
        p.count = (uint32_t)s.count;
        p.decayed = s.decayed;
        vkd__push(launch, &p, sizeof p);
        vkd__cost(launch, 14.0 * (double)s.count, 28.0 * (double)s.count);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const vkd_adamw_desc *d = r->node->params;
    const double factor = r->in[2].v[1], rate = r->in[3].v[0];
    const double beta1 = (double)d->beta1, beta2 = (double)d->beta2;
    const uint64_t decay = vkd__decay_count(r->graph, r->node->in[0]);
    double *w = r->in[0].v, *m = r->in[4].v, *v = r->in[5].v, *bias = r->in[6].v;
    if (factor == 0) return;
    bias[0] = bias[0] * beta1 + (1 - beta1);
    bias[1] = bias[1] * beta2 + (1 - beta2);
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++) {
        if (!vkd__span_has(r->graph, r->node, i)) continue;
        const double g = factor * r->in[1].v[i];
        if (i < decay) w[i] -= rate * (double)d->weight_decay * w[i];
        m[i] = beta1 * m[i] + (1 - beta1) * g;
        v[i] = beta2 * v[i] + (1 - beta2) * g * g;
        w[i] -= rate * (m[i] / bias[0]) / (sqrt(v[i]) / sqrt(bias[1]) + (double)d->eps);
    }
}

/* Defaults, then other betas with decay; three steps in one graph, so that the states count. */
static void build_case(vkd__case *c) {
    const vkd_adamw_desc descs[] = {{0},
                                    {.weight_decay = 0.1f},
                                    {.beta1 = 0.5f, .beta2 = 0.9f, .eps = 1e-3f},
                                    {.beta1 = 0.8f, .weight_decay = 0.01f}};
    const vkd__optimiser_case o = vkd__optimiser_case_build(c);
    c->what = "three steps";
    for (int step = 0; step < 3; step++)
        vkd_adamw(c->g, "case", o.gradient, o.guard, o.rate, &descs[c->index]);
    vkd__case_output(c, o.weight);
    vkd__case_output(c, o.bias);
    vkd__case_output(c, vkd_state(c->g, "case.adam_bias", VKD_F32, VKD_SHAPE(2)));
}

const vkd_op_def vkd_op_adamw = {
    .name = "adamw",
    .summary = "Adam with decoupled weight decay on a group",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 4,
    .build_case = build_case,
    .no_difference_test = "changes parameters",
};
