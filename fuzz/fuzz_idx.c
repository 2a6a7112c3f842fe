// SPDX-License-Identifier: Apache-2.0
/* Any bytes are an IDX file, plain or packed, or are refused; what is kept can be read. */
#include <stdlib.h>

#include "data/idx.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    for (uint32_t most = 0; most < 3; most++) {
        vkd__idx x;
        if (vkd__idx_parse(ctx, "fuzz", bytes, size, 1, VKD_MAX_AXES, most, &x)) {
            if (x.values || !*vkd_ctx_error(ctx)) abort();
            continue;
        }
        size_t count = x.kept;
        if (!count || (most && count > most)) abort();
        for (uint32_t i = 1; i < x.shape.axes; i++)
            count *= x.shape.dim[i];
        volatile uint8_t last = x.values[count - 1];
        (void)last;
        vkd__free(ctx, x.values);
    }
    vkd_ctx_destroy(ctx);
    return 0;
}
