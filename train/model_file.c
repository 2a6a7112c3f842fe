// SPDX-License-Identifier: Apache-2.0
/* A trained model as a file that other tools can read: one tensor a parameter or buffer, named
 * without the group ("fc0.weight"), and as metadata what is needed to run it: "arch",
 * "config.<option>", "classes", "class_names" (where there are any, one a line), "input" (axes of a
 * sample, channels last), "scale", "mean", "std" (of the normalisation). */
#include <stdio.h>
#include <string.h>

#include "train/model_file.h"
#include "train/session.h"

bool vkd__is_adapter(const char *rest) {
    return !strncmp(rest, "adapter.", sizeof "adapter." - 1);
}

static bool in_group(const vkd_store_info *info, const char *group, const char **rest) {
    const size_t length = strlen(group);
    if (!info->parameter && !info->buffer) return false;
    if (strncmp(info->name, group, length) != 0 || info->name[length] != '.') return false;
    *rest = info->name + length + 1;
    return !vkd__is_adapter(*rest);
}

static size_t bytes_of(const vkd_store_info *info) {
    return (size_t)vkd_shape_count(info->shape) * vkd_dtype_size(info->dtype);
}

/* ---- Saving ---- */

typedef struct pairs {
    vkd__arena *arena;
    vkd__st_pair pair[VKD__MODEL_PAIRS];
    size_t count;
    bool failed;
} pairs;

/* Takes the text over. */
static void add_pair(pairs *p, const char *key, vkd__text *value) {
    const char *kept_key = vkd__arena_format(p->arena, "%s", key);
    const char *kept = value->failed ? NULL : vkd__arena_format(p->arena, "%s", value->text);
    vkd__text_term(value);
    if (!kept_key || !kept || p->count == VKD__MODEL_PAIRS)
        p->failed = true;
    else
        p->pair[p->count++] = (vkd__st_pair){kept_key, kept};
}

static void add_channels(pairs *p, vkd_ctx *ctx, const char *key, const float *v, uint32_t count) {
    vkd__text t = {.ctx = ctx};
    const vkd__field field = {.name = key, .type = VKD__FIELD_F32};
    for (uint32_t i = 0; i < count; i++) {
        vkd__text_add(&t, "%s", i ? "," : "");
        vkd__fields_get(&field, &v[i], &t);
    }
    add_pair(p, key, &t);
}

static void describe(const vkd__session *s, const vkd__recipe_model *m, pairs *p) {
    vkd_ctx *ctx = s->ctx;
    vkd__text t = {.ctx = ctx};
    vkd__text_add(&t, "%s", VKD__MODEL_FORMAT);
    add_pair(p, "format", &t);
    vkd__text_add(&t, "%s", m->part.name);
    add_pair(p, "arch", &t);
    for (size_t i = 0; i < m->part.field_count; i++) {
        char key[128];
        snprintf(key, sizeof key, "config.%s", m->part.fields[i].name);
        vkd__fields_get(&m->part.fields[i], m->part.config, &t);
        add_pair(p, key, &t);
    }
    vkd__text_add(&t, "%u", (unsigned)s->data->classes);
    add_pair(p, "classes", &t);
    for (uint32_t i = 0; s->data->class_names && i < s->data->classes; i++)
        vkd__text_add(&t, "%s\n", s->data->class_names[i]);
    if (s->data->class_names) add_pair(p, "class_names", &t);
    vkd__u32s sample = {.count = s->data->sample.axes};
    memcpy(sample.v, s->data->sample.dim, sizeof s->data->sample.dim);
    vkd__fields_get(&(vkd__field){.name = "input", .type = VKD__FIELD_U32S}, &sample, &t);
    add_pair(p, "input", &t);
    add_channels(p, ctx, "scale", &s->batch.scale, 1);
    add_channels(p, ctx, "mean", s->batch.mean, s->batch.channels);
    add_channels(p, ctx, "std", s->batch.std, s->batch.channels);
}

static vkd_result collect(const vkd__session *s, const char *group, vkd__arena *arena,
                          vkd__st_tensor *tensors, size_t *count) {
    for (uint32_t i = 0; i < vkd_store_count(s->store); i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        const char *rest = NULL;
        if (!in_group(&info, group, &rest)) continue;
        const size_t bytes = bytes_of(&info);
        void *data = vkd__arena_alloc(arena, bytes, 1);
        if (!data) return VKD_E_MEMORY;
        const vkd_result r = vkd_store_read(s->store, info.name, data, bytes);
        if (r) return r;
        tensors[(*count)++] = (vkd__st_tensor){rest, info.dtype, info.shape, data, bytes};
    }
    return VKD_OK;
}

vkd_result vkd__model_save(vkd__session *s, const vkd__phase *p) {
    const char *path = vkd__session_path(s, p->group, ".safetensors");
    vkd__arena arena = {.ctx = s->ctx};
    vkd__st_tensor *tensors = VKD_NEW(&arena, vkd__st_tensor, vkd_store_count(s->store));
    pairs *metadata = VKD_NEW(&arena, pairs, 1);
    size_t count = 0;
    vkd_result r = path && tensors && metadata ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = collect(s, p->group, &arena, tensors, &count);
    if (!r) {
        metadata->arena = &arena;
        describe(s, p->model, metadata);
        r = metadata->failed
                ? VKD_E_MEMORY
                : vkd__st_write(s->ctx, path, tensors, count, metadata->pair, metadata->count);
    }
    vkd__arena_term(&arena);
    return r;
}

/* ---- Loading ---- */

static vkd_result load_one(vkd_ctx *ctx, vkd_store *store, const vkd_store_info *info,
                           const char *rest, const char *path, const vkd__st_file *file) {
    const vkd__st_tensor *t = vkd__st_find(file, rest);
    if (!t)
        return vkd__fail(ctx, VKD_E_SHAPE, "'%s' has no tensor '%s': it is another architecture",
                         path, rest);
    if (t->dtype != info->dtype || t->bytes != bytes_of(info) ||
        t->shape.axes != info->shape.axes ||
        memcmp(t->shape.dim, info->shape.dim, t->shape.axes * sizeof t->shape.dim[0]) != 0)
        return vkd__fail(ctx, VKD_E_SHAPE,
                         "'%s': '%s' has %llu values in the file and %llu in the model, or another "
                         "shape; give the model the options that the file was trained with",
                         path, rest, (unsigned long long)vkd_shape_count(t->shape),
                         (unsigned long long)vkd_shape_count(info->shape));
    return vkd_store_write(store, info->name, t->data, t->bytes);
}

vkd_result vkd__model_load(vkd_ctx *ctx, vkd_store *store, const char *group, const char *path,
                           uint32_t classes, char *const *class_names) {
    char **own_names = NULL;
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(ctx, path, &file);
    if (r) return r;
    r = vkd__model_check_layout(ctx, path, file);
    char wanted[16];
    snprintf(wanted, sizeof wanted, "%u", (unsigned)classes);
    const char *there = vkd__st_metadata(file, "classes");
    if (!r && there && strcmp(there, wanted) != 0)
        r = vkd__fail(ctx, VKD_E_SHAPE, "'%s' tells %.16s classes apart, the data has %s", path,
                      there, wanted);
    if (!r) r = vkd__class_names_read(ctx, file, path, classes, &own_names);
    if (!r) r = vkd__class_names_agree(ctx, path, own_names, class_names, classes);
    vkd__class_names_free(ctx, own_names, classes);
    size_t count = 0;
    for (uint32_t i = 0; i < vkd_store_count(store) && !r; i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        const char *rest = NULL;
        if (!in_group(&info, group, &rest)) continue;
        r = load_one(ctx, store, &info, rest, path, file);
        count++;
    }
    if (!r && count != vkd__st_count(file))
        r = vkd__fail(ctx, VKD_E_SHAPE, "'%s' has %zu tensors, the model '%s' has %zu", path,
                      vkd__st_count(file), group, count);
    vkd__st_close(file);
    return r;
}
