// SPDX-License-Identifier: Apache-2.0
/* The metadata that vkd__model_save wrote, read by the same tables of fields. */
#include <stdio.h>
#include <string.h>

#include "train/model_file.h"

typedef struct source {
    vkd_ctx *ctx;
    const vkd__st_file *file;
    const char *path;
} source;

static vkd_result text_of(const source *s, const char *key, const char **out) {
    *out = vkd__st_metadata(s->file, key);
    if (*out) return VKD_OK;
    return vkd__fail(s->ctx, VKD_E_FORMAT,
                     "'%s' is not a model that this program saved: its metadata has no '%s'",
                     s->path, key);
}

/* A number or list that stands alone; the field's name is the key. */
static vkd_result value_of(const source *s, const vkd__field *field, void *out) {
    const char *text = NULL;
    vkd_result r = text_of(s, field->name, &text);
    if (!r) r = vkd__fields_set(s->ctx, field, 1, out, s->path, field->name, text);
    return r ? VKD_E_FORMAT : VKD_OK;
}

/* "0.5,0.25": one number a channel. */
static vkd_result channels_of(const source *s, const char *key, float *out, uint32_t *count) {
    const vkd__field field = {.name = key, .type = VKD__FIELD_F32, .preset = "0"};
    const char *text = NULL;
    vkd_result r = text_of(s, key, &text);
    for (*count = 0; !r && *text; ++*count) {
        char part[32];
        const size_t length = strcspn(text, ",");
        if (length >= sizeof part || *count == 4)
            return vkd__fail(s->ctx, VKD_E_FORMAT, "'%s': metadata '%s' is not 1 to 4 numbers",
                             s->path, key);
        snprintf(part, sizeof part, "%.*s", (int)length, text);
        r = vkd__fields_set(s->ctx, &field, 1, &out[*count], s->path, key, part);
        text += length;
        if (*text) text++;
    }
    return r ? VKD_E_FORMAT : VKD_OK;
}

static vkd_result read_config(const source *s, vkd__saved_model *out) {
    const vkd__model_def *d = out->def;
    vkd_result r = VKD_OK;
    vkd__fields_init(d->fields, d->field_count, out->config);
    for (size_t i = 0; i < d->field_count && !r; i++) {
        char key[128];
        const char *text = NULL;
        snprintf(key, sizeof key, "config.%s", d->fields[i].name);
        r = text_of(s, key, &text);
        if (!r)
            r = vkd__fields_set(s->ctx, d->fields, d->field_count, out->config, s->path,
                                d->fields[i].name, text);
    }
    return r ? VKD_E_FORMAT : VKD_OK;
}

/* A model without an embedding does not speak of it. */
static vkd_result read_embedding(const source *s, vkd__embedding *out) {
    vkd_result r = VKD_OK;
    vkd__fields_init(vkd__embedding_fields, vkd__embedding_field_count, out);
    if (!vkd__st_metadata(s->file, "embedding")) return VKD_OK;
    for (size_t i = 0; i < vkd__embedding_field_count && !r; i++) {
        const char *key = vkd__embedding_fields[i].name, *text = NULL;
        r = text_of(s, key, &text);
        if (!r)
            r = vkd__fields_set(s->ctx, vkd__embedding_fields, vkd__embedding_field_count, out,
                                s->path, key, text);
    }
    return r ? VKD_E_FORMAT : VKD_OK;
}

static bool is_of_version_1(const vkd__st_file *file) {
    const char *format = vkd__st_metadata(file, "format");
    return format && !strcmp(format, VKD__MODEL_FORMAT_PLANES);
}

vkd_result vkd__model_check_layout(vkd_ctx *ctx, const char *path, const vkd__st_file *file) {
    const char *format = vkd__st_metadata(file, "format");
    if (!format || !strcmp(format, VKD__MODEL_FORMAT)) return VKD_OK;
    if (!is_of_version_1(file))
        return vkd__fail(ctx, VKD_E_FORMAT, "'%s' is of format '%.60s', this program reads '%s'",
                         path, format, VKD__MODEL_FORMAT);
    const char *input = vkd__st_metadata(file, "input");
    uint32_t commas = 0;
    for (; input && *input; input++)
        commas += *input == ',';
    if (commas < 2) return VKD_OK; /* one plane has the same layout as one channel */
    return vkd__fail(ctx, VKD_E_FORMAT,
                     "'%s' was trained when the channels of an image were planes, (C, H, W); they "
                     "are last now, (H, W, C): train it again",
                     path);
}

static vkd_result read_sample(const source *s, vkd__saved_model *out) {
    const vkd__field field = {
        .name = "input", .type = VKD__FIELD_U32S, .low = 1, .high = 1 << 20, .preset = "[]"};
    vkd__u32s sample = {0};
    vkd_result r = value_of(s, &field, &sample);
    if (!r && (!sample.count || sample.count >= VKD_MAX_AXES))
        r = vkd__fail(s->ctx, VKD_E_FORMAT, "'%s': an input of %u axes", s->path,
                      (unsigned)sample.count);
    if (!r && sample.count == 2 && is_of_version_1(s->file)) sample.v[sample.count++] = 1;
    if (!r) out->sample = vkd_shape_make(sample.count, sample.v);
    if (!r && vkd_shape_count(out->sample) > UINT32_MAX)
        r = vkd__fail(s->ctx, VKD_E_FORMAT, "'%s': its input is too large", s->path);
    return r;
}

static vkd_result read_model(const source *s, vkd__saved_model *out) {
    static const vkd__field classes = {
        .name = "classes", .type = VKD__FIELD_U32, .low = 2, .high = 200000, .preset = "2"};
    static const vkd__field scale = {
        .name = "scale", .type = VKD__FIELD_F32, .low = -1e9, .high = 1e9, .preset = "1"};
    const char *arch = NULL;
    uint32_t means = 0, stds = 0;
    vkd_result r = text_of(s, "arch", &arch);
    if (r) return r;
    out->def = vkd__model_find(arch);
    if (!out->def)
        return vkd__fail(s->ctx, VKD_E_FORMAT, "'%s': there is no architecture '%.60s'", s->path,
                         arch);
    out->config = vkd__alloc(s->ctx, 1, out->def->config_size + 1);
    if (!out->config) return VKD_E_MEMORY;
    r = read_config(s, out);
    if (!r) r = read_embedding(s, &out->embedding);
    if (!r) r = value_of(s, &classes, &out->classes);
    if (!r) r = vkd__class_names_read(s->ctx, s->file, s->path, out->classes, &out->class_names);
    if (!r) r = read_sample(s, out);
    if (!r) r = value_of(s, &scale, &out->batch.scale);
    if (!r) r = channels_of(s, "mean", out->batch.mean, &means);
    if (!r) r = channels_of(s, "std", out->batch.std, &stds);
    if (!r && (means != stds || !means))
        r = vkd__fail(s->ctx, VKD_E_FORMAT, "'%s': mean has %u values, std %u", s->path,
                      (unsigned)means, (unsigned)stds);
    out->batch.channels = means;
    if (!r) {
        char what[256];
        snprintf(what, sizeof what, "'%.200s'", s->path);
        r = vkd__model_check(s->ctx, out->def, what, out->config, &out->sample);
        if (r == VKD_E_RECIPE) r = VKD_E_FORMAT;
    }
    return r;
}

vkd_result vkd__saved_model_open(vkd_ctx *ctx, const char *path, vkd__saved_model *out) {
    *out = (vkd__saved_model){0};
    vkd__st_file *file = NULL;
    vkd_result r = vkd__st_open(ctx, path, &file);
    if (r) return r;
    const source s = {ctx, file, path};
    r = vkd__model_check_layout(ctx, path, file);
    if (!r) r = read_model(&s, out);
    vkd__st_close(file);
    if (r) vkd__saved_model_term(ctx, out);
    return r;
}

void vkd__saved_model_term(vkd_ctx *ctx, vkd__saved_model *m) {
    vkd__free(ctx, m->config);
    vkd__class_names_free(ctx, m->class_names, m->classes);
    *m = (vkd__saved_model){0};
}
