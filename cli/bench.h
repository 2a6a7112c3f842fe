// SPDX-License-Identifier: Apache-2.0
/* The benchmark's rows, and one row made ready to be timed. */
#ifndef VKD_CLI_BENCH_H
#define VKD_CLI_BENCH_H

#include <jansson.h>

#include "base/base.h"

/* A row: one kernel, or one whole training step, at one shape. A new row is one line of the table
 * in bench_rows.c; one that is timed beside another framework is known there by `work`, a function
 * of tests/peers/torch_peer.py. */
typedef struct bench_row {
    const char *name, *work;
    void (*build)(vkd_graph *g, const struct bench_row *row);
    /* What its states hold beside zeros, or NULL. */
    vkd_result (*fill)(vkd_store *store, const struct bench_row *row);
    uint32_t m, n, k;      /* a matmul's; else m rows of n; a step's batch is m; of a convolution m
                              images with k channels, for n; of pooling the same, in windows of n;
                              of a bank k negatives */
    uint32_t size, stride; /* a convolution's image is size x size; so is a batch's, of m images
                              with k channels, and a resnet step's; a bank has size rows */
    uint32_t kernel;       /* a convolution's is kernel x kernel, padded to leave the size at
                              stride 1 */
    uint32_t groups, dilation; /* a convolution's */
    uint32_t batch;            /* how many products a matmul is */
    bool streams; /* multiplies too little for what it moves: compared with a copy all the same */
    double flops, bytes; /* what must at least be done; traffic counts each tensor
                            once: what a perfect cache would leave. flops 0: compared
                            with a copy instead of with multiply-adds */
    const uint32_t *teacher,
        *student; /* of a step: layer widths, or a resnet's depth, ended by 0 */
} bench_row;

extern const bench_row bench_rows[];
extern const size_t bench_row_count;

/* Whether `only`, as --only gives it or NULL, takes the row. */
bool bench_wants(const bench_row *row, const char *only);

/* Whether the row's share is one of the ceiling of multiply-adds; else it is one of a copy. */
static inline bool bench_multiplies(const bench_row *row) {
    return row->flops > 0 && !row->streams;
}

/* Parts of rows. Data are store tensors: an input from the host would be copied in each step. */
vkd_tensor bench_normal(vkd_graph *g, const char *name, vkd_shape shape);
vkd_tensor bench_data(vkd_graph *g, const char *name, uint32_t rows, uint32_t columns);
/* Asks for t to be computed, but for one element of it alone to be copied back. */
void bench_keep(vkd_graph *g, const char *name, vkd_tensor t);

/* A distillation step of a multilayer perceptron: the frozen teacher's logits, the student's, 0.9
 * KD at temperature 4 and 0.1 cross-entropy, gradients, SGD with momentum. (bench_step.c) */
void bench_build_mlp_step(vkd_graph *g, const bench_row *row);
/* The same with residual networks on images: the teacher's batchnorms are folded, the student's
 * take the batch's statistics. */
void bench_build_resnet_step(vkd_graph *g, const bench_row *row);

/* Products of matrices: NN, NT, TN say which operand is transposed. (bench_products.c) */
void bench_build_nn(vkd_graph *g, const bench_row *row);
void bench_build_nt(vkd_graph *g, const bench_row *row);
void bench_build_tn(vkd_graph *g, const bench_row *row);

/* A convolution; its gradient for the image; for the weight. (bench_convolutions.c) */
void bench_build_conv(vkd_graph *g, const bench_row *row);
void bench_build_conv_image(vkd_graph *g, const bench_row *row);
void bench_build_conv_weight(vkd_graph *g, const bench_row *row);

/* Pooling and augmentation of images. (bench_images.c) */
void bench_build_max_pool(vkd_graph *g, const bench_row *row);
void bench_build_max_pool_backward(vkd_graph *g, const bench_row *row);
void bench_build_global_average(vkd_graph *g, const bench_row *row);
void bench_build_global_average_backward(vkd_graph *g, const bench_row *row);
void bench_build_crop(vkd_graph *g, const bench_row *row);
void bench_build_affine(vkd_graph *g, const bench_row *row);

/* Losses on features with their gradient: m maps of size x size, k channels of the student, n of
 * the teacher. (bench_features.c) */
void bench_build_at(vkd_graph *g, const bench_row *row);
void bench_build_similarity(vkd_graph *g, const bench_row *row);

/* Losses of the relations between rows, with their gradients: m rows of n. (bench_relations.c) */
void bench_build_rkd_distance(vkd_graph *g, const bench_row *row);
void bench_build_rkd_angle(vkd_graph *g, const bench_row *row);
/* m rows of n, each against k + 1 of the `size` rows of a memory bank; and the drawing of these. */
void bench_build_bank_nce(vkd_graph *g, const bench_row *row);
void bench_build_negatives(vkd_graph *g, const bench_row *row);
vkd_result bench_fill_samples(vkd_store *store, const bench_row *row);

/* The row's graph over a store of its own. Errors: those of graphs. */
vkd_result bench_graph(vkd_ctx *ctx, const bench_row *row, vkd_store **store, vkd_graph **graph);

/* Answers a program that times rows in turn with another one's; see `vkdistill bench --help`. The
 * first line out describes the device and the rows that `only` takes. */
vkd_result bench_serve(vkd_ctx *ctx, vkd_device *device, const char *only);

/* {"program", "device", "driver", "sizes", "threads"}: what a result is a result of. NULL: no
 * memory. */
json_t *bench_describe(vkd_ctx *ctx, vkd_device *device);

#endif
