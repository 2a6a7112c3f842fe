// SPDX-License-Identifier: Apache-2.0
/* VGG for small images: five blocks of 3 x 3 convolutions with ReLU, 2 x 2 maxima behind the first
 * three, the mean over what is left of the pixels, and one fully connected layer. With width 1:
 *
 *   depth  8   64 | 128 | 256 | 512  512                        one each
 *   depth 11   64 | 128 | 256 256 | 512 512  512 512
 *   depth 13   64 64 | 128 128 | 256 256 | 512 512  512 512     two each
 *   depth 16   64 64 | 128 128 | 256 256 256 | ...              three each from the third
 *   depth 19   64 64 | 128 128 | 256 256 256 256 | ...          four each from the third
 *
 * where | is the maxima. Images of 64 pixels and more have a fourth one, between the blocks of 512.
 * This is the form that the distillation benchmark of CRD has on CIFAR; names are its own: the
 * convolutions are "block0.0", "block0.3", ..., each with a bias, the batchnorms "block0.1",
 * "block0.4", ..., and the classifier is "classifier".
 * Taps: "stem" and "stage1.out" to "stage4.out" the five blocks after their last ReLU, before the
 * maxima; "pool", "logits".
 *
 * Simonyan, Zisserman, arXiv:1409.1556; the form for CIFAR: Tian, Krishnan, Isola,
 * arXiv:1910.10699. */
#include <stdio.h>

#include "models/layers.h"

enum { BLOCKS = 5, LARGE = 64 /* pixels from which there is a fourth pooling */ };

typedef struct config {
    uint32_t depth; /* index into convolutions */
    float width;
    bool batchnorm;
} config;

static const vkd__field fields[] = {
    {.name = "depth",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, depth),
     .preset = "8",
     .words = "8|11|13|16|19",
     .help = "as VGG counts: the convolutions, and three fully connected layers of which this form "
             "has one"},
    {.name = "width",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, width),
     .low = 0.015625,
     .high = 8,
     .preset = "1",
     .help = "the blocks have 64, 128, 256, 512 and 512 times this many channels"},
    {.name = "batchnorm",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(config, batchnorm),
     .preset = "true",
     .help = "batch normalisation behind each convolution"},
};

static const uint32_t convolutions[][BLOCKS] = {
    {1, 1, 1, 1, 1}, {1, 1, 2, 2, 2}, {2, 2, 2, 2, 2}, {2, 2, 3, 3, 3}, {2, 2, 4, 4, 4}};
static const uint32_t widths[BLOCKS] = {64, 128, 256, 512, 512};

static vkd_tensor block(vkd_graph *g, const vkd__model_io *io, const config *c, uint32_t index,
                        vkd_tensor x) {
    char at[16], name[16], norm[16];
    snprintf(at, sizeof at, "block%u", (unsigned)index);
    /* A layer is three modules with batchnorm (and ReLU), and two without. */
    const uint32_t step = c->batchnorm ? 3 : 2;
    for (uint32_t i = 0; i < convolutions[c->depth][index]; i++) {
        snprintf(name, sizeof name, "%u", (unsigned)(step * i));
        snprintf(norm, sizeof norm, "%u", (unsigned)(step * i + 1));
        x = vkd__layer_conv(g, io, x,
                            &(vkd__conv){.at = at,
                                         .name = name,
                                         .norm = c->batchnorm ? norm : NULL,
                                         .out = vkd__widen(widths[index], c->width),
                                         .kernel = 3,
                                         .bias = true,
                                         .activation = VKD_ACT_RELU});
    }
    return x;
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd_shape input = vkd_tensor_shape(g, io->input);
    const uint32_t pools = input.dim[1] >= LARGE && input.dim[2] >= LARGE ? 4 : 3;
    vkd_tensor x = io->input;
    for (uint32_t i = 0; i < BLOCKS; i++) {
        char name[16] = "stem";
        if (i) snprintf(name, sizeof name, "stage%u.out", (unsigned)i);
        x = vkd__tap_add(g, io, name, block(g, io, c, i, x));
        if (i < pools) x = vkd__layer_pool(g, x);
    }
    vkd__layer_head(g, io, x, "classifier", 0);
}

static vkd_result check(vkd_ctx *ctx, const char *what, const void *cfg, const vkd_shape *sample) {
    (void)cfg;
    return sample ? vkd__check_image(ctx, what, sample, 3) : VKD_OK;
}

const vkd__model_def vkd_model_vgg = {
    .name = "vgg",
    .summary = "five blocks of 3x3 convolutions with maxima between them, for small images",
    .paper = "Simonyan, Zisserman, arXiv:1409.1556",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .check = check,
};
