// SPDX-License-Identifier: Apache-2.0
#include "train/inspect.h"

#include <stdlib.h>
#include <string.h>

/* ---- Which folder ---- */

static const char *inside(vkd_inspect *i, const char *folder, const char *name) {
    return vkd__arena_format(&i->arena, "%s/%s", folder, name);
}

/* The n of "seed-<n>"; false for other names. */
static bool seed_of(const char *name, uint64_t *out) {
    if (strncmp(name, "seed-", 5) != 0 || strlen(name) > 15) return false;
    for (const char *c = name + 5; *c; c++)
        if (*c < '0' || *c > '9') return false;
    *out = strtoull(name + 5, NULL, 10);
    return name[5] != 0;
}

static const char *last_part(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int by_seed(const void *a, const void *b) {
    uint64_t x = 0, y = 0;
    seed_of(last_part(*(const char *const *)a), &x);
    seed_of(last_part(*(const char *const *)b), &y);
    return (x > y) - (x < y);
}

/* The runs "seed-<n>" in a folder, into info. */
static vkd_result find_seeds(vkd_inspect *i, const char *parent) {
    char **names = NULL;
    size_t count = 0;
    uint32_t found = 0;
    vkd_result r = vkd__list_folder(i->ctx, parent, "", &names, &count);
    const char **seeds = VKD_NEW(&i->arena, const char *, count + 1);
    if (!r && !seeds) r = VKD_E_MEMORY;
    for (size_t k = 0; k < count; k++) {
        uint64_t seed = 0;
        if (!r && seed_of(names[k], &seed)) {
            const char *folder = inside(i, parent, names[k]);
            const char *recipe = folder ? inside(i, folder, "recipe.yaml") : NULL;
            if (!recipe) r = VKD_E_MEMORY;
            if (!r && vkd__file_exists(recipe)) seeds[found++] = folder;
        }
        vkd__free(i->ctx, names[k]);
    }
    vkd__free(i->ctx, names);
    if (r) return r;
    qsort(seeds, found, sizeof *seeds, by_seed);
    i->info.seeds = seeds;
    i->info.seed_count = found;
    return VKD_OK;
}

/* The seed that is trained now, or was last. */
static vkd_result choose_seed(vkd_inspect *i, const char *folder) {
    uint64_t newest = 0;
    vkd_result r = find_seeds(i, folder);
    for (uint32_t k = 0; k < i->info.seed_count && !r; k++) {
        vkd__stamp stamp;
        const char *metrics = inside(i, i->info.seeds[k], "metrics.jsonl");
        if (!metrics) return VKD_E_MEMORY;
        vkd__file_stamp(metrics, &stamp);
        if (i->info.folder && stamp.changed <= newest) continue;
        newest = stamp.changed;
        i->info.folder = i->info.seeds[k];
    }
    return r;
}

/* The seeds beside one of them. */
static vkd_result find_others(vkd_inspect *i) {
    uint64_t seed = 0;
    const char *folder = i->info.folder, *name = last_part(folder);
    if (!seed_of(name, &seed)) return VKD_OK;
    const char *parent =
        name == folder ? "."
                       : vkd__arena_format(&i->arena, "%.*s", (int)(name - folder - 1), folder);
    if (!parent) return VKD_E_MEMORY;
    return find_seeds(i, *parent ? parent : "/");
}

static vkd_result choose_folder(vkd_inspect *i, const char *path) {
    size_t length = strlen(path);
    while (length > 1 && path[length - 1] == '/')
        length--;
    const char *folder = vkd__arena_format(&i->arena, "%.*s", (int)length, path);
    const char *recipe = folder ? inside(i, folder, "recipe.yaml") : NULL;
    if (!recipe) return VKD_E_MEMORY;
    bool is_folder = false;
    vkd_result r = vkd__is_folder(i->ctx, folder, &is_folder);
    if (r) return r;
    if (!is_folder)
        return vkd__fail(i->ctx, VKD_E_FILE, "'%s' is a file; give the folder of a run", folder);
    if (vkd__file_exists(recipe)) {
        i->info.folder = folder;
        r = find_others(i);
    } else {
        r = choose_seed(i, folder);
    }
    if (!r && !i->info.folder)
        r = vkd__fail(
            i->ctx, VKD_E_FILE,
            "'%s' holds no run: it has neither a recipe.yaml nor folders seed-<n> with one",
            folder);
    return r;
}

/* ---- Recipe and data ---- */

static vkd_result read_recipe(vkd_inspect *i) {
    vkd__mapping file = {0};
    i->recipe_path = inside(i, i->info.folder, "recipe.yaml");
    i->checkpoint_path = inside(i, i->info.folder, "checkpoint.safetensors");
    if (!i->recipe_path || !i->checkpoint_path) return VKD_E_MEMORY;
    vkd__file_stamp(i->recipe_path, &i->recipe_stamp);
    vkd_result r = vkd__map_file(i->ctx, i->recipe_path, &file);
    if (r) return r;
    i->hash = vkd__hash(VKD__HASH_SEED, file.bytes, file.size);
    r = vkd_recipe_parse(i->ctx, i->recipe_path, (const char *)file.bytes, file.size, NULL, 0,
                         &i->recipe);
    vkd__unmap_file(&file);
    return r;
}

/* Of the training split one sample is enough: what is looked at is the test split. */
static vkd_result load_data(vkd_inspect *i) {
    const vkd__recipe_data *d = &i->recipe->data;
    vkd__data_options options = d->options;
    options.samples = 1;
    const vkd_result r = vkd__dataset_load(i->ctx, d->def, d->part.config, &options, &i->data);
    if (!r && !i->data.test.count)
        return vkd__fail(i->ctx, VKD_E_DATA, "the data set of '%s' has no test samples",
                         i->recipe_path);
    return r;
}

static void describe_data(vkd_inspect *i) {
    const vkd__dataset *d = &i->data;
    vkd_inspect_info *info = &i->info;
    info->recipe = i->recipe->name;
    info->seed = i->recipe->options.seed;
    info->tests = d->test.count;
    info->classes = d->classes;
    info->class_names = (const char *const *)d->class_names;
    info->images = d->sample.axes == 3;
    info->height = info->images ? d->sample.dim[0] : 1;
    info->width = info->images ? d->sample.dim[1] : (uint32_t)vkd_shape_count(d->sample);
    info->channels = info->images ? d->sample.dim[2] : 1;
    info->pixels = d->test.bytes;
    info->labels = d->test.labels;
}

/* The phases are those of the trainer, which leaves out what the first seed has trained for all. */
static vkd_result outline(vkd_inspect *i) {
    vkd__session *s = &i->outline;
    const bool later = i->info.seed_count && strcmp(i->info.folder, i->info.seeds[0]) != 0;
    *s = (vkd__session){.ctx = i->ctx,
                        .recipe = i->recipe,
                        .data = &i->data,
                        .seed = i->recipe->options.seed,
                        .arena = {.ctx = i->ctx}};
    if (later && i->recipe->options.share_teacher) s->shared_folder = i->info.seeds[0];
    const vkd_result r = vkd__session_check(s);
    return r ? r : vkd__phases_outline(s);
}

static vkd_result open_run(vkd_inspect *i, const char *folder) {
    bool changed = false;
    vkd_result r = choose_folder(i, folder);
    if (!r) r = read_recipe(i);
    if (!r) r = load_data(i);
    if (!r) describe_data(i);
    if (!r) r = outline(i);
    if (!r) r = vkd__inspect_models(i);
    if (!r) r = vkd__inspect_stages(i);
    if (!r) r = vkd__inspect_find(i, &changed);
    return r;
}

vkd_result vkd_inspect_open(vkd_ctx *ctx, const char *folder, vkd_inspect **out) {
    *out = NULL;
    if (!folder || !*folder) return vkd__fail(ctx, VKD_E_ARGUMENT, "no folder of a run is given");
    vkd_inspect *i = vkd__alloc(ctx, 1, sizeof *i);
    if (!i) return VKD_E_MEMORY;
    *i = (vkd_inspect){.ctx = ctx, .arena = {.ctx = ctx}};
    const vkd_result r = open_run(i, folder);
    if (r)
        vkd_inspect_close(i);
    else
        *out = i;
    return r;
}

void vkd_inspect_close(vkd_inspect *i) {
    if (!i) return;
    vkd__arena_term(&i->outline.arena);
    vkd__dataset_term(i->ctx, &i->data);
    vkd_recipe_destroy(i->recipe);
    vkd__arena_term(&i->arena);
    vkd__free(i->ctx, i);
}

const vkd_inspect_info *vkd_inspect_get(const vkd_inspect *i) {
    return &i->info;
}

/* Whether recipe.yaml is another; one that was written again may say the same. */
static bool is_another(vkd_inspect *i) {
    vkd__stamp now;
    vkd__mapping file = {0};
    if (!vkd__file_stamp(i->recipe_path, &now)) return true;
    if (now.id == i->recipe_stamp.id) return false;
    if (vkd__map_file(i->ctx, i->recipe_path, &file)) return true;
    const uint64_t hash = vkd__hash(VKD__HASH_SEED, file.bytes, file.size);
    vkd__unmap_file(&file);
    if (hash != i->hash) return true;
    i->recipe_stamp = now;
    return false;
}

vkd_result vkd_inspect_refresh(vkd_inspect *i, vkd_inspect_news *out) {
    bool changed = false;
    *out = VKD_INSPECT_ANOTHER;
    if (is_another(i)) return VKD_OK;
    const vkd_result r = vkd__inspect_find(i, &changed);
    *out = changed ? VKD_INSPECT_MODELS : VKD_INSPECT_SAME;
    return r;
}
