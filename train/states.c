// SPDX-License-Identifier: Apache-2.0
/* The states of the phase under way: what its step keeps in the store beside parameters, under the
 * name of the group that it trains: the optimiser's moments, the guard's counts, the loss scale. A
 * stage begins with zeros in them, or with what a loss puts there instead, whatever an earlier
 * stage of the model left; between two stages nothing of them is needed. Buffers are the model's
 * and go on from stage to stage. */
#include <string.h>

#include "train/session.h"

static bool belongs_to(const char *name, const char *group) {
    const size_t length = strlen(group);
    return !strncmp(name, group, length) && name[length] == '.';
}

static vkd_result clear(vkd__session *s, const vkd_store_info *info) {
    const size_t bytes = (size_t)vkd_shape_count(info->shape) * vkd_dtype_size(info->dtype);
    void *zeros = vkd__alloc(s->ctx, bytes, 1);
    if (!zeros) return VKD_E_MEMORY;
    const vkd_result r = vkd_store_write(s->store, info->name, zeros, bytes);
    vkd__free(s->ctx, zeros);
    return r;
}

vkd_result vkd__states_begin(vkd__session *s, const vkd__phase *p, const vkd_graph *step,
                             bool fresh) {
    const uint32_t all = vkd_store_count(s->store);
    vkd_result r = VKD_OK;
    s->state_count = 0;
    if (all > s->state_capacity) {
        s->states = VKD_NEW(&s->arena, const char *, all);
        if (!s->states) return VKD_E_MEMORY;
        s->state_capacity = all;
    }
    for (uint32_t i = 0; i < all && !r; i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        if (info.parameter || info.buffer || !belongs_to(info.name, p->group) ||
            !vkd_graph_uses(step, info.name))
            continue;
        s->states[s->state_count++] = info.name;
        if (fresh) r = clear(s, &info);
    }
    return r;
}

bool vkd__states_has(const vkd__session *s, const char *name) {
    for (uint32_t i = 0; i < s->state_count; i++)
        if (!strcmp(s->states[i], name)) return true;
    return false;
}
