// SPDX-License-Identifier: Apache-2.0
/* sgd over a flat group, in PyTorch's form (dampening 0):
 *
 *   g = factor * gradient + weight_decay * w     (decay on the group's first decay_count elements)
 *   v = momentum * v + g                         (v starts as 0, so the first step has v = g)
 *   w = w - lr * v,  with nesterov  w = w - lr * (g + momentum * v)
 *
 * factor is the guard's; 0 leaves w and v as they are, bit for bit. Padding has g = w = 0 and
 * stays. Parameters that the loss does not depend on are left alone, as PyTorch leaves those whose
 * gradient is None. */
#include "ops/optimiser.h"

typedef struct sgd_params {
    vkd_sgd_desc desc;
} sgd_params;

void vkd_sgd(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard, vkd_tensor lr,
             const vkd_sgd_desc *desc) {
    const sgd_params p = {desc ? *desc : (vkd_sgd_desc){0}};
    const vkd_tensor flat = vkd__group_flat(g, group);
    vkd_tensor velocity = {0};
    if (p.desc.momentum > 0)
        velocity = vkd__group_state(g, group, "momentum", VKD_F32, vkd_tensor_shape(g, flat));
    vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_sgd,
                                   .in_count = 5,
                                   .in = {flat, gradient, guard, lr, velocity},
                                   .optional = 1u << 4,
                                   .writes = 1u | (velocity.id ? 1u << 4 : 0),
                                   .params = &p,
                                   .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_sgd_desc *d = &((const sgd_params *)n->params)->desc;
    if (!vkd__optimiser_infer(g, n)) return false;
    if (!(d->momentum >= 0 && d->momentum < 1) || !(d->weight_decay >= 0))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "momentum %g must be in 0 <= m < 1, weight_decay %g not negative",
                               (double)d->momentum, (double)d->weight_decay);
    if (d->nesterov && d->momentum == 0)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "nesterov needs a momentum");
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const vkd_sgd_desc *d = &((const sgd_params *)n->params)->desc;
    /* A kernel without momentum touches no velocity, yet it declares that it may write one: then
     * that is the weights once more, for a shared stand-in would order launches that have nothing
     * in common. */
    const vkd_tensor velocity = n->in[4].id ? n->in[4] : n->in[0];
    for (vkd__span s = {0}; vkd__span_next(l, n, &s);) {
        vkd__launch *launch = vkd__item_launch(l, "sgd", s.count / 4);
        if (!launch) return false;
        vkd__span_bind(launch, n->in[0], VKD__READ, &s);
        vkd__span_bind(launch, n->in[1], VKD__READ, &s);
        vkd__bind(launch, n->in[2], VKD__READ);
        vkd__bind(launch, n->in[3], VKD__READ);
        vkd__span_bind(launch, velocity, VKD__READ, &s);
        vkd__span_bind(launch, n->in[0], VKD__READ_WRITE, &s);
        vkd__span_bind(launch, velocity, VKD__READ_WRITE, &s);
        vkd__spec(launch, 11, n->in[4].id != 0);
        vkd__spec(launch, 12, d->nesterov);
        vkd__push(
            launch,
            &(struct vkd_sgd_params){(uint32_t)s.count, s.decayed, d->momentum, d->weight_decay},
            sizeof(struct vkd_sgd_params));
        vkd__cost(launch, 6.0 * (double)s.count, 20.0 * (double)s.count);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const vkd_sgd_desc *d = &((const sgd_params *)r->node->params)->desc;
    const double factor = r->in[2].v[1], rate = r->in[3].v[0];
    const uint64_t decay = vkd__decay_count(r->graph, r->node->in[0]);
    double *w = r->in[0].v, *velocity = r->in[4].v;
    if (factor == 0) return;
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++) {
        if (!vkd__span_has(r->graph, r->node, i)) continue;
        double g = factor * r->in[1].v[i] + (i < decay ? (double)d->weight_decay * w[i] : 0);
        if (r->node->in[4].id) {
            velocity[i] = (double)d->momentum * velocity[i] + g;
            g = d->nesterov ? g + (double)d->momentum * velocity[i] : velocity[i];
        }
        w[i] -= rate * g;
    }
}

/* Plain, momentum, Nesterov, weight decay; two steps in one graph, so that the state counts. */
static void build_case(vkd__case *c) {
    const vkd_sgd_desc descs[] = {{0},
                                  {.momentum = 0.9f},
                                  {.momentum = 0.9f, .nesterov = true, .weight_decay = 0.1f},
                                  {.weight_decay = 0.1f}};
    const vkd__optimiser_case o = vkd__optimiser_case_build(c);
    c->what = "two steps";
    for (int step = 0; step < 2; step++)
        vkd_sgd(c->g, "case", o.gradient, o.guard, o.rate, &descs[c->index]);
    vkd__case_output(c, o.weight);
    vkd__case_output(c, o.bias);
}

const vkd_op_def vkd_op_sgd = {
    .name = "sgd",
    .summary = "gradient descent on a group, with momentum, Nesterov's too, and weight decay",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 4,
    .build_case = build_case,
    .no_difference_test = "changes parameters",
};
