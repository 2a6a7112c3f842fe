// SPDX-License-Identifier: Apache-2.0
#include "autodiff/autodiff.h"
#include "check/check.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"

#define WATCHED (VKD__MAX_OUT + VKD__CASE_INPUTS)

/* One case under way. Everything is zero until it was made. */
typedef struct checking {
    vkd_ctx *ctx;
    vkd_device *device;
    const vkd_profile *profile;
    const vkd_op_def *op;
    vkd__check_report *report;
    vkd__case c;
    vkd_store *store;
    vkd_tensor seeds[VKD__MAX_OUT]; /* where the gradients start: {0} where none flows back */
    vkd_tensor watched[WATCHED];    /* outputs, then gradients; {0} where there is none */
    vkd__host *host;
    vkd_plan *plan;
    vkd_program *program;
} checking;

/* What a seed holds: weights near one, exact in f32, another for each element. */
static float seed_value(uint32_t output, uint64_t i) {
    return 0.5f + vkd__philox_uniform(vkd__philox_at(29, output, 2, (uint32_t)i).v[0]);
}

static void name_of(char *name, size_t size, const char *what, uint32_t i) {
    snprintf(name, size, "check.%s%u", what, i);
}

static void emit_gradients(checking *k) {
    vkd__case *c = &k->c;
    vkd_tensor of[VKD__CASE_INPUTS];
    uint32_t count = 0;
    bool any = false;
    char name[32];
    for (uint32_t i = 0; i < c->input_count; i++)
        if (c->inputs[i].differentiate) of[count++] = c->inputs[i].tensor;
    for (uint32_t o = 0; count && o < c->output_count; o++) {
        const vkd__tensor *t = vkd__tensor_get(c->g, c->outputs[o]);
        if (!t->needs_grad) continue;
        name_of(name, sizeof name, "seed", o);
        k->seeds[o] = vkd_input(c->g, name, VKD_F32, t->shape);
        any = true;
    }
    if (any)
        vkd__backward_from(c->g, c->outputs, k->seeds, c->output_count, of, count,
                           k->watched + VKD__MAX_OUT);
}

static vkd_result build(checking *k) {
    vkd__case *c = &k->c;
    vkd_result r = vkd_store_create(k->ctx, &k->store);
    if (!r) r = vkd_graph_create(k->ctx, k->store, &(vkd_graph_desc){.name = k->op->name}, &c->g);
    if (r) return r;
    k->op->build_case(c);
    if (c->what) snprintf(k->report->what, sizeof k->report->what, "%s", c->what);
    for (uint32_t o = 0; o < c->output_count; o++)
        k->watched[o] = c->outputs[o];
    if (!vkd_graph_status(c->g)) emit_gradients(k);
    for (uint32_t i = 0; i < WATCHED; i++) {
        char name[32];
        name_of(name, sizeof name, "watched", i);
        if (k->watched[i].id) vkd_output(c->g, name, k->watched[i]);
    }
    return vkd_graph_status(c->g);
}

/* ---- The same inputs for both ---- */

static void to_bytes(void *bytes, uint64_t i, vkd_dtype dtype, double v) {
    if (dtype == VKD_F32)
        ((float *)bytes)[i] = (float)v;
    else if (dtype == VKD_I32)
        ((int32_t *)bytes)[i] = (int32_t)v;
    else
        ((uint8_t *)bytes)[i] = (uint8_t)v;
}

static vkd_result fill_input(checking *k, uint32_t which) {
    const vkd__case_input *in = &k->c.inputs[which];
    const vkd__tensor *t = vkd__tensor_get(k->c.g, in->tensor);
    const uint64_t count = vkd_shape_count(t->shape);
    const size_t bytes = (size_t)count * vkd_dtype_size(t->dtype);
    const bool stored = t->home == VKD__HOME_STORE;
    double *host = vkd__host_values(k->host, in->tensor);
    void *device = stored ? vkd__alloc(k->ctx, 1, bytes) : vkd_program_input(k->program, t->name);
    if (!device && stored) return VKD_E_MEMORY;
    for (uint64_t i = 0; i < count; i++) {
        host[i] = vkd__case_value(in, which, i, t->dtype);
        if (device) to_bytes(device, i, t->dtype, host[i]); /* the plan drops what nobody reads */
    }
    if (!stored) return VKD_OK;
    const vkd_result r = vkd_store_write(k->store, t->name, device, bytes);
    vkd__free(k->ctx, device);
    return r;
}

static vkd_result fill(checking *k) {
    for (uint32_t i = 0; i < k->c.input_count; i++) {
        const vkd_result r = fill_input(k, i);
        if (r) return r;
    }
    for (uint32_t o = 0; o < k->c.output_count; o++) {
        if (!k->seeds[o].id) continue;
        const vkd__tensor *t = vkd__tensor_get(k->c.g, k->seeds[o]);
        float *device = vkd_program_input(k->program, t->name);
        double *host = vkd__host_values(k->host, k->seeds[o]);
        for (uint64_t i = 0; device && i < vkd_shape_count(t->shape); i++)
            host[i] = (double)(device[i] = seed_value(o, i));
    }
    return VKD_OK;
}

/* ---- Running and comparing ---- */

static vkd_result step(checking *k, uint64_t *ticket) {
    const vkd_result r = vkd_program_submit(k->program, ticket);
    return r ? r : vkd_program_wait(k->program, *ticket);
}

static vkd_result output_of(checking *k, uint64_t ticket, uint32_t i, const void **values) {
    char name[32];
    name_of(name, sizeof name, "watched", i);
    size_t count = 0;
    *values = vkd_program_output(k->program, ticket, name, &count);
    const uint64_t want = vkd_shape_count(vkd_tensor_shape(k->c.g, k->watched[i]));
    if (*values && count == want) return VKD_OK;
    return vkd__fail(k->ctx, VKD_E_MISMATCH, "%s, case %u: output '%s' has %zu elements, not %llu",
                     k->op->name, k->c.index, name, count, (unsigned long long)want);
}

static double element(const void *values, uint64_t i, vkd_dtype dtype) {
    if (dtype == VKD_F32) return (double)((const float *)values)[i];
    if (dtype == VKD_I32) return ((const int32_t *)values)[i];
    return ((const uint8_t *)values)[i];
}

/* How far off, in units of what is allowed. */
static double excess(const checking *k, vkd_dtype dtype, double got, double want) {
    const vkd_op_def *op = k->op;
    if (got == want || (isnan(got) && isnan(want))) return 0;
    if (dtype != VKD_F32 || isnan(got) || isnan(want)) return INFINITY;
    const double rtol = k->c.rtol > 0 ? k->c.rtol : op->rtol > 0 ? op->rtol : 1e-5;
    const double atol = k->c.atol > 0 ? k->c.atol : op->atol > 0 ? op->atol : 1e-5;
    return fabs(got - want) / (atol + rtol * fabs(want));
}

static vkd_result compare(checking *k, uint64_t ticket, uint32_t i) {
    const vkd__tensor *t = vkd__tensor_get(k->c.g, k->watched[i]);
    const double *want = vkd__host_values(k->host, k->watched[i]);
    const void *got;
    const vkd_result r = output_of(k, ticket, i, &got);
    if (r) return r;
    const uint64_t count = vkd_shape_count(t->shape);
    uint64_t worst = 0;
    double most = 0;
    for (uint64_t e = 0; e < count; e++) {
        const double off = excess(k, t->dtype, element(got, e, t->dtype), want[e]);
        if (off > most) {
            most = off;
            worst = e;
        }
    }
    k->report->values += count;
    if (most > k->report->worst) k->report->worst = most;
    if (most <= 1) return VKD_OK;
    return vkd__fail(k->ctx, VKD_E_MISMATCH,
                     "%s, case %u (%s), %s kernels, workgroups of %u and %u: %s %u, '%s', at %llu "
                     "of %llu is %.9g, should be %.9g",
                     k->op->name, k->c.index, k->report->what,
                     k->profile->direct ? "direct" : "tile", k->profile->flat_workgroup,
                     k->profile->row_workgroup, i < VKD__MAX_OUT ? "output" : "gradient",
                     i % VKD__MAX_OUT, t->name, (unsigned long long)worst,
                     (unsigned long long)count, element(got, worst, t->dtype), want[worst]);
}

/* A node that changes the store, or a step counter, makes the second step another one. */
static bool is_repeatable(const checking *k) {
    for (size_t i = 0; i < k->c.g->node_count; i++)
        if (k->c.g->nodes[i].writes) return false;
    return !k->c.g->step.id;
}

static vkd_result repeat(checking *k, uint64_t first) {
    uint64_t second;
    const vkd_result r = step(k, &second);
    if (r) return r;
    for (uint32_t i = 0; i < WATCHED; i++) {
        const void *a, *b;
        if (!k->watched[i].id) continue;
        if (output_of(k, first, i, &a) || output_of(k, second, i, &b)) return VKD_E_MISMATCH;
        const vkd__tensor *t = vkd__tensor_get(k->c.g, k->watched[i]);
        if (memcmp(a, b, (size_t)vkd_shape_count(t->shape) * vkd_dtype_size(t->dtype)))
            return vkd__fail(k->ctx, VKD_E_MISMATCH,
                             "%s, case %u (%s): '%s' has other bits when the step runs again",
                             k->op->name, k->c.index, k->report->what, t->name);
    }
    return VKD_OK;
}

static vkd_result run(checking *k) {
    vkd_result r = build(k);
    if (!r) r = vkd__host_create(k->c.g, &k->host);
    if (!r) r = vkd_plan_create(k->c.g, k->profile, &k->plan);
    if (!r) r = vkd_program_create(k->device, k->plan, &k->program);
    if (!r) r = fill(k);
    if (r) return r;
    k->report->launches = vkd_plan_get_info(k->plan).launches;
    vkd__host_run(k->host);
    uint64_t ticket;
    r = step(k, &ticket);
    for (uint32_t i = 0; !r && i < WATCHED; i++)
        if (k->watched[i].id) r = compare(k, ticket, i);
    if (!r && is_repeatable(k)) r = repeat(k, ticket);
    return r;
}

vkd_result vkd__check_case(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                           const vkd_op_def *op, uint32_t index, vkd__check_report *report) {
    vkd__check_report unused;
    checking k = {.ctx = ctx,
                  .device = device,
                  .profile = profile,
                  .op = op,
                  .report = report ? report : &unused,
                  .c = {.index = index}};
    *k.report = (vkd__check_report){0};
    const vkd_result r = run(&k);
    vkd_program_destroy(k.program);
    vkd_plan_destroy(k.plan);
    vkd__host_destroy(k.host);
    vkd_graph_destroy(k.c.g);
    vkd_store_destroy(k.store);
    return r;
}
