// SPDX-License-Identifier: Apache-2.0
/* A table of a configuration struct's fields. From it follow defaults, range checks, error
 * messages, the recipe's keys, `--help` and `vkdistill list`. Losses, architectures, optimisers,
 * schedules and data sets all describe themselves this way. */
#ifndef VKD_FIELD_H
#define VKD_FIELD_H

#include "base/base.h"

typedef enum vkd__field_type {
    VKD__FIELD_F32,  /* float */
    VKD__FIELD_U32,  /* uint32_t */
    VKD__FIELD_BOOL, /* bool */
    VKD__FIELD_ENUM, /* uint32_t; words lists the names: "continuous|literature" */
    VKD__FIELD_TEXT, /* char[VKD__FIELD_TEXT_SIZE] */
    VKD__FIELD_U32S  /* vkd__u32s, a list */
} vkd__field_type;

#define VKD__FIELD_TEXT_SIZE 256
#define VKD__FIELD_LIST 32

typedef struct vkd__u32s {
    uint32_t count, v[VKD__FIELD_LIST];
} vkd__u32s;

typedef struct vkd__field {
    const char *name;
    vkd__field_type type;
    size_t offset;
    double low, high; /* inclusive; for lists, of each element */
    const char
        *preset;       /* the default, in the words a recipe would use: "4", "true", "[800, 800]" */
    const char *words; /* ENUM */
    const char *help;
} vkd__field;

/* Writes all defaults. */
void vkd__fields_init(const vkd__field *fields, size_t count, void *config);
/* Sets one field from text: "4", "yes", "[800, 800]", "literature". On failure the message says
 * key, text, type and range, or names the nearest key; `where` goes in front ("recipe.yaml:12").
 * Errors: VKD_E_RECIPE. */
vkd_result vkd__fields_set(vkd_ctx *ctx, const vkd__field *fields, size_t count, void *config,
                           const char *where, const char *key, const char *text);
/* The value as text that vkd__fields_set reads back. */
void vkd__fields_get(const vkd__field *field, const void *config, vkd__text *out);

#endif
