// SPDX-License-Identifier: Apache-2.0
/* A stage with `ema` keeps a moving average of the parameters beside them, as a group of its own:
 *
 *   average = d * average + (1 - d) * parameters after every step,
 *   d = min(ema, (1 + n) / (10 + n)) at step n = 0, 1, ...
 *
 * where the second keeps the start values from being remembered for 1 / (1 - ema) steps; it is
 * TensorFlow's, with which Noisy Student was trained (arXiv:1911.04252). What is evaluated between
 * epochs is the average, with the model's own running statistics, and when the stage ends the model
 * becomes it: so it is what is saved, what teaches, and what a next stage goes on from. */
#include <stdio.h>
#include <string.h>

#include "train/session.h"

/* The tensor's name behind the group, or NULL for another group's. */
static const char *rest_of(const char *name, const char *group) {
    const size_t length = strlen(group);
    return !strncmp(name, group, length) && name[length] == '.' ? name + length + 1 : NULL;
}

static vkd_result copy_one(vkd__session *s, const vkd_store_info *info, const char *to) {
    const size_t bytes = (size_t)vkd_shape_count(info->shape) * vkd_dtype_size(info->dtype);
    void *values = vkd__alloc(s->ctx, bytes, 1);
    if (!values) return VKD_E_MEMORY;
    vkd_result r = vkd_store_read(s->store, info->name, values, bytes);
    if (!r) r = vkd_store_write(s->store, to, values, bytes);
    vkd__free(s->ctx, values);
    return r;
}

vkd_result vkd__average_copy(vkd__session *s, const char *from, const char *to, uint32_t what) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < vkd_store_count(s->store) && !r; i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        const char *rest = rest_of(info.name, from);
        char name[256];
        if (!rest || !(what & (info.parameter ? VKD__COPY_PARAMETERS : VKD__COPY_REST))) continue;
        snprintf(name, sizeof name, "%s.%s", to, rest);
        if (vkd_store_find(s->store, name, NULL)) r = copy_one(s, &info, name);
    }
    return r;
}

double vkd__average_decay(const vkd__phase *p, uint64_t step) {
    const double ema = (double)p->stage->options.ema;
    const double early = (1 + (double)step) / (10 + (double)step);
    return early < ema ? early : ema;
}
