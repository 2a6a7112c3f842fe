// SPDX-License-Identifier: Apache-2.0
/* Images in host memory: bytes, row by row, the channels of a pixel side by side. Files are not
 * trusted. */
#ifndef VKD_IMAGE_H
#define VKD_IMAGE_H

#include "base/base.h"

/* What a file may hold: so many pixels a side, and in all unless the caller wants fewer. */
#define VKD__IMAGE_SIDE 16384u
#define VKD__IMAGE_PIXELS (1u << 26)

typedef struct vkd__image {
    uint32_t height, width, channels;
    uint8_t *pixels; /* (height, width, channels), freed with vkd__free */
} vkd__image;

/* What a whole PNG or JPEG file has and a damaged one lacks: all of its bytes, in a PNG the right
 * checksums, in a JPEG Huffman tables that can be. A decoder passes over much of that, and makes up
 * what is missing.
 * Returns NULL when nothing is wrong, else what is: "it is cut short". */
const char *vkd__image_fault(const void *bytes, size_t size);
/* Decodes a file in memory, a PNG whatever its checksums or a JPEG without fault, into `channels`,
 * 1 or 3, of 8 bits: 16 bits lose their lower half, alpha is left out, grey of colour is (77 R +
 * 150 G + 29 B) / 256. An image of more than `most` pixels is refused by its header alone. On
 * VKD_E_DATA nothing is reported, since the caller may pass over the file: *why says what is wrong.
 * On failure *out holds nothing. Errors: VKD_E_DATA, VKD_E_MEMORY. */
vkd_result vkd__image_decode(vkd_ctx *ctx, const void *bytes, size_t size, uint32_t channels,
                             uint32_t most, vkd__image *out, const char **why);

/* From `channels` planes of `pixels` bytes each to (pixels, channels). The two do not overlap. */
void vkd__image_interleave(const uint8_t *planes, size_t pixels, uint32_t channels, uint8_t *out);
/* To another size, by area: a pixel of the result is the mean of what it covers of the image, each
 * of whose pixels is a square of one colour; exact, rounded to the nearest. Height and width are
 * stretched apart. `out` is (height, width, from's channels) and does not overlap.
 * Errors: VKD_E_MEMORY. */
vkd_result vkd__image_resize(vkd_ctx *ctx, const vkd__image *from, uint32_t height, uint32_t width,
                             uint8_t *out);

#endif
