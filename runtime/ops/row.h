// SPDX-License-Identifier: Apache-2.0
/* Launching kernels built on shaders/lib/row.glsl. */
#ifndef VKD_ROW_H
#define VKD_ROW_H

#include "ops/op.h"

/* How `rows` rows are cut so that no binding exceeds the device's limit: every tensor of the launch
 * that has one value for each element is bound in windows of `rows_at_once` rows. */
typedef struct vkd__rows {
    uint64_t rows, rows_at_once;
    uint32_t length;
} vkd__rows;

/* The rows of a tensor's last axis. false, with the plan's error set, when one aligned run of rows
 * does not fit into a binding. */
bool vkd__rows_of(vkd__lower *l, vkd_tensor t, vkd__rows *out);
static inline uint64_t vkd__rows_count(const vkd__rows *r, uint64_t first) {
    return r->rows - first < r->rows_at_once ? r->rows - first : r->rows_at_once;
}

/* Adds a launch of `kernel`, or of its direct variant, with spec constants 0, 3 and 10 and the grid
 * for `rows` rows of `length` elements. NULL on failure. */
vkd__launch *vkd__row_launch(vkd__lower *l, const char *kernel, uint64_t rows, uint32_t length);
/* Binds rows first .. first+count of a tensor with `width` elements of four bytes in each. */
void vkd__row_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t first,
                   uint64_t count, uint32_t width);

#endif
