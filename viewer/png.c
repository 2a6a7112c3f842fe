// SPDX-License-Identifier: Apache-2.0
/* PNG as the viewer needs it: three bytes a pixel, packed by zlib. */
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "viewer/png.h"

static size_t put(uint8_t *to, uint32_t value) {
    for (int i = 0; i < 4; i++)
        to[i] = (uint8_t)(value >> (24 - 8 * i));
    return 4;
}

/* A chunk: length, type, data, check sum of the last two. The data are there already. */
static size_t chunk(uint8_t *to, const char *type, size_t size) {
    put(to, (uint32_t)size);
    memcpy(to + 4, type, 4);
    put(to + 8 + size, (uint32_t)crc32(0, to + 4, (uInt)size + 4));
    return size + 12;
}

/* Each row begins with its filter: none, which packs flat areas and text best. */
static void copy_rows(uint32_t width, uint32_t height, const uint8_t *pixels, uint8_t *rows) {
    for (uint32_t y = 0; y < height; y++) {
        *rows++ = 0;
        for (uint32_t x = 0; x < width; x++, pixels += 4, rows += 3)
            memcpy(rows, pixels, 3);
    }
}

uint8_t *view_png(uint32_t width, uint32_t height, const uint8_t *pixels, size_t *size) {
    static const uint8_t start[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    const size_t raw = ((size_t)width * 3 + 1) * height;
    uLongf packed = compressBound((uLong)raw);
    uint8_t *rows = malloc(raw), *out = malloc(sizeof start + 25 + 12 + packed + 12);
    if (rows && out) {
        uint8_t *at = out + sizeof start;
        memcpy(out, start, sizeof start);
        put(at + 8, width);
        put(at + 12, height);
        memcpy(at + 16, "\x08\x02\x00\x00\x00", 5); /* 8 bits, RGB, the usual methods */
        at += chunk(at, "IHDR", 13);
        copy_rows(width, height, pixels, rows);
        if (!compress2(at + 8, &packed, rows, (uLong)raw, 9)) {
            at += chunk(at, "IDAT", packed);
            at += chunk(at, "IEND", 0);
            *size = (size_t)(at - out);
            free(rows);
            return out;
        }
    }
    free(rows);
    free(out);
    return NULL;
}
