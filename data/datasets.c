// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "data/dataset.h"

#define VKD_DATASET(name) &vkd_dataset_##name,
const vkd__dataset_def *const vkd__datasets[] = {
#include "data/datasets.def"
    NULL};
#undef VKD_DATASET
const size_t vkd__dataset_count = VKD_COUNT(vkd__datasets) - 1;

const vkd__dataset_def *vkd__dataset_find(const char *name) {
    for (size_t i = 0; i < vkd__dataset_count; i++)
        if (!strcmp(vkd__datasets[i]->name, name)) return vkd__datasets[i];
    return NULL;
}
