// SPDX-License-Identifier: Apache-2.0
/* Writing. Values of four bytes go before those of two, and these before bytes, each in the
 * caller's order, and the header is padded with spaces to a multiple of eight, so that every value
 * is aligned in the file; the format allows no gaps that could do it. */
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "data/safetensors.h"
#include "data/utf8.h"

static const char *dtype_name(vkd_dtype dtype) {
    switch (dtype) {
    case VKD_F32:
        return "F32";
    case VKD_I32:
        return "I32";
    case VKD_F16:
        return "F16";
    case VKD_BF16:
        return "BF16";
    case VKD_U8:
        break;
    }
    return "U8";
}

/* A text as JSON. */
static vkd_result add_string(vkd__text *out, const char *path, const char *text) {
    vkd__text_add(out, "\"");
    for (const uint8_t *c = (const uint8_t *)text; *c;) {
        const size_t length = vkd__utf8_length(c);
        if (!length)
            return vkd__fail(out->ctx, VKD_E_ARGUMENT, "cannot write '%s': a name is not UTF-8",
                             path);
        if (*c < 0x20)
            vkd__text_add(out, "\\u%04x", *c);
        else if (*c == '"' || *c == '\\')
            vkd__text_add(out, "\\%c", *c);
        else
            vkd__text_add(out, "%.*s", (int)length, (const char *)c);
        c += length;
    }
    vkd__text_add(out, "\"");
    return VKD_OK;
}

static vkd_result check_tensor(vkd_ctx *ctx, const char *path, const vkd__st_tensor *t) {
    uint64_t bytes = vkd_dtype_size(t->dtype);
    bool over = t->shape.axes > VKD_MAX_AXES;
    for (uint32_t i = 0; i < t->shape.axes && !over; i++) {
        over = t->shape.dim[i] && bytes > SIZE_MAX / t->shape.dim[i];
        bytes *= t->shape.dim[i];
    }
    if (over || bytes != t->bytes)
        return vkd__fail(
            ctx, VKD_E_ARGUMENT,
            "cannot write '%s': tensor '%.200s' has %zu bytes, not what its shape needs", path,
            t->name, t->bytes);
    return VKD_OK;
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The keys are sorted in place. */
static vkd_result check_unique(vkd_ctx *ctx, const char *path, const char **keys, size_t count) {
    qsort(keys, count, sizeof *keys, by_text);
    for (size_t i = 1; i < count; i++)
        if (!strcmp(keys[i - 1], keys[i]))
            return vkd__fail(ctx, VKD_E_ARGUMENT, "cannot write '%s': name '%.200s' comes twice",
                             path, keys[i]);
    return VKD_OK;
}

static vkd_result check_names(vkd_ctx *ctx, const char *path, const vkd__st_tensor *tensors,
                              size_t count, const vkd__st_pair *metadata, size_t metadata_count) {
    const char **keys = vkd__alloc(ctx, count + 1 + metadata_count, sizeof *keys);
    if (!keys) return VKD_E_MEMORY;
    for (size_t i = 0; i < count; i++)
        keys[i] = tensors[i].name;
    keys[count] = "__metadata__";
    vkd_result r = check_unique(ctx, path, keys, count + 1);
    for (size_t i = 0; i < metadata_count; i++)
        keys[i] = metadata[i].key;
    if (!r) r = check_unique(ctx, path, keys, metadata_count);
    vkd__free(ctx, keys);
    return r;
}

static vkd_result add_metadata(vkd__text *out, const char *path, const vkd__st_pair *metadata,
                               size_t count) {
    vkd__text_add(out, "\"__metadata__\":{");
    for (size_t i = 0; i < count; i++) {
        if (i) vkd__text_add(out, ",");
        vkd_result r = add_string(out, path, metadata[i].key);
        vkd__text_add(out, ":");
        if (!r) r = add_string(out, path, metadata[i].value);
        if (r) return r;
    }
    vkd__text_add(out, "}");
    return VKD_OK;
}

/* One tensor's entry; *offset moves on by its bytes. */
static vkd_result add_entry(vkd__text *out, const char *path, const vkd__st_tensor *t,
                            uint64_t *offset) {
    vkd_result r = check_tensor(out->ctx, path, t);
    if (!r) r = add_string(out, path, t->name);
    if (r) return r;
    vkd__text_add(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
    for (uint32_t i = 0; i < t->shape.axes; i++)
        vkd__text_add(out, i ? ",%u" : "%u", t->shape.dim[i]);
    const unsigned long long begin = *offset, end = begin + t->bytes;
    vkd__text_add(out, "],\"data_offsets\":[%llu,%llu]}", begin, end);
    *offset = end;
    return VKD_OK;
}

/* The header's text; parts[2...] become the values in the order of their offsets. */
static vkd_result make_header(vkd__text *out, const char *path, const vkd__st_tensor *tensors,
                              size_t count, const vkd__st_pair *metadata, size_t metadata_count,
                              vkd__bytes *parts) {
    vkd_result r = VKD_OK;
    uint64_t offset = 0;
    size_t added = 0;
    vkd__text_add(out, "{");
    if (metadata_count) r = add_metadata(out, path, metadata, metadata_count);
    for (size_t size = 4; size > 0; size /= 2)
        for (size_t i = 0; i < count && !r; i++) {
            const vkd__st_tensor *t = &tensors[i];
            if (vkd_dtype_size(t->dtype) != size) continue;
            if (added || metadata_count) vkd__text_add(out, ",");
            r = add_entry(out, path, t, &offset);
            parts[2 + added++] = (vkd__bytes){t->data, t->bytes};
        }
    if (r) return r;
    vkd__text_add(out, "}");
    vkd__text_add(out, "%*s", (int)(-out->length & 7), "");
    if (out->failed) return VKD_E_MEMORY;
    if (out->length > VKD__ST_HEADER_LIMIT)
        return vkd__fail(out->ctx, VKD_E_ARGUMENT,
                         "cannot write '%s': its header would have %zu "
                         "bytes, the format allows %u",
                         path, out->length, VKD__ST_HEADER_LIMIT);
    return VKD_OK;
}

vkd_result vkd__st_write(vkd_ctx *ctx, const char *path, const vkd__st_tensor *tensors,
                         size_t count, const vkd__st_pair *metadata, size_t metadata_count) {
    vkd__text header = {.ctx = ctx};
    vkd__bytes *parts = vkd__alloc(ctx, count + 2, sizeof *parts);
    vkd_result r = parts ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = check_names(ctx, path, tensors, count, metadata, metadata_count);
    if (!r) r = make_header(&header, path, tensors, count, metadata, metadata_count, parts);
    if (!r) {
        uint8_t size[8];
        for (int i = 0; i < 8; i++)
            size[i] = (uint8_t)((uint64_t)header.length >> 8 * i);
        parts[0] = (vkd__bytes){size, sizeof size};
        parts[1] = (vkd__bytes){header.text, header.length};
        r = vkd__write_file(ctx, path, parts, count + 2);
    }
    vkd__text_term(&header);
    vkd__free(ctx, parts);
    return r;
}
