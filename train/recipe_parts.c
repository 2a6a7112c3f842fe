// SPDX-License-Identifier: Apache-2.0
/* The sections data, models and evaluation. */
#include <string.h>

#include "data/utf8.h"
#include "train/recipe_read.h"

/* ---- data ---- */

/* One number, or a list of one for each channel. */
static vkd_result read_channels(vkd__reader *r, const vkd__tree *map, const char *key, double low,
                                float preset, float *out, uint32_t *count) {
    const vkd__tree *child = vkd__tree_find(map, key);
    for (int i = 0; i < 4; i++)
        out[i] = preset;
    *count = 1;
    if (!child || child->kind == VKD__TREE_TEXT) {
        const vkd_result result = vkd__read_number(r, map, key, low, 1e9, preset, &out[0]);
        for (int i = 1; i < 4; i++)
            out[i] = out[0];
        return result;
    }
    const uint32_t items = vkd__tree_count(child);
    if (child->kind != VKD__TREE_LIST || !items || items > 4)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' must be one number, or a list of 1 to 4",
                         child->where, key);
    *count = items;
    const vkd__tree *item = child->first;
    for (uint32_t i = 0; i < items; i++, item = item->next) {
        const vkd__field field = {
            .name = key, .type = VKD__FIELD_F32, .low = low, .high = 1e9, .preset = "0"};
        const char *text = vkd__tree_text(r->arena, item);
        const vkd_result result =
            vkd__fields_set(r->ctx, &field, 1, &out[i], item->where, key, text ? text : "");
        if (result) return result;
    }
    for (uint32_t i = 1; i < 4 && items == 1; i++)
        out[i] = out[0];
    return VKD_OK;
}

/* Their number, or a list of their names. */
static vkd_result read_classes(vkd__reader *r, const vkd__tree *list, vkd__data_options *o) {
    o->classes = vkd__tree_count(list);
    const char **names = VKD_NEW(r->arena, const char *, o->classes + 1);
    if (!names) return VKD_E_MEMORY;
    uint32_t i = 0;
    for (const vkd__tree *name = list->first; name; name = name->next) {
        if (name->kind != VKD__TREE_TEXT || !vkd__utf8_is_line(name->text))
            return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a class's name must be one line of text",
                             name->where);
        names[i++] = name->text;
    }
    if (o->classes < 2)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: 'classes' must name at least two", list->where);
    o->class_names = names;
    return VKD_OK;
}

/* The keys of every format. */
static vkd_result read_options(vkd__reader *r, const vkd__tree *map, vkd__data_options *o) {
    const vkd__tree *classes = vkd__tree_find(map, "classes");
    const bool named = classes && classes->kind == VKD__TREE_LIST;
    /* The field `classes` is the last. */
    vkd_result result =
        vkd__read_fields(r, map, vkd__data_fields, vkd__data_field_count - named, o);
    if (!result && named) result = read_classes(r, classes, o);
    return result;
}

vkd_result vkd__read_data(vkd__reader *r, const vkd__tree *root) {
    enum { OWN_KEYS = 3, MOST_KEYS = 16 };
    const char *keys[OWN_KEYS + MOST_KEYS + 1] = {"format", "mean", "std"};
    for (size_t i = 0; i < vkd__data_field_count && i < MOST_KEYS; i++)
        keys[OWN_KEYS + i] = vkd__data_fields[i].name;
    vkd__recipe_data *d = &r->recipe->data;
    const vkd__tree *map = NULL;
    const char *format = NULL;
    vkd_result result = vkd__read_child(r, root, "data", VKD__TREE_MAP, true, &map);
    if (!result) result = vkd__read_word(r, map, "data", "format", NULL, &format);
    if (result) return result;
    d->def = vkd__dataset_find(format);
    if (!d->def) {
        const char *names[32];
        size_t count = 0;
        for (; count < vkd__dataset_count && count < VKD_COUNT(names); count++)
            names[count] = vkd__datasets[count]->name;
        return vkd__read_no_such(r, map, "format", "data format", format, names, count);
    }
    uint32_t means = 0, stds = 0;
    result = vkd__read_part(r, map, "data", keys, format, d->def->fields, d->def->field_count,
                            d->def->config_size, &d->part);
    if (!result) result = read_options(r, map, &d->options);
    if (!result) result = read_channels(r, map, "mean", -1e9, 0, d->mean, &means);
    if (!result) result = read_channels(r, map, "std", 1e-9, 1, d->std, &stds);
    if (!result && means != stds && means > 1 && stds > 1)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: mean has %u values and std %u", map->where,
                           (unsigned)means, (unsigned)stds);
    d->channels = means > stds ? means : stds;
    return result;
}

/* ---- models ---- */

/* Keys of every model; its architecture has the rest. */
static const vkd__field model_fields[] = {
    {.name = "init_seed",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__recipe_model, init_seed),
     .low = 0,
     .high = 4294967295.0,
     .preset = "0",
     .help = "models of one architecture start equal; with another number here, from other values"},
    VKD__EMBEDDING_FIELDS(offsetof(vkd__recipe_model, embedding)),
};

vkd__table vkd__model_fields(void) {
    return (vkd__table){model_fields, VKD_COUNT(model_fields)};
}

static vkd_result read_model(vkd__reader *r, const vkd__tree *map, vkd__recipe_model *m) {
    static const char *const keys[] = {"arch",      "load",           "init_seed",
                                       "embedding", "embedding_unit", NULL};
    m->name = map->key;
    vkd_result result = vkd__read_name(r, map, "model", m->name);
    if (!result && !strcmp(m->name, "data"))
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a model cannot be called 'data'", map->where);
    if (!result && map->kind != VKD__TREE_MAP)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a model must be a map of keys and values",
                           map->where);
    if (result) return result;
    const char *what = vkd__arena_format(r->arena, "model '%s'", m->name);
    if (!what) return VKD_E_MEMORY;
    const char *arch = NULL;
    result = vkd__read_word(r, map, what, "arch", NULL, &arch);
    if (!result) result = vkd__read_word(r, map, what, "load", "", &m->load);
    if (result) return result;
    if (!*m->load) m->load = NULL;
    m->def = vkd__model_find(arch);
    if (!m->def) {
        const char *names[32];
        size_t count = 0;
        for (; count < vkd__model_count && count < VKD_COUNT(names); count++)
            names[count] = vkd__models[count]->name;
        return vkd__read_no_such(r, map, "arch", "architecture", arch, names, count);
    }
    result = vkd__read_fields(r, map, model_fields, VKD_COUNT(model_fields), m);
    if (!result)
        result = vkd__read_part(r, map, what, keys, arch, m->def->fields, m->def->field_count,
                                m->def->config_size, &m->part);
    what = vkd__arena_format(r->arena, "%s: model '%s'", map->where, m->name);
    if (!result && !what) result = VKD_E_MEMORY;
    return result ? result : vkd__model_check(r->ctx, m->def, what, m->part.config, NULL);
}

vkd_result vkd__read_models(vkd__reader *r, const vkd__tree *root) {
    const vkd__tree *map = NULL;
    vkd_result result = vkd__read_child(r, root, "models", VKD__TREE_MAP, true, &map);
    if (result) return result;
    const uint32_t count = vkd__tree_count(map);
    if (!count) return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: 'models' is empty", map->where);
    r->recipe->models = VKD_NEW(r->arena, vkd__recipe_model, count);
    if (!r->recipe->models) return VKD_E_MEMORY;
    for (const vkd__tree *m = map->first; m && !result; m = m->next)
        result = read_model(r, m, &r->recipe->models[r->recipe->model_count++]);
    return result;
}

uint32_t vkd__recipe_model_index(const vkd_recipe *recipe, const char *name) {
    for (uint32_t i = 0; i < recipe->model_count; i++)
        if (!strcmp(recipe->models[i].name, name)) return i;
    return VKD__NONE;
}

vkd_result vkd__read_model_name(vkd__reader *r, const vkd__tree *node, const char *key,
                                const char *name, uint32_t *out) {
    *out = vkd__recipe_model_index(r->recipe, name);
    if (*out != VKD__NONE) return VKD_OK;
    const char **names = VKD_NEW(r->arena, const char *, r->recipe->model_count);
    if (!names) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < r->recipe->model_count; i++)
        names[i] = r->recipe->models[i].name;
    return vkd__read_no_such(r, node, key, "model", name, names, r->recipe->model_count);
}

/* ---- evaluation ---- */

static const vkd__field evaluation_fields[] = {
    {.name = "batch",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__evaluation, batch),
     .low = 1,
     .high = 65535,
     .preset = "500",
     .help = "samples at a time"},
    {.name = "every_epochs",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__evaluation, every_epochs),
     .low = 0,
     .high = 1e9,
     .preset = "1",
     .help = "evaluate on the test split after every so many epochs; 0: only at the end"},
    {.name = "bias_search",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(vkd__evaluation, bias_search),
     .preset = "true",
     .help = "for a stage with omit_classes: also report the student with those classes' logits "
             "raised by what is best on the training split"},
};

vkd__table vkd__evaluation_fields(void) {
    return (vkd__table){evaluation_fields, VKD_COUNT(evaluation_fields)};
}

static vkd_result read_shifts(vkd__reader *r, const vkd__tree *map, vkd__evaluation *e) {
    static const vkd__field class_field = {
        .name = "class", .type = VKD__FIELD_U32, .low = 0, .high = 199999, .preset = "0"};
    const vkd__tree *shifts = NULL;
    vkd_result result = vkd__read_child(r, map, "bias_shift", VKD__TREE_MAP, false, &shifts);
    if (result || !shifts) return result;
    if (vkd__tree_count(shifts) > VKD__MAX_SHIFTS)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: at most %d shifts", shifts->where,
                         VKD__MAX_SHIFTS);
    for (const vkd__tree *s = shifts->first; s && !result; s = s->next) {
        vkd__shift *out = &e->shifts[e->shift_count++];
        result =
            vkd__fields_set(r->ctx, &class_field, 1, &out->class_index, s->where, "class", s->key);
        if (!result) result = vkd__read_number(r, shifts, s->key, -1000, 1000, 0, &out->value);
    }
    return result;
}

static const vkd__field retrieval_fields[] = {
    {.name = "classes",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(vkd__retrieval, classes),
     .low = 0,
     .high = 199999,
     .preset = "[]",
     .help = "classes whose test samples are looked for among themselves; []: all"},
};

vkd__table vkd__retrieval_fields(void) {
    return (vkd__table){retrieval_fields, VKD_COUNT(retrieval_fields)};
}

static vkd_result read_retrieval(vkd__reader *r, const vkd__tree *map, vkd__retrieval *out) {
    static const char *const keys[] = {"tap", NULL};
    const vkd__tree *child = NULL;
    vkd_result result = vkd__read_child(r, map, "retrieval", VKD__TREE_MAP, false, &child);
    if (result || !child) return result;
    result =
        vkd__read_keys(r, child, "retrieval", keys, retrieval_fields, VKD_COUNT(retrieval_fields));
    if (!result) result = vkd__read_word(r, child, "retrieval", "tap", NULL, &out->tap);
    if (!result)
        result = vkd__read_fields(r, child, retrieval_fields, VKD_COUNT(retrieval_fields), out);
    return result;
}

vkd_result vkd__read_evaluation(vkd__reader *r, const vkd__tree *root) {
    static const char *const keys[] = {"bias_shift", "ensembles", "retrieval", NULL};
    const vkd__tree *map = NULL;
    vkd__evaluation *e = &r->recipe->evaluation;
    vkd_result result = vkd__read_child(r, root, "evaluation", VKD__TREE_MAP, false, &map);
    if (!result && map)
        result = vkd__read_keys(r, map, "evaluation", keys, evaluation_fields,
                                VKD_COUNT(evaluation_fields));
    if (!result)
        result = vkd__read_fields(r, map, evaluation_fields, VKD_COUNT(evaluation_fields), e);
    if (!result && map) result = read_shifts(r, map, e);
    if (!result && map) result = read_retrieval(r, map, &e->retrieval);
    if (!result && map) result = vkd__read_ensembles(r, map);
    return result;
}
