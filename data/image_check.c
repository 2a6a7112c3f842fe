// SPDX-License-Identifier: Apache-2.0
/* PNG: eight bytes, then chunks of a length, a type, so many bytes, and a CRC-32 of type and bytes;
 * the last is IEND. JPEG: markers (0xff and a code) with segments whose first two bytes are their
 * length, then, from the first SOS on, coded data up to EOI, in which 0xff is followed by 0 or by
 * the code of another marker. ISO/IEC 15948, section 5; ITU-T T.81, annex B. */
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

enum { JPEG_SOI = 0xd8, JPEG_EOI = 0xd9, JPEG_SOS = 0xda, JPEG_TEM = 0x01, JPEG_RST0 = 0xd0 };

static const char *jpeg_fault(const uint8_t *at, size_t left) {
    uint8_t code = JPEG_SOI;
    at += 2;
    left -= 2;
    while (code != JPEG_SOS) {
        if (left && *at != 0xff) return "it has no marker where one should be";
        for (; left && *at == 0xff; left--) /* any number of these may stand before a code */
            at++;
        if (left < 3) return cut_short;
        code = *at;
        if (code == JPEG_EOI) return "it has no image in it";
        const bool alone = code == JPEG_TEM || (code >= JPEG_RST0 && code <= JPEG_SOI);
        const size_t length = alone ? 0 : (size_t)at[1] << 8 | at[2];
        if (!alone && length < 2) return "a segment has no allowed length";
        if (left < 1 + length) return cut_short;
        at += 1 + length;
        left -= 1 + length;
    }
    for (; left >= 2; at++, left--)
        if (at[0] == 0xff && at[1] == JPEG_EOI) return NULL;
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
