// SPDX-License-Identifier: Apache-2.0
/* What guard, sgd, adamw and ema share: flat groups, their states and their windows. */
#ifndef VKD_OPTIMISER_H
#define VKD_OPTIMISER_H

#include "ops/row.h"

/* A state named "<group>.<what>" with the flat shape of the group. */
vkd_tensor vkd__group_state(vkd_graph *g, const char *group, const char *what, vkd_dtype dtype,
                            vkd_shape shape);
/* How many of a flat group's elements, from its start, get weight decay. */
uint64_t vkd__decay_count(const vkd_graph *g, vkd_tensor flat);
/* Shapes and types of {flat, gradient, guard (2), rate ()} as inputs 0 to 3. */
bool vkd__optimiser_infer(vkd_graph *g, vkd__node *n);

/* Windows of a flat group. */
typedef struct vkd__span {
    uint64_t at, count;
    uint32_t decayed; /* of these elements */
} vkd__span;
/* The window that begins at `at`; count is 0 at the end. */
vkd__span vkd__span_at(const vkd__lower *l, vkd_tensor flat, uint64_t at);

/* The next window, behind *s ({0} at first), of what the gradient, input 1 of the node, reaches of
 * the group, input 0; false at the end. */
bool vkd__span_next(const vkd__lower *l, const vkd__node *n, vkd__span *s);
/* For references: whether an element of the group is among those. */
bool vkd__span_has(const vkd_graph *g, const vkd__node *n, uint64_t element);

/* Binds that part of a flat tensor; {0} binds zeros, for reading. */
void vkd__span_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, const vkd__span *s);

/* The gradient and parameter inputs with which optimiser cases begin: group "case", parameters that
 * are decayed and one that is not. */
typedef struct vkd__optimiser_case {
    vkd_tensor weight, bias, gradient, guard, rate;
} vkd__optimiser_case;
vkd__optimiser_case vkd__optimiser_case_build(vkd__case *c);

#endif
