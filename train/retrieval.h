// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_RETRIEVAL_H
#define VKD_RETRIEVAL_H

#include "train/session.h"

/* Share of the rows (count, width) whose nearest other row has their label; NaN below two rows.
 * Errors: VKD_E_MEMORY. */
vkd_result vkd__recall_at_1(vkd_ctx *ctx, const float *rows, const int32_t *labels, uint32_t count,
                            uint32_t width, double *out);
/* That of a model on the test split, as the recipe asks; NaN where it does not.
 * Errors: VKD_E_RECIPE: the model has no such tap. */
vkd_result vkd__retrieve(vkd__session *s, const vkd__recipe_model *m, const char *group,
                         double *out);
/* VKD_E_RECIPE for a class that the data does not have. */
vkd_result vkd__retrieval_check(const vkd__session *s);

#endif
