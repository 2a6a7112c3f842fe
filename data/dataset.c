// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

void vkd__dataset_term(vkd_ctx *ctx, vkd__dataset *d) {
    if (d->class_names)
        for (uint32_t i = 0; i < d->classes; i++)
            vkd__free(ctx, d->class_names[i]);
    vkd__free(ctx, d->class_names);
    vkd__split *const splits[] = {&d->train, &d->test};
    for (size_t i = 0; i < VKD_COUNT(splits); i++) {
        vkd__free(ctx, splits[i]->bytes);
        vkd__free(ctx, splits[i]->labels);
    }
    *d = (vkd__dataset){0};
}
