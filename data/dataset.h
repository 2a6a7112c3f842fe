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

typedef struct vkd__dataset_def {
    const char *name; /* "idx" */
    const char *summary;
    size_t config_size;
    const vkd__field *fields;
    size_t field_count;
    /* Fills *out (zeroed before). On failure nothing is left in it.
     * Errors: VKD_E_FILE (cannot open), VKD_E_DATA (what is wrong with it, file named). */
    vkd_result (*load)(vkd_ctx *ctx, const void *config, vkd__dataset *out);
} vkd__dataset_def;

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
