// SPDX-License-Identifier: Apache-2.0
#include "data/cifar.h"

enum { COARSE, FINE };

typedef struct config {
    char dir[VKD__FIELD_TEXT_SIZE];
    uint32_t labels;
} config;

static const vkd__field fields[] = {
    {.name = "dir",
     .type = VKD__FIELD_TEXT,
     .offset = offsetof(config, dir),
     .preset = "cifar-100-binary",
     .help = "folder of train.bin and test.bin; class names come from its fine_label_names.txt or "
             "coarse_label_names.txt, where it has them"},
    {.name = "labels",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(config, labels),
     .preset = "fine",
     .words = "coarse|fine",
     .help = "the 20 classes of the first label byte or the 100 of the second"},
};

/* In the order of the label bytes. */
static const vkd__cifar_kind kinds[] = {
    [COARSE] = {.labels = 2,
                .label = COARSE,
                .classes = {20, 100},
                .train = 50000,
                .test = 10000,
                .train_files = {"train.bin"},
                .test_files = {"test.bin"},
                .names = "coarse_label_names.txt"},
    [FINE] = {.labels = 2,
              .label = FINE,
              .classes = {20, 100},
              .train = 50000,
              .test = 10000,
              .train_files = {"train.bin"},
              .test_files = {"test.bin"},
              .names = "fine_label_names.txt"},
};

static vkd_result load(vkd_ctx *ctx, const void *settings, const vkd__data_options *options,
                       vkd__dataset *out) {
    const config *c = settings;
    return vkd__cifar_load(ctx, &kinds[c->labels], c->dir, options, out);
}

const vkd__dataset_def vkd_dataset_cifar100 = {
    .name = "cifar100",
    .summary = "CIFAR-100 in its binary version: 32 x 32 colour images of 100 or 20 classes",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .load = load,
};
