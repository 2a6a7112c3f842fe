// SPDX-License-Identifier: Apache-2.0
/* The residual networks for small images: with n = (depth - 2) / 6 and w = 16 width, rounded,
 *
 *   stem     3 x 3, w channels, batchnorm, ReLU
 *   stages   n blocks of w channels; n of 2w, the first with stride 2; n of 4w, likewise
 *   block    ReLU(bn2(conv2(ReLU(bn1(conv1(x))))) + shortcut(x)), both convolutions 3 x 3
 *   head     the mean over the pixels, one fully connected layer
 *
 * Where a block changes the shape, its shortcut is a 1 x 1 convolution with batchnorm (option B),
 * or every second pixel with channels of zeros behind its own (option A, no parameters).
 * Names are torchvision's: "conv1", "bn1", "layer1.0.conv1", "layer2.0.downsample.0", "fc".
 * With survival p below 1, block l of L has its branch bn2(...) with probability 1 - l/L (1 - p),
 * each sample for itself (Huang et al., arXiv:1603.09382). Taps: "stem", "stage<i>.block<j>" and
 * "stage<i>.out" after their ReLU, "pool", "logits".
 *
 * He, Zhang, Ren, Sun, arXiv:1512.03385, section 4.2. */
#include <stdio.h>

#include "models/layers.h"

enum { SHORTCUT_A, SHORTCUT_B };

typedef struct config {
    uint32_t depth;
    float width;
    uint32_t stem;
    uint32_t shortcut;
    float dropout, survival;
} config;

static const vkd__field fields[] = {
    {.name = "depth",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, depth),
     .low = 8,
     .high = 110,
     .preset = "20",
     .help = "6n + 2 layers, n blocks a stage: 8, 14, 20, 26, 32, 44, 56, 110"},
    {.name = "width",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, width),
     .low = 0.0625,
     .high = 64,
     .preset = "1",
     .help = "the stages have 16, 32 and 64 times this many channels"},
    {.name = "stem",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, stem),
     .low = 0,
     .high = 4096,
     .preset = "0",
     .help = "channels of the first convolution; 0: those of stage 1 (resnet8x4 has width 4 and "
             "stem 32)"},
    {.name = "shortcut",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, shortcut),
     .preset = "B",
     .words = "A|B",
     .help = "where a block changes the shape: zeros for the new channels, or a 1x1 convolution"},
    {.name = "dropout",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, dropout),
     .low = 0,
     .high = 0.95,
     .preset = "0",
     .help = "probability that a value in front of the classifier is dropped in training"},
    {.name = "survival",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, survival),
     .low = 0.05,
     .high = 1,
     .preset = "1",
     .help = "stochastic depth: probability that the last block's branch is there for a sample in "
             "training; it falls to this in equal parts from block to block"},
};

static uint32_t base_of(const config *c) {
    return vkd__widen(16, c->width);
}

static uint32_t stem_of(const config *c) {
    return c->stem ? c->stem : base_of(c);
}

/* Every second pixel, and zeros for the channels that x does not have: a stage doubles them. */
static vkd_tensor pad_channels(vkd_graph *g, vkd_tensor x, uint32_t stride) {
    if (stride > 1)
        x = vkd_avg_pool2d(g, x, &(vkd_pool2d_desc){.kernel = {1, 1}, .stride = {stride, stride}});
    const vkd_tensor zeros = vkd_scale(g, vkd_stop_gradient(g, x), 0.0f);
    return vkd_concat(g, (const vkd_tensor[]){x, zeros}, 2, 3);
}

/* `drop`: probability that the branch is left out. */
static vkd_tensor block(vkd_graph *g, const vkd__model_io *io, const config *c, const char *at,
                        vkd_tensor x, uint32_t out, uint32_t stride, float drop) {
    vkd_tensor shortcut = x;
    const vkd_tensor h = vkd__layer_conv(g, io, x,
                                         &(vkd__conv){.at = at,
                                                      .name = "conv1",
                                                      .norm = "bn1",
                                                      .out = out,
                                                      .kernel = 3,
                                                      .stride = stride,
                                                      .activation = VKD_ACT_RELU});
    if (vkd_tensor_shape(g, x).dim[3] != out) {
        shortcut = c->shortcut == SHORTCUT_A ? pad_channels(g, x, stride)
                                             : vkd__layer_conv(g, io, x,
                                                               &(vkd__conv){.at = at,
                                                                            .name = "downsample.0",
                                                                            .norm = "downsample.1",
                                                                            .out = out,
                                                                            .kernel = 1,
                                                                            .stride = stride});
    }
    vkd__conv last = {.at = at,
                      .name = "conv2",
                      .norm = "bn2",
                      .out = out,
                      .kernel = 3,
                      .activation = VKD_ACT_RELU,
                      .residual = shortcut};
    if (!io->training || drop <= 0) return vkd__layer_conv(g, io, h, &last);
    char name[64];
    snprintf(name, sizeof name, "%s.survival", at);
    last.activation = VKD_ACT_NONE;
    last.residual = (vkd_tensor){0};
    const vkd_tensor branch =
        vkd__layer_drop_path(g, io, vkd__layer_conv(g, io, h, &last), drop, name);
    return vkd_relu(g, vkd_add(g, branch, shortcut));
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const uint32_t blocks = (c->depth - 2) / 6;
    vkd_tensor x = vkd__layer_conv(g, io, io->input,
                                   &(vkd__conv){.name = "conv1",
                                                .norm = "bn1",
                                                .out = stem_of(c),
                                                .kernel = 3,
                                                .activation = VKD_ACT_RELU});
    vkd__tap_add(g, io, "stem", x);
    for (uint32_t stage = 1; stage <= 3; stage++)
        for (uint32_t b = 0; b < blocks; b++) {
            char at[32];
            snprintf(at, sizeof at, "layer%u.%u", (unsigned)stage, (unsigned)b);
            const uint32_t number = (stage - 1) * blocks + b + 1;
            x = block(g, io, c, at, x, base_of(c) << (stage - 1), stage > 1 && !b ? 2 : 1,
                      (float)number / (float)(3 * blocks) * (1 - c->survival));
            x = vkd__tap_block(g, io, stage, b + 1, b + 1 == blocks, x);
        }
    vkd__layer_head(g, io, x, "fc", c->dropout);
}

static vkd_result check(vkd_ctx *ctx, const char *what, const void *cfg, const vkd_shape *sample) {
    const config *c = cfg;
    if (c->depth < 8 || (c->depth - 2) % 6)
        return vkd__fail(ctx, VKD_E_RECIPE,
                         "%s: a resnet's depth is 6n + 2 (8, 14, 20, 26, 32, ...), not %u", what,
                         (unsigned)c->depth);
    if (c->shortcut == SHORTCUT_A && stem_of(c) != base_of(c))
        return vkd__fail(ctx, VKD_E_RECIPE,
                         "%s: shortcut A has no way from a stem of %u channels to stage 1 with %u: "
                         "take shortcut B",
                         what, (unsigned)stem_of(c), (unsigned)base_of(c));
    return sample ? vkd__check_image(ctx, what, sample, 0) : VKD_OK;
}

const vkd__model_def vkd_model_resnet = {
    .name = "resnet",
    .summary = "residual network for small images, three stages of 3x3 blocks",
    .paper = "He et al., arXiv:1512.03385",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .check = check,
};
