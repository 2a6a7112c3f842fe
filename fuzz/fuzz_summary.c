// SPDX-License-Identifier: Apache-2.0
/* Any bytes are the summary of a run or are refused; the rows of one can be read. */
#include <stdlib.h>
#include <string.h>

#include "train/summary.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    vkd__arena arena = {.ctx = ctx};
    vkd_row *rows = NULL;
    uint32_t count = 0, seeds = 0;
    const vkd_result r = vkd__summary_parse(&arena, "fuzz", bytes, size, &rows, &count, &seeds);
    if (r && (count || !*vkd_ctx_error(ctx))) abort();
    if (!r && !seeds) abort();
    for (uint32_t i = 0; i < count; i++)
        if (strlen(rows[i].label) > size || strlen(rows[i].model) > size) abort();
    vkd__arena_term(&arena);
    vkd_ctx_destroy(ctx);
    return 0;
}
