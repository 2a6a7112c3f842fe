// SPDX-License-Identifier: Apache-2.0
#include "train/teacher_cache.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/half.h"
#include "train/model_order.h"

#define FORMAT "vkdistill teacher cache 1"

/* ---- Hashes ---- */

vkd_result vkd__teacher_hash(vkd_ctx *ctx, vkd_store *store, const char *group, uint64_t *out) {
    const size_t length = strlen(group);
    *out = VKD__HASH_SEED;
    for (uint32_t i = 0; i < vkd_store_count(store); i++) {
        const vkd_store_info info = vkd_store_at(store, i);
        if (!info.parameter && !info.buffer) continue;
        if (strncmp(info.name, group, length) || info.name[length] != '.') continue;
        if (vkd__is_adapter(info.name + length + 1)) continue; /* of losses that taught it */
        const size_t bytes = (size_t)vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype);
        void *values = vkd__alloc(ctx, bytes, 1);
        if (!values) return VKD_E_MEMORY;
        const vkd_result r = vkd_store_read(store, info.name, values, bytes);
        *out = vkd__hash(*out, info.name + length, strlen(info.name + length));
        *out = vkd__hash(*out, info.shape.dim, info.shape.axes * sizeof info.shape.dim[0]);
        *out = vkd__hash(*out, values, bytes);
        vkd__free(ctx, values);
        if (r) return r;
    }
    return VKD_OK;
}

uint64_t vkd__data_hash(const vkd__dataset *data, const vkd_batch_desc *batch) {
    const uint32_t counts[] = {data->train.count, data->classes, batch->channels};
    const size_t sample = (size_t)vkd_shape_count(data->sample);
    uint64_t hash = vkd__hash(VKD__HASH_SEED, counts, sizeof counts);
    hash = vkd__hash(hash, data->sample.dim, data->sample.axes * sizeof data->sample.dim[0]);
    hash = vkd__hash(hash, data->train.bytes, data->train.count * sample);
    hash = vkd__hash(hash, data->train.labels, data->train.count * sizeof *data->train.labels);
    hash = vkd__hash(hash, &batch->scale, sizeof batch->scale);
    hash = vkd__hash(hash, batch->mean, batch->channels * sizeof batch->mean[0]);
    return vkd__hash(hash, batch->std, batch->channels * sizeof batch->std[0]);
}

/* ---- The top k ---- */

/* Index of the largest logit that comes after (logit, index) in falling order; classes: none. */
static uint32_t next(const float *logits, uint32_t classes, float logit, uint32_t index) {
    uint32_t best = classes;
    for (uint32_t v = 0; v < classes; v++) {
        const bool later = logits[v] < logit || (logits[v] == logit && v > index);
        if (later && (best == classes || logits[v] > logits[best])) best = v;
    }
    return best;
}

void vkd__teacher_cache_pack(const float *logits, uint32_t classes, uint32_t k, float temperature,
                             float *packed) {
    const double tau = (double)temperature;
    double most = -INFINITY, all = 0, rest = 0;
    for (uint32_t v = 0; v < classes; v++)
        most = fmax(most, (double)logits[v]);
    /* A row without a class left: nothing has any probability. */
    if (most == -INFINITY) most = 0;
    for (uint32_t v = 0; v < classes; v++)
        all += exp(((double)logits[v] - most) / tau);
    if (all == 0) all = 1;
    float logit = INFINITY;
    uint32_t index = 0;
    for (uint32_t j = 0; j < k; j++) {
        index = next(logits, classes, logit, index);
        logit = logits[index];
        packed[j] = (float)(((double)logit - most) / tau - log(all));
        packed[k + 1 + j] = (float)index;
    }
    /* Added up anew: what subtracting the k from the sum would leave is mostly rounding. */
    for (uint32_t v = 0; v < classes; v++)
        if (logits[v] < logit || (logits[v] == logit && v > index))
            rest += exp(((double)logits[v] - most) / tau);
    packed[k] = (float)log(rest / all);
}

/* ---- Writing ---- */

static vkd_result to_half(vkd_ctx *ctx, const vkd__teacher_cache_tensor *t, uint16_t *out) {
    const size_t count = (size_t)vkd_shape_count(t->shape);
    for (size_t i = 0; i < count; i++) {
        out[i] = vkd__f16_from(t->values[i]);
        if (isfinite(t->values[i]) && !isfinite(vkd__f16_to(out[i])))
            return vkd__fail(ctx, VKD_E_DATA,
                             "'%s' of sample %zu is %g, more than f16 holds; keep the cache in f32",
                             t->name, i / (count / t->shape.dim[0]), (double)t->values[i]);
    }
    return VKD_OK;
}

/* The tensor as it stands in the file; what it needs besides is in the arena. */
static vkd_result make_tensor(vkd__arena *arena, const vkd__teacher_cache_info *info,
                              const vkd__teacher_cache_tensor *t, bool logits, vkd_dtype dtype,
                              vkd__st_tensor *out) {
    const size_t count = (size_t)vkd_shape_count(t->shape);
    *out = (vkd__st_tensor){t->name, VKD_F32, t->shape, t->values, count * sizeof(float)};
    if (logits && info->k) {
        const uint32_t width = 2 * info->k + 1;
        float *packed = VKD_NEW(arena, float, (size_t)info->samples *width);
        if (!packed) return VKD_E_MEMORY;
        for (size_t n = 0; n < info->samples; n++)
            vkd__teacher_cache_pack(t->values + n * info->classes, info->classes, info->k,
                                    info->temperature, packed + n * width);
        *out = (vkd__st_tensor){"top", VKD_F32, VKD_SHAPE(info->samples, width), packed,
                                (size_t)info->samples * width * sizeof(float)};
        return VKD_OK;
    }
    if (!logits) out->name = vkd__arena_format(arena, "tap.%s", t->name);
    if (!out->name) return VKD_E_MEMORY;
    if (dtype == VKD_F32) return VKD_OK;
    uint16_t *half = VKD_NEW(arena, uint16_t, count);
    if (!half) return VKD_E_MEMORY;
    out->dtype = VKD_F16;
    out->data = half;
    out->bytes = count * sizeof *half;
    return to_half(arena->ctx, t, half);
}

vkd_result vkd__teacher_cache_write(vkd_ctx *ctx, const char *path,
                                    const vkd__teacher_cache_info *info,
                                    const vkd__teacher_cache_tensor *tensors, uint32_t count,
                                    vkd_dtype dtype) {
    vkd__arena arena = {.ctx = ctx};
    vkd__st_tensor *out = VKD_NEW(&arena, vkd__st_tensor, count);
    const vkd__st_pair pairs[] = {
        {"format", FORMAT},
        {"teacher", info->teacher},
        {"teacher_hash",
         vkd__arena_format(&arena, "%016llx", (unsigned long long)info->teacher_hash)},
        {"data_hash", vkd__arena_format(&arena, "%016llx", (unsigned long long)info->data_hash)},
        {"augment", info->augment},
        {"samples", vkd__arena_format(&arena, "%u", (unsigned)info->samples)},
        {"classes", vkd__arena_format(&arena, "%u", (unsigned)info->classes)},
        {"k", vkd__arena_format(&arena, "%u", (unsigned)info->k)},
        {"temperature", vkd__arena_format(&arena, "%.9g", (double)info->temperature)},
        {"batch", vkd__arena_format(&arena, "%u", (unsigned)info->batch)},
        {"device", info->device},
    };
    vkd_result r = out ? VKD_OK : VKD_E_MEMORY;
    for (size_t i = 0; i < VKD_COUNT(pairs) && !r; i++)
        if (!pairs[i].value) r = VKD_E_MEMORY;
    for (uint32_t i = 0; i < count && !r; i++)
        r = make_tensor(&arena, info, &tensors[i], i == 0, dtype, &out[i]);
    if (!r) r = vkd__st_write(ctx, path, out, count, pairs, VKD_COUNT(pairs));
    vkd__arena_term(&arena);
    return r;
}

/* ---- Reading ---- */

static vkd_result bad(vkd_ctx *ctx, const vkd__teacher_cache *c, const char *key) {
    return vkd__fail(ctx, VKD_E_FORMAT,
                     "'%s' is no cache of a teacher's outputs, or a damaged one: '%s' is missing "
                     "or makes no sense; `vkdistill cache build` makes one",
                     c->path, key);
}

/* A whole number in the base that stands alone in the text. */
static bool read_number(const char *text, int base, uint64_t most, uint64_t *out) {
    char *end = NULL;
    if (!text || !*text || strspn(text, "0123456789abcdef") != strlen(text)) return false;
    errno = 0;
    *out = strtoull(text, &end, base);
    return !errno && !*end && *out <= most;
}

static vkd_result read_u32(vkd_ctx *ctx, const vkd__teacher_cache *c, const char *key,
                           uint32_t *out) {
    uint64_t value = 0;
    if (!read_number(vkd__st_metadata(c->file, key), 10, UINT32_MAX, &value))
        return bad(ctx, c, key);
    *out = (uint32_t)value;
    return VKD_OK;
}

static vkd_result read_hash(vkd_ctx *ctx, const vkd__teacher_cache *c, const char *key,
                            uint64_t *out) {
    return read_number(vkd__st_metadata(c->file, key), 16, UINT64_MAX, out) ? VKD_OK
                                                                            : bad(ctx, c, key);
}

static vkd_result read_text(vkd_ctx *ctx, const vkd__teacher_cache *c, const char *key,
                            const char **out) {
    *out = vkd__st_metadata(c->file, key);
    return *out ? VKD_OK : bad(ctx, c, key);
}

static vkd_result read_temperature(vkd_ctx *ctx, vkd__teacher_cache *c) {
    static const vkd__field field = {
        .name = "temperature", .type = VKD__FIELD_F32, .low = 1e-3, .high = 1e6, .preset = "1"};
    const char *text = vkd__st_metadata(c->file, "temperature");
    if (!text ||
        vkd__fields_set(ctx, &field, 1, &c->info.temperature, c->path, "temperature", text))
        return bad(ctx, c, "temperature");
    return VKD_OK;
}

static vkd_result read_info(vkd_ctx *ctx, vkd__teacher_cache *c) {
    vkd__teacher_cache_info *i = &c->info;
    const char *format = vkd__st_metadata(c->file, "format");
    if (!format || strcmp(format, FORMAT)) return bad(ctx, c, "format");
    vkd_result r = read_text(ctx, c, "teacher", &i->teacher);
    if (!r) r = read_hash(ctx, c, "teacher_hash", &i->teacher_hash);
    if (!r) r = read_hash(ctx, c, "data_hash", &i->data_hash);
    if (!r) r = read_text(ctx, c, "augment", &i->augment);
    if (!r) r = read_u32(ctx, c, "samples", &i->samples);
    if (!r) r = read_u32(ctx, c, "classes", &i->classes);
    if (!r) r = read_u32(ctx, c, "k", &i->k);
    if (!r) r = read_temperature(ctx, c);
    if (!r) r = read_u32(ctx, c, "batch", &i->batch);
    if (!r) r = read_text(ctx, c, "device", &i->device);
    if (!r && (i->k > VKD__TEACHER_CACHE_MOST_K || i->k > i->classes)) r = bad(ctx, c, "k");
    if (!r && !i->samples) r = bad(ctx, c, "samples");
    return r;
}

static bool is_shape(const vkd__st_tensor *t, uint32_t rows, uint32_t columns) {
    return t && t->shape.axes == 2 && t->shape.dim[0] == rows && t->shape.dim[1] == columns;
}

static vkd_result check_tensors(vkd_ctx *ctx, const vkd__teacher_cache *c) {
    const vkd__teacher_cache_info *i = &c->info;
    const vkd__st_tensor *logits = vkd__teacher_cache_logits(c);
    if (!is_shape(logits, i->samples, i->k ? 2 * i->k + 1 : i->classes))
        return bad(ctx, c, i->k ? "top" : "logits");
    for (size_t n = 0; n < vkd__st_count(c->file); n++) {
        const vkd__st_tensor *t = vkd__st_at(c->file, n);
        const bool tap = !strncmp(t->name, "tap.", 4);
        if ((t != logits && !tap) || (t->dtype != VKD_F32 && t->dtype != VKD_F16) ||
            !t->shape.axes || t->shape.dim[0] != i->samples || !t->bytes)
            return bad(ctx, c, t->name);
    }
    return VKD_OK;
}

vkd_result vkd__teacher_cache_open(vkd_ctx *ctx, const char *path, vkd__teacher_cache *out) {
    *out = (vkd__teacher_cache){.path = path};
    vkd_result r = vkd__st_open(ctx, path, &out->file);
    if (!r) r = read_info(ctx, out);
    if (!r) r = check_tensors(ctx, out);
    if (r) vkd__teacher_cache_close(out);
    return r;
}

void vkd__teacher_cache_close(vkd__teacher_cache *c) {
    vkd__st_close(c->file);
    *c = (vkd__teacher_cache){0};
}

const vkd__st_tensor *vkd__teacher_cache_logits(const vkd__teacher_cache *c) {
    return vkd__st_find(c->file, c->info.k ? "top" : "logits");
}

const vkd__st_tensor *vkd__teacher_cache_tap(const vkd__teacher_cache *c, const char *tap) {
    for (size_t n = 0; n < vkd__st_count(c->file); n++) {
        const vkd__st_tensor *t = vkd__st_at(c->file, n);
        if (!strncmp(t->name, "tap.", 4) && !strcmp(t->name + 4, tap)) return t;
    }
    return NULL;
}

void vkd__teacher_cache_read(const vkd__st_tensor *t, size_t first, size_t count, float *out) {
    if (t->dtype == VKD_F32) {
        memcpy(out, (const uint8_t *)t->data + first * sizeof *out, count * sizeof *out);
        return;
    }
    const uint8_t *bytes = (const uint8_t *)t->data + first * sizeof(uint16_t);
    for (size_t i = 0; i < count; i++)
        out[i] = vkd__f16_to((uint16_t)(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

/* ---- What it was made for ---- */

static void differ(vkd__text *t, const char *what, const char *has, const char *needs) {
    vkd__text_add(t, "%s%s %s where this needs %s", t->length ? "; " : "", what, has, needs);
}

static void differ_hash(vkd__text *t, const char *what, uint64_t has, uint64_t needs) {
    char a[20], b[20];
    snprintf(a, sizeof a, "%016llx", (unsigned long long)has);
    snprintf(b, sizeof b, "%016llx", (unsigned long long)needs);
    if (needs && has != needs) differ(t, what, a, b);
}

static void differ_number(vkd__text *t, const char *what, double has, double needs) {
    char a[32], b[32];
    snprintf(a, sizeof a, "%g", has);
    snprintf(b, sizeof b, "%g", needs);
    if (has != needs) differ(t, what, a, b);
}

vkd_result vkd__teacher_cache_expect(vkd_ctx *ctx, const vkd__teacher_cache *c,
                                     const vkd__teacher_cache_info *need) {
    const vkd__teacher_cache_info *has = &c->info;
    vkd__text t = {.ctx = ctx};
    differ_hash(&t, "the hash of the teacher's parameters is", has->teacher_hash,
                need->teacher_hash);
    differ_hash(&t, "the hash of the data is", has->data_hash, need->data_hash);
    if (need->augment && strcmp(has->augment, need->augment) != 0)
        differ(&t, "the augmentation is", has->augment, need->augment);
    if (need->samples) differ_number(&t, "samples:", has->samples, need->samples);
    if (need->classes) differ_number(&t, "classes:", has->classes, need->classes);
    differ_number(&t, "classes kept of each sample (k, 0 for all):", has->k, need->k);
    if (need->temperature > 0 && has->k)
        differ_number(&t, "the temperature of the kept probabilities is", (double)has->temperature,
                      (double)need->temperature);
    vkd_result r = t.failed ? VKD_E_MEMORY : VKD_OK;
    if (!r && t.length)
        r = vkd__fail(ctx, VKD_E_DATA,
                      "'%s' was made for something else: %s; make it again with `vkdistill cache "
                      "build`",
                      c->path, t.text);
    vkd__text_term(&t);
    return r;
}
