// SPDX-License-Identifier: Apache-2.0
/* PNG: eight bytes, then chunks of a length, a type, so many bytes, and a CRC-32 of type and bytes;
 * the last is IEND. JPEG: markers (0xff, any number of times, and a code) with segments whose first
 * two bytes are their length, up to EOI. Coded data follow a segment SOS; in them 0xff is followed
 * by 0, or is a marker. ISO/IEC 15948, section 5; ITU-T T.81, annex B.
 *
 * A Huffman table with more than 256 codes makes some releases of stb_image write behind its table,
 * so those are looked for wherever it would read one: the walk here meets the same markers. */
#include <string.h>
#include <zlib.h>

#include "data/image.h"

static const uint8_t png_start[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
static const char cut_short[] = "it is cut short";

static uint32_t be32(const uint8_t *b) {
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static const char *png_fault(const uint8_t *at, size_t left) {
    at += sizeof png_start;
    left -= sizeof png_start;
    for (;;) {
        if (left < 12) return cut_short;
        const uint32_t length = be32(at);
        if (length > INT32_MAX) return "a chunk has no allowed length";
        if (length > left - 12) return cut_short;
        const uLong sum = crc32(0, at + 4, (uInt)length + 4);
        if (sum != be32(at + 8 + length)) return "a chunk's checksum is wrong";
        if (!memcmp(at + 4, "IEND", 4)) return NULL;
        at += 12 + (size_t)length;
        left -= 12 + (size_t)length;
    }
}

enum {
    JPEG_TEM = 0x01,
    JPEG_DHT = 0xc4,
    JPEG_RST0 = 0xd0,
    JPEG_SOI = 0xd8,
    JPEG_EOI = 0xd9,
    JPEG_SOS = 0xda
};

/* Tables of a class and a number, how many codes there are of each length from 1 to 16, and these.
 */
static const char *tables_fault(const uint8_t *at, size_t left) {
    while (left) {
        size_t codes = 0;
        for (int i = 1; i <= 16 && left >= 17; i++)
            codes += at[i];
        if (codes > 256 || left < 17 + codes) return "a Huffman table is impossible";
        at += 17 + codes;
        left -= 17 + codes;
    }
    return NULL;
}

static const char *jpeg_fault(const uint8_t *bytes, size_t size) {
    bool image = false;
    for (size_t at = 2; at < size;) {
        if (bytes[at++] != 0xff) continue;
        while (at < size && bytes[at] == 0xff)
            at++;
        if (at == size) break;
        const uint8_t code = bytes[at++];
        if (code == JPEG_EOI) return image ? NULL : "it has no image in it";
        if (!code || code == JPEG_TEM || (code >= JPEG_RST0 && code <= JPEG_SOI)) continue;
        if (size - at < 2) break;
        const size_t length = (size_t)bytes[at] << 8 | bytes[at + 1];
        if (length < 2) return "a segment has no allowed length";
        if (length > size - at) break;
        const char *fault = code == JPEG_DHT ? tables_fault(bytes + at + 2, length - 2) : NULL;
        if (fault) return fault;
        image = image || code == JPEG_SOS;
        at += length;
    }
    return cut_short;
}

const char *vkd__image_fault(const void *bytes, size_t size) {
    const uint8_t *b = bytes;
    if (size >= 8 && !memcmp(b, png_start, 8)) return png_fault(b, size);
    if (size >= 2 && b[0] == 0xff && b[1] == JPEG_SOI) return jpeg_fault(b, size);
    if (!size) return "it is empty";
    if (size < 8 && !memcmp(b, png_start, size)) return cut_short;
    if (size < 2 && b[0] == 0xff) return cut_short;
    return "it is neither PNG nor JPEG";
}
