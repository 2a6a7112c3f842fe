// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "train/optimiser.h"

#define VKD_OPTIMISER(name) &vkd_optimiser_##name,
const vkd__optimiser_def *const vkd__optimisers[] = {
#include "train/optimisers.def"
    NULL};
#undef VKD_OPTIMISER
const size_t vkd__optimiser_count = VKD_COUNT(vkd__optimisers) - 1;

const vkd__optimiser_def *vkd__optimiser_find(const char *name) {
    for (size_t i = 0; i < vkd__optimiser_count; i++)
        if (!strcmp(vkd__optimisers[i]->name, name)) return vkd__optimisers[i];
    return NULL;
}
