// SPDX-License-Identifier: Apache-2.0
/* A saved model, ready to answer: its file says how to build it, so neither the recipe nor the data
 * set that made it is needed. Or one out of a checkpoint, which only knows its parameters. For
 * eval, infer and viewers. */
#ifndef VKD_PREDICT_H
#define VKD_PREDICT_H

#include "train/model_file.h"

typedef struct vkd__predictor_desc {
    const char *path;
    /* How it is built, where the file's metadata is not asked; the predictor takes it over, after a
     * failure too. Or NULL. */
    vkd__saved_model *saved;
    /* With `saved`: path is a checkpoint, and this the model's group in it; and the group that has
     * a moving average of its parameters, which is taken then. Or NULL. */
    const char *group, *average;
    /* One that lends its model and parameters, and outlives this one: path is for messages then. Or
     * NULL. */
    const struct vkd__predictor *share;
    /* VKD_U8: bytes, normalised as the file says; VKD_F32: what the model itself takes. */
    vkd_dtype input;
    uint32_t batch; /* samples of a step */
    const char *const *taps;
    uint32_t tap_count; /* the taps wanted besides the logits */
    /* Taps (N, H, W, C) whose maps are wanted, as "map.<tap>" (N, H, W): the mean over channels of
     * their squares. */
    const char *const *maps;
    uint32_t map_count;
} vkd__predictor_desc;

typedef struct vkd__predictor_out {
    char name[56];
    vkd_shape shape; /* of a whole batch: (batch, ...) */
    size_t count;    /* values of one sample */
} vkd__predictor_out;

typedef struct vkd__predictor {
    vkd_ctx *ctx;
    vkd__saved_model saved;
    bool shares;       /* the model and the store are another's */
    const char *group; /* of its tensors in the store */
    vkd_store *store;
    vkd_program *program;
    vkd_dtype input;
    uint32_t batch;
    size_t sample; /* values of one input sample */
    uint64_t parameters;
    vkd__predictor_out outs[2 * VKD__MAX_TAPS + 1]; /* the first is "logits" */
    uint32_t out_count;
} vkd__predictor;

/* On failure nothing is left. Errors: VKD_E_FILE, VKD_E_FORMAT, VKD_E_SHAPE: the file's tensors are
 * not what its own metadata says; VKD_E_ARGUMENT: no such tap (the message lists them), or one
 * without the batch as its first axis; VKD_E_DEVICE...; VKD_E_MEMORY. */
vkd_result vkd__predictor_create(vkd_ctx *ctx, vkd_device *device, const vkd__predictor_desc *desc,
                                 vkd__predictor *out);
void vkd__predictor_destroy(vkd__predictor *p);
/* Answers for `count` samples.
 *
 * samples  (count, sample) f32 or u8, any alignment
 * outs     one array for each of p->outs, (count, its count) */
vkd_result vkd__predictor_run(vkd__predictor *p, const void *samples, uint32_t count, float **outs);

#endif
