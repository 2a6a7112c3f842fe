// SPDX-License-Identifier: Apache-2.0
#include "cli/loss_step.h"

#include <stdio.h>
#include <string.h>

float cli_loss_tau(const cli_loss_problem *p) {
    float tau = 1;
    for (size_t i = 0; i < p->def->field_count; i++) {
        const vkd__field *f = &p->def->fields[i];
        if (!strcmp(f->name, "tau") && f->type == VKD__FIELD_F32)
            memcpy(&tau, (const char *)p->config + f->offset, sizeof tau);
    }
    return tau;
}

const cli_loss_tensor *cli_loss_find(const cli_loss_tensors *t, const char *name) {
    for (uint32_t i = 0; i < t->count; i++)
        if (!strcmp(t->v[i].name, name)) return &t->v[i];
    return NULL;
}

void cli_loss_tensors_term(vkd_ctx *ctx, cli_loss_tensors *t) {
    for (uint32_t i = 0; i < t->count; i++) {
        vkd__free(ctx, t->v[i].data);
        vkd__free(ctx, t->v[i].gradient);
    }
    t->count = 0;
}

/* What a store tensor is called in a file. */
static void file_name(const vkd__loss_def *def, const char *store_name, char *out, size_t size) {
    const char *adapter = vkd__loss_alone_adapter(def, store_name);
    const size_t group = sizeof VKD__LOSS_ALONE "." - 1;
    if (adapter)
        snprintf(out, size, "adapter.%s", adapter);
    else
        snprintf(out, size, "%s",
                 strncmp(store_name, VKD__LOSS_ALONE ".", group) ? store_name : store_name + group);
}

static bool same_shape(vkd_shape a, vkd_shape b) {
    return a.axes == b.axes && !memcmp(a.dim, b.dim, a.axes * sizeof a.dim[0]);
}

static size_t bytes_of(vkd_shape shape, vkd_dtype dtype) {
    return (size_t)vkd_shape_count(shape) * vkd_dtype_size(dtype);
}

/* A tensor of `out` for each parameter, and for each state of an adapter, with room for what will
 * be known of it; what was given goes into the store. */
static vkd_result take_stock(vkd_ctx *ctx, vkd_store *store, const cli_loss_problem *p,
                             cli_loss_tensors *out) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < vkd_store_count(store); i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        const bool adapter = vkd__loss_alone_adapter(p->def, info.name) != NULL;
        const size_t bytes = bytes_of(info.shape, info.dtype);
        cli_loss_tensor *t = &out->v[out->count];
        if (out->count == CLI_LOSS_TENSORS)
            return vkd__fail(ctx, VKD_E_ARGUMENT, "the loss %s has too many tensors", p->def->name);
        *t = (cli_loss_tensor){.dtype = info.dtype, .shape = info.shape};
        file_name(p->def, info.name, t->name, sizeof t->name);
        const cli_loss_tensor *given = cli_loss_find(p->given, t->name);
        vkd_result r = VKD_OK;
        if (given && (given->dtype != info.dtype || !same_shape(given->shape, info.shape)))
            r = vkd__fail(ctx, VKD_E_SHAPE,
                          "'%s' has %llu values, or another shape or type than the %llu that the "
                          "loss %s has there",
                          t->name, (unsigned long long)vkd_shape_count(given->shape),
                          (unsigned long long)vkd_shape_count(info.shape), p->def->name);
        if (!r && given) r = vkd_store_write(store, info.name, given->data, bytes);
        if (r) return r;
        used += given != NULL;
        if (!info.parameter && !adapter) continue;
        out->count++;
        t->data = vkd__alloc(ctx, bytes, 1);
        if (info.parameter) t->gradient = vkd__alloc(ctx, bytes, 1);
        if (!t->data || (info.parameter && !t->gradient)) return VKD_E_MEMORY;
        r = vkd_store_read(store, info.name, t->data, bytes);
        if (r) return r;
    }
    if (used == p->given->count) return VKD_OK;
    vkd__text all = {.ctx = ctx};
    for (uint32_t i = 0; i < out->count; i++)
        vkd__text_add(&all, "%s%s", i ? ", " : "", out->v[i].name);
    const vkd_result r = vkd__fail(ctx, VKD_E_DATA,
                                   "the loss %s has no such adapter as one of those given; it is "
                                   "differentiated by %.500s",
                                   p->def->name, all.text ? all.text : "nothing");
    vkd__text_term(&all);
    return r;
}

static vkd_result prepare(vkd_ctx *ctx, vkd_store *store, const cli_loss_problem *p) {
    const cli_loss_tensor *labels = cli_loss_find(p->given, "labels");
    const cli_loss_tensor *indices = cli_loss_find(p->given, "indices");
    return vkd__loss_alone_prepare(ctx, store, p->def, p->config, &p->shapes,
                                   labels ? labels->data : NULL, indices ? indices->data : NULL);
}

/* Outputs "loss" and "<name>" for the gradient by each parameter. */
static vkd_result differentiate(vkd_ctx *ctx, vkd_graph *g, vkd_store *store, vkd_tensor loss,
                                const cli_loss_problem *p) {
    const uint32_t count = vkd_store_count(store);
    vkd_tensor *of = vkd__alloc(ctx, 2 * (size_t)count, sizeof *of), *gradients = of + count;
    if (!of) return VKD_E_MEMORY;
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        if (info.parameter) of[found++] = vkd_param(g, info.name, info.shape, NULL);
    }
    vkd_backward(g, loss, of, found, gradients);
    vkd_output(g, "loss", loss);
    found = 0;
    for (uint32_t i = 0; i < count; i++) {
        char name[96];
        const vkd_store_info info = vkd_store_at(store, i);
        if (!info.parameter) continue;
        file_name(p->def, info.name, name, sizeof name);
        vkd_output(g, name, gradients[found++]);
    }
    vkd__free(ctx, of);
    return vkd_graph_status(g);
}

static vkd_result step(vkd_ctx *ctx, vkd_program *program, const cli_loss_problem *p, float *loss,
                       cli_loss_tensors *out) {
    uint64_t ticket = 0;
    vkd_result r = vkd_program_submit(program, &ticket);
    if (!r) r = vkd_program_wait(program, ticket);
    if (r) return r;
    const float *value = vkd_program_output(program, ticket, "loss", NULL);
    bool all = value != NULL;
    if (all) *loss = *value;
    for (uint32_t i = 0; i < out->count; i++) {
        cli_loss_tensor *t = &out->v[i];
        if (!t->gradient) continue;
        const float *values = vkd_program_output(program, ticket, t->name, NULL);
        all = all && values;
        if (values) memcpy(t->gradient, values, bytes_of(t->shape, VKD_F32));
    }
    if (all) return VKD_OK;
    return vkd__fail(ctx, VKD_E_DEVICE, "the step of '%s' left no result", p->def->name);
}

vkd_result cli_loss_step(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                         const cli_loss_problem *p, bool composed, float *loss,
                         cli_loss_tensors *out) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    out->count = 0;
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = p->def->name}, &g);
    if (!r) {
        const vkd_tensor value = vkd__loss_alone(g, p->def, p->config, &p->shapes, cli_loss_tau(p),
                                                 p->def->fused && !composed);
        r = vkd_graph_status(g);
        if (!r) r = prepare(ctx, store, p);
        if (!r) r = take_stock(ctx, store, p, out);
        if (!r) r = differentiate(ctx, g, store, value, p);
    }
    if (!r) r = vkd_plan_create(g, profile, &plan);
    if (!r) r = vkd_program_create(device, plan, &program);
    if (!r) r = step(ctx, program, p, loss, out);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}
