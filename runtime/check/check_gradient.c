// SPDX-License-Identifier: Apache-2.0
/* Gradients against central differences, on the host and in double precision. */
#include <math.h>
#include <stdio.h>

#include "autodiff/autodiff.h"
#include "base/philox.h"
#include "check/check.h"

/* The check needs one number to differentiate: the sum of all outputs, each element times a fixed
 * weight of its own, so that no gradient can hide behind another. Its derivative by an output is
 * that weight, which is what the backward graph starts from; so the weights are a leaf `probe` and
 * the gradient of sum(probe * out) needs no op but the host's own loop here. */
static double probe_weight(uint32_t output, uint64_t i) {
    const vkd__philox p = vkd__philox_at(29, output, 1, (uint32_t)i);
    return 0.5 + (double)vkd__philox_uniform(p.v[1]);
}

static void fill(vkd__host *h, const vkd__case *c) {
    for (uint32_t k = 0; k < c->input_count; k++) {
        const vkd__tensor *t = vkd__tensor_get(c->g, c->inputs[k].tensor);
        double *v = vkd__host_values(h, c->inputs[k].tensor);
        for (uint64_t i = 0; i < vkd_shape_count(t->shape); i++)
            v[i] = vkd__case_value(&c->inputs[k], k, i, t->dtype);
    }
}

static double probe(vkd__host *h, const vkd__case *c) {
    /* A compensated sum: the difference of two totals must show one element's small change. */
    double total = 0, lost = 0;
    for (uint32_t o = 0; o < c->output_count; o++) {
        const vkd__tensor *t = vkd__tensor_get(c->g, c->outputs[o]);
        if (t->dtype != VKD_F32 || !t->needs_grad) continue;
        const double *v = vkd__host_values(h, c->outputs[o]);
        for (uint64_t i = 0; i < vkd_shape_count(t->shape); i++) {
            const double term = probe_weight(o, i) * v[i] - lost, next = total + term;
            lost = next - total - term;
            total = next;
        }
    }
    return total;
}

typedef struct difference {
    vkd__host *forward, *backward; /* of the graphs before and after the gradients were emitted */
    vkd__case *c;
    const vkd_op_def *op;
    double bound;
} difference;

static vkd_result compare(const difference *d, uint32_t k, vkd_tensor gradient) {
    const vkd__case *c = d->c;
    const vkd__tensor *t = vkd__tensor_get(c->g, c->inputs[k].tensor);
    const uint64_t count = vkd_shape_count(t->shape);
    const double *got = vkd__host_values(d->backward, gradient);
    double *x = vkd__host_values(d->forward, c->inputs[k].tensor);
    /* At most some forty elements of each input: the step costs two whole forward runs each. */
    const uint64_t stride = count / 41 + 1;
    for (uint64_t i = 0; i < count; i += stride) {
        const double at = x[i], step = 1e-5;
        if (!isfinite(at)) continue;
        x[i] = at + step;
        vkd__host_run(d->forward);
        const double up = probe(d->forward, c);
        x[i] = at - step;
        vkd__host_run(d->forward);
        const double down = probe(d->forward, c);
        x[i] = at;
        const double want = (up - down) / (2 * step);
        if (!(fabs(got[i] - want) <= d->bound * (1 + fabs(want))))
            return vkd__fail(c->g->ctx, VKD_E_MISMATCH,
                             "%s, case %u (%s): the gradient of '%s' at %llu is %.9g, differences "
                             "give %.9g",
                             d->op->name, c->index, c->what ? c->what : "", t->name,
                             (unsigned long long)i, got[i], want);
    }
    return VKD_OK;
}

/* The outputs' gradients seed the backward walk through `probe` leaves. */
static vkd_result emit_gradients(vkd__case *c, vkd_tensor *seeds, vkd_tensor *gradients) {
    vkd_tensor of[VKD__CASE_INPUTS];
    uint32_t count = 0;
    for (uint32_t k = 0; k < c->input_count; k++)
        if (c->inputs[k].differentiate) of[count++] = c->inputs[k].tensor;
    for (uint32_t o = 0; o < c->output_count; o++) {
        char name[16];
        snprintf(name, sizeof name, "probe%u", o);
        const vkd__tensor *t = vkd__tensor_get(c->g, c->outputs[o]);
        seeds[o] = t->needs_grad ? vkd_input(c->g, name, VKD_F32, t->shape) : (vkd_tensor){0};
    }
    vkd__backward_from(c->g, c->outputs, seeds, c->output_count, of, count, gradients);
    return vkd_graph_status(c->g);
}

static vkd_result check(difference *d, vkd__case *c) {
    vkd_result r = vkd_graph_status(c->g);
    if (!r) r = vkd__host_create(c->g, &d->forward);
    if (!r) vkd__host_exact(d->forward);
    if (r) return r;
    vkd_tensor seeds[VKD__MAX_OUT] = {0}, gradients[VKD__CASE_INPUTS] = {0};
    r = emit_gradients(c, seeds, gradients);
    if (!r) r = vkd__host_create(c->g, &d->backward);
    if (!r) vkd__host_exact(d->backward);
    if (r) return r;
    fill(d->forward, c);
    fill(d->backward, c);
    for (uint32_t o = 0; o < c->output_count; o++) {
        if (!seeds[o].id) continue;
        double *v = vkd__host_values(d->backward, seeds[o]);
        const uint64_t count = vkd_shape_count(vkd_tensor_shape(c->g, seeds[o]));
        for (uint64_t i = 0; i < count; i++)
            v[i] = probe_weight(o, i);
    }
    vkd__host_run(d->backward);
    uint32_t next = 0;
    for (uint32_t k = 0; !r && k < c->input_count; k++)
        if (c->inputs[k].differentiate) r = compare(d, k, gradients[next++]);
    return r;
}

vkd_result vkd__check_gradient(vkd_ctx *ctx, const vkd_op_def *op, uint32_t index) {
    vkd_store *store = NULL;
    vkd__case c = {.index = index};
    vkd_result r = vkd_store_create(ctx, &store);
    if (r) return r;
    r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = op->name}, &c.g);
    difference d = {.c = &c, .op = op};
    if (!r) {
        op->build_case(&c);
        d.bound = c.difference_bound > 0 ? c.difference_bound : 1e-6;
        r = check(&d, &c);
    }
    vkd__host_destroy(d.forward);
    vkd__host_destroy(d.backward);
    vkd_graph_destroy(c.g);
    vkd_store_destroy(store);
    return r;
}
