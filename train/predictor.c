// SPDX-License-Identifier: Apache-2.0
/* The models of a run's folder, run over its test split. Two programs share one set of parameters:
 * a large batch for the logits of many samples, and a small one for the maps of a few. */
#include <stdio.h>
#include <string.h>

#include "train/inspect.h"
#include "train/predict.h"

enum { BATCH = 250, FEW = 16 };

struct vkd_predictor {
    vkd_ctx *ctx;
    vkd_device *device;
    const vkd__dataset *data;
    vkd__arena arena;
    const char *path; /* of the parameters */
    uint64_t version;
    const char **maps, **taps;
    uint32_t map_count, tap_count;
    vkd__predictor many, few; /* few: without a program until it is wanted */
    uint8_t *samples;         /* (FEW, ...) for `few` */
    float **outs;             /* (few.out_count) arrays of FEW samples */
};

/* How the model is built, as the trainer builds it. */
static vkd_result model_of(const vkd_inspect *i, const vkd__inspect_entry *e,
                           vkd__saved_model *out) {
    const vkd__recipe_model *m = e->model;
    *out = (vkd__saved_model){.def = m->def,
                              .config = vkd__alloc(i->ctx, 1, m->def->config_size + 1),
                              .embedding = m->embedding,
                              .classes = i->data.classes,
                              .sample = i->data.sample,
                              .batch = i->outline.batch};
    if (!out->config) return VKD_E_MEMORY;
    memcpy(out->config, m->part.config, m->def->config_size);
    return VKD_OK;
}

static const char **copy_names(vkd__arena *arena, const char *const *names, uint32_t count) {
    const char **copies = VKD_NEW(arena, const char *, count + 1u);
    for (uint32_t i = 0; copies && i < count; i++) {
        copies[i] = vkd__arena_format(arena, "%s", names[i]);
        if (!copies[i]) return NULL;
    }
    return copies;
}

/* What has no such tap should not come to light with the first map. */
static vkd_result check_taps(vkd_inspect *i, const vkd_inspect_model *m, const char *const *names,
                             uint32_t count, bool images) {
    for (uint32_t k = 0; k < count; k++) {
        uint32_t t = 0;
        while (t < m->tap_count && strcmp(m->taps[t].name, names[k]) != 0)
            t++;
        if (t == m->tap_count)
            return vkd__fail(i->ctx, VKD_E_ARGUMENT, "the model '%s' has no tap '%s'", m->name,
                             names[k]);
        if (images && m->taps[t].shape.axes != 3)
            return vkd__fail(i->ctx, VKD_E_ARGUMENT,
                             "the tap '%s' of '%s' is no image, and has no map", names[k], m->name);
    }
    return VKD_OK;
}

static vkd_result open_many(vkd_predictor *p, const vkd_inspect *i,
                            const vkd_predictor_desc *desc) {
    const vkd_inspect_model *m = &i->models[desc->model];
    const vkd__inspect_entry *e = &i->entries[desc->model];
    const uint32_t batch = desc->batch ? desc->batch : BATCH, tests = i->data.test.count;
    vkd__saved_model saved;
    const vkd_result r = model_of(i, e, &saved);
    if (r) return r;
    return vkd__predictor_create(
        p->ctx, p->device,
        &(vkd__predictor_desc){.path = p->path,
                               .saved = &saved,
                               .group = m->source == VKD_INSPECT_CHECKPOINT ? m->name : NULL,
                               .average = e->average,
                               .input = VKD_U8,
                               .batch = batch < tests ? batch : tests},
        &p->many);
}

static vkd_result open_predictor(vkd_predictor *p, vkd_inspect *i, const vkd_predictor_desc *desc) {
    const vkd_inspect_model *m = &i->models[desc->model];
    if (m->source == VKD_INSPECT_NONE)
        return vkd__fail(i->ctx, VKD_E_FILE,
                         "'%s' has no parameters of '%s' yet: a checkpoint comes every so many "
                         "steps, and at the end of each stage",
                         i->info.folder, m->name);
    p->path = vkd__arena_format(&p->arena, "%s", m->path);
    p->version = m->version;
    p->maps = copy_names(&p->arena, desc->maps, desc->map_count);
    p->taps = copy_names(&p->arena, desc->taps, desc->tap_count);
    p->map_count = desc->map_count;
    p->tap_count = desc->tap_count;
    vkd_result r = p->path && p->maps && p->taps ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = check_taps(i, m, p->maps, p->map_count, true);
    if (!r) r = check_taps(i, m, p->taps, p->tap_count, false);
    return r ? r : open_many(p, i, desc);
}

vkd_result vkd_predictor_open(vkd_inspect *i, vkd_device *device, const vkd_predictor_desc *desc,
                              vkd_predictor **out) {
    *out = NULL;
    if (desc->model >= i->info.model_count)
        return vkd__fail(i->ctx, VKD_E_ARGUMENT, "model %u of %u", (unsigned)desc->model,
                         (unsigned)i->info.model_count);
    if (desc->map_count > VKD__MAX_TAPS || desc->tap_count > VKD__MAX_TAPS)
        return vkd__fail(i->ctx, VKD_E_ARGUMENT, "at most %d maps and %d taps at once",
                         VKD__MAX_TAPS, VKD__MAX_TAPS);
    vkd_predictor *p = vkd__alloc(i->ctx, 1, sizeof *p);
    if (!p) return VKD_E_MEMORY;
    *p = (vkd_predictor){
        .ctx = i->ctx, .device = device, .data = &i->data, .arena = {.ctx = i->ctx}};
    const vkd_result r = open_predictor(p, i, desc);
    if (r)
        vkd_predictor_close(p);
    else
        *out = p;
    return r;
}

void vkd_predictor_close(vkd_predictor *p) {
    if (!p) return;
    vkd__predictor_destroy(&p->few);
    vkd__predictor_destroy(&p->many);
    vkd__arena_term(&p->arena);
    vkd__free(p->ctx, p);
}

uint64_t vkd_predictor_version(const vkd_predictor *p) {
    return p->version;
}

vkd_result vkd_predictor_logits(vkd_predictor *p, uint32_t first, uint32_t count, float *logits) {
    const uint32_t tests = p->data->test.count;
    if (first > tests || count > tests - first)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT, "samples %u to %llu of a test split of %u",
                         (unsigned)first, (unsigned long long)first + count, (unsigned)tests);
    return vkd__predictor_run(&p->many, p->data->test.bytes + first * p->many.sample, count,
                              &logits);
}

/* ---- A few samples ---- */

static vkd_result open_few(vkd_predictor *p) {
    if (p->few.program) return VKD_OK;
    vkd_result r = vkd__predictor_create(p->ctx, p->device,
                                         &(vkd__predictor_desc){.path = p->path,
                                                                .share = &p->many,
                                                                .input = VKD_U8,
                                                                .batch = FEW,
                                                                .taps = p->taps,
                                                                .tap_count = p->tap_count,
                                                                .maps = p->maps,
                                                                .map_count = p->map_count},
                                         &p->few);
    if (r) return r;
    p->samples = vkd__arena_alloc(&p->arena, FEW, p->few.sample);
    p->outs = VKD_NEW(&p->arena, float *, p->few.out_count);
    r = p->samples && p->outs ? VKD_OK : VKD_E_MEMORY;
    for (uint32_t i = 0; i < p->few.out_count && !r; i++) {
        p->outs[i] = vkd__arena_alloc(&p->arena, FEW * p->few.outs[i].count, sizeof **p->outs);
        if (!p->outs[i]) r = VKD_E_MEMORY;
    }
    if (r) vkd__predictor_destroy(&p->few);
    return r;
}

/* The rows of one of the program's outputs into the caller's array, which may be NULL. */
static void put(const vkd_predictor *p, const char *prefix, const char *name, float *to,
                uint32_t first, uint32_t count) {
    char wanted[64];
    snprintf(wanted, sizeof wanted, "%s%s", prefix, name);
    for (uint32_t i = 0; to && i < p->few.out_count; i++) {
        const vkd__predictor_out *out = &p->few.outs[i];
        if (!strcmp(out->name, wanted))
            memcpy(to + first * out->count, p->outs[i], count * out->count * sizeof *to);
    }
}

static vkd_result run_few(vkd_predictor *p, const uint32_t *samples, uint32_t first, uint32_t count,
                          const vkd_predictor_out *out) {
    const size_t size = p->few.sample;
    for (uint32_t k = 0; k < count; k++)
        memcpy(p->samples + k * size, p->data->test.bytes + samples[first + k] * size, size);
    const vkd_result r = vkd__predictor_run(&p->few, p->samples, count, p->outs);
    if (r) return r;
    put(p, "", "logits", out->logits, first, count);
    for (uint32_t i = 0; i < p->map_count && out->maps; i++)
        put(p, "map.", p->maps[i], out->maps[i], first, count);
    for (uint32_t i = 0; i < p->tap_count && out->taps; i++)
        put(p, "", p->taps[i], out->taps[i], first, count);
    return VKD_OK;
}

vkd_result vkd_predictor_run(vkd_predictor *p, const uint32_t *samples, uint32_t count,
                             const vkd_predictor_out *out) {
    for (uint32_t i = 0; i < count; i++)
        if (samples[i] >= p->data->test.count)
            return vkd__fail(p->ctx, VKD_E_ARGUMENT, "sample %u of a test split of %u",
                             (unsigned)samples[i], (unsigned)p->data->test.count);
    vkd_result r = open_few(p);
    for (uint32_t first = 0; first < count && !r; first += FEW)
        r = run_few(p, samples, first, count - first < FEW ? count - first : FEW, out);
    return r;
}
