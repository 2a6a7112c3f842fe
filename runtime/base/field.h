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
#define VKD__FIELD_LIST 128

typedef struct vkd__u32s {
    uint32_t count, v[VKD__FIELD_LIST];
} vkd__u32s;

typedef struct vkd__field {
    const char *name;
    vkd__field_type type;
    size_t offset;
    double low, high;   /* inclusive; for lists, of each element; both 0: no limits */
    const char *preset; /* the default as a recipe would write it: "4", "true", "[800, 800]" */
    const char *words;  /* ENUM */
    const char *help;
} vkd__field;

/* Writes all defaults. Without a preset a list is [] and a text ""; every other field has one. */
void vkd__fields_init(const vkd__field *fields, size_t count, void *config);
/* Sets one field from text: "4", "yes", "[800, 800]", "literature". On failure config is as it was
 * and the message says key, text, type and range, or names the nearest key; `where` goes in front,
 * and should name the owner too: "recipe.yaml:12: loss kd_kl". It may be NULL.
 * Errors: VKD_E_RECIPE, VKD_E_MEMORY. */
vkd_result vkd__fields_set(vkd_ctx *ctx, const vkd__field *fields, size_t count, void *config,
                           const char *where, const char *key, const char *text);
/* The value as text that vkd__fields_set reads back. */
void vkd__fields_get(const vkd__field *field, const void *config, vkd__text *out);
/* What the field allows, for help and messages: "a number from 0.05 to 100", "true or false". */
void vkd__field_allowed(const vkd__field *field, char *out, size_t size);

#endif
