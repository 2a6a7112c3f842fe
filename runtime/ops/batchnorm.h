// SPDX-License-Identifier: Apache-2.0
/* What batchnorm and its gradient share. batchnorm.c says what they compute, batchnorm_launch.c
 * lowers both. */
#ifndef VKD_BATCHNORM_H
#define VKD_BATCHNORM_H

#include "ops/row.h"

typedef struct vkd__batchnorm {
    float momentum, eps;
    bool training;
    uint32_t activation;
    bool with_dz; /* of the gradient: dz is a fourth output */
} vkd__batchnorm;

/* In training `mean` and `spread` of the gradient are the first's outputs, else what it read. */
enum { BN_X, BN_GAMMA, BN_BETA, BN_RUNNING_MEAN, BN_RUNNING_VAR, BN_RESIDUAL, BN_INPUTS };
enum { BN_Y, BN_MEAN, BN_RSTD };
enum { BG_DY, BG_X, BG_GAMMA, BG_BETA, BG_MEAN, BG_SPREAD, BG_Y, BG_INPUTS };
enum { BG_DX, BG_DGAMMA, BG_DBETA, BG_DZ };

/* Emits the gradient; y is {0} where the activation's derivative follows from x. */
vkd_tensor vkd__batchnorm_grad(vkd_graph *g, const vkd_tensor in[BG_INPUTS],
                               const vkd__batchnorm *p);

bool vkd__batchnorm_lower(vkd__lower *l, const vkd__node *n);
bool vkd__batchnorm_grad_lower(vkd__lower *l, const vkd__node *n);

/* Shapes that the cases of both walk through. */
#define VKD__BATCHNORM_SHAPES 8
extern const vkd_shape vkd__batchnorm_shapes[VKD__BATCHNORM_SHAPES];

#endif
