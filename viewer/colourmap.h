// SPDX-License-Identifier: Apache-2.0
/* Values as colours. */
#ifndef VKD_VIEWER_COLOURMAP_H
#define VKD_VIEWER_COLOURMAP_H

#include <stdbool.h>
#include <stdint.h>

typedef enum colourmap {
    COLOURMAP_AMOUNT,    /* 0 to 1: dark blue over green to yellow, evenly lighter */
    COLOURMAP_DIFFERENCE /* -1 to 1: blue, dark grey at 0, amber */
} colourmap;

/* 0xRRGGBBAA; a value outside the range is at its end, one that is not a number is grey. */
uint32_t colourmap_at(colourmap map, double value);
/* (count) values between low and high as RGBA. For COLOURMAP_DIFFERENCE, 0 stays in the middle:
 * high is the largest magnitude and low is not looked at. */
void colourmap_fill(colourmap map, const float *values, uint64_t count, double low, double high,
                    uint8_t *rgba);
/* (count) pixels of (channels) bytes as RGBA: 1 grey, 3 colours; of any other number the first is
 * shown as grey. */
void colourmap_pixels(const uint8_t *pixels, uint64_t count, uint32_t channels, uint8_t *rgba);

#endif
