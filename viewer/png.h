// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_VIEWER_PNG_H
#define VKD_VIEWER_PNG_H

#include <stddef.h>
#include <stdint.h>

/* Rows of RGBA from above as a PNG without alpha. The caller frees it; NULL: no memory. */
uint8_t *view_png(uint32_t width, uint32_t height, const uint8_t *pixels, size_t *size);

#endif
