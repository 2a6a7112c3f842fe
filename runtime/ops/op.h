// SPDX-License-Identifier: Apache-2.0
/* What the files of this folder share: the register, and small things that many ops need. */
#ifndef VKD_OP_H
#define VKD_OP_H

#include "graph/case.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "shaders/params.h"

#define VKD_OP(name) extern const vkd_op_def vkd_op_##name;
#include "ops/ops.def"
#undef VKD_OP

extern const vkd_op_def *const vkd__ops[];
extern const size_t vkd__op_count;
const vkd_op_def *vkd__op_find(const char *name);

/* Internal builders. */

/* Values go to byte `offset` (a multiple of 256) of a store tensor. */
void vkd__put(vkd_graph *g, vkd_tensor values, vkd_tensor into, uint64_t offset);
/* x broadcast to a shape. */
vkd_tensor vkd__expand(vkd_graph *g, vkd_tensor x, vkd_shape shape);

#endif
