// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "losses/loss.h"

#define VKD_LOSS(name) &vkd_loss_##name,
const vkd__loss_def *const vkd__losses[] = {
#include "losses/losses.def"
    NULL};
#undef VKD_LOSS
const size_t vkd__loss_count = VKD_COUNT(vkd__losses) - 1;

const vkd__loss_def *vkd__loss_find(const char *name) {
    for (size_t i = 0; i < vkd__loss_count; i++)
        if (!strcmp(vkd__losses[i]->name, name)) return vkd__losses[i];
    return NULL;
}
