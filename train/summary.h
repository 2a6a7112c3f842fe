// SPDX-License-Identifier: Apache-2.0
/* Tables of several seeds into one, and summary.json. */
#ifndef VKD_SUMMARY_H
#define VKD_SUMMARY_H

#include "train/session.h"

/* One row for each of the first seed's, with mean and sample standard deviation over the seeds that
 * trained it. `out` has room for counts[0]. Returns how many. Labels are borrowed from results. */
uint32_t vkd__summary_rows(vkd__result *const *results, const uint32_t *counts, uint32_t seeds,
                           vkd_row *out);
/* The rows as JSON: {"recipe", "seed", "seeds", "device", "rows": [...]}. */
void vkd__summary_json(vkd__text *t, const vkd_recipe *recipe, uint32_t seeds, const char *device,
                       const vkd_row *rows, uint32_t count);
vkd_result vkd__summary_write(vkd_ctx *ctx, const char *folder, const vkd_recipe *recipe,
                              uint32_t seeds, const char *device, const vkd_row *rows,
                              uint32_t count);
/* Quoted, with what JSON wants escaped. */
void vkd__json_text(vkd__text *t, const char *text);
/* NaN and infinity become null. */
void vkd__json_number(vkd__text *t, double value);

#endif
