// SPDX-License-Identifier: Apache-2.0
/* The binary format of CIFAR-10 and CIFAR-100: records of one or two label bytes and the 3072 bytes
 * of a 32 x 32 image, its red, green and blue planes one after the other, each row by row; nothing
 * else.
 * Layout: Krizhevsky, "Learning multiple layers of features from tiny images" (2009) and the
 * description that comes with the data. */
#ifndef VKD_CIFAR_H
#define VKD_CIFAR_H

#include "data/dataset.h"

enum { VKD__CIFAR_SIDE = 32, VKD__CIFAR_SAMPLE = 32 * 32 * 3, VKD__CIFAR_FILES = 5 };

typedef struct vkd__cifar_kind {
    uint32_t labels;      /* bytes in front of an image, 1 or 2 */
    uint32_t label;       /* which of them counts */
    uint32_t classes[2];  /* what each of them stays below */
    uint32_t train, test; /* records that the published files of a split have together */
    const char *train_files[VKD__CIFAR_FILES + 1], *test_files[2]; /* in order, then NULL */
    const char *names; /* a file with the classes' names, one a line; it may be missing */
} vkd__cifar_kind;

/* How many records a file in memory holds; `name` is for messages. Errors: VKD_E_DATA: none, part
 * of one, or a label that is too large. */
vkd_result vkd__cifar_check(vkd_ctx *ctx, const vkd__cifar_kind *kind, const char *name,
                            const void *bytes, size_t size, uint32_t *count);
/* The first `count` records of a checked file: pixels (count, 32, 32, 3), labels (count). */
void vkd__cifar_take(const vkd__cifar_kind *kind, const void *bytes, uint32_t count,
                     uint8_t *pixels, int32_t *labels);
/* A data set out of a folder. Errors and ownership as vkd__dataset_def.load. */
vkd_result vkd__cifar_load(vkd_ctx *ctx, const vkd__cifar_kind *kind, const char *dir,
                           const vkd__data_options *options, vkd__dataset *out);

#endif
