// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a PNG or JPEG file or are refused, by the check of its frame and by the decoder
 * each for itself: behind the checksums of a PNG a fuzzer would find nothing. What is decoded can
 * be read and resized. */
#include <stdlib.h>

#include "data/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

enum { MOST = 1 << 16 }; /* pixels; more would only be slow */

static void use(vkd_ctx *ctx, const vkd__image *image) {
    const size_t count = (size_t)image->height * image->width * image->channels;
    if (!count || count > 3 * MOST) abort();
    uint8_t small[3 * 2 * 3];
    uint64_t sum = 0;
    for (size_t i = 0; i < count; i++)
        sum += image->pixels[i];
    volatile uint64_t all = sum;
    (void)all;
    if (count < 1 << 16 && vkd__image_resize(ctx, image, 3, 2, small)) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    (void)vkd__image_fault(bytes, size);
    for (uint32_t channels = 1; channels <= 3; channels += 2) {
        vkd__image image;
        const char *why;
        const vkd_result r = vkd__image_decode(ctx, bytes, size, channels, MOST, &image, &why);
        if (r == VKD_OK) {
            use(ctx, &image);
            vkd__free(ctx, image.pixels);
        } else if (image.pixels || !why) {
            abort();
        }
    }
    vkd_ctx_destroy(ctx);
    return 0;
}
