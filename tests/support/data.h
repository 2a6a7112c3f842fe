// SPDX-License-Identifier: Apache-2.0
/* Files of data sets, as the tests write them. */
#ifndef VKD_TEST_DATA_H
#define VKD_TEST_DATA_H

#include "support/support.h"

#include "data/dataset.h"

/* Loads with pairs of key and value, ended by NULL; a key is one of the format or of every format.
 * After a failure *d is looked at: it must be empty. */
vkd_result test_load(vkd_ctx *ctx, const char *format, const char *const *pairs, vkd__dataset *d);
/* Writes a file, and makes the folders above it. */
void test_write(const char *path, const void *bytes, size_t size);
/* A file, or a folder and all that is in it; links are not followed. */
void test_remove(const char *path);

/* A PNG of `rows`, (height, bytes of a row) as the format packs them: 8 bits a channel unless
 * `depth` says otherwise. colour: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGBA. The palette,
 * where there is one, is (16) RGB. Returns its bytes. */
typedef struct test_png_desc {
    uint32_t height, width;
    uint8_t colour, depth; /* depth 0: 8 */
    const uint8_t *rows, *palette;
} test_png_desc;
size_t test_png(const test_png_desc *desc, uint8_t *out, size_t capacity);
/* A baseline JPEG of (height, width, channels) pixels, channels 1 or 3, of the best quality. */
size_t test_jpeg(uint32_t height, uint32_t width, uint32_t channels, const uint8_t *pixels,
                 uint8_t *out, size_t capacity);

#endif
