// SPDX-License-Identifier: Apache-2.0
#include "train/session.h"

#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "data/safetensors.h"
#include "train/model_file.h"

const char *vkd__session_path(vkd__session *s, const char *name, const char *suffix) {
    return vkd__arena_format(&s->arena, "%s/%s%s", s->folder, name, suffix);
}

/* ---- The folder ---- */

static vkd_result same_recipe(vkd__session *s, const char *path, const char *text) {
    vkd__mapping file = {0};
    const vkd_result r = vkd__map_file(s->ctx, path, &file);
    if (r) return r;
    const bool same = file.size == strlen(text) && !memcmp(file.bytes, text, file.size);
    vkd__unmap_file(&file);
    if (same) return VKD_OK;
    return vkd__fail(s->ctx, VKD_E_RECIPE,
                     "'%s' holds a run of another recipe, or of this one with other settings; give "
                     "another --out, or start over with --force",
                     s->folder);
}

static vkd_result open_folder(vkd__session *s, const char *text) {
    vkd_result r = vkd__make_folder(s->ctx, s->folder);
    const char *path = vkd__session_path(s, "recipe", ".yaml");
    const char *checkpoint = vkd__session_path(s, "checkpoint", ".safetensors");
    if (!r && (!path || !checkpoint)) r = VKD_E_MEMORY;
    if (r) return r;
    if (vkd__file_exists(path)) {
        if (s->desc->resume) return same_recipe(s, path, text);
        if (!s->desc->force)
            return vkd__fail(s->ctx, VKD_E_FILE,
                             "'%s' holds a run already; go on with --resume, start over with "
                             "--force, or give another --out",
                             s->folder);
        if (vkd__file_exists(checkpoint) && remove(checkpoint))
            return vkd__fail(s->ctx, VKD_E_FILE, "cannot remove '%s'", checkpoint);
    }
    s->claimed = !vkd__file_exists(path);
    const vkd__bytes whole = {text, strlen(text)};
    return vkd__write_file(s->ctx, path, &whole, 1);
}

/* A run that failed before its first step leaves the folder free for the corrected one. */
static void leave_folder(vkd__session *s) {
    static const char *const files[][2] = {
        {"recipe", ".yaml"}, {"metrics", ".jsonl"}, {"live", ""}};
    if (!s->claimed || s->phase || s->step) return;
    vkd__metrics_close(s);
    for (size_t i = 0; i < VKD_COUNT(files); i++) {
        const char *path = vkd__session_path(s, files[i][0], files[i][1]);
        if (path) remove(path);
    }
}

/* A folder says what it holds: the recipe with its own seed. */
static vkd_result write_recipe(vkd__session *s) {
    vkd_recipe own = *s->recipe;
    own.options.seed = s->seed;
    char *text = vkd_recipe_print(&own);
    if (!text) return VKD_E_MEMORY;
    s->hash = vkd__hash(VKD__HASH_SEED, text, strlen(text));
    const vkd_result r = open_folder(s, text);
    vkd_free_text(s->ctx, text);
    return r;
}

/* ---- Data and models in the store ---- */

static vkd_result set_normalisation(vkd__session *s) {
    const vkd__recipe_data *d = &s->recipe->data;
    if (d->channels > 1 && d->channels != s->data->channels)
        return vkd__fail(s->ctx, VKD_E_RECIPE,
                         "data: mean and std have %u values, samples %u channels",
                         (unsigned)d->channels, (unsigned)s->data->channels);
    s->batch = (vkd_batch_desc){.scale = 1.0f / 255.0f, .channels = d->channels};
    memcpy(s->batch.mean, d->mean, sizeof s->batch.mean);
    memcpy(s->batch.std, d->std, sizeof s->batch.std);
    return VKD_OK;
}

/* Each architecture can take the samples; that it can take its settings, the recipe's reader saw
 * to. */
static vkd_result check_models(const vkd__session *s) {
    const vkd_recipe *recipe = s->recipe;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++) {
        const vkd__recipe_model *m = &recipe->models[i];
        char what[128];
        snprintf(what, sizeof what, "model '%s'", m->name);
        r = vkd__model_check(s->ctx, m->def, what, m->part.config, &s->data->sample);
    }
    return r;
}

vkd_result vkd__session_check(vkd__session *s) {
    const vkd_result r = set_normalisation(s);
    return r ? r : check_models(s);
}

/* Makes a group's parameters, with their start values: a plan closes the group. */
static vkd_result declare(vkd__session *s, const vkd__recipe_model *m, const char *group,
                          const char *split, uint32_t count) {
    vkd_graph *graph = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd__graph_infer(s, m, group, split, count, 1, &graph);
    if (!r) r = vkd_plan_create(graph, vkd_device_profile(s->device), &plan);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    return r;
}

static bool has_adapters(const vkd__phase *p) {
    for (uint32_t k = 0; k < p->term_count; k++)
        if (p->terms[k].def->needs & VKD__LOSS_TAPS) return true;
    return false;
}

/* Makes a model's parameters without laying their group out. */
static vkd_result begin(vkd__session *s, const vkd__recipe_model *m, const char *group) {
    vkd_graph *graph = NULL;
    const vkd_result r =
        vkd__graph_infer(s, m, group, "data.train", s->data->train.count, 1, &graph);
    vkd_graph_destroy(graph);
    return r;
}

/* A group is laid out when its model is declared: by then it must have the adapters of all stages
 * that train it. The models come first, since whoever names a parameter first gives it its start
 * value. */
static vkd_result declare_adapters(vkd__session *s) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < s->recipe->model_count && !r; i++)
        r = begin(s, &s->recipe->models[i], s->recipe->models[i].name);
    for (uint32_t i = 0; i < s->phase_count && !r; i++) {
        vkd__phase p = s->phases[i];
        if (p.control) r = begin(s, p.model, p.group);
        if (!r && p.average) r = begin(s, p.model, p.average);
        if (!r && has_adapters(&p)) r = vkd__graph_declare(s, &p);
        if (r || !p.average || !has_adapters(&p)) continue;
        p.group = p.average; /* of the same layout */
        r = vkd__graph_declare(s, &p);
    }
    return r;
}

static vkd_result write_data(vkd__session *s) {
    const size_t sample = (size_t)vkd_shape_count(s->data->sample);
    vkd_result r = vkd_store_write(s->store, "data.train", s->data->train.bytes,
                                   s->data->train.count * sample);
    if (!r)
        r = vkd_store_write(s->store, "data.test", s->data->test.bytes,
                            s->data->test.count * sample);
    return r;
}

static vkd_result load_models(vkd__session *s) {
    const vkd_recipe *recipe = s->recipe;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < recipe->model_count && !r; i++)
        if (recipe->models[i].load)
            r = vkd__model_load(s->ctx, s->store, recipe->models[i].name, recipe->models[i].load,
                                s->data->classes, s->data->class_names);
    for (uint32_t i = 0; i < s->phase_count && !r; i++) {
        const vkd__phase *p = &s->phases[i];
        const char *path = p->model ? p->model->load : NULL; /* a control starts from it too */
        if (p->shared)
            path = vkd__arena_format(&s->arena, "%s/%s.safetensors", s->shared_folder, p->group);
        if (p->shared && !path) r = VKD_E_MEMORY;
        if (!r && (p->shared ? p->last : p->control && path))
            r = vkd__model_load(s->ctx, s->store, p->group, path, s->data->classes,
                                s->data->class_names);
    }
    return r;
}

static vkd_result fill_store(vkd__session *s) {
    vkd_result r = vkd_store_create(s->ctx, &s->store);
    if (!r) r = declare_adapters(s);
    for (uint32_t i = 0; i < s->recipe->model_count && !r; i++) {
        const vkd__recipe_model *m = &s->recipe->models[i];
        r = declare(s, m, m->name, "data.train", s->data->train.count);
        if (!r && !i) r = declare(s, m, m->name, "data.test", s->data->test.count);
    }
    for (uint32_t i = 0; i < s->phase_count && !r; i++) {
        const vkd__phase *p = &s->phases[i];
        const uint32_t count = s->data->train.count;
        if (p->control) r = declare(s, p->model, p->group, "data.train", count);
        if (!r && p->average) r = declare(s, p->model, p->average, "data.train", count);
    }
    if (!r) r = write_data(s);
    if (!r) r = load_models(s);
    return r;
}

static vkd_result find_pool(vkd__session *s) {
    if (!s->desc->pool) return VKD_OK;
    vkd_result r = vkd__make_folder(s->ctx, s->desc->pool);
    const uint64_t data = vkd__data_hash(s->data, &s->batch);
    for (uint32_t i = 0; i < s->phase_count && !r; i++) {
        vkd__phase *p = &s->phases[i];
        if (p->stage->label || p->shared) continue;
        const char *name = vkd__provenance(s, p, data);
        if (name && *name)
            p->pool = vkd__arena_format(&s->arena, "%s/%s.safetensors", s->desc->pool, name);
        if (!name || (*name && !p->pool)) r = VKD_E_MEMORY;
    }
    return r;
}

vkd_result vkd__session_create(vkd_ctx *ctx, vkd_device *device, const vkd_recipe *recipe,
                               const vkd_run_desc *desc, const vkd__dataset *data,
                               uint32_t seed_index, const char *folder, const char *shared_folder,
                               vkd__session **out) {
    *out = NULL;
    vkd__session *s = vkd__alloc(ctx, 1, sizeof *s);
    if (!s) return VKD_E_MEMORY;
    *s = (vkd__session){.ctx = ctx,
                        .device = device,
                        .recipe = recipe,
                        .desc = desc,
                        .data = data,
                        .seed = recipe->options.seed + seed_index,
                        .seed_index = seed_index,
                        .arena = {.ctx = ctx},
                        .test_accuracy = -1};
    s->folder = vkd__arena_format(&s->arena, "%s", folder);
    s->shared_folder = shared_folder ? vkd__arena_format(&s->arena, "%s", shared_folder) : NULL;
    s->cached = VKD_NEW(&s->arena, bool, recipe->model_count);
    s->labels = VKD_NEW(&s->arena, vkd__pseudo, recipe->stage_count);
    vkd_result r = s->folder && s->cached && s->labels && (!shared_folder || s->shared_folder)
                       ? VKD_OK
                       : VKD_E_MEMORY;
    if (!r) r = vkd__session_check(s);
    if (!r) r = vkd__phases_create(s);
    if (!r) r = find_pool(s);
    if (!r) r = write_recipe(s);
    if (!r) r = fill_store(s);
    if (r) {
        leave_folder(s);
        vkd__session_destroy(s);
        return r;
    }
    *out = s;
    return VKD_OK;
}

vkd_result vkd__session_sketch(vkd_ctx *ctx, const vkd_recipe *recipe, const vkd__dataset *data,
                               vkd__session **out) {
    *out = NULL;
    vkd__session *s = vkd__alloc(ctx, 1, sizeof *s);
    if (!s) return VKD_E_MEMORY;
    *s = (vkd__session){.ctx = ctx,
                        .recipe = recipe,
                        .data = data,
                        .seed = recipe->options.seed,
                        .arena = {.ctx = ctx},
                        .test_accuracy = -1};
    vkd_result r = vkd__session_check(s);
    if (!r) r = vkd__phases_create(s);
    if (!r) r = vkd_store_create(ctx, &s->store);
    if (!r) r = declare_adapters(s);
    if (r) {
        vkd__session_destroy(s);
        return r;
    }
    *out = s;
    return VKD_OK;
}

void vkd__session_destroy(vkd__session *s) {
    if (!s) return;
    for (uint32_t i = 0; i < s->phase_count; i++)
        vkd__cached_teacher_close(&s->phases[i]);
    vkd__metrics_close(s);
    vkd_store_destroy(s->store);
    for (uint32_t i = 0; i < s->recipe->stage_count && s->labels; i++)
        vkd__pseudo_term(s->ctx, &s->labels[i]);
    vkd__arena_term(&s->arena);
    vkd__free(s->ctx, s);
}

/* ---- Training ---- */

/* The file of the run's folder, and the pool's: but for what a viewer has had a hand in, which
 * does not follow from the recipe. */
static vkd_result save_model(vkd__session *s, const vkd__phase *p) {
    const char *path = vkd__session_path(s, p->group, ".safetensors");
    bool turned = false;
    double seconds = 0;
    if (!path) return VKD_E_MEMORY;
    const vkd_result r = vkd__model_save(s, p, path, NAN);
    for (uint32_t i = 0; i < s->phase_count; i++) {
        turned = turned || s->phases[i].turned;
        if (s->phases[i].model && !strcmp(s->phases[i].group, p->group))
            seconds += s->phases[i].seconds;
    }
    if (r || !p->pool || turned || vkd__file_exists(p->pool)) return r;
    return vkd__model_save(s, p, p->pool, seconds);
}

/* Takes the model over from the pool. Its row says how long its training took, wherever it was. */
static vkd_result take_model(vkd__session *s, vkd__phase *p) {
    vkd__st_file *file = NULL;
    vkd_result r = vkd__model_load(s->ctx, s->store, p->group, p->pool, s->data->classes,
                                   s->data->class_names);
    if (!r) r = vkd__st_open(s->ctx, p->pool, &file);
    if (r) return r;
    const vkd__field field = {
        .name = "seconds", .type = VKD__FIELD_F32, .low = 0, .high = 1e9, .preset = "0"};
    const char *text = vkd__st_metadata(file, "seconds");
    float seconds = 0;
    if (text) r = vkd__fields_set(s->ctx, &field, 1, &seconds, p->pool, "seconds", text);
    if (p->last) p->seconds = (double)seconds;
    vkd__st_close(file);
    if (r) return VKD_E_FORMAT;
    vkd__log(s->ctx, VKD_LOG_INFO, "%s, stage '%s': trained before, taken from '%s'", p->group,
             p->stage->name, p->pool);
    return VKD_OK;
}

static vkd_result run_phase(vkd__session *s, vkd__phase *p, bool restore) {
    if (p->shared) return VKD_OK;
    if (p->stage->label) return vkd__label_run(s, p);
    /* One that is under way already is trained to its end. */
    if (p->pool && !s->step && vkd__file_exists(p->pool)) return take_model(s, p);
    const vkd_result r = vkd__loop(s, p, restore);
    return r ? r : vkd__diagnose_end(s, p);
}

/* What the loop needs and what is saved is said by s->phase and s->step alone, so that a run that
 * is killed between two lines here goes on at the right place. */
static vkd_result train_phase(vkd__session *s, bool restore) {
    vkd__phase *p = &s->phases[s->phase];
    vkd_result r = restore || p->shared ? VKD_OK : vkd__metrics_stage(s, p);
    if (!r) r = run_phase(s, p, restore);
    if (!r && !p->shared && p->last) r = save_model(s, p);
    if (r) return r;
    if (!p->control && !p->shared && p->model)
        s->cached[p->stage->model] = false; /* it has changed */
    s->phase++;
    s->step = 0;
    s->sums = (vkd__sums){0};
    s->test_accuracy = -1;
    return vkd__checkpoint_write(s);
}

static vkd_result name_checkpoint(vkd__session *s, vkd_result r) {
    const char *path = vkd__session_path(s, "checkpoint", ".safetensors");
    const bool there = path && vkd__file_exists(path);
    return vkd__fail(s->ctx, r, "%s; %s%s%s", vkd_ctx_error(s->ctx),
                     there ? "the last checkpoint is '" : "no checkpoint was written yet",
                     there ? path : "", there ? "', go on with --resume" : "");
}

static vkd_result open_live(vkd__session *s) {
    const char *path = vkd__session_path(s, "live", "");
    return path ? vkd__live_writer_create(s->ctx, path, &s->live) : VKD_E_MEMORY;
}

static void close_live(vkd__session *s, vkd_result r) {
    if (!s->live) return;
    vkd__live_now(s->live)->state = r == VKD_OK              ? VKD_LIVE_FINISHED
                                    : r == VKD_E_INTERRUPTED ? VKD_LIVE_STOPPED
                                                             : VKD_LIVE_FAILED;
    vkd__live_publish(s->live, NULL);
    vkd__live_writer_destroy(s->live);
    s->live = NULL;
}

vkd_result vkd__session_train(vkd__session *s) {
    bool restore = false;
    vkd_result r = VKD_OK;
    if (s->desc->resume) r = vkd__checkpoint_read(s, &restore);
    if (!r) r = vkd__metrics_open(s);
    if (!r && restore && s->phase < s->phase_count)
        r = vkd__metrics_resumed(s, &s->phases[s->phase]);
    if (!r) r = open_live(s);
    /* Between phases nothing but parameters was saved, and they are in the store already. Within
     * one, the loop restores, after its graph has made the optimiser's state. */
    if (!r && restore && !s->step) {
        r = vkd__checkpoint_restore(s);
        restore = false;
    }
    while (!r && s->phase < s->phase_count) {
        r = train_phase(s, restore);
        restore = false;
    }
    vkd__metrics_close(s);
    close_live(s, r);
    if (r) leave_folder(s);
    if (r == VKD_E_DEVICE_LOST) r = name_checkpoint(s, r);
    return r;
}
