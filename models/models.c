// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "models/model.h"

#define VKD_MODEL(name) &vkd_model_##name,
const vkd__model_def *const vkd__models[] = {
#include "models/models.def"
    NULL};
#undef VKD_MODEL
const size_t vkd__model_count = VKD_COUNT(vkd__models) - 1;

const vkd__model_def *vkd__model_find(const char *name) {
    for (size_t i = 0; i < vkd__model_count; i++)
        if (!strcmp(vkd__models[i]->name, name)) return vkd__models[i];
    return NULL;
}

vkd_result vkd__model_check(vkd_ctx *ctx, const vkd__model_def *d, const char *what,
                            const void *config, const vkd_shape *sample) {
    return d->check ? d->check(ctx, what, config, sample) : VKD_OK;
}
