// SPDX-License-Identifier: Apache-2.0
/* The reverse walk. It stands above the ops, because it sums with `add`. */
#ifndef VKD_AUTODIFF_H
#define VKD_AUTODIFF_H

#include "graph/graph.h"

/* vkd_backward from any outputs, each with the gradient that arrives at it ({0} for none). */
void vkd__backward_from(vkd_graph *g, const vkd_tensor *outputs, const vkd_tensor *seeds,
                        uint32_t output_count, const vkd_tensor *of, uint32_t count,
                        vkd_tensor *gradients);

#endif
