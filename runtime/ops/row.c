// SPDX-License-Identifier: Apache-2.0
#include "ops/row.h"

#include <inttypes.h>
#include <stdio.h>

bool vkd__rows_of(vkd__lower *l, vkd_tensor t, vkd__rows *out) {
    const vkd__tensor *x = vkd__tensor_get(l->g, t);
    *out = (vkd__rows){.rows = vkd__shape_rows(x->shape), .length = vkd__shape_last(x->shape)};
    const uint64_t row_bytes = (uint64_t)out->length * vkd_dtype_size(x->dtype);
    out->rows_at_once = vkd__window_rows(l->profile, row_bytes, out->rows);
    if (out->rows_at_once) return true;
    vkd__fail(l->plan->ctx, VKD_E_SHAPE,
              "%s('%s'): rows of %" PRIu64 " bytes do not fit into a binding of %" PRIu64
              " bytes on this device; split the last axis",
              l->g->nodes[l->node].op->name, x->name, row_bytes, l->profile->max_binding);
    return false;
}

/* Lanes that share a row in a base kernel: each gets four quads or so, one lane a short row. */
static uint32_t lanes_for(uint32_t workgroup, uint32_t length) {
    uint32_t lanes = 1;
    while (lanes < workgroup && lanes * 16u < length)
        lanes *= 2;
    return lanes;
}

vkd__launch *vkd__row_launch(vkd__lower *l, const char *kernel, uint64_t rows, uint32_t length) {
    const vkd_profile *p = l->profile;
    const bool direct = vkd__direct(l, kernel);
    char name[64];
    snprintf(name, sizeof name, "%s%s", kernel, direct ? ".direct" : "");
    const vkd__kernel *found = vkd__kernel_find(name);
    VKD_ASSERT(found != NULL);
    vkd__launch *launch = vkd__launch_add(l, found->name);
    if (!launch) return NULL;

    /* A CPU device runs independent lanes fastest while rows are short; from about 64 elements on
     * the subgroup that reads one row together wins through its contiguous loads. */
    const uint32_t row_lanes = !direct        ? lanes_for(p->row_workgroup, length)
                               : length >= 64 ? p->subgroup
                                              : 1;
    const uint32_t workgroup = !direct         ? p->row_workgroup
                               : row_lanes > 1 ? row_lanes
                                               : p->flat_workgroup;
    vkd__spec(launch, 0, workgroup);
    vkd__spec(launch, 3, row_lanes);
    vkd__spec(launch, 10, length % 4 == 0);
    vkd__grid(l, launch, vkd__div_up(rows, workgroup / row_lanes));
    return launch;
}

void vkd__row_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t first,
                   uint64_t count, uint32_t width) {
    const uint64_t row_bytes = (uint64_t)width * 4;
    vkd__bind_window(launch, t, access, first * row_bytes, count * row_bytes);
}
