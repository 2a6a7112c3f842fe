// SPDX-License-Identifier: Apache-2.0
/* The models of a run and where their parameters are. The checkpoint says how far the run is: what
 * it has behind it is finished and has a file of its own; what it is at, or between two stages of,
 * stands in the checkpoint alone; what is before it has its start values, which are those of the
 * file that the recipe loads or nothing to look at. Files of models may be older than the run: one
 * that was started over in its folder leaves them there until it has its own. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/inspect.h"

/* ---- What does not change ---- */

/* Taps and parameters, by building the model once without a device. */
static vkd_result describe(vkd_inspect *i, const vkd__recipe_model *m, vkd_inspect_model *out) {
    const vkd_shape sample = i->data.sample;
    vkd_shape input = {.axes = sample.axes + 1, .dim = {1}};
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd__model_io *io = vkd__alloc(i->ctx, 1, sizeof *io);
    vkd_result r = io ? vkd_store_create(i->ctx, &store) : VKD_E_MEMORY;
    if (!r) r = vkd_graph_create(i->ctx, store, &(vkd_graph_desc){.name = m->name}, &g);
    if (!r) {
        for (uint32_t k = 0; k < sample.axes && k + 1 < VKD_MAX_AXES; k++)
            input.dim[k + 1] = sample.dim[k];
        *io = (vkd__model_io){.group = m->name,
                              .input = vkd_input(g, "x", VKD_F32, input),
                              .classes = i->data.classes};
        vkd__model_build(g, m->def, io, m->part.config, &m->embedding);
        r = vkd_graph_status(g);
    }
    vkd_inspect_tap *taps = r ? NULL : VKD_NEW(&i->arena, vkd_inspect_tap, io->tap_count);
    if (!r && !taps) r = VKD_E_MEMORY;
    for (uint32_t k = 0; !r && k < io->tap_count; k++) {
        const vkd_shape s = vkd_tensor_shape(g, io->taps[k].tensor);
        taps[k].name = vkd__arena_format(&i->arena, "%s", io->taps[k].name);
        if (!taps[k].name) r = VKD_E_MEMORY;
        if (s.axes) taps[k].shape = vkd_shape_make(s.axes - 1, s.dim + 1);
    }
    for (uint32_t k = 0; !r && k < vkd_store_count(store); k++) {
        const vkd_store_info info = vkd_store_at(store, k);
        if (info.parameter) out->parameters += vkd_shape_count(info.shape);
    }
    out->taps = taps;
    out->tap_count = r ? 0 : io->tap_count;
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd__free(i->ctx, io);
    return r;
}

static vkd_result find_phases(vkd_inspect *i, const char *group, vkd__inspect_entry *e,
                              vkd_inspect_model *m) {
    e->first = e->last = VKD__NONE;
    for (uint32_t k = 0; k < i->outline.phase_count; k++) {
        const vkd__phase *p = &i->outline.phases[k];
        if (!p->model || strcmp(p->group, group) != 0) continue;
        if (e->first == VKD__NONE) e->first = k;
        e->last = k;
        m->control = p->control;
        m->taught = m->taught || p->teacher_count || p->labels;
    }
    e->file = vkd__arena_format(&i->arena, "%s/%s.safetensors", i->info.folder, group);
    if (e->last != VKD__NONE && i->outline.phases[e->last].shared) {
        e->shared =
            vkd__arena_format(&i->arena, "%s/%s.safetensors", i->outline.shared_folder, group);
        if (!e->shared) return VKD_E_MEMORY;
    }
    return e->file ? VKD_OK : VKD_E_MEMORY;
}

static bool teaches(const vkd_recipe *recipe, uint32_t model) {
    for (uint32_t i = 0; i < recipe->stage_count; i++)
        if (vkd__stage_taught_by(&recipe->stages[i], model)) return true;
    return false;
}

/* `like`: the model whose control it is, described already, or NULL. */
static vkd_result add_model(vkd_inspect *i, uint32_t model, const char *group,
                            const vkd_inspect_model *like) {
    const vkd__recipe_model *m = &i->recipe->models[model];
    vkd_inspect_model *out = &i->models[i->info.model_count];
    vkd__inspect_entry *e = &i->entries[i->info.model_count++];
    *e = (vkd__inspect_entry){.model = m};
    *out = (vkd_inspect_model){.name = group, .model = m->name, .arch = m->def->name, .path = ""};
    vkd_result r = find_phases(i, group, e, out);
    if (like) {
        out->taps = like->taps;
        out->tap_count = like->tap_count;
        out->parameters = like->parameters;
        return r;
    }
    out->teaches = teaches(i->recipe, model);
    return r ? r : describe(i, m, out);
}

static const char *control_of(const vkd_inspect *i, const vkd__recipe_model *m) {
    for (uint32_t k = 0; k < i->outline.phase_count; k++)
        if (i->outline.phases[k].control && i->outline.phases[k].model == m)
            return i->outline.phases[k].group;
    return NULL;
}

vkd_result vkd__inspect_models(vkd_inspect *i) {
    const uint32_t count = i->recipe->model_count;
    i->models = VKD_NEW(&i->arena, vkd_inspect_model, 2 * (size_t)count);
    i->entries = VKD_NEW(&i->arena, vkd__inspect_entry, 2 * (size_t)count);
    if (!i->models || !i->entries) return VKD_E_MEMORY;
    i->info.models = i->models;
    vkd_result r = VKD_OK;
    for (uint32_t k = 0; k < count && !r; k++) {
        const vkd__recipe_model *m = &i->recipe->models[k];
        const char *control = control_of(i, m);
        r = add_model(i, k, m->name, NULL);
        if (!r && control) r = add_model(i, k, control, &i->models[i->info.model_count - 1]);
    }
    return r;
}

uint32_t vkd__inspect_index(const vkd_inspect *i, const char *group) {
    for (uint32_t k = 0; k < i->info.model_count; k++)
        if (!strcmp(i->models[k].name, group)) return k;
    return VKD__NONE;
}

/* ---- What does ---- */

static vkd_result read_place(vkd_inspect *i) {
    vkd__stamp now;
    const bool there = vkd__file_stamp(i->checkpoint_path, &now);
    if (now.id == i->checkpoint_stamp.id) return VKD_OK;
    i->checkpoint_stamp = now;
    i->placed = false;
    if (!there) return VKD_OK;
    const vkd_result r = vkd__checkpoint_standing(i->ctx, i->checkpoint_path, &i->place);
    if (r == VKD_E_MEMORY) return r;
    if (r) vkd__log(i->ctx, VKD_LOG_WARNING, "%s; it is left aside", vkd_ctx_error(i->ctx));
    i->placed = !r && i->place.hash == i->hash && i->place.phase <= i->outline.phase_count;
    return VKD_OK;
}

static bool is_begun(const vkd_inspect *i, const vkd__inspect_entry *e) {
    return i->placed &&
           (e->first < i->place.phase || (e->first == i->place.phase && i->place.step > 0));
}

/* The phase that the checkpoint is within, if it trains this model. */
static const vkd__phase *under_way(const vkd_inspect *i, const vkd_inspect_model *m) {
    if (i->place.phase >= i->outline.phase_count || !i->place.step) return NULL;
    const vkd__phase *p = &i->outline.phases[i->place.phase];
    return p->model && !strcmp(p->group, m->name) ? p : NULL;
}

/* A stage that averages parameters shows what it would end with. */
static void of_checkpoint(const vkd_inspect *i, vkd__inspect_entry *e, vkd_inspect_model *m) {
    const vkd__phase *p = under_way(i, m);
    m->source = VKD_INSPECT_CHECKPOINT;
    m->path = i->checkpoint_path;
    m->step = p ? i->place.step : 0;
    e->average = p ? p->average : NULL;
}

/* Without a checkpoint, which someone may have removed, a file counts that is as new as the run. */
static bool is_finished(const vkd_inspect *i, const vkd__inspect_entry *e) {
    vkd__stamp stamp;
    if (e->last == VKD__NONE || !vkd__file_stamp(e->file, &stamp)) return false;
    return i->placed ? e->last < i->place.phase : stamp.changed >= i->recipe_stamp.changed;
}

static void find_one(const vkd_inspect *i, vkd__inspect_entry *e, vkd_inspect_model *m) {
    vkd__stamp stamp;
    m->source = VKD_INSPECT_NONE;
    m->path = "";
    m->step = 0;
    if (e->shared && vkd__file_exists(e->shared)) {
        m->source = VKD_INSPECT_OTHER_SEED;
        m->path = e->shared;
    } else if (is_finished(i, e)) {
        m->source = VKD_INSPECT_FILE;
        m->path = e->file;
    } else if (e->first != VKD__NONE && (e->shared ? i->placed : is_begun(i, e))) {
        of_checkpoint(i, e, m);
    } else if (e->model->load) {
        m->source = VKD_INSPECT_LOADED;
        m->path = e->model->load;
    }
    const bool there = vkd__file_stamp(m->path, &stamp);
    const uint64_t path = vkd__hash(VKD__HASH_SEED, m->path, strlen(m->path));
    m->version = there ? vkd__hash(path, &stamp.id, sizeof stamp.id) : 0;
}

vkd_result vkd__inspect_find(vkd_inspect *i, bool *changed) {
    const vkd_result r = read_place(i);
    *changed = false;
    for (uint32_t k = 0; k < i->info.model_count && !r; k++) {
        const vkd_inspect_model before = i->models[k];
        find_one(i, &i->entries[k], &i->models[k]);
        if (before.source != i->models[k].source || before.version != i->models[k].version)
            *changed = true;
    }
    return r;
}
