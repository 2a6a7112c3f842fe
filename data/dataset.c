// SPDX-License-Identifier: Apache-2.0
#include "data/dataset.h"

#include <stdio.h>

const char *vkd__sample_text(vkd_shape sample, char *out, size_t size) {
    size_t used = 0;
    for (uint32_t i = 0; i < sample.axes && used < size; i++)
        used += (size_t)snprintf(out + used, size - used, i ? ", %u" : "(%u", sample.dim[i]);
    if (used < size) snprintf(out + used, size - used, ")");
    return out;
}

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
