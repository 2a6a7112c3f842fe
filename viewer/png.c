// SPDX-License-Identifier: Apache-2.0
/* PNG as the viewer needs it: three bytes a pixel, each row as its difference from the one above,
 * packed by zlib: large areas of one colour, as interfaces have them, come to almost nothing. */
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

static void filter(uint32_t width, uint32_t height, const uint8_t *pixels, uint8_t *rows) {
    for (uint32_t y = 0; y < height; y++) {
        *rows++ = y ? 2 : 0; /* the filter "up" */
        for (uint32_t x = 0; x < width; x++)
            for (uint32_t c = 0; c < 3; c++) {
                const size_t at = ((size_t)y * width + x) * 4 + c;
                *rows++ = (uint8_t)(pixels[at] - (y ? pixels[at - (size_t)width * 4] : 0));
            }
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
        filter(width, height, pixels, rows);
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
