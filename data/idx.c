// SPDX-License-Identifier: Apache-2.0
#include "data/idx.h"

#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "data/dataset.h"
#include "data/image.h"
#include "data/unpack.h"

/* ---- One file -------------------------------------------------------------------------------- */

static vkd_result read_header(vkd_ctx *ctx, const char *name, vkd__unpack *u, uint32_t low,
                              uint32_t high, vkd_shape *shape) {
    uint8_t head[4], dim[4];
    size_t got;
    vkd_result r = vkd__unpack_read(u, head, sizeof head, &got);
    if (r) return r;
    if (got < sizeof head)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' is cut short in its header", name);
    if (head[0] || head[1])
        return vkd__fail(ctx, VKD_E_DATA,
                         "'%s' is not an IDX file, it starts with %02x %02x %02x %02x", name,
                         head[0], head[1], head[2], head[3]);
    if (head[2] != 0x08)
        return vkd__fail(ctx, VKD_E_DATA,
                         "'%s' holds values of type 0x%02x, only unsigned bytes (0x08) are read",
                         name, head[2]);
    if (low == high && head[3] != low)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has %u axes, must have %u", name, head[3], low);
    if (head[3] < low || head[3] > high)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has %u axes, must have from %u to %u", name,
                         head[3], low, high);
    shape->axes = head[3];
    for (uint32_t i = 0; i < shape->axes; i++) {
        r = vkd__unpack_read(u, dim, sizeof dim, &got);
        if (r) return r;
        if (got < sizeof dim)
            return vkd__fail(ctx, VKD_E_DATA, "'%s' is cut short in its header", name);
        shape->dim[i] = (uint32_t)dim[0] << 24 | (uint32_t)dim[1] << 16 | (uint32_t)dim[2] << 8 |
                        (uint32_t)dim[3];
    }
    return VKD_OK;
}

/* Bytes of one sample. The values that the header promises must be able to follow, which also keeps
 * every product below from overflowing and every allocation within reason. */
static vkd_result check_sizes(vkd_ctx *ctx, const char *name, const vkd__unpack *u, vkd_shape shape,
                              size_t *sample) {
    const uint64_t left = vkd__unpack_left(u);
    uint64_t total = 1;
    bool over = left > SIZE_MAX;
    char text[80];
    vkd__sample_text(shape, text, sizeof text);
    for (uint32_t i = 0; i < shape.axes; i++) {
        if (!shape.dim[i])
            return vkd__fail(ctx, VKD_E_DATA, "'%s' is empty, its shape is %s", name, text);
        over = over || total > left / shape.dim[i];
        total = over ? 0 : total * shape.dim[i];
    }
    if (over)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' is cut short, %s values cannot be in %llu bytes",
                         name, text, (unsigned long long)left);
    *sample = (size_t)(total / shape.dim[0]);
    return VKD_OK;
}

static vkd_result read_values(vkd_ctx *ctx, const char *name, vkd__unpack *u, size_t sample,
                              vkd__idx *out) {
    const size_t kept = out->kept * sample, rest = (out->shape.dim[0] - out->kept) * sample;
    size_t got_kept, got_rest, got_more;
    out->values = vkd__alloc(ctx, out->kept, sample);
    if (!out->values) return VKD_E_MEMORY;
    vkd_result r = vkd__unpack_read(u, out->values, kept, &got_kept);
    if (!r) r = vkd__unpack_read(u, NULL, rest, &got_rest);
    if (r) return r;
    if (got_kept + got_rest < kept + rest)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' is cut short, %zu of %zu values are there", name,
                         got_kept + got_rest, kept + rest);
    r = vkd__unpack_read(u, NULL, 1, &got_more);
    if (r) return r;
    if (got_more)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' goes on after its %zu values", name, kept + rest);
    return VKD_OK;
}

vkd_result vkd__idx_parse(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                          uint32_t low, uint32_t high, uint32_t most, vkd__idx *out) {
    VKD_ASSERT(low >= 1 && high <= VKD_MAX_AXES);
    vkd__unpack *u;
    size_t sample = 0;
    *out = (vkd__idx){0};
    vkd_result r = vkd__unpack_open(ctx, name, bytes, size, &u);
    if (r) return r;
    r = read_header(ctx, name, u, low, high, &out->shape);
    if (!r) r = check_sizes(ctx, name, u, out->shape, &sample);
    if (!r) {
        const uint32_t count = out->shape.dim[0];
        out->kept = most && most < count ? most : count;
        r = read_values(ctx, name, u, sample, out);
    }
    vkd__unpack_close(u);
    if (r) {
        vkd__free(ctx, out->values);
        *out = (vkd__idx){0};
    }
    return r;
}

/* ---- A data set of four files ---------------------------------------------------------------- */

typedef struct config {
    char dir[VKD__FIELD_TEXT_SIZE];
    char train_images[VKD__FIELD_TEXT_SIZE], train_labels[VKD__FIELD_TEXT_SIZE];
    char test_images[VKD__FIELD_TEXT_SIZE], test_labels[VKD__FIELD_TEXT_SIZE];
} config;

#define TEXT(name, preset, help)                                                                   \
    { #name, VKD__FIELD_TEXT, offsetof(config, name), 0, 0, preset, NULL, help }
static const vkd__field fields[] = {
    TEXT(dir, "/usr/share/datasets/fashion-mnist",
         "folder of train-images-idx3-ubyte, train-labels-idx1-ubyte and the same two with t10k, "
         "each plain or .gz; the preset is where Debian's package dataset-fashion-mnist puts them"),
    TEXT(train_images, "", "path of the training images, when not in dir"),
    TEXT(train_labels, "", "path of the training labels, when not in dir"),
    TEXT(test_images, "", "path of the test images, when not in dir"),
    TEXT(test_labels, "", "path of the test labels, when not in dir"),
};
#undef TEXT

typedef struct path {
    char text[2 * VKD__FIELD_TEXT_SIZE + 64];
} path;

/* The path given, or the standard name in the folder, plain before packed. */
static vkd_result locate(vkd_ctx *ctx, const char *given, const char *dir, const char *standard,
                         path *out) {
    if (*given) {
        snprintf(out->text, sizeof out->text, "%s", given);
        return VKD_OK;
    }
    const size_t length = strlen(dir);
    const char *slash = length && dir[length - 1] != '/' ? "/" : "";
    static const char *const ends[] = {"", ".gz"};
    for (size_t i = 0; i < VKD_COUNT(ends); i++) {
        snprintf(out->text, sizeof out->text, "%s%s%s%s", dir, slash, standard, ends[i]);
        if (vkd__file_exists(out->text)) return VKD_OK;
    }
    return vkd__fail(
        ctx, VKD_E_FILE,
        "cannot find '%s' or '%s.gz' in '%s'; give the folder as dir (Debian's package "
        "dataset-fashion-mnist has these files)",
        standard, standard, dir);
}

static vkd_result read_file(vkd_ctx *ctx, const char *name, uint32_t low, uint32_t high,
                            uint32_t most, vkd__idx *out) {
    vkd__mapping file;
    *out = (vkd__idx){0};
    vkd_result r = vkd__map_file(ctx, name, &file);
    if (!r) r = vkd__idx_parse(ctx, name, file.bytes, file.size, low, high, most, out);
    vkd__unmap_file(&file);
    return r;
}

typedef struct split_files {
    path images, labels;
    uint32_t most;   /* samples to keep; 0: all */
    vkd_shape shape; /* of the images */
    vkd__idx label;  /* all labels of the file: the first few may miss a class */
} split_files;

static vkd_result read_split(vkd_ctx *ctx, split_files *f, vkd__split *out) {
    vkd__idx images;
    vkd_result r = read_file(ctx, f->images.text, 2, 4, f->most, &images);
    if (r) return r;
    out->bytes = images.values;
    out->count = images.kept;
    f->shape = images.shape;
    const uint32_t count = images.shape.dim[0];
    r = read_file(ctx, f->labels.text, 1, 1, 0, &f->label);
    if (r) return r;
    if (f->label.kept != count)
        return vkd__fail(ctx, VKD_E_DATA, "'%s' has %u images, but '%s' has %u labels",
                         f->images.text, count, f->labels.text, f->label.kept);
    out->labels = vkd__alloc(ctx, out->count, sizeof *out->labels);
    if (!out->labels) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < out->count; i++)
        out->labels[i] = f->label.values[i];
    return VKD_OK;
}

static vkd_result check_labels(vkd_ctx *ctx, const split_files *f, uint32_t classes) {
    for (uint32_t i = 0; i < f->label.kept; i++)
        if (f->label.values[i] >= classes)
            return vkd__fail(ctx, VKD_E_DATA,
                             "label %u of sample %u in '%s' is above %u, the last "
                             "of %u classes",
                             f->label.values[i], i, f->labels.text, classes - 1, classes);
    return VKD_OK;
}

static bool same_samples(vkd_shape a, vkd_shape b) {
    return a.axes == b.axes && !memcmp(a.dim + 1, b.dim + 1, (a.axes - 1) * sizeof a.dim[0]);
}

/* (N, D), (N, H, W), or the planes of (N, C, H, W). */
static void set_sample(vkd_shape file, vkd__dataset *out) {
    const uint32_t *d = file.dim;
    out->channels = file.axes == 4 ? d[1] : 1;
    if (file.axes == 2)
        out->sample = VKD_SHAPE(d[1]);
    else
        out->sample = VKD_SHAPE(d[file.axes - 2], d[file.axes - 1], out->channels);
}

static vkd_result interleave(vkd_ctx *ctx, const vkd__dataset *d, const vkd__split *split) {
    const size_t size = (size_t)vkd_shape_count(d->sample);
    uint8_t *planes = vkd__alloc(ctx, size, 1);
    if (!planes) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < split->count; i++) {
        memcpy(planes, split->bytes + i * size, size);
        vkd__image_interleave(planes, size / d->channels, d->channels, split->bytes + i * size);
    }
    vkd__free(ctx, planes);
    return VKD_OK;
}

static vkd_result read_both(vkd_ctx *ctx, uint32_t classes, split_files *train, split_files *test,
                            vkd__dataset *out) {
    vkd_result r = read_split(ctx, train, &out->train);
    if (!r) r = read_split(ctx, test, &out->test);
    if (r) return r;
    if (!same_samples(train->shape, test->shape)) {
        char a[80], b[80];
        return vkd__fail(ctx, VKD_E_DATA, "samples differ in size: '%s' is %s, '%s' is %s",
                         train->images.text, vkd__sample_text(train->shape, a, sizeof a),
                         test->images.text, vkd__sample_text(test->shape, b, sizeof b));
    }
    set_sample(train->shape, out);
    if (out->channels > 1) r = interleave(ctx, out, &out->train);
    if (!r && out->channels > 1) r = interleave(ctx, out, &out->test);
    if (r) return r;

    out->classes = classes;
    if (!classes)
        for (uint32_t i = 0; i < train->label.kept; i++)
            if (train->label.values[i] >= out->classes) out->classes = train->label.values[i] + 1u;
    r = check_labels(ctx, train, out->classes);
    return r ? r : check_labels(ctx, test, out->classes);
}

static vkd_result load(vkd_ctx *ctx, const void *settings, const vkd__data_options *options,
                       vkd__dataset *out) {
    const config *c = settings;
    split_files train = {.most = options->samples}, test = {.most = options->tests};
    const struct {
        const char *given, *standard;
        path *out;
    } files[] = {
        {c->train_images, "train-images-idx3-ubyte", &train.images},
        {c->train_labels, "train-labels-idx1-ubyte", &train.labels},
        {c->test_images, "t10k-images-idx3-ubyte", &test.images},
        {c->test_labels, "t10k-labels-idx1-ubyte", &test.labels},
    };
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < VKD_COUNT(files) && !r; i++)
        r = locate(ctx, files[i].given, c->dir, files[i].standard, files[i].out);
    if (!r) r = read_both(ctx, options->classes, &train, &test, out);
    vkd__free(ctx, train.label.values);
    vkd__free(ctx, test.label.values);
    if (r) vkd__dataset_term(ctx, out);
    return r;
}

const vkd__dataset_def vkd_dataset_idx = {
    .name = "idx",
    .summary = "images and labels of the MNIST family, plain or packed with gzip",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .load = load,
};
