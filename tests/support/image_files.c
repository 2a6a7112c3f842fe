// SPDX-License-Identifier: Apache-2.0
#include "support/data.h"

#include <string.h>
#include <zlib.h>

#if defined(__GNUC__) /* it declares more than it is asked to define */
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#define STB_IMAGE_WRITE_IMPLEMENTATION
#define STB_IMAGE_WRITE_STATIC
#define STBI_WRITE_NO_STDIO
#include <stb/stb_image_write.h>

typedef struct sink {
    uint8_t *out;
    size_t size, capacity;
} sink;

static void put(sink *s, const void *bytes, size_t size) {
    assert_true(size <= s->capacity - s->size);
    memcpy(s->out + s->size, bytes, size);
    s->size += size;
}

/* ---- PNG ---- */

static void put_be32(sink *s, uint32_t v) {
    const uint8_t bytes[] = {(uint8_t)(v >> 24), (uint8_t)(v >> 16), (uint8_t)(v >> 8), (uint8_t)v};
    put(s, bytes, sizeof bytes);
}

static void put_chunk(sink *s, const char *type, const void *bytes, size_t size) {
    put_be32(s, (uint32_t)size);
    const size_t start = s->size;
    put(s, type, 4);
    put(s, bytes, size);
    put_be32(s, (uint32_t)crc32(0, s->out + start, (uInt)(size + 4)));
}

size_t test_png(const test_png_desc *d, uint8_t *out, size_t capacity) {
    static const uint8_t channels[] = {1, 0, 3, 1, 2, 0, 4};
    const uint8_t depth = d->depth ? d->depth : 8;
    const size_t row = ((size_t)d->width * channels[d->colour] * depth + 7) / 8;
    sink s = {.out = out, .capacity = capacity};
    put(&s, "\x89PNG\r\n\x1a\n", 8);
    uint8_t header[13] = {0};
    sink h = {.out = header, .capacity = sizeof header};
    put_be32(&h, d->width);
    put_be32(&h, d->height);
    header[8] = depth;
    header[9] = d->colour;
    put_chunk(&s, "IHDR", header, sizeof header);
    if (d->palette) put_chunk(&s, "PLTE", d->palette, 48);
    /* Each row begins with its filter: 0, none. */
    uint8_t *raw = test_calloc(d->height, row + 1), *packed = test_malloc(capacity);
    for (size_t y = 0; y < d->height; y++)
        memcpy(raw + y * (row + 1) + 1, d->rows + y * row, row);
    uLongf size = capacity;
    assert_int_equal(compress(packed, &size, raw, d->height * (row + 1)), Z_OK);
    put_chunk(&s, "IDAT", packed, size);
    put_chunk(&s, "IEND", "", 0);
    test_free(raw);
    test_free(packed);
    return s.size;
}

/* ---- JPEG ---- */

static void put_part(void *user, void *bytes, int size) {
    put(user, bytes, (size_t)size);
}

size_t test_jpeg(uint32_t height, uint32_t width, uint32_t channels, const uint8_t *pixels,
                 uint8_t *out, size_t capacity) {
    sink s = {.out = out, .capacity = capacity};
    assert_true(
        stbi_write_jpg_to_func(put_part, &s, (int)width, (int)height, (int)channels, pixels, 100));
    return s.size;
}
