// SPDX-License-Identifier: Apache-2.0
/* Launching kernels built on shaders/lib/row.glsl, and flat ones: windows, lanes, grids. */
#ifndef VKD_ROW_H
#define VKD_ROW_H

#include "ops/op.h"

/* How `rows` rows are cut so that no binding exceeds the device's limit: every tensor of the launch
 * that has one value for each element is bound in windows of `rows_at_once` rows, a multiple of 64
 * where that is not all of them, so that a window of any row size begins aligned. */
typedef struct vkd__rows {
    uint64_t rows, rows_at_once;
    uint32_t length;
} vkd__rows;

/* The rows of a tensor's last axis. false, and the plan fails, when 64 rows do not fit
 * into a binding. */
bool vkd__rows_of(vkd__lower *l, vkd_tensor t, vkd__rows *out);
/* The same for rows of another length: `out` says how many there are, and how long each is. */
bool vkd__rows_cut(vkd__lower *l, vkd_tensor t, vkd__rows *out);
static inline uint64_t vkd__rows_count(const vkd__rows *r, uint64_t first) {
    return r->rows - first < r->rows_at_once ? r->rows - first : r->rows_at_once;
}

/* Adds a launch of `kernel`, or of its direct variant, with spec constants 0, 3 and 10 and the grid
 * for `rows` rows of `length` elements. NULL on failure. */
vkd__launch *vkd__row_launch(vkd__lower *l, const char *kernel, uint64_t rows, uint32_t length);
/* Binds rows first .. first+count of a tensor with `width` elements of four bytes in each. */
void vkd__row_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t first,
                   uint64_t count, uint32_t width);
/* One workgroup that reduces over all it reads: a base row kernel with all lanes on one row. */
vkd__launch *vkd__reduce_launch(vkd__lower *l, const char *kernel);
/* Adds a launch of a kernel, or of its direct variant, with one invocation for each of `items`. */
vkd__launch *vkd__item_launch(vkd__lower *l, const char *kernel, uint64_t items);

/* Row counts and lengths that the cases of row ops share: ragged, aligned, short and long. */
#define VKD__ROW_CASES 10
extern const uint32_t vkd__row_cases[VKD__ROW_CASES][2];

/* Sticky failures for what many builders ask of an input. */
bool vkd__need_f32(vkd_graph *g, const vkd__node *n, uint32_t i);

#endif
