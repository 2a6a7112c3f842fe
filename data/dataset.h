// SPDX-License-Identifier: Apache-2.0
/* A data set in host memory: samples as the bytes they were read as, labels as i32. Each file
 * format stands in one file, data/<name>.c, and in one line of datasets.def. Files are not trusted.
 */
#ifndef VKD_DATASET_H
#define VKD_DATASET_H

#include "base/field.h"

typedef struct vkd__split {
    uint32_t count;
    uint8_t *bytes;  /* (count, sample elements) */
    int32_t *labels; /* (count), each 0 <= label < classes */
} vkd__split;

typedef struct vkd__dataset {
    vkd_shape sample;  /* without the leading count: images (H, W, C), plain rows (D) */
    uint32_t channels; /* C; 1 for plain rows */
    uint32_t classes;
    char **class_names; /* NULL, or `classes` of them */
    vkd__split train, test;
} vkd__dataset;

/* What a recipe may ask of a data set of any format. */
typedef struct vkd__data_options {
    uint32_t samples, tests; /* use the first so many of a split; 0: all */
    uint32_t classes;        /* 0: as the data says */
    vkd__u32s size;          /* height and width that images are resized to; empty: as they are */
    const char *const *class_names; /* (classes), instead of the data's own; or NULL */
} vkd__data_options;

typedef struct vkd__dataset_def {
    const char *name; /* "idx" */
    const char *summary;
    size_t config_size;
    const vkd__field *fields;
    size_t field_count;
    /* Fills *out (zeroed before), for vkd__dataset_load: with no more than the samples and tests
     * asked for, in its own size or the one asked for, with classes and names as the data says. On
     * failure nothing is left in it.
     * Errors: VKD_E_FILE (cannot open), VKD_E_DATA (what is wrong with it, file named). */
    vkd_result (*load)(vkd_ctx *ctx, const void *config, const vkd__data_options *options,
                       vkd__dataset *out);
} vkd__dataset_def;

/* The keys of options but class_names, for recipes, help and lists. */
extern const vkd__field vkd__data_fields[];
extern const size_t vkd__data_field_count;
/* Loads a data set as the options want it. On failure nothing is left in *out. Errors: load's;
 * VKD_E_DATA: fewer samples or other classes than asked for, a name that is no line of UTF-8;
 * VKD_E_RECIPE: a size that is none; VKD_E_MEMORY. */
vkd_result vkd__dataset_load(vkd_ctx *ctx, const vkd__dataset_def *def, const void *config,
                             const vkd__data_options *options, vkd__dataset *out);
/* "(28, 28, 1)". Returns out. */
const char *vkd__sample_text(vkd_shape sample, char *out, size_t size);
void vkd__dataset_term(vkd_ctx *ctx, vkd__dataset *d);

#define VKD_DATASET(name) extern const vkd__dataset_def vkd_dataset_##name;
#include "data/datasets.def"
#undef VKD_DATASET

extern const vkd__dataset_def *const vkd__datasets[];
extern const size_t vkd__dataset_count;
const vkd__dataset_def *vkd__dataset_find(const char *name);

#endif
