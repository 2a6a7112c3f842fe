// SPDX-License-Identifier: Apache-2.0
/* MobileNetV2 for small images. A block widens its channels by `expand`, filters each of them by
 * itself, and narrows them again, with nothing but a batchnorm behind that:
 *
 *   block    x + bn(narrow(ReLU6(bn(depthwise(ReLU6(bn(widen(x))))))))
 *
 * where the sum is there only if it fits: stride 1, as many channels out as in. The first block
 * does not widen. With width 1, channels and strides:
 *
 *   stem 32 /2 | 16 /1, 2 x 24 /1 | 3 x 32 /2 | 4 x 64 /2, 3 x 96 /1 | 3 x 160 /2, 320 /1 | 1280
 *
 * ImageNet's version has stride 2 in front of 24 too; without it 32 pixels become 2, not 1.
 * Channels are rounded to multiples of `divisor`, never down by more than a tenth. Names are
 * torchvision's: "features.0.0", "features.1.conv.0.0", ..., "features.18.0", "classifier.1". Taps:
 * "stem"; "stage1.out" (24 channels) to "stage4.out" (320) where | stands, and "stage<i>.block<j>",
 * all without an activation, as a block ends; "head" the 1280, "pool", "logits".
 *
 * Sandler, Howard, Zhu, Zhmoginov, Chen, arXiv:1801.04381; the strides are those of the
 * distillation benchmark of CRD: Tian, Krishnan, Isola, arXiv:1910.10699. */
#include <stdio.h>

#include "models/layers.h"

typedef struct config {
    float width;
    uint32_t expand, divisor, head, activation;
} config;

enum { RELU6, RELU };

static const vkd__field fields[] = {
    {.name = "width",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, width),
     .low = 0.03125,
     .high = 4,
     .preset = "1",
     .help = "multiplies the channels of every layer"},
    {.name = "expand",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, expand),
     .low = 1,
     .high = 16,
     .preset = "6",
     .help = "how many times as many channels the inside of a block has"},
    {.name = "divisor",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, divisor),
     .low = 1,
     .high = 64,
     .preset = "8",
     .help = "channels are multiples of this"},
    {.name = "head",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, head),
     .low = 0,
     .high = 8192,
     .preset = "0",
     .help = "channels in front of the classifier; 0: 1280, or 1280 times the width above 1"},
    {.name = "activation",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, activation),
     .preset = "relu6",
     .words = "relu6|relu",
     .help = "ReLU6 is the paper's; the benchmark of CRD takes ReLU"},
};

/* A row of the table above. */
typedef struct group {
    uint32_t stage, channels, blocks, stride;
    bool ends; /* its stage */
} group;

static const group groups[] = {
    {1, 16, 1, 1, false}, {1, 24, 2, 1, true},   {2, 32, 3, 2, true},  {3, 64, 4, 2, false},
    {3, 96, 3, 1, true},  {4, 160, 3, 2, false}, {4, 320, 1, 1, true},
};

static vkd_activation activation_of(const config *c) {
    return c->activation == RELU ? VKD_ACT_RELU : VKD_ACT_RELU6;
}

/* The next multiple of the divisor, or the one below where that is no more than a tenth away. */
static uint32_t channels_of(const config *c, uint32_t channels, float width) {
    const double wanted = (double)channels * (double)width;
    const uint32_t d = c->divisor;
    uint32_t rounded = (uint32_t)(wanted + d / 2.0) / d * d;
    if (rounded < d) rounded = d;
    return (double)rounded < 0.9 * wanted ? rounded + d : rounded;
}

static vkd_tensor block(vkd_graph *g, const vkd__model_io *io, const config *c, uint32_t index,
                        vkd_tensor x, uint32_t out, uint32_t stride) {
    const uint32_t in = vkd_tensor_shape(g, x).dim[3], expand = index > 1 ? c->expand : 1;
    const vkd_activation act = activation_of(c);
    char at[32];
    snprintf(at, sizeof at, "features.%u.conv", (unsigned)index);
    vkd_tensor h = x;
    if (expand > 1)
        h = vkd__layer_conv(g, io, h,
                            &(vkd__conv){.at = at,
                                         .name = "0.0",
                                         .norm = "0.1",
                                         .out = in * expand,
                                         .kernel = 1,
                                         .activation = act});
    h = vkd__layer_conv(g, io, h,
                        &(vkd__conv){.at = at,
                                     .name = expand > 1 ? "1.0" : "0.0",
                                     .norm = expand > 1 ? "1.1" : "0.1",
                                     .out = in * expand,
                                     .kernel = 3,
                                     .stride = stride,
                                     .groups = in * expand,
                                     .activation = act});
    return vkd__layer_conv(
        g, io, h,
        &(vkd__conv){.at = at,
                     .name = expand > 1 ? "2" : "1",
                     .norm = expand > 1 ? "3" : "2",
                     .out = out,
                     .kernel = 1,
                     .residual = stride == 1 && in == out ? x : (vkd_tensor){0}});
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const vkd__conv stem = {.name = "features.0.0",
                            .norm = "features.0.1",
                            .out = channels_of(c, 32, c->width),
                            .kernel = 3,
                            .stride = 2,
                            .activation = activation_of(c)};
    vkd_tensor x = vkd__tap_add(g, io, "stem", vkd__layer_conv(g, io, io->input, &stem));
    uint32_t index = 1, in_stage = 1;
    for (size_t i = 0; i < VKD_COUNT(groups); i++) {
        const group *at = &groups[i];
        const uint32_t out = channels_of(c, at->channels, c->width);
        for (uint32_t b = 0; b < at->blocks; b++, index++, in_stage++) {
            x = block(g, io, c, index, x, out, b ? 1 : at->stride);
            x = vkd__tap_block(g, io, at->stage, in_stage, at->ends && b + 1 == at->blocks, x);
        }
        if (at->ends) in_stage = 1;
    }
    const vkd__conv head = {.name = "features.18.0",
                            .norm = "features.18.1",
                            .out = c->head ? c->head
                                           : channels_of(c, 1280, c->width > 1 ? c->width : 1),
                            .kernel = 1,
                            .activation = activation_of(c)};
    x = vkd__tap_add(g, io, "head", vkd__layer_conv(g, io, x, &head));
    vkd__layer_head(g, io, x, "classifier.1", 0);
}

static vkd_result check(vkd_ctx *ctx, const char *what, const void *cfg, const vkd_shape *sample) {
    (void)cfg;
    return sample ? vkd__check_image(ctx, what, sample, 0) : VKD_OK;
}

const vkd__model_def vkd_model_mobilenet_v2 = {
    .name = "mobilenet_v2",
    .summary = "inverted residuals with depthwise convolutions, with the strides for small images",
    .paper = "Sandler et al., arXiv:1801.04381",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .check = check,
};
