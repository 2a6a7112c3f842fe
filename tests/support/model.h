// SPDX-License-Identifier: Apache-2.0
/* An architecture with options as one text, and its graph. A failure fails the test. */
#ifndef VKD_TEST_MODEL_H
#define VKD_TEST_MODEL_H

#include "support/support.h"

#include "graph/graph.h"
#include "models/model.h"

#define TEST_MODEL "m" /* the group of its parameters */

typedef struct test_model {
    const vkd__model_def *def;
    void *config;
} test_model;

/* options: "depth=8 width=0.25", or "" for the defaults. */
test_model test_model_make(vkd_ctx *ctx, const char *arch, const char *options);
void test_model_term(test_model *m);

/* Builds it onto `input`; the caller frees the result with test_free. */
vkd__model_io *test_model_build(vkd_graph *g, const test_model *m, vkd_tensor input,
                                uint32_t classes, bool training);

/* Gives every leaf of the graph values on the host: start values to parameters, running statistics
 * that a forgotten batchnorm would show in, waves to f32 inputs, classes below 3 to labels. */
void test_model_fill(const vkd_graph *g, vkd__host *h);

#endif
