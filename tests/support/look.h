// SPDX-License-Identifier: Apache-2.0
/* A run of two convolutional networks in a folder, for tests that look at it. A failure fails the
 * test. */
#ifndef VKD_TEST_LOOK_H
#define VKD_TEST_LOOK_H

#include "support/toy.h"
#include "vkdistill/inspect.h"

enum { LOOK_CLASSES = 4, LOOK_BATCH = 40 };

typedef struct look_bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
    uint32_t warnings;
} look_bench;

/* Convolutions with batchnorm: their weights have another order in a model's file than in a
 * checkpoint, and there are buffers. `teach` has no schedule, so that one of fewer steps is the
 * beginning of one of more. */
#define LOOK_MODELS                                                                                \
    "models={teacher: {arch: plain_cnn, depth: 2, width: 6}, student: {arch: plain_cnn, depth: "   \
    "2, width: 3}}"
#define LOOK_TEACH(rest)                                                                           \
    "{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: 0.1, "         \
    "momentum: 0.9}, batch: 24, " rest "}"
#define LOOK_DISTIL                                                                                \
    "{name: distil, train: student, teacher: teacher, control: true, losses: [{loss: kd_kl, "      \
    "weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}, {loss: at, name: maps, weight: 10, taps: "     \
    "[stage1.out, {student: stage1.out, teacher: stage2.out}]}], optimiser: {name: sgd, lr: "      \
    "0.05}, steps: 12, batch: 24}"
#define LOOK_NAMES "data.classes=[ankle boot, bag, coat, dress]"
extern const char *const look_whole[];

/* For cmocka: a look_bench as the state, with a finished run of look_whole in "whole". */
int look_setup(void **state);
int look_teardown(void **state);

/* Runs into the folder of that name, which must end so. */
void look_run(const look_bench *b, const char *const *sets, const vkd_run_desc *desc,
              const char *out, vkd_result want);
/* Runs until so many steps are done, and leaves a checkpoint. */
void look_run_until(const look_bench *b, const char *const *sets, vkd_run_desc desc, int steps,
                    const char *out);

vkd_inspect *look_open(const look_bench *b, const char *name);
uint32_t look_index(const vkd_inspect *i, const char *model);
const vkd_inspect_model *look_model(const vkd_inspect *i, const char *model);
/* desc.model is set here. */
vkd_predictor *look_predictor(const look_bench *b, vkd_inspect *i, const char *model,
                              vkd_predictor_desc desc);
/* All logits (TOY_TEST, LOOK_CLASSES) of a model; the caller frees them with test_free. */
float *look_logits(const look_bench *b, vkd_inspect *i, const char *model);
/* The same as the command eval computes them, from a model's file alone. */
float *look_file_logits(const look_bench *b, const vkd_inspect *i, const char *file);
/* Fails unless both are the same bits; frees both. */
void look_same(float *got, float *want);

#endif
