// SPDX-License-Identifier: Apache-2.0
#include "data/cifar.h"

typedef struct config {
    char dir[VKD__FIELD_TEXT_SIZE];
} config;

static const vkd__field fields[] = {
    {.name = "dir",
     .type = VKD__FIELD_TEXT,
     .offset = offsetof(config, dir),
     .preset = "cifar-10-batches-bin",
     .help = "folder of data_batch_1.bin to data_batch_5.bin and test_batch.bin; class names come "
             "from its batches.meta.txt, where it has one"},
};

static const vkd__cifar_kind kind = {
    .labels = 1,
    .classes = {10},
    .train = 50000,
    .test = 10000,
    .train_files = {"data_batch_1.bin", "data_batch_2.bin", "data_batch_3.bin", "data_batch_4.bin",
                    "data_batch_5.bin"},
    .test_files = {"test_batch.bin"},
    .names = "batches.meta.txt",
};

static vkd_result load(vkd_ctx *ctx, const void *settings, const vkd__data_options *options,
                       vkd__dataset *out) {
    return vkd__cifar_load(ctx, &kind, ((const config *)settings)->dir, options, out);
}

const vkd__dataset_def vkd_dataset_cifar10 = {
    .name = "cifar10",
    .summary = "CIFAR-10 in its binary version: 32 x 32 colour images of 10 classes",
    .config_size = sizeof(config),
    .fields = fields,
    .field_count = VKD_COUNT(fields),
    .load = load,
};
