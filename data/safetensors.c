// SPDX-License-Identifier: Apache-2.0
/* Reading. The header is parsed by jansson, which checks UTF-8, refuses duplicate keys and nests at
 * most 2048 deep; all that a well-formed header may still lie about is checked here. */
#include "data/safetensors.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"

struct vkd__st_file {
    vkd_ctx *ctx;
    vkd__mapping mapping; /* empty when the bytes are the caller's */
    json_t *header;       /* owns names and metadata */
    vkd__st_tensor *tensors;
    const vkd__st_tensor **sorted; /* by name */
    size_t count;
};

/* One parse: what messages and checks need. */
typedef struct parse {
    vkd_ctx *ctx;
    const char *file;
    const uint8_t *data; /* after the header */
    uint64_t data_size;
} parse;

#define REFUSE(p, ...) vkd__fail((p)->ctx, VKD_E_FORMAT, __VA_ARGS__)

/* What the format knows, with the bytes of one value. */
typedef struct dtype {
    const char *name;
    vkd_dtype dtype;
    uint32_t size;
} dtype;
static const dtype dtypes[] = {
    {"F32", VKD_F32, 4},        {"I32", VKD_I32, 4},           {"U8", VKD_U8, 1},
    {"F64", VKD__ST_OTHER, 8},  {"F16", VKD_F16, 2},           {"BF16", VKD_BF16, 2},
    {"I64", VKD__ST_OTHER, 8},  {"U64", VKD__ST_OTHER, 8},     {"U32", VKD__ST_OTHER, 4},
    {"I16", VKD__ST_OTHER, 2},  {"U16", VKD__ST_OTHER, 2},     {"I8", VKD__ST_OTHER, 1},
    {"BOOL", VKD__ST_OTHER, 1}, {"F8_E4M3", VKD__ST_OTHER, 1}, {"F8_E5M2", VKD__ST_OTHER, 1},
};

static vkd_result read_dtype(const parse *p, const json_t *entry, vkd__st_tensor *t,
                             uint32_t *size) {
    const char *name = json_string_value(json_object_get(entry, "dtype"));
    if (!name) return REFUSE(p, "'%s': tensor '%.200s' has no dtype", p->file, t->name);
    for (size_t i = 0; i < VKD_COUNT(dtypes); i++) {
        if (strcmp(name, dtypes[i].name)) continue;
        t->dtype = dtypes[i].dtype;
        *size = dtypes[i].size;
        return VKD_OK;
    }
    return REFUSE(p, "'%s': tensor '%.200s' is of the unknown dtype %.20s", p->file, t->name, name);
}

/* A JSON whole number of at least 0, and nothing else. */
static bool read_whole(const json_t *value, uint64_t *out) {
    if (!json_is_integer(value) || json_integer_value(value) < 0) return false;
    *out = (uint64_t)json_integer_value(value);
    return true;
}

/* The shape, and from it the bytes there must be. */
static vkd_result read_shape(const parse *p, const json_t *entry, uint32_t size,
                             vkd__st_tensor *t) {
    const json_t *shape = json_object_get(entry, "shape");
    if (!json_is_array(shape))
        return REFUSE(p, "'%s': tensor '%.200s' has no shape", p->file, t->name);
    const size_t axes = json_array_size(shape);
    if (axes > VKD_MAX_AXES)
        return REFUSE(p, "'%s': tensor '%.200s' has %zu axes, at most %d are read", p->file,
                      t->name, axes, VKD_MAX_AXES);
    const uint64_t limit = SIZE_MAX / 8;
    uint64_t count = 1;
    bool empty = false, over = false;
    t->shape.axes = (uint32_t)axes;
    for (size_t i = 0; i < axes; i++) {
        uint64_t dim;
        if (!read_whole(json_array_get(shape, i), &dim) || dim > UINT32_MAX)
            return REFUSE(p, "'%s': tensor '%.200s': dimension %zu must be from 0 to %u", p->file,
                          t->name, i, UINT32_MAX);
        t->shape.dim[i] = (uint32_t)dim;
        if (!dim)
            empty = true;
        else if (count > limit / dim)
            over = true;
        else
            count *= dim;
    }
    if (over && !empty) return REFUSE(p, "'%s': tensor '%.200s' is too large", p->file, t->name);
    t->bytes = empty ? 0 : (size_t)count * size;
    return VKD_OK;
}

static vkd_result read_offsets(const parse *p, const json_t *entry, vkd__st_tensor *t) {
    const json_t *offsets = json_object_get(entry, "data_offsets");
    uint64_t begin, end;
    if (json_array_size(offsets) != 2 || !read_whole(json_array_get(offsets, 0), &begin) ||
        !read_whole(json_array_get(offsets, 1), &end))
        return REFUSE(p, "'%s': tensor '%.200s' has no data_offsets [begin, end]", p->file,
                      t->name);
    if (begin > end || end > p->data_size)
        return REFUSE(p, "'%s': tensor '%.200s' is at [%llu, %llu], outside the %llu bytes of data",
                      p->file, t->name, (unsigned long long)begin, (unsigned long long)end,
                      (unsigned long long)p->data_size);
    if (end - begin != t->bytes)
        return REFUSE(p, "'%s': tensor '%.200s' has %llu bytes, its shape and dtype need %zu",
                      p->file, t->name, (unsigned long long)(end - begin), t->bytes);
    t->data = p->data + begin;
    return VKD_OK;
}

static vkd_result read_metadata(const parse *p, json_t *metadata) {
    if (!json_is_object(metadata))
        return REFUSE(p, "'%s': __metadata__ must map texts to texts", p->file);
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value))
            return REFUSE(p, "'%s': __metadata__ '%.200s' must be a text", p->file, key);
    }
    return VKD_OK;
}

static vkd_result read_entries(const parse *p, vkd__st_file *f) {
    const char *name;
    json_t *entry;
    const size_t most = json_object_size(f->header);
    f->tensors = vkd__alloc(p->ctx, most, sizeof *f->tensors);
    if (!f->tensors) return VKD_E_MEMORY;
    json_object_foreach(f->header, name, entry) {
        vkd_result r;
        if (!strcmp(name, "__metadata__")) {
            r = read_metadata(p, entry);
            if (r) return r;
            continue;
        }
        vkd__st_tensor *t = &f->tensors[f->count++];
        t->name = name;
        uint32_t size = 0;
        r = read_dtype(p, entry, t, &size);
        if (!r) r = read_shape(p, entry, size, t);
        if (!r) r = read_offsets(p, entry, t);
        if (r) return r;
    }
    return VKD_OK;
}

static int by_place(const void *a, const void *b) {
    const vkd__st_tensor *x = *(const vkd__st_tensor *const *)a;
    const vkd__st_tensor *y = *(const vkd__st_tensor *const *)b;
    const uint8_t *px = x->data, *py = y->data;
    if (px != py) return px < py ? -1 : 1;
    if (x->bytes != y->bytes) return x->bytes < y->bytes ? -1 : 1; /* empty ones first */
    return strcmp(x->name, y->name);
}

static int by_name(const void *a, const void *b) {
    return strcmp((*(const vkd__st_tensor *const *)a)->name,
                  (*(const vkd__st_tensor *const *)b)->name);
}

/* In order of place each tensor must begin where the one before ended: then nothing overlaps and no
 * byte is left over. */
static vkd_result check_places(const parse *p, vkd__st_file *f) {
    f->sorted = vkd__alloc(p->ctx, f->count, sizeof *f->sorted);
    if (!f->sorted) return VKD_E_MEMORY;
    for (size_t i = 0; i < f->count; i++)
        f->sorted[i] = &f->tensors[i];
    qsort(f->sorted, f->count, sizeof *f->sorted, by_place);
    const uint8_t *end = p->data;
    for (size_t i = 0; i < f->count; i++) {
        const vkd__st_tensor *t = f->sorted[i];
        const uint8_t *begin = t->data;
        if (begin < end)
            return REFUSE(p, "'%s': tensors '%.200s' and '%.200s' overlap", p->file,
                          f->sorted[i - 1]->name, t->name);
        if (begin > end)
            return REFUSE(p, "'%s': %zu bytes before tensor '%.200s' belong to no tensor", p->file,
                          (size_t)(begin - end), t->name);
        end = begin + t->bytes;
    }
    const size_t used = (size_t)(end - p->data);
    if (used < p->data_size)
        return REFUSE(p, "'%s': the last %llu bytes belong to no tensor", p->file,
                      (unsigned long long)(p->data_size - used));
    qsort(f->sorted, f->count, sizeof *f->sorted, by_name);
    return VKD_OK;
}

static vkd_result parse_json(const parse *p, const char *text, size_t size, json_t **out) {
    json_error_t error;
    if (*text != '{') return REFUSE(p, "'%s' is not a safetensors file, no '{' at byte 8", p->file);
    *out = json_loadb(text, size, JSON_REJECT_DUPLICATES, &error);
    if (*out) return VKD_OK;
    if (json_error_code(&error) == json_error_out_of_memory)
        return vkd__fail(p->ctx, VKD_E_MEMORY, "no memory for the header of '%s'", p->file);
    return REFUSE(p, "'%s': the header is damaged at its byte %d: %s", p->file, error.position,
                  error.text);
}

static vkd_result parse_bytes(parse *p, const uint8_t *bytes, size_t size, vkd__st_file *f) {
    if (size < 8)
        return REFUSE(p, "'%s' is not a safetensors file, it has only %zu bytes", p->file, size);
    uint64_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | bytes[i];
    if (header > VKD__ST_HEADER_LIMIT || header < 2)
        return REFUSE(p,
                      "'%s' is not a safetensors file, or damaged: its header would have %llu "
                      "bytes, must have from 2 to %u",
                      p->file, (unsigned long long)header, VKD__ST_HEADER_LIMIT);
    if (header > size - 8)
        return REFUSE(p, "'%s' is cut short, %zu of %llu bytes of the header are there", p->file,
                      size - 8, (unsigned long long)header);
    p->data = bytes + 8 + header;
    p->data_size = size - 8 - header;
    vkd_result r = parse_json(p, (const char *)bytes + 8, (size_t)header, &f->header);
    if (!r) r = read_entries(p, f);
    return r ? r : check_places(p, f);
}

vkd_result vkd__st_parse(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                         vkd__st_file **out) {
    *out = NULL;
    vkd__st_file *f = vkd__alloc(ctx, 1, sizeof *f);
    if (!f) return VKD_E_MEMORY;
    f->ctx = ctx;
    const vkd_result r = parse_bytes(&(parse){.ctx = ctx, .file = name}, bytes, size, f);
    if (r)
        vkd__st_close(f);
    else
        *out = f;
    return r;
}

vkd_result vkd__st_open(vkd_ctx *ctx, const char *path, vkd__st_file **out) {
    vkd__mapping mapping;
    *out = NULL;
    vkd_result r = vkd__map_file(ctx, path, &mapping);
    if (!r) r = vkd__st_parse(ctx, path, mapping.bytes, mapping.size, out);
    if (r)
        vkd__unmap_file(&mapping);
    else
        (*out)->mapping = mapping;
    return r;
}

void vkd__st_close(vkd__st_file *f) {
    if (!f) return;
    json_decref(f->header);
    vkd__free(f->ctx, f->tensors);
    vkd__free(f->ctx, f->sorted);
    vkd__unmap_file(&f->mapping);
    vkd__free(f->ctx, f);
}

size_t vkd__st_count(const vkd__st_file *f) {
    return f->count;
}

const vkd__st_tensor *vkd__st_at(const vkd__st_file *f, size_t index) {
    return index < f->count ? &f->tensors[index] : NULL;
}

const vkd__st_tensor *vkd__st_find(const vkd__st_file *f, const char *name) {
    const vkd__st_tensor wanted = {.name = name}, *key = &wanted;
    const vkd__st_tensor **found =
        f->count ? bsearch(&key, f->sorted, f->count, sizeof *f->sorted, by_name) : NULL;
    return found ? *found : NULL;
}

const char *vkd__st_dtype_name(const vkd__st_file *f, const vkd__st_tensor *t) {
    return json_string_value(json_object_get(json_object_get(f->header, t->name), "dtype"));
}

const char *vkd__st_metadata(const vkd__st_file *f, const char *key) {
    return json_string_value(json_object_get(json_object_get(f->header, "__metadata__"), key));
}
