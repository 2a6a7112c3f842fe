// SPDX-License-Identifier: Apache-2.0
/* What RADV's compiler says of a pipeline, in numbers. */
#ifndef VKD_TEST_FIGURES_H
#define VKD_TEST_FIGURES_H

#include "gpu/gpu.h"

typedef struct figures {
    double vgprs, sgprs, spilled, scratch, shared, waves, code;
} figures;

/* Of a device that was opened for statistics. Errors: VKD_E_ARGUMENT: its driver names no such
 * figures; else what vkd__pipeline_statistics says. */
vkd_result figures_of(vkd_device *d, const vkd__pipeline *p, figures *out);
/* The larger of each, the smaller of waves; `first`: *worst holds nothing yet. */
void figures_worsen(figures *worst, const figures *f, bool first);

/* The share of multiply-adds among all vector instructions of the block that has the most of them,
 * 0 to 1: the inner loop of a product. An instruction that multiplies matrices counts as one. Of
 * assembly as AMD's tools write it: blocks begin with "BB", two instructions in one have "::"
 * between. */
double figures_products(const char *code);

#endif
