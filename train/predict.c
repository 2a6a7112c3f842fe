// SPDX-License-Identifier: Apache-2.0
#include "train/predict.h"

#include <stdio.h>
#include <string.h>

#define GROUP "model"

static const vkd__tap *find_tap(const vkd__model_io *io, const char *name) {
    for (uint32_t i = 0; i < io->tap_count; i++)
        if (!strcmp(io->taps[i].name, name)) return &io->taps[i];
    return NULL;
}

static vkd_result no_tap(vkd_ctx *ctx, const vkd__model_io *io, const char *path,
                         const char *name) {
    vkd__text all = {.ctx = ctx};
    for (uint32_t i = 0; i < io->tap_count; i++)
        vkd__text_add(&all, "%s%s", i ? ", " : "", io->taps[i].name);
    const vkd_result r =
        vkd__fail(ctx, VKD_E_ARGUMENT, "the model of '%s' has no tap '%s'; it has %s", path, name,
                  all.text ? all.text : "no memory to list them");
    vkd__text_term(&all);
    return r;
}

/* An output holds f32; so do all taps. One that is asked for twice comes once. */
static void add_out(vkd__predictor *p, vkd_graph *g, const char *prefix, const char *name,
                    vkd_tensor t) {
    vkd__predictor_out *out = &p->outs[p->out_count];
    const vkd_shape shape = vkd_tensor_shape(g, t);
    *out = (vkd__predictor_out){.shape = shape, .count = (size_t)vkd_shape_count(shape) / p->batch};
    snprintf(out->name, sizeof out->name, "%s%s", prefix, name);
    for (uint32_t i = 0; i < p->out_count; i++)
        if (!strcmp(p->outs[i].name, out->name)) return;
    p->out_count++;
    vkd_output(g, out->name, t);
}

static vkd_result ask_for(vkd__predictor *p, vkd_graph *g, const vkd__model_io *io,
                          const char *path, const char *name) {
    const vkd__tap *tap = find_tap(io, name);
    if (!tap) return no_tap(p->ctx, io, path, name);
    const vkd_shape shape = vkd_tensor_shape(g, tap->tensor);
    if (!shape.axes || shape.dim[0] != p->batch)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT,
                         "the tap '%s' of '%s' does not have one part a sample", name, path);
    add_out(p, g, "", name, tap->tensor);
    return VKD_OK;
}

static vkd_result ask_for_map(vkd__predictor *p, vkd_graph *g, const vkd__model_io *io,
                              const char *path, const char *name) {
    const vkd__tap *tap = find_tap(io, name);
    if (!tap) return no_tap(p->ctx, io, path, name);
    const vkd_shape shape = vkd_tensor_shape(g, tap->tensor);
    if (shape.axes != 4 || shape.dim[0] != p->batch)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT, "the tap '%s' of '%s' is no image, and has no map",
                         name, path);
    add_out(p, g, "map.", name, vkd_mean(g, vkd_square(g, tap->tensor), 1u << 3, false));
    return VKD_OK;
}

static vkd_tensor model_input(const vkd__predictor *p, vkd_graph *g) {
    vkd_shape shape = {.axes = p->saved.sample.axes + 1, .dim = {p->batch}};
    for (uint32_t i = 0; i < p->saved.sample.axes && i + 1 < VKD_MAX_AXES; i++)
        shape.dim[i + 1] = p->saved.sample.dim[i];
    if (p->input == VKD_F32) return vkd_input(g, "samples", VKD_F32, shape);
    return vkd_batch(g, vkd_input(g, "samples", VKD_U8, shape),
                     vkd_input(g, "indices", VKD_I32, VKD_SHAPE(p->batch)), &p->saved.batch);
}

static vkd_result build(vkd__predictor *p, vkd_graph *g, const vkd__predictor_desc *desc) {
    vkd__model_io *io = vkd__alloc(p->ctx, 1, sizeof *io);
    if (!io) return VKD_E_MEMORY;
    io->group = GROUP;
    io->input = model_input(p, g);
    io->classes = p->saved.classes;
    vkd__model_build(g, p->saved.def, io, p->saved.config, &p->saved.embedding);
    vkd_result r = vkd_graph_status(g);
    if (!r) r = ask_for(p, g, io, desc->path, "logits");
    for (uint32_t i = 0; i < desc->tap_count && !r; i++)
        r = ask_for(p, g, io, desc->path, desc->taps[i]);
    for (uint32_t i = 0; i < desc->map_count && !r; i++)
        r = ask_for_map(p, g, io, desc->path, desc->maps[i]);
    vkd__free(p->ctx, io);
    return r;
}

static void count_parameters(vkd__predictor *p) {
    for (uint32_t i = 0; i < vkd_store_count(p->store); i++) {
        const vkd_store_info info = vkd_store_at(p->store, i);
        if (info.parameter) p->parameters += vkd_shape_count(info.shape);
    }
}

/* Which row of the samples a row of the batch is: its own. */
static void write_indices(vkd__predictor *p) {
    int32_t *indices = vkd_program_input(p->program, "indices");
    for (uint32_t i = 0; indices && i < p->batch; i++)
        indices[i] = (int32_t)i;
}

/* A checkpoint holds parameters in the order of the store, under the group's name. An average has
 * the running statistics of the model itself. */
static vkd_result load_checkpoint(vkd__predictor *p, const char *path, const char *group,
                                  const char *average) {
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(p->ctx, path, &file);
    for (uint32_t i = 0; i < vkd_store_count(p->store) && !r; i++) {
        const vkd_store_info info = vkd_store_at(p->store, i);
        char name[256];
        if (!info.parameter && !info.buffer) continue;
        snprintf(name, sizeof name, "%s%s", info.parameter && average ? average : group,
                 strchr(info.name, '.'));
        const vkd__st_tensor *t = vkd__st_find(file, name);
        const size_t bytes = (size_t)vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype);
        if (!t || t->dtype != info.dtype || t->bytes != bytes)
            r = vkd__fail(p->ctx, VKD_E_SHAPE, "'%s' is no checkpoint of this run: '%s' is %s",
                          path, name, t ? "of another size" : "missing");
        else
            r = vkd_store_write(p->store, info.name, t->data, bytes);
    }
    vkd__st_close(file);
    return r;
}

static vkd_result load(vkd__predictor *p, const vkd__predictor_desc *desc) {
    if (p->shares) return VKD_OK;
    if (desc->group) return load_checkpoint(p, desc->path, desc->group, desc->average);
    return vkd__model_load(p->ctx, p->store, GROUP, desc->path, p->saved.classes, NULL);
}

/* The model and an empty store, or another's. */
static vkd_result open_model(vkd__predictor *p, const vkd__predictor_desc *desc) {
    vkd_result r = VKD_OK;
    if (desc->share) {
        p->shares = true;
        p->saved = desc->share->saved;
        p->store = desc->share->store;
    } else {
        r = desc->saved ? VKD_OK : vkd__saved_model_open(p->ctx, desc->path, &p->saved);
        if (!r) r = vkd_store_create(p->ctx, &p->store);
    }
    if (!r) p->sample = (size_t)vkd_shape_count(p->saved.sample);
    return r;
}

static vkd_result create(vkd__predictor *p, vkd_device *device, const vkd__predictor_desc *desc) {
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = open_model(p, desc);
    if (!r) r = vkd_graph_create(p->ctx, p->store, &(vkd_graph_desc){.name = GROUP}, &g);
    if (!r) r = build(p, g, desc);
    if (!r) r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    if (!r) r = load(p, desc);
    if (!r) r = vkd_program_create(device, plan, &p->program);
    if (!r) count_parameters(p);
    if (!r) write_indices(p);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    return r;
}

vkd_result vkd__predictor_create(vkd_ctx *ctx, vkd_device *device, const vkd__predictor_desc *desc,
                                 vkd__predictor *out) {
    *out = (vkd__predictor){.ctx = ctx, .group = GROUP, .input = desc->input, .batch = desc->batch};
    if (desc->saved) out->saved = *desc->saved;
    const vkd_result r = create(out, device, desc);
    if (r) vkd__predictor_destroy(out);
    return r;
}

void vkd__predictor_destroy(vkd__predictor *p) {
    vkd_program_destroy(p->program);
    if (!p->shares) vkd_store_destroy(p->store);
    if (!p->shares && p->ctx) vkd__saved_model_term(p->ctx, &p->saved);
    *p = (vkd__predictor){0};
}

static vkd_result run_block(vkd__predictor *p, const uint8_t *samples, uint32_t first,
                            uint32_t count, float **outs) {
    const size_t size = p->sample * vkd_dtype_size(p->input);
    uint64_t ticket = 0;
    uint8_t *input = vkd_program_input(p->program, "samples");
    if (input) {
        memcpy(input, samples, count * size);
        memset(input + count * size, 0, (p->batch - count) * size);
    }
    vkd_result r = vkd_program_submit(p->program, &ticket);
    if (!r) r = vkd_program_wait(p->program, ticket);
    for (uint32_t i = 0; i < p->out_count && !r; i++) {
        const vkd__predictor_out *out = &p->outs[i];
        const float *values = vkd_program_output(p->program, ticket, out->name, NULL);
        if (!values) return vkd__fail(p->ctx, VKD_E_DEVICE, "'%s' of a batch is gone", out->name);
        memcpy(outs[i] + first * out->count, values, count * out->count * sizeof *values);
    }
    return r;
}

vkd_result vkd__predictor_run(vkd__predictor *p, const void *samples, uint32_t count,
                              float **outs) {
    const size_t size = p->sample * vkd_dtype_size(p->input);
    vkd_result r = VKD_OK;
    for (uint32_t first = 0; first < count && !r; first += p->batch) {
        const uint32_t left = count - first;
        r = run_block(p, (const uint8_t *)samples + first * size, first,
                      left < p->batch ? left : p->batch, outs);
        if (left < p->batch) break;
    }
    return r;
}
