// SPDX-License-Identifier: Apache-2.0
/* The shapes are those of training: layers of a few hundred to a few thousand, batches of 128. Each
 * must fall into its knob's class; the tests hold them against it. */
#include <stdio.h>
#include <string.h>

#include "check/tune.h"
#include "ops/op.h"

typedef struct shape {
    uint32_t m, n, k;
} shape;

/* Inputs are store tensors: a host-written one would be copied in each step. Their values, zeros,
 * cost nothing to make. */
static vkd_tensor data(vkd_graph *g, uint32_t i, char side, uint32_t rows, uint32_t columns) {
    char name[16];
    snprintf(name, sizeof name, "%c%u", side, (unsigned)i);
    return vkd_state(g, name, VKD_F32, VKD_SHAPE(rows, columns));
}

static void keep(vkd_graph *g, uint32_t i, vkd_tensor t) {
    char name[16];
    snprintf(name, sizeof name, "y%u", (unsigned)i);
    const uint32_t count = (uint32_t)vkd_shape_count(vkd_tensor_shape(g, t));
    vkd_output(g, name, vkd_slice(g, vkd_reshape(g, t, VKD_SHAPE(count)), 0, 0, 1));
}

static void matmul(vkd_graph *g, uint32_t i, shape s) {
    /* The layouts in turn: a forward pass, and the two products of its gradient. */
    const vkd_matmul_desc d = {.transpose_b = i % 3 == 0, .transpose_a = i % 3 == 2};
    const vkd_tensor a = d.transpose_a ? data(g, i, 'a', s.k, s.m) : data(g, i, 'a', s.m, s.k);
    const vkd_tensor b = d.transpose_b ? data(g, i, 'b', s.n, s.k) : data(g, i, 'b', s.k, s.n);
    keep(g, i, vkd_matmul(g, a, b, &d));
}

static void softmax(vkd_graph *g, uint32_t i, shape s) {
    keep(g, i, vkd_softmax(g, data(g, i, 'a', s.m, s.n)));
}

static void column_sum(vkd_graph *g, uint32_t i, shape s) {
    keep(g, i, vkd_sum(g, data(g, i, 'a', s.m, s.n), 1u, false));
}

static void correct(vkd_graph *g, uint32_t i, shape s) {
    char name[16];
    snprintf(name, sizeof name, "l%u", (unsigned)i);
    vkd_output(
        g, name,
        vkd_correct(g, data(g, i, 'a', s.m, s.n), vkd_state(g, name, VKD_I32, VKD_SHAPE(s.m))));
}

static void add(vkd_graph *g, uint32_t i, shape s) {
    keep(g, i, vkd_add(g, data(g, i, 'a', s.m, s.n), data(g, i, 'b', s.m, s.n)));
}

enum { SHAPES = 3 };

/* QUICK takes the first shape. */
static const struct {
    const char *knob, *kernel;
    void (*build)(vkd_graph *g, uint32_t i, shape s);
    shape shapes[SHAPES];
} stands_for[] = {
#define MATMUL(kind)                                                                               \
    {kind " large", "matmul", matmul, {{1024, 512, 512}, {2048, 512, 128}, {1200, 784, 128}}},     \
        {kind " small", "matmul", matmul, {{128, 1200, 784}, {128, 1200, 1200}, {512, 512, 512}}}, \
    {                                                                                              \
        kind " narrow", "matmul", matmul, {                                                        \
            {128, 10, 1200}, {128, 30, 784}, {                                                     \
                30, 784, 128                                                                       \
            }                                                                                      \
        }                                                                                          \
    }
    MATMUL("matmul tile,"),
    MATMUL("direct matmul,"),
    {"long rows workgroup",
     "row_softmax",
     softmax,
     {{512, 4096, 0}, {2048, 128, 0}, {64, 50257, 0}}},
    {"short rows workgroup", "row_softmax", softmax, {{4096, 10, 0}, {4096, 48, 0}, {128, 10, 0}}},
    {"reduction workgroup", "count_equal", correct, {{4096, 10, 0}, {60000, 2, 0}, {128, 10, 0}}},
    {"columns workgroup",
     "reduce_column",
     column_sum,
     {{128, 1200, 0}, {4096, 512, 0}, {128, 10, 0}}},
    {"element-wise workgroup", "binary", add, {{1024, 512, 0}, {128, 1200, 0}, {1200, 784, 0}}},
};

/* What a large device calls large is more than what stands in the table: a longer batch. */
static shape grown(shape s, const vkd_profile *p) {
    while ((uint64_t)s.m * s.n < p->large_product)
        s.m *= 2;
    return s;
}

bool vkd__tune_build(vkd_graph *g, const vkd_profile *p, const char *knob, bool full,
                     const char **kernel) {
    for (size_t k = 0; k < VKD_COUNT(stands_for); k++) {
        if (strcmp(stands_for[k].knob, knob) != 0) continue;
        const bool grows = strstr(knob, "large") != NULL;
        for (uint32_t i = 0; i < (full ? SHAPES : 1); i++) {
            const shape s = stands_for[k].shapes[i];
            stands_for[k].build(g, i, grows ? grown(s, p) : s);
        }
        *kernel = stands_for[k].kernel;
        return true;
    }
    return false;
}
