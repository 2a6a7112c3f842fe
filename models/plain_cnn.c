// SPDX-License-Identifier: Apache-2.0
/* The plain convolutional networks of "Improved Knowledge Distillation via Teacher Assistant":
 * 3 x 3 convolutions with ReLU, in stages that end with 2 x 2 maxima, and a classifier over the
 * pixels that are left. `depth` counts the convolutions; with w = width:
 *
 *   depth 2   w | w |                             classifier
 *         4   w w | 2w 2w |                       classifier
 *         6   w w | 2w 2w | 4w 4w |               classifier
 *         8   w w | 2w 2w | 4w 4w | 8w 8w |       4w, classifier
 *        10   w w | 2w 2w | 4w 4w | 8w 8w 8w 8w | 4w, classifier
 *
 * The paper takes width 16 on CIFAR-10 (32 at depth 10), with batchnorm behind each convolution.
 * Parameters "conv1.weight", "bn1.weight", ... counted through, "fc1" at depths 8 and 10, "fc"; a
 * convolution has a bias where it has no batchnorm. The classifier takes the pixels in PyTorch's
 * order, channels first.
 *
 * Taps: "stem" the first convolution, "stage<i>.out" before the maxima, "pool" what is left of the
 * pixels, as one row, "fc1", "logits".
 *
 * Mirzadeh, Farajtabar, Li, Levine, Matsukawa, Ghasemzadeh, arXiv:1902.03393, table of section 4.
 */
#include <stdio.h>

#include "models/layers.h"

typedef struct config {
    uint32_t depth; /* index into ladder */
    uint32_t width;
    bool batchnorm;
    float dropout;
} config;

static const vkd__field fields[] = {
    {.name = "depth",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, depth),
     .preset = "4",
     .words = "2|4|6|8|10",
     .help = "convolutions: one a stage at 2, then two (the last stage of 10 has four); depths 8 "
             "and 10 have a hidden fully connected layer too"},
    {.name = "width",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, width),
     .low = 1,
     .high = 1024,
     .preset = "16",
     .help = "channels of the first stage; each further one doubles them, but at depth 2"},
    {.name = "batchnorm",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, batchnorm),
     .preset = "true",
     .help = "batch normalisation behind each convolution"},
    {.name = "dropout",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, dropout),
     .low = 0,
     .high = 0.95,
     .preset = "0",
     .help = "probability that a value in front of the classifier is dropped in training"},
};

typedef struct rung {
    uint32_t stages, convolutions[4], widths[4]; /* widths: multiples of w */
    uint32_t hidden;                             /* of the layer fc1, likewise; 0: none */
} rung;

static const rung ladder[] = {
    {2, {1, 1}, {1, 1}, 0},
    {2, {2, 2}, {1, 2}, 0},
    {3, {2, 2, 2}, {1, 2, 4}, 0},
    {4, {2, 2, 2, 2}, {1, 2, 4, 8}, 4},
    {4, {2, 2, 2, 4}, {1, 2, 4, 8}, 4},
};

/* The `number`th convolution, counted from 1. */
static vkd_tensor convolution(vkd_graph *g, const vkd__model_io *io, const config *c,
                              uint32_t number, uint32_t out, vkd_tensor x) {
    char name[16], norm[16];
    snprintf(name, sizeof name, "conv%u", (unsigned)number);
    snprintf(norm, sizeof norm, "bn%u", (unsigned)number);
    return vkd__layer_conv(g, io, x,
                           &(vkd__conv){.name = name,
                                        .norm = c->batchnorm ? norm : NULL,
                                        .out = out,
                                        .kernel = 3,
                                        .bias = !c->batchnorm,
                                        .activation = VKD_ACT_RELU});
}

/* (N, H, W, C) to (N, C H W): a classifier trained with PyTorch expects the channels first. */
static vkd_tensor flatten(vkd_graph *g, vkd_tensor x) {
    const vkd_shape s = vkd_tensor_shape(g, x);
    if (s.dim[1] * s.dim[2] > 1) x = vkd_permute(g, x, (const uint32_t[]){0, 3, 1, 2});
    return vkd_reshape(g, x, VKD_SHAPE(s.dim[0], s.dim[1] * s.dim[2] * s.dim[3]));
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const rung *r = &ladder[c->depth];
    vkd_tensor x = io->input;
    for (uint32_t stage = 0, number = 1; stage < r->stages; stage++) {
        for (uint32_t i = 0; i < r->convolutions[stage]; i++, number++) {
            x = convolution(g, io, c, number, r->widths[stage] * c->width, x);
            if (number == 1) vkd__tap_add(g, io, "stem", x);
        }
        char name[16];
        snprintf(name, sizeof name, "stage%u.out", (unsigned)stage + 1);
        x = vkd__layer_pool(g, vkd__tap_add(g, io, name, x));
    }
    x = vkd__tap_add(g, io, "pool", flatten(g, x));
    if (r->hidden)
        x = vkd__tap_add(g, io, "fc1",
                         vkd__layer_linear(g, io, x, "fc1", r->hidden * c->width, VKD_ACT_RELU));
    x = vkd__layer_dropout(g, io, x, c->dropout, "dropout");
    vkd__tap_add(g, io, "logits", vkd__layer_linear(g, io, x, "fc", io->classes, VKD_ACT_NONE));
}

static vkd_result check(vkd_ctx *ctx, const char *what, const void *cfg, const vkd_shape *sample) {
    const config *c = cfg;
    return sample ? vkd__check_image(ctx, what, sample, ladder[c->depth].stages) : VKD_OK;
}

const vkd__model_def vkd_model_plain_cnn = {
    .name = "plain_cnn",
    .summary = "stages of 3x3 convolutions with 2x2 maxima between them",
    .paper = "Mirzadeh et al., arXiv:1902.03393",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .check = check,
};
