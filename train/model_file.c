// SPDX-License-Identifier: Apache-2.0
/* A trained model as a file that other tools can read: one tensor a parameter or buffer, named
 * without the group ("fc0.weight"), convolutions in PyTorch's order (model_order.c); and as
 * metadata what is needed to run it: "arch", "config.<option>", "embedding" and "embedding_unit"
 * (where there is one), "classes", "class_names" (where there are any, one a line), "input" (axes
 * of a sample, channels last), "scale", "mean", "std" (of the normalisation). */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "train/model_file.h"
#include "train/model_order.h"
#include "train/session.h"

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
    for (size_t i = 0; m->embedding.width && i < vkd__embedding_field_count; i++) {
        vkd__fields_get(&vkd__embedding_fields[i], &m->embedding, &t);
        add_pair(p, vkd__embedding_fields[i].name, &t);
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
        if (!vkd__model_holds(&info, group, &rest)) continue;
        const size_t bytes = (size_t)vkd_shape_count(info.shape) * sizeof(float);
        float *stored = vkd__arena_alloc(arena, bytes, 1),
              *data = vkd__arena_alloc(arena, bytes, 1);
        if (!stored || !data) return VKD_E_MEMORY;
        const vkd_result r = vkd_store_read(s->store, info.name, stored, bytes);
        if (r) return r;
        vkd__model_to_file(info.shape, stored, data);
        tensors[(*count)++] =
            (vkd__st_tensor){rest, info.dtype, vkd__model_file_shape(info.shape), data, bytes};
    }
    return VKD_OK;
}

vkd_result vkd__model_save(vkd__session *s, const vkd__phase *p, const char *path, double seconds) {
    vkd__arena arena = {.ctx = s->ctx};
    vkd__st_tensor *tensors = VKD_NEW(&arena, vkd__st_tensor, vkd_store_count(s->store));
    pairs *metadata = VKD_NEW(&arena, pairs, 1);
    size_t count = 0;
    vkd_result r = path && tensors && metadata ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = collect(s, p->group, &arena, tensors, &count);
    if (!r) {
        metadata->arena = &arena;
        describe(s, p->model, metadata);
        if (isfinite(seconds)) {
            const float value = (float)seconds;
            vkd__text t = {.ctx = s->ctx};
            vkd__fields_get(&(vkd__field){.name = "seconds", .type = VKD__FIELD_F32}, &value, &t);
            add_pair(metadata, "seconds", &t);
        }
        r = metadata->failed
                ? VKD_E_MEMORY
                : vkd__st_write(s->ctx, path, tensors, count, metadata->pair, metadata->count);
    }
    vkd__arena_term(&arena);
    return r;
}
