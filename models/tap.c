// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "models/model.h"

vkd_tensor vkd__tap_add(vkd_graph *g, vkd__model_io *io, const char *name, vkd_tensor t) {
    VKD_ASSERT(io->tap_count < VKD__MAX_TAPS);
    vkd__tap *tap = &io->taps[io->tap_count++];
    snprintf(tap->name, sizeof tap->name, "%s", name);
    tap->tensor = vkd_name(g, t, "%s.%s", io->group, name);
    return tap->tensor;
}

vkd_tensor vkd__tap_find(const vkd__model_io *io, const char *name) {
    for (uint32_t i = 0; i < io->tap_count; i++)
        if (!strcmp(io->taps[i].name, name)) return io->taps[i].tensor;
    return (vkd_tensor){0};
}
