// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a file of tuned sizes or are refused; what is accepted prints to the same bytes.
 * And any text is a profile's sizes or is refused. */
#include <stdlib.h>
#include <string.h>

#include "check/tune.h"
#include "graph/plan.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void apply(vkd_ctx *ctx, const uint8_t *bytes, size_t size) {
    char text[512];
    const size_t length = size < sizeof text - 1 ? size : sizeof text - 1;
    if (length) memcpy(text, bytes, length);
    text[length] = 0;
    vkd_profile p = *vkd_profile_find("gpu");
    vkd__sizes_apply(ctx, vkd_profile_find("cpu"), text, &p);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static vkd__tuning t;
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    if (!vkd__tuning_parse(bytes, size, &t)) {
        vkd__text again = {.ctx = ctx};
        vkd__tuning_print(&t, &again);
        if (again.length != size || memcmp(again.text, bytes, size) != 0) abort();
        vkd__text_term(&again);
    }
    apply(ctx, bytes, size);
    vkd_ctx_destroy(ctx);
    return 0;
}
