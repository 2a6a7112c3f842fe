// SPDX-License-Identifier: Apache-2.0
/* An architecture: from an input tensor to named taps, with parameters named "<group>.<path>". Each
 * stands in one file, models/<name>.c, and in one line of models.def. */
#ifndef VKD_MODEL_H
#define VKD_MODEL_H

#include "base/field.h"

#define VKD__MAX_TAPS 64

typedef struct vkd__tap {
    char name[48];
    vkd_tensor tensor;
} vkd__tap;

typedef struct vkd__model_io {
    const char *group; /* the model's name in this run: parameters are "<group>.fc0.weight" */
    vkd_tensor input;  /* (B, ...) f32 */
    uint32_t classes;  /* V */
    bool training;     /* dropout on; batchnorm by the batch's statistics */
    vkd__tap taps[VKD__MAX_TAPS]; /* out; the one called "logits" is (B, V) and always there */
    uint32_t tap_count;
} vkd__model_io;

typedef struct vkd__model_def {
    const char *name;
    const char *summary;
    const char *paper; /* or NULL */
    size_t config_size;
    const vkd__field *fields;
    size_t field_count;
    void (*build)(vkd_graph *g, vkd__model_io *io, const void *config);
    /* Whether `build` can take these settings, and such samples: (H, W, C) or whatever they are;
     * NULL where they are not known yet. `what` begins the sentence: "model 'student'". No member:
     * all are fine. Errors: VKD_E_RECIPE. */
    vkd_result (*check)(vkd_ctx *ctx, const char *what, const void *config,
                        const vkd_shape *sample);
} vkd__model_def;

/* An embedding of a sample, for metric learning; width 0: none. */
typedef struct vkd__embedding {
    uint32_t width;
    bool unit;
} vkd__embedding;
/* Its fields, in a struct that has it at `base`. */
#define VKD__EMBEDDING_FIELDS(base)                                                                \
    {.name = "embedding",                                                                          \
     .type = VKD__FIELD_U32,                                                                       \
     .offset = (base) + offsetof(vkd__embedding, width),                                           \
     .low = 0,                                                                                     \
     .high = 65536,                                                                                \
     .preset = "0",                                                                                \
     .help = "width of a linear layer on what the classifier takes: the tap 'embedding', for "     \
             "losses on features; 0: none"},                                                       \
    {                                                                                              \
        .name = "embedding_unit", .type = VKD__FIELD_BOOL,                                         \
        .offset = (base) + offsetof(vkd__embedding, unit), .preset = "false",                      \
        .help = "divide the embedding by its length"                                               \
    }
extern const vkd__field vkd__embedding_fields[];
extern const size_t vkd__embedding_field_count;

/* def->build, and the embedding. */
void vkd__model_build(vkd_graph *g, const vkd__model_def *def, vkd__model_io *io,
                      const void *config, const vkd__embedding *e);

/* For build: records a tap (and names the tensor "<group>.<name>"). Returns t. */
vkd_tensor vkd__tap_add(vkd_graph *g, vkd__model_io *io, const char *name, vkd_tensor t);
/* {0} when there is none of that name. */
vkd_tensor vkd__tap_find(const vkd__model_io *io, const char *name);

#define VKD_MODEL(name) extern const vkd__model_def vkd_model_##name;
#include "models/models.def"
#undef VKD_MODEL

extern const vkd__model_def *const vkd__models[];
extern const size_t vkd__model_count;
const vkd__model_def *vkd__model_find(const char *name);
/* What its `check` says, VKD_OK where it has none. Must have passed, with the sample, before
 * `build`. */
vkd_result vkd__model_check(vkd_ctx *ctx, const vkd__model_def *d, const char *what,
                            const void *config, const vkd_shape *sample);

#endif
