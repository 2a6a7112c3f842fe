// SPDX-License-Identifier: Apache-2.0
/* What the fused row losses share. Such an op takes student logits (N, V), more inputs of its own
 * and, last, an optional () dout; it gives the () loss, the mean over the N rows of a sum over the
 * V classes, and, where it has dout, the gradient with respect to the student times dout, in the
 * same launch: both need the same sums over a row. shaders/lib/loss.glsl is the other half.
 *
 * Masks. A logit below VKD__MASKED, -inf above all, masks its class. A row in which the student or
 * the teacher is left without a class counts as 0 and has gradient 0; it still counts in N. */
#ifndef VKD_ROW_LOSS_H
#define VKD_ROW_LOSS_H

#include "ops/row.h"

#define VKD__MASKED -1e38

/* What each input of such an op is, in order; dout follows. */
typedef enum vkd__row_role {
    VKD__ROW_LOGITS, /* (N, V) f32, of the student's shape */
    VKD__ROW_LABELS, /* (N) i32 */
    VKD__ROW_SCALAR  /* () f32 */
} vkd__row_role;

typedef struct vkd__row_loss {
    const char *kernel;
    uint32_t inputs; /* without dout */
    vkd__row_role role[4];
} vkd__row_loss;

bool vkd__row_loss_infer(vkd_graph *g, vkd__node *n, const vkd__row_loss *what);
/* The gradient tensor: from the node itself where dout is there before it, else from a second node
 * of the op. */
vkd_tensor vkd__row_loss_gradient(vkd_graph *g, const vkd__node *n, const vkd__row_loss *what,
                                  size_t params_size, vkd_tensor dout);
/* Launches for the rows and for their sum. Fills in N, V, first and share of `params`; the rest is
 * the op's. */
bool vkd__row_loss_lower(vkd__lower *l, const vkd__node *n, const vkd__row_loss *what,
                         struct vkd_loss_params params);

/* The cases that these ops share: case c->index of VKD__ROW_CASES, with its student and, if it is
 * not NULL, teacher; some have masked classes. Returns a () tau. */
#define VKD__ROW_CASES 10
vkd_tensor vkd__row_case(vkd__case *c, vkd_tensor *student, vkd_tensor *teacher);

/* For references: log of the sum of exp(x[v] / tau) over the classes that `x` does not mask, nor
 * `also` if it is not NULL, nor `skip` (V: none); -INFINITY when none is left. */
double vkd__row_lse(const double *x, const double *also, uint32_t V, uint32_t skip, double tau);
/* exp(x / tau - lse), 0 for a masked x. */
double vkd__row_p(double x, double tau, double lse);
static inline bool vkd__masked(double x) {
    return x < VKD__MASKED;
}
/* The label of a row that counts: inside 0..V-1. */
bool vkd__row_label(double value, uint32_t V, uint32_t *label);

#endif
