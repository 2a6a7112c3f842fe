// SPDX-License-Identifier: Apache-2.0
/* Wide residual networks: with n = (depth - 4) / 6,
 *
 *   stem     3 x 3, 16 stem channels, nothing behind it
 *   stages   n blocks of 16 widen channels; n of 32 widen, the first with stride 2; n of 64 widen
 *   block    shortcut(x) + conv2(dropout(ReLU(bn2(conv1(ReLU(bn1(x)))))))
 *   head     ReLU(bn(x)), the mean over the pixels, one fully connected layer
 *
 * Where a block changes the channels, its shortcut is a 1 x 1 convolution of ReLU(bn1(x)).
 * Names are those of the published PyTorch versions: "conv1", "block1.layer.0.bn1",
 * "block1.layer.0.convShortcut", "bn1", "fc".
 * Taps: "stem"; "stage<i>.block<j>" and "stage<i>.out" are the sums, before batchnorm and ReLU,
 * which is what attention transfer compares in these networks; "stage<i>.act" is stage i behind the
 * batchnorm and ReLU that follow it; "pool", "logits".
 *
 * Zagoruyko, Komodakis, arXiv:1605.07146. */
#include <stdio.h>

#include "models/layers.h"

typedef struct config {
    uint32_t depth;
    float widen;
    float dropout;
    float stem;
} config;

static const vkd__field fields[] = {
    {.name = "depth",
     .type = VKD__FIELD_U32,
     .offset = offsetof(config, depth),
     .low = 10,
     .high = 82,
     .preset = "16",
     .help = "6n + 4 layers, n blocks a stage: 10, 16, 22, 28, 40"},
    {.name = "widen",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, widen),
     .low = 0.0625,
     .high = 64,
     .preset = "1",
     .help = "the stages have 16, 32 and 64 times this many channels"},
    {.name = "dropout",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, dropout),
     .low = 0,
     .high = 0.99,
     .preset = "0",
     .help = "between a block's convolutions: probability that a value is left out in a training "
             "step"},
    {.name = "stem",
     .type = VKD__FIELD_F32,
     .offset = offsetof(config, stem),
     .low = 0.0625,
     .high = 64,
     .preset = "1",
     .help = "the first convolution has 16 times this many channels"},
};

static vkd_tensor block(vkd_graph *g, vkd__model_io *io, const config *c, uint32_t stage,
                        uint32_t index, vkd_tensor x, uint32_t out) {
    char at[32], name[32];
    snprintf(at, sizeof at, "block%u.layer.%u", (unsigned)stage, (unsigned)index);
    const uint32_t stride = stage > 1 && !index ? 2 : 1;
    const vkd_tensor a = vkd__layer_norm(g, io, x, at, "bn1", VKD_ACT_RELU);
    if (stage > 1 && !index) {
        snprintf(name, sizeof name, "stage%u.act", (unsigned)stage - 1);
        vkd__tap_add(g, io, name, a);
    }
    vkd_tensor h = vkd__layer_conv(g, io, a,
                                   &(vkd__conv){.at = at,
                                                .name = "conv1",
                                                .norm = "bn2",
                                                .out = out,
                                                .kernel = 3,
                                                .stride = stride,
                                                .activation = VKD_ACT_RELU});
    snprintf(name, sizeof name, "dropout%u.%u", (unsigned)stage, (unsigned)index);
    h = vkd__layer_dropout(g, io, h, c->dropout, name);
    const vkd_tensor shortcut =
        vkd_tensor_shape(g, x).dim[3] == out
            ? x
            : vkd__layer_conv(
                  g, io, a,
                  &(vkd__conv){
                      .at = at, .name = "convShortcut", .out = out, .kernel = 1, .stride = stride});
    return vkd__layer_conv(
        g, io, h,
        &(vkd__conv){.at = at, .name = "conv2", .out = out, .kernel = 3, .residual = shortcut});
}

static void build(vkd_graph *g, vkd__model_io *io, const void *cfg) {
    const config *c = cfg;
    const uint32_t blocks = (c->depth - 4) / 6, base = vkd__widen(16, c->widen);
    vkd_tensor x =
        vkd__layer_conv(g, io, io->input,
                        &(vkd__conv){.name = "conv1", .out = vkd__widen(16, c->stem), .kernel = 3});
    vkd__tap_add(g, io, "stem", x);
    for (uint32_t stage = 1; stage <= 3; stage++)
        for (uint32_t b = 0; b < blocks; b++) {
            x = block(g, io, c, stage, b, x, base << (stage - 1));
            x = vkd__tap_block(g, io, stage, b + 1, b + 1 == blocks, x);
        }
    x = vkd__layer_norm(g, io, x, NULL, "bn1", VKD_ACT_RELU);
    vkd__layer_head(g, io, vkd__tap_add(g, io, "stage3.act", x), "fc", 0);
}

static vkd_result check(vkd_ctx *ctx, const char *what, const void *cfg, const vkd_shape *sample) {
    const config *c = cfg;
    if (c->depth < 10 || (c->depth - 4) % 6)
        return vkd__fail(ctx, VKD_E_RECIPE,
                         "%s: a wide residual network's depth is 6n + 4 (10, 16, 22, 28, 40, ...), "
                         "not %u",
                         what, (unsigned)c->depth);
    return sample ? vkd__check_image(ctx, what, sample, 0) : VKD_OK;
}

const vkd__model_def vkd_model_wrn = {
    .name = "wrn",
    .summary = "wide residual network, pre-activation blocks with dropout",
    .paper = "Zagoruyko, Komodakis, arXiv:1605.07146",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .build = build,
    .check = check,
};
