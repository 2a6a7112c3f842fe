// SPDX-License-Identifier: Apache-2.0
/* What the ops over all pairs of the rows of x (N, D) share: distances, and the gradient that
 * follows from a weight for each pair,
 *
 *   dx_i = sum_j w_ij (x_i - x_j)
 *
 * into which every loss of distances alone turns. Distances are taken of the differences, not of
 * |x_i|^2 + |x_j|^2 - 2 x_i x_j, in which what is near cancels. In scratch memory an (N, N) matrix
 * has rows of vkd__pair_stride(N) elements. shaders/lib/pairs.glsl is the other half. */
#ifndef VKD_PAIRS_H
#define VKD_PAIRS_H

#include "ops/row.h"

/* The least distance of two rows, and what two points must be apart to have a direction. */
#define VKD__PAIR_NEAREST 1e-6
#define VKD__PAIR_APART 1e-12

static inline uint32_t vkd__pair_stride(uint32_t N) {
    return (N + 3) / 4 * 4;
}

/* Inside infer: whether in[i] is (N, D) f32 with N >= 2; with i > 0 of in[0]'s N. */
bool vkd__pairs_infer(vkd_graph *g, const vkd__node *n, uint32_t i);

/* Inside infer of a loss with student and teacher rows and an optional () dout: a () loss, and
 * where dout is there the gradient by the student. */
bool vkd__pairs_loss_infer(vkd_graph *g, vkd__node *n);
/* The second half of that: the outputs, with dout as in[slot]. */
bool vkd__pairs_loss_out(vkd_graph *g, vkd__node *n, uint32_t slot);

/* Inside lower. All return false, and the plan has failed, where something does not fit. */

/* An (N, N) matrix: a tensor, or scratch memory where that is {0}. */
typedef struct vkd__pair_matrix {
    vkd_tensor tensor;
    uint32_t scratch;
} vkd__pair_matrix;

/* Whether x and an (N, N) matrix can be bound whole. */
bool vkd__pairs_fit(vkd__lower *l, vkd_tensor x);
/* Scratch memory for an (N, N) matrix, and for rows that fill up its last quad. */
vkd__pair_matrix vkd__pair_scratch(vkd__lower *l, uint32_t N);
void vkd__pair_bind(vkd__launch *launch, vkd__pair_matrix m, vkd__access access);
/* A launch over `items` invocations of a kernel that reads rows of x as quads. */
vkd__launch *vkd__pair_launch(vkd__lower *l, const char *kernel, uint64_t items, uint32_t D);
/* Distances of x's rows. */
bool vkd__pair_distances(vkd__lower *l, vkd_tensor x, vkd__pair_matrix distances);
/* Their squares and the inverses of their roots. */
bool vkd__pair_squares(vkd__lower *l, vkd_tensor x, vkd__pair_matrix squares,
                       vkd__pair_matrix roots);
/* w, in scratch memory, from distances and their gradient, which are both tensors or neither. */
bool vkd__pair_weights(vkd__lower *l, uint32_t N, vkd__pair_matrix distances,
                       vkd__pair_matrix gradient, vkd__pair_matrix w);
/* dx = scale * factor * the sum above, w in scratch memory, factor one number or NULL for 1. */
bool vkd__pair_gradient(vkd__lower *l, vkd_tensor x, vkd__pair_matrix w,
                        const vkd__pair_matrix *factor, float scale, vkd_tensor dx);
/* out, a () tensor, is the sum of `count` scratch values. */
bool vkd__pair_total(vkd__lower *l, uint32_t values, uint32_t count, vkd_tensor out);

/* For references, in double precision. */
double vkd__pair_square(const double *x, uint32_t D, uint32_t i, uint32_t j);
/* The root, at least VKD__PAIR_NEAREST; 0 for i == j. */
double vkd__pair_distance(const double *x, uint32_t D, uint32_t i, uint32_t j);
/* Adds to dx what a loss with the derivative a by the distance of i and j gives to both rows. */
void vkd__pair_push(const double *x, uint32_t D, uint32_t i, uint32_t j, double a, double *dx);
/* The loss of Huber with threshold 1, and its derivative. Huber, Ann. Math. Stat. 35 (1964). */
double vkd__huber(double x);
double vkd__huber_slope(double x);

/* Rows, widths of student and teacher, that the cases of these ops share. */
#define VKD__PAIR_CASES 9
extern const uint32_t vkd__pair_cases[VKD__PAIR_CASES][3];
/* Case c->index of VKD__PAIR_CASES + 1; the last has rows that are one point. */
void vkd__pair_case(vkd__case *c, vkd_tensor *student, vkd_tensor *teacher);

#endif
