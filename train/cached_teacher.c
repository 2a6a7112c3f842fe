// SPDX-License-Identifier: Apache-2.0
/* A teacher that is read from a cache in place of being run: its tables lie on the device, and a
 * step gathers the batch's rows. The file is opened, and held against what the stage compares, when
 * the phases are made; its hashes are compared when the phase starts, because only then is the
 * teacher what it will be. Tables are called "data.cache.<stage>.<teacher>.<tensor>". */
#include <stdio.h>
#include <string.h>

#include "train/session.h"

static void table_name(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                       const char *tensor, char *out, size_t size) {
    snprintf(out, size, "data.cache.%s.%s.%s", p->stage->name,
             s->recipe->models[p->stage->teachers[teacher].model].name, tensor);
}

const char *vkd__tap_of_teacher(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                                const char *name) {
    const char *colon = strchr(name, ':');
    const char *model = s->recipe->models[p->stage->teachers[teacher].model].name;
    if (!colon) return teacher ? NULL : name;
    const size_t length = (size_t)(colon - name);
    return !strncmp(model, name, length) && !model[length] ? colon + 1 : NULL;
}

/* ---- Opening ---- */

static vkd_result check_taps(vkd__session *s, const vkd__phase *p, uint32_t teacher,
                             const vkd__teacher_cache *c) {
    for (uint32_t i = 0; i < p->term_count; i++)
        for (uint32_t k = 0; k < p->terms[i].tap_count; k++) {
            const char *tap = vkd__tap_of_teacher(s, p, teacher, p->terms[i].taps[k].teacher);
            if (!tap || vkd__teacher_cache_tap(c, tap) || (!strcmp(tap, "logits") && !c->info.k))
                continue;
            return vkd__fail(s->ctx, VKD_E_DATA,
                             "'%s' does not hold '%s', which the loss '%s' of stage '%s' compares; "
                             "make it again with --taps %s",
                             c->path, tap, p->terms[i].name, p->stage->name, tap);
        }
    return VKD_OK;
}

/* Of a cache of the top k a loss sees the k probabilities, at one temperature, and the rest in
 * equal shares: right where the rest is one bucket, and close where it hardly counts. */
static vkd_result check_term(vkd__session *s, const vkd__phase *p, const vkd__term *t,
                             const vkd__teacher_cache *c) {
    if (!(t->def->needs & VKD__LOSS_TEACHER)) return VKD_OK;
    if (!(t->def->needs & VKD__LOSS_TAU))
        return vkd__fail(s->ctx, VKD_E_DATA,
                         "'%s' holds %u probabilities a sample; the loss '%s' of stage '%s' needs "
                         "all logits",
                         c->path, (unsigned)c->info.k, t->name, p->stage->name);
    if (t->k > c->info.k)
        return vkd__fail(s->ctx, VKD_E_DATA,
                         "'%s' tells %u classes of a sample apart, the loss '%s' of stage '%s' "
                         "wants %u",
                         c->path, (unsigned)c->info.k, t->name, p->stage->name, (unsigned)t->k);
    const vkd__teacher_cache_info need = {.k = c->info.k, .temperature = t->tau};
    return vkd__teacher_cache_expect(s->ctx, c, &need);
}

static vkd_result check_terms(vkd__session *s, const vkd__phase *p, const vkd__teacher_cache *c) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < p->term_count && !r && c->info.k; i++)
        r = check_term(s, p, &p->terms[i], c);
    return r;
}

vkd_result vkd__cached_teacher_open(vkd__session *s, vkd__phase *p) {
    const vkd__teacher_cache_info split = {.samples = s->data->train.count,
                                           .classes = s->data->classes};
    vkd_result r = VKD_OK;
    for (uint32_t k = 0; k < p->teacher_count && !r; k++) {
        const char *path = p->stage->teachers[k].cache;
        vkd__teacher_cache *c = &p->caches[k];
        if (!path) continue;
        if (p->stage->augmented)
            return vkd__fail(s->ctx, VKD_E_DATA,
                             "'%s' was made of images as they are, and stage '%s' augments them; "
                             "leave the cache out",
                             path, p->stage->name);
        r = vkd__teacher_cache_open(s->ctx, path, c);
        vkd__teacher_cache_info need = split;
        need.k = c->info.k; /* whichever it is, the losses decide */
        if (!r) r = vkd__teacher_cache_expect(s->ctx, c, &need);
        if (!r) r = check_terms(s, p, c);
        if (!r) r = check_taps(s, p, k, c);
    }
    return r;
}

void vkd__cached_teacher_close(vkd__phase *p) {
    for (uint32_t k = 0; k < p->teacher_count; k++)
        vkd__teacher_cache_close(&p->caches[k]);
}

/* ---- In the graph ---- */

/* Rows of a cached tensor: (B, width). */
static vkd_tensor rows_of(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                          uint32_t teacher, const vkd__st_tensor *t, vkd_tensor indices) {
    char name[192];
    const uint32_t samples = t->shape.dim[0];
    const uint64_t width = vkd_shape_count(t->shape) / samples;
    table_name(s, p, teacher, t->name, name, sizeof name);
    return vkd_gather(g, vkd_state(g, name, VKD_F32, VKD_SHAPE(samples, (uint32_t)width)), indices);
}

static void add_tap(vkd__model_io *io, const char *name, vkd_tensor t) {
    VKD_ASSERT(io->tap_count < VKD__MAX_TAPS);
    vkd__tap *tap = &io->taps[io->tap_count++];
    snprintf(tap->name, sizeof tap->name, "%s", name);
    tap->tensor = t;
}

static void add_taps(vkd_graph *g, const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                     vkd_tensor indices, vkd__model_io *io) {
    const vkd__teacher_cache *c = &p->caches[teacher];
    for (uint32_t i = 0; i < p->term_count; i++)
        for (uint32_t k = 0; k < p->terms[i].tap_count; k++) {
            const char *tap = vkd__tap_of_teacher(s, p, teacher, p->terms[i].taps[k].teacher);
            if (!tap || vkd__tap_find(io, tap).id) continue;
            const vkd__st_tensor *t = vkd__teacher_cache_tap(c, tap);
            if (!t) continue;
            vkd_shape shape = t->shape;
            shape.dim[0] = vkd_tensor_shape(g, indices).dim[0];
            add_tap(io, tap, vkd_reshape(g, rows_of(g, s, p, teacher, t, indices), shape));
        }
}

vkd_tensor vkd__cached_teacher(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                               uint32_t teacher, vkd_tensor indices, vkd__model_io *io) {
    const vkd__teacher_cache *c = &p->caches[teacher];
    *io = (vkd__model_io){.group = s->recipe->models[p->stage->teachers[teacher].model].name,
                          .classes = s->data->classes};
    vkd_tensor logits = rows_of(g, s, p, teacher, vkd__teacher_cache_logits(c), indices);
    if (c->info.k) logits = vkd_topk_expand(g, logits, s->data->classes, c->info.temperature);
    add_tap(io, "logits", logits);
    add_taps(g, s, p, teacher, indices, io);
    return logits;
}

/* ---- Filling ---- */

/* The table, where the phase's graph named it. */
static vkd_result fill(vkd__session *s, const vkd__phase *p, uint32_t teacher,
                       const vkd__st_tensor *t) {
    char name[192];
    table_name(s, p, teacher, t->name, name, sizeof name);
    if (!vkd_store_find(s->store, name, NULL)) return VKD_OK;
    const size_t count = (size_t)vkd_shape_count(t->shape);
    float *values = vkd__alloc(s->ctx, count, sizeof *values);
    if (!values) return VKD_E_MEMORY;
    vkd__teacher_cache_read(t, 0, count, values);
    const vkd_result r = vkd_store_write(s->store, name, values, count * sizeof *values);
    vkd__free(s->ctx, values);
    return r;
}

vkd_result vkd__cached_teacher_fill(vkd__session *s, const vkd__phase *p, uint32_t teacher) {
    const vkd__teacher_cache *c = &p->caches[teacher];
    vkd__teacher_cache_info need = {.data_hash = vkd__data_hash(s->data, &s->batch),
                                    .augment = VKD__TEACHER_CACHE_PLAIN,
                                    .k = c->info.k};
    vkd_result r = vkd__teacher_hash(s->ctx, s->store,
                                     s->recipe->models[p->stage->teachers[teacher].model].name,
                                     &need.teacher_hash);
    if (!r) r = vkd__teacher_cache_expect(s->ctx, c, &need);
    for (size_t n = 0; n < vkd__st_count(c->file) && !r; n++)
        r = fill(s, p, teacher, vkd__st_at(c->file, n));
    return r;
}
