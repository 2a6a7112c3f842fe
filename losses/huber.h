// SPDX-License-Identifier: Apache-2.0
/* The loss of Huber with threshold 1: e^2 / 2 where |e| <= 1, else |e| - 1/2. Its derivative is e,
 * kept within +-1. Huber, Ann. Math. Stat. 35 (1964); "smooth L1" in many libraries. */
#ifndef VKD_HUBER_H
#define VKD_HUBER_H

#include "losses/loss.h"

/* () its mean over all elements of e, of plain ops. */
vkd_tensor vkd__loss_huber_mean(vkd_graph *g, vkd_tensor e);
/* For references. */
double vkd__loss_huber(double e);
double vkd__loss_huber_slope(double e);

#endif
