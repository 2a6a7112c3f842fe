// SPDX-License-Identifier: Apache-2.0
/* What every format is asked for in the same way: a part of the samples, another size, names. */
#include <string.h>

#include "data/dataset.h"
#include "data/image.h"
#include "data/utf8.h"

/* `classes` is the last: a recipe may have a list of names there. */
const vkd__field vkd__data_fields[] = {
    {.name = "samples",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__data_options, samples),
     .low = 0,
     .high = UINT32_MAX,
     .preset = "0",
     .help = "use the first so many samples of the training split; 0: all"},
    {.name = "tests",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__data_options, tests),
     .low = 0,
     .high = UINT32_MAX,
     .preset = "0",
     .help = "use the first so many samples of the test split; 0: all"},
    {.name = "size",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(vkd__data_options, size),
     .low = 1,
     .high = 4096,
     .preset = "[]",
     .help = "[height, width] to which images are resized, by area; []: as they are"},
    {.name = "classes",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__data_options, classes),
     .low = 0,
     .high = 200000,
     .preset = "0",
     .help = "number of classes, 0: as the data says; in a recipe also a list of their names"},
};
const size_t vkd__data_field_count = VKD_COUNT(vkd__data_fields);

/* ---- Size ------------------------------------------------------------------------------------ */

static vkd_result resize_split(vkd_ctx *ctx, const vkd__dataset *d, const uint32_t size[2],
                               vkd__split *split) {
    const size_t from = (size_t)vkd_shape_count(d->sample);
    const size_t to = (size_t)size[0] * size[1] * d->channels;
    uint8_t *resized = vkd__alloc(ctx, split->count, to);
    if (!resized) return VKD_E_MEMORY;
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < split->count && !r; i++) {
        const vkd__image image = {.height = d->sample.dim[0],
                                  .width = d->sample.dim[1],
                                  .channels = d->channels,
                                  .pixels = split->bytes + i * from};
        r = vkd__image_resize(ctx, &image, size[0], size[1], resized + i * to);
    }
    vkd__free(ctx, split->bytes);
    split->bytes = resized;
    return r;
}

static vkd_result resize(vkd_ctx *ctx, const vkd__u32s *size, vkd__dataset *d) {
    if (!size->count) return VKD_OK;
    if (d->sample.axes != 3) {
        char text[80];
        return vkd__fail(ctx, VKD_E_RECIPE, "data: samples of %s are no images, and have no size",
                         vkd__sample_text(d->sample, text, sizeof text));
    }
    if (d->sample.dim[0] == size->v[0] && d->sample.dim[1] == size->v[1]) return VKD_OK;
    vkd_result r = resize_split(ctx, d, size->v, &d->train);
    if (!r) r = resize_split(ctx, d, size->v, &d->test);
    d->sample = VKD_SHAPE(size->v[0], size->v[1], d->channels);
    return r;
}

/* ---- Classes --------------------------------------------------------------------------------- */

static vkd_result copy_names(vkd_ctx *ctx, const char *const *names, vkd__dataset *d) {
    char **copies = vkd__alloc(ctx, d->classes, sizeof *copies);
    if (!copies) return VKD_E_MEMORY;
    for (uint32_t i = 0; d->class_names && i < d->classes; i++)
        vkd__free(ctx, d->class_names[i]);
    vkd__free(ctx, d->class_names);
    d->class_names = copies;
    for (uint32_t i = 0; i < d->classes; i++) {
        copies[i] = vkd__strdup(ctx, names[i]);
        if (!copies[i]) return VKD_E_MEMORY;
    }
    return VKD_OK;
}

static vkd_result set_classes(vkd_ctx *ctx, const vkd__data_options *o, vkd__dataset *d) {
    if (o->classes && o->classes != d->classes)
        return vkd__fail(ctx, VKD_E_DATA, "data: classes says %u, the data has %u",
                         (unsigned)o->classes, (unsigned)d->classes);
    if (d->classes < 2)
        return vkd__fail(ctx, VKD_E_DATA, "the data has %u class; there must be two to tell apart",
                         (unsigned)d->classes);
    vkd_result r = o->class_names ? copy_names(ctx, o->class_names, d) : VKD_OK;
    /* Model files hold them as lines; better now than when a model is saved. */
    for (uint32_t i = 0; !r && d->class_names && i < d->classes; i++)
        if (!vkd__utf8_is_line(d->class_names[i]))
            r = vkd__fail(ctx, VKD_E_DATA, "the name of class %u is not a line of UTF-8 text",
                          (unsigned)i);
    return r;
}

/* ---- All of it ------------------------------------------------------------------------------- */

static vkd_result check_count(vkd_ctx *ctx, const char *key, uint32_t wanted, const char *split,
                              uint32_t count) {
    if (wanted <= count) return VKD_OK;
    return vkd__fail(ctx, VKD_E_DATA, "data: %s is %u, but the %s split has %u", key,
                     (unsigned)wanted, split, (unsigned)count);
}

vkd_result vkd__dataset_load(vkd_ctx *ctx, const vkd__dataset_def *def, const void *config,
                             const vkd__data_options *options, vkd__dataset *out) {
    *out = (vkd__dataset){0};
    if (options->size.count && options->size.count != 2)
        return vkd__fail(ctx, VKD_E_RECIPE, "data: size has %u values, must be [height, width]",
                         (unsigned)options->size.count);
    vkd_result r = def->load(ctx, config, options, out);
    if (r) return r;
    r = check_count(ctx, "samples", options->samples, "training", out->train.count);
    if (!r) r = check_count(ctx, "tests", options->tests, "test", out->test.count);
    if (!r) r = set_classes(ctx, options, out);
    if (!r) r = resize(ctx, &options->size, out);
    if (r) vkd__dataset_term(ctx, out);
    return r;
}
