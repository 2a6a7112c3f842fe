// SPDX-License-Identifier: Apache-2.0
/* Loops over up to five axes in which each operand has strides of its own: what broadcasting,
 * transposing, slicing and joining have in common. Axes stand innermost first here. */
#ifndef VKD_STRIDED_H
#define VKD_STRIDED_H

#include "ops/op.h"

#define VKD__OPERANDS 3

typedef struct vkd__strided {
    uint32_t axes; /* at least 1 */
    uint32_t operands;
    uint64_t dim[VKD_MAX_AXES];
    uint64_t stride[VKD__OPERANDS][VKD_MAX_AXES]; /* elements; 0 repeats */
    uint64_t offset[VKD__OPERANDS];
} vkd__strided;

/* A loop over `shape`; strides are still 0. */
vkd__strided vkd__strided_over(vkd_shape shape, uint32_t operands);
/* Operand i is a whole tensor that broadcasts to the loop's shape. */
void vkd__strided_broadcast(vkd__strided *s, uint32_t i, vkd_shape shape);
/* Operand i is a part of a whole tensor: axis k of the loop is axis order[k] of it (NULL: axis k),
 * and element `offset` is its first. */
void vkd__strided_part(vkd__strided *s, uint32_t i, vkd_shape whole, const uint32_t *order,
                       uint64_t offset);
/* Drops axes of size 1 and merges neighbours that every operand walks as one. */
void vkd__strided_merge(vkd__strided *s);
uint64_t vkd__strided_count(const vkd__strided *s);

/* The loop in windows that every operand can be bound in: runs of rows of its outermost axis, or,
 * where even one row is too large, of an inner axis, once for each step of the axes outside of it.
 */
typedef struct vkd__strided_walk {
    const vkd__strided *s;
    uint32_t axes;             /* of each window */
    uint64_t rows;             /* of each window but the last */
    uint64_t at[VKD_MAX_AXES]; /* where the next window begins, from axis axes - 1 on */
    bool quads; /* every window but the last has a multiple of four elements, in y's order */
    bool done;
} vkd__strided_walk;
/* false, with the plan failed: it would take absurdly many launches. */
bool vkd__strided_walk_init(vkd__strided_walk *w, vkd__lower *l, const vkd__strided *s);
/* false after the last window. */
bool vkd__strided_walk_next(vkd__strided_walk *w, vkd__strided *part);
/* Binds what the window touches of operand i, and makes its offset relative to the binding. */
void vkd__strided_bind(vkd__lower *l, vkd__launch *launch, vkd_tensor t, vkd__access access,
                       vkd__strided *part, uint32_t i);
/* The kernels' form of it; operand 0 is a, 1 is b, and offset_y is operand 2's. */
struct vkd_strided_params vkd__strided_push(const vkd__strided *s);

/* y (operand 1) = x (operand 0), f32 or i32, with the copy kernel. */
bool vkd__copy_lower(vkd__lower *l, vkd_tensor x, vkd_tensor y, const vkd__strided *s);

#endif
