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

/* x summed over the axes along which it was broadcast from `shape`: the gradient of broadcasting.
 */
vkd_tensor vkd__sum_to(vkd_graph *g, vkd_tensor x, vkd_shape shape);
/* dy times the derivative of a unary op: `kind` is a vkd_activation other than NONE (or unary.c's
 * own); of x and y = f(x) only the cheaper one is read. */
vkd_tensor vkd__unary_grad(vkd_graph *g, vkd_tensor dy, vkd_tensor x, vkd_tensor y, uint32_t kind);
/* For references: f(x) of a vkd_activation; NONE gives x. */
double vkd__activated(vkd_activation activation, double x);
/* And its derivative: v is x, or where `from_y` f(x), which only relu, tanh, sigmoid and relu6 have
 * one from. */
double vkd__activation_slope(uint32_t activation, double v, bool from_y);
/* Of max over the middle of x (outer, reduce, inner). */
vkd_tensor vkd__max_grad(vkd_graph *g, vkd_tensor dy, vkd_tensor x, vkd_tensor y, uint32_t reduce,
                         uint32_t inner);
/* Of a tensor with one element the form with the fewest axes: constants hide behind reshapes. */
vkd_tensor vkd__one_value(const vkd_graph *g, vkd_tensor x);
/* One input and one output, for ops with nothing to check but the type. */
vkd_tensor vkd__emit1(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, const void *params,
                      size_t params_size);

/* For backward of a fused loss, whose inputs up to `slot` are its own and whose in[slot] is an
 * optional () dout: the gradient by in[0], out[1] of the node itself where dout is there before it,
 * else of a second node of the op. */
vkd_tensor vkd__loss_gradient(vkd_graph *g, const vkd__node *n, uint32_t slot, size_t params_size,
                              vkd_tensor dout);

/* Inside infer: false, and the graph failed, where an input is not f32. */
bool vkd__all_f32(vkd_graph *g, const vkd__node *n);
/* Inside infer of an op with takes_half: what its inputs are, f32 or one 16-bit type. */
bool vkd__all_one_type(vkd_graph *g, const vkd__node *n, vkd_dtype *dtype);
/* Whether t is a () constant; its value. Builders fold these, so that loss gradients stay leaves.
 */
bool vkd__constant_value(const vkd_graph *g, vkd_tensor t, float *value);

/* Reference: which element of an `x` that broadcasts to `y` is y's element e. */
uint64_t vkd__broadcast_index(vkd_shape x, vkd_shape y, uint64_t e);

/* Inside lower. */

/* The 16-bit type among the node's first input and output; VKD_F32 where there is none. */
vkd_dtype vkd__half_of(const vkd__lower *l);
/* The kernel's name for this node: "<kernel>.direct" where vkd__direct says so, and ".half" behind
 * that where the node's first input has 16 bits and the kernel has that variant. */
const char *vkd__variant(const vkd__lower *l, const char *kernel);

/* Launches that sum the first axis of x (rows, columns) into y (columns), x and y being tensors of
 * the node: for ops that have such a sum as a second output. */
bool vkd__sum_rows(vkd__lower *l, vkd_tensor x, vkd_tensor y, uint64_t rows, uint64_t columns);
/* The same in one launch, with x in scratch memory that can be bound whole: for a few rows. */
bool vkd__sum_scratch_rows(vkd__lower *l, uint32_t x, vkd_tensor y, uint64_t rows,
                           uint64_t columns);

/* Launches of a kernel that works element by element on `count` elements of four bytes, in windows
 * where the device cannot bind all at once. */
typedef struct vkd__flat {
    const char *kernel; /* without variant */
    uint64_t count;
    uint32_t tensor_count;
    vkd_tensor tensor[4];
    vkd__access access[4];
    uint32_t whole; /* bit i: tensor i is bound as it is in every window: a () tensor */
    uint32_t kind;  /* spec constant 10 */
    void *push;     /* its first member is `vkd_u32 count`, of the window */
    size_t push_size;
    double flops; /* for each element */
} vkd__flat;
bool vkd__flat_lower(vkd__lower *l, const vkd__flat *f);

#endif
