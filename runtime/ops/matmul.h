// SPDX-License-Identifier: Apache-2.0
/* What the files of matmul share.
 *   matmul.c          the op: building, shapes, gradients, reference, cases
 *   matmul_windows.c  lowering: a product to parts that the device can bind
 *   matmul_launch.c   a part to its launches: the kernel, and what is left for a second one
 *   matmul_tile.c     sizes of the kernel for GPUs
 *   matmul_coopmat.c  sizes of that for GPUs with cooperative matrices, and when it is taken
 *   matmul_direct.c   sizes of the kernel for CPU devices */
#ifndef VKD_MATMUL_H
#define VKD_MATMUL_H

#include "ops/op.h"

typedef enum vkd__layout { NN, NT, TN } vkd__layout;

typedef struct vkd__matmul {
    uint32_t layout;
    uint32_t activation;
    uint32_t M, N, K, batch;
    bool broadcast_a, broadcast_b; /* one matrix for the whole batch */
    uint32_t sum;                  /* VKD__SUM_..., with a second output */
    bool f32_operands;             /* which a mixed graph does not cast */
    vkd_dtype result;              /* asked for; f32 where a row of C is not whole quads */
    uint32_t in_bytes, out_bytes;  /* of an element of A and B, and of C */
} vkd__matmul;

/* Which operand is summed over K, too: A of a TN product gives (M), B of an NN or TN product (N).
 */
enum { VKD__SUM_NONE, VKD__SUM_A, VKD__SUM_B };

/* Inputs and outputs of the node. */
enum { IN_A, IN_B, IN_BIAS, IN_RESIDUAL };
enum { OUT_C, OUT_SUM };

/* One launch: a run of rows of C, for TN also a run of K; all of a small matrix. */
typedef struct vkd__matmul_part {
    struct vkd_matmul_params push;
    uint64_t a_offset, b_offset, c_offset; /* bytes */
    bool accumulate;
    bool sums; /* all of the product, so that the kernel can make the second output */
} vkd__matmul_part;

/* Bytes of `items` matrices whose elements have `size` bytes. */
static inline uint64_t vkd__matrix_bytes(uint32_t size, uint32_t rows, uint32_t columns,
                                         uint32_t items) {
    return (uint64_t)size * rows * columns * items;
}

bool vkd__matmul_lower(vkd__lower *l, const vkd__node *n);
bool vkd__matmul_launch(vkd__lower *l, const vkd__node *n, const vkd__matmul_part *q, bool direct);
/* Whether a part is for the kernel of cooperative matrices: its operands have a 16-bit type that
 * the profile's matrices take, and neither is summed over K, which only matmul.sum does. */
bool vkd__matmul_coopmat(const vkd__lower *l, const vkd__matmul_part *q);
/* Whether a launch of this part had better share each tile's K among workgroups: sets the part's
 * splits and chunk, 1 and K where not. `coopmat`: by that kernel's tile. */
void vkd__matmul_split(const vkd__lower *l, vkd__matmul_part *q, bool coopmat);
/* A launch that adds `splits` partial results of `count` elements in order, into `out` or, to
 * accumulate, to it. */
bool vkd__matmul_add_splits(vkd__lower *l, uint32_t scratch, uint64_t count, uint32_t splits,
                            vkd_tensor out, bool accumulate);
/* Workgroup, sizes and grid of a launch whose bindings and other constants stand. */
void vkd__matmul_size_tile(vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q);
void vkd__matmul_size_coopmat(vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q);
void vkd__matmul_size_direct(vkd__lower *l, vkd__launch *launch, vkd__layout layout,
                             const vkd__matmul_part *q);
/* The grid of m x n tiles, as far as the device allows. */
void vkd__matmul_groups(const vkd__lower *l, vkd__launch *launch, const vkd__matmul_part *q,
                        uint32_t m, uint32_t n);

#endif
