// SPDX-License-Identifier: Apache-2.0
#include "ops/row.h"

#include <inttypes.h>
#include <stdio.h>

const uint32_t vkd__row_cases[VKD__ROW_CASES][2] = {
    {3, 1}, {5, 2}, {7, 10}, {70, 16}, {4, 31}, {3, 33}, {2, 64}, {5, 127}, {3, 129}, {2, 1000}};

bool vkd__rows_of(vkd__lower *l, vkd_tensor t, vkd__rows *out) {
    const vkd_shape shape = vkd_tensor_shape(l->g, t);
    *out = (vkd__rows){.rows = vkd__shape_rows(shape), .length = vkd__shape_last(shape)};
    return vkd__rows_cut(l, t, out);
}

bool vkd__rows_cut(vkd__lower *l, vkd_tensor t, vkd__rows *out) {
    const vkd__tensor *x = vkd__tensor_get(l->g, t);
    const uint64_t row_bytes = (uint64_t)out->length * vkd_dtype_size(x->dtype);
    const uint64_t fit = vkd__window_rows(l->profile, row_bytes, out->rows);
    out->rows_at_once = fit < out->rows ? fit / 64 * 64 : out->rows;
    if (out->rows_at_once) return true;
    return vkd__lower_fail(l, VKD_E_SHAPE,
                           "64 rows of '%s', %" PRIu64 " bytes each, do not fit into a binding of "
                           "%" PRIu64 " bytes, the most on this device; make its last axis shorter",
                           x->name, row_bytes, l->profile->max_binding);
}

/* The kernel itself, or its direct variant. */
static vkd__launch *launch_variant(vkd__lower *l, const char *kernel, bool direct) {
    char name[64];
    snprintf(name, sizeof name, "%s%s", kernel, direct ? ".direct" : "");
    const vkd__kernel *found = vkd__kernel_find(name);
    VKD_ASSERT(found != NULL);
    return vkd__launch_add(l, found->name);
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
    vkd__launch *launch = launch_variant(l, kernel, direct);
    if (!launch) return NULL;
    uint32_t workgroup = length < 64 ? p->short_workgroup : p->row_workgroup, lanes = 1;
    if (!direct) {
        lanes = lanes_for(workgroup, length);
    } else if (length >= 64) {
        /* A CPU device runs independent lanes fastest while rows are short; from about 64 elements
         * on the subgroup that reads one row together wins through its contiguous loads. */
        workgroup = lanes = p->subgroup;
    }
    vkd__spec(launch, 0, workgroup);
    vkd__spec(launch, 3, lanes);
    vkd__spec(launch, 10, length % 4 == 0);
    vkd__grid(l, launch, vkd__div_up(rows, workgroup / lanes));
    return launch;
}

void vkd__row_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t first,
                   uint64_t count, uint32_t width) {
    const uint64_t row_bytes = (uint64_t)width * 4;
    vkd__bind_window(launch, t, access, first * row_bytes, count * row_bytes);
}

vkd__launch *vkd__reduce_launch(vkd__lower *l, const char *kernel) {
    vkd__launch *launch = launch_variant(l, kernel, false);
    if (!launch) return NULL;
    vkd__spec(launch, 0, l->profile->reduce_workgroup);
    vkd__spec(launch, 3, l->profile->reduce_workgroup);
    vkd__grid(l, launch, 1);
    return launch;
}

vkd__launch *vkd__item_launch(vkd__lower *l, const char *kernel, uint64_t items) {
    vkd__launch *launch = launch_variant(l, kernel, vkd__direct(l, kernel));
    if (!launch) return NULL;
    vkd__spec(launch, 0, l->profile->flat_workgroup);
    vkd__grid(l, launch, vkd__div_up(items, l->profile->flat_workgroup));
    return launch;
}

bool vkd__need_f32(vkd_graph *g, const vkd__node *n, uint32_t i) {
    if (vkd__tensor_get(g, n->in[i])->dtype == VKD_F32) return true;
    return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' is not f32",
                           vkd__tensor_get(g, n->in[i])->name);
}
