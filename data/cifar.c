// SPDX-License-Identifier: Apache-2.0
#include "data/cifar.h"

#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "data/image.h"

/* ---- One file -------------------------------------------------------------------------------- */

static size_t record_size(const vkd__cifar_kind *kind) {
    return kind->labels + VKD__CIFAR_SAMPLE;
}

vkd_result vkd__cifar_check(vkd_ctx *ctx, const vkd__cifar_kind *kind, const char *name,
                            const void *bytes, size_t size, uint32_t *count) {
    const size_t record = record_size(kind), records = size / record;
    *count = 0;
    if (!size) return vkd__fail(ctx, VKD_E_DATA, "'%s' is empty", name);
    if (size % record)
        return vkd__fail(ctx, VKD_E_DATA,
                         "'%s' is cut short or of another format: its %zu bytes are %zu records of "
                         "%zu and %zu bytes more",
                         name, size, records, record, size % record);
    if (records > UINT32_MAX)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has more than 2^32 records", name);
    const uint8_t *at = bytes;
    for (size_t i = 0; i < records; i++, at += record)
        for (uint32_t k = 0; k < kind->labels; k++)
            if (at[k] >= kind->classes[k])
                return vkd__fail(ctx, VKD_E_DATA,
                                 "label %u of record %zu in '%s' is above %u: it is damaged or of "
                                 "another format",
                                 at[k], i, name, kind->classes[k] - 1);
    *count = (uint32_t)records;
    return VKD_OK;
}

void vkd__cifar_take(const vkd__cifar_kind *kind, const void *bytes, uint32_t count,
                     uint8_t *pixels, int32_t *labels) {
    const uint8_t *at = bytes;
    for (uint32_t i = 0; i < count; i++, at += record_size(kind)) {
        labels[i] = at[kind->label];
        vkd__image_interleave(at + kind->labels, VKD__CIFAR_SIDE * VKD__CIFAR_SIDE, 3,
                              pixels + (size_t)i * VKD__CIFAR_SAMPLE);
    }
}

/* ---- A split: the files of a list ------------------------------------------------------------ */

typedef struct path {
    char text[VKD__FIELD_TEXT_SIZE + 64];
} path;

static path path_of(const char *dir, const char *name) {
    path p;
    const size_t length = strlen(dir);
    snprintf(p.text, sizeof p.text, "%s%s%s", dir, length && dir[length - 1] != '/' ? "/" : "",
             name);
    return p;
}

typedef struct split_files {
    const char *dir;
    const char *const *names;
    uint32_t published; /* records */
    uint32_t most;      /* samples to keep; 0: all */
    vkd__mapping files[VKD__CIFAR_FILES];
    uint32_t counts[VKD__CIFAR_FILES];
} split_files;

/* All files are there and right, whatever is kept of them. */
static vkd_result open_files(vkd_ctx *ctx, const vkd__cifar_kind *kind, split_files *f,
                             uint64_t *total) {
    *total = 0;
    for (uint32_t i = 0; f->names[i]; i++) {
        const path p = path_of(f->dir, f->names[i]);
        vkd_result r = vkd__map_file(ctx, p.text, &f->files[i]);
        if (!r)
            r = vkd__cifar_check(ctx, kind, p.text, f->files[i].bytes, f->files[i].size,
                                 &f->counts[i]);
        if (r) return r;
        *total += f->counts[i];
    }
    if (*total > UINT32_MAX)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has more than 2^32 records", f->dir);
    /* A download that ended between two records looks whole. */
    if (*total != f->published)
        vkd__log(ctx, VKD_LOG_WARNING,
                 "'%s' and its like in '%s' have %u records, the published %u", f->names[0], f->dir,
                 (unsigned)*total, (unsigned)f->published);
    return VKD_OK;
}

static vkd_result take_files(vkd_ctx *ctx, const vkd__cifar_kind *kind, const split_files *f,
                             uint32_t count, vkd__split *out) {
    out->bytes = vkd__alloc(ctx, count, VKD__CIFAR_SAMPLE);
    out->labels = vkd__alloc(ctx, count, sizeof *out->labels);
    if (!out->bytes || !out->labels) return VKD_E_MEMORY;
    for (uint32_t i = 0; f->names[i]; i++) {
        const uint32_t left = count - out->count;
        const uint32_t part = f->counts[i] < left ? f->counts[i] : left;
        vkd__cifar_take(kind, f->files[i].bytes, part,
                        out->bytes + (size_t)out->count * VKD__CIFAR_SAMPLE,
                        out->labels + out->count);
        out->count += part;
    }
    return VKD_OK;
}

static vkd_result read_split(vkd_ctx *ctx, const vkd__cifar_kind *kind, split_files *f,
                             vkd__split *out) {
    uint64_t total = 0;
    vkd_result r = open_files(ctx, kind, f, &total);
    if (!r)
        r = take_files(ctx, kind, f, f->most && f->most < total ? f->most : (uint32_t)total, out);
    for (size_t i = 0; i < VKD_COUNT(f->files); i++)
        vkd__unmap_file(&f->files[i]);
    return r;
}

/* ---- Names ----------------------------------------------------------------------------------- */

/* The lines of the file, each the name of a class; empty ones at its end do not count. */
static vkd_result read_names(vkd_ctx *ctx, const char *name, uint32_t classes, char ***out) {
    vkd__mapping file;
    vkd_result r = vkd__map_file(ctx, name, &file);
    if (r) return r;
    char **names = vkd__alloc(ctx, classes, sizeof *names);
    if (!names) r = VKD_E_MEMORY;
    size_t at = 0, end = file.size;
    while (end && (file.bytes[end - 1] == '\n' || file.bytes[end - 1] == '\r'))
        end--;
    uint32_t count = 0;
    for (; !r && at < end; count++) {
        size_t length = 0;
        while (at + length < end && file.bytes[at + length] != '\n')
            length++;
        const size_t kept = length && file.bytes[at + length - 1] == '\r' ? length - 1 : length;
        if (count < classes) {
            names[count] = vkd__alloc(ctx, kept + 1, 1);
            if (!names[count])
                r = VKD_E_MEMORY;
            else
                memcpy(names[count], file.bytes + at, kept);
        }
        at += length + 1;
    }
    if (!r && count != classes)
        r = vkd__fail(ctx, VKD_E_DATA, "'%s' names %u classes, there are %u", name, count, classes);
    vkd__unmap_file(&file);
    *out = names;
    return r;
}

vkd_result vkd__cifar_load(vkd_ctx *ctx, const vkd__cifar_kind *kind, const char *dir,
                           const vkd__data_options *options, vkd__dataset *out) {
    split_files train = {
        .dir = dir, .names = kind->train_files, .published = kind->train, .most = options->samples};
    split_files test = {
        .dir = dir, .names = kind->test_files, .published = kind->test, .most = options->tests};
    const path names = path_of(dir, kind->names);
    out->sample = VKD_SHAPE(VKD__CIFAR_SIDE, VKD__CIFAR_SIDE, 3);
    out->channels = 3;
    out->classes = kind->classes[kind->label];
    vkd_result r = read_split(ctx, kind, &train, &out->train);
    if (!r) r = read_split(ctx, kind, &test, &out->test);
    if (!r && vkd__file_exists(names.text))
        r = read_names(ctx, names.text, out->classes, &out->class_names);
    if (r) vkd__dataset_term(ctx, out);
    return r;
}
