// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a file of CIFAR's records or are refused; what is taken out of one can be read. */
#include <stdlib.h>

#include "data/cifar.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static void take(vkd_ctx *ctx, const vkd__cifar_kind *kind, const uint8_t *bytes, size_t size) {
    uint32_t count;
    if (vkd__cifar_check(ctx, kind, "fuzz", bytes, size, &count)) {
        if (count || !*vkd_ctx_error(ctx)) abort();
        return;
    }
    uint8_t *pixels = malloc((size_t)count * VKD__CIFAR_SAMPLE);
    int32_t *labels = malloc(count * sizeof *labels);
    if (!count || !pixels || !labels) abort();
    vkd__cifar_take(kind, bytes, count, pixels, labels);
    for (uint32_t i = 0; i < count; i++)
        if (labels[i] < 0 || labels[i] >= (int32_t)kind->classes[kind->label]) abort();
    volatile uint8_t last = pixels[(size_t)count * VKD__CIFAR_SAMPLE - 1];
    (void)last;
    free(pixels);
    free(labels);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    static const vkd__cifar_kind kinds[] = {{.labels = 1, .classes = {10}},
                                            {.labels = 2, .label = 0, .classes = {20, 100}},
                                            {.labels = 2, .label = 1, .classes = {20, 100}}};
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    for (size_t i = 0; i < VKD_COUNT(kinds); i++)
        take(ctx, &kinds[i], bytes, size);
    vkd_ctx_destroy(ctx);
    return 0;
}
