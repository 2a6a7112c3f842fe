// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a safetensors file or are refused; every tensor found lies inside the bytes, and
 * all of them together are the data, once each. */
#include <stdlib.h>

#include "data/safetensors.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    vkd__st_file *f;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    if (vkd__st_parse(ctx, "fuzz", bytes, size, &f)) {
        if (f || !*vkd_ctx_error(ctx)) abort();
        vkd_ctx_destroy(ctx);
        return 0;
    }
    size_t total = 0;
    for (size_t i = 0; i < vkd__st_count(f); i++) {
        const vkd__st_tensor *t = vkd__st_at(f, i);
        const uint8_t *data = t->data;
        if (vkd__st_find(f, t->name) != t || t->shape.axes > VKD_MAX_AXES) abort();
        if (data < bytes + 8 || data > bytes + size || t->bytes > (size_t)(bytes + size - data))
            abort();
        total += t->bytes;
    }
    size_t header = 0;
    for (int i = 7; i >= 0; i--)
        header = header << 8 | bytes[i];
    if (total != size - 8 - header) abort();
    vkd__st_metadata(f, "format");
    vkd__st_close(f);
    vkd_ctx_destroy(ctx);
    return 0;
}
