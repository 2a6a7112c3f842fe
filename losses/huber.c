// SPDX-License-Identifier: Apache-2.0
#include "losses/huber.h"

#include <math.h>

vkd_tensor vkd__loss_huber_mean(vkd_graph *g, vkd_tensor e) {
    const vkd_tensor size = vkd_add(g, vkd_relu(g, e), vkd_relu(g, vkd_neg(g, e)));
    const vkd_tensor over = vkd_relu(g, vkd_sub(g, size, vkd_constant(g, 1)));
    const vkd_tensor within = vkd_scale(g, vkd_square(g, vkd_sub(g, size, over)), 0.5f);
    return vkd_mean(g, vkd_add(g, within, over), VKD_ALL_AXES, false);
}

double vkd__loss_huber(double e) {
    return fabs(e) <= 1 ? e * e / 2 : fabs(e) - 0.5;
}

double vkd__loss_huber_slope(double e) {
    return e > 1 ? 1 : e < -1 ? -1 : e;
}
