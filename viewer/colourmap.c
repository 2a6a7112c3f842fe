// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "viewer/colourmap.h"

/* Points of matplotlib's viridis, whose lightness rises evenly: maps of two models stay comparable
 * in grey, and for eyes that see fewer colours. */
static const uint8_t amount[][3] = {{68, 1, 84},    {71, 39, 119},  {62, 73, 137},  {49, 104, 142},
                                    {38, 130, 142}, {31, 158, 137}, {53, 183, 121}, {109, 205, 89},
                                    {180, 222, 44}, {253, 231, 37}};
static const uint8_t difference[][3] = {{108, 190, 255}, {62, 128, 190}, {34, 62, 92},
                                        {32, 34, 40},    {104, 72, 26},  {190, 128, 40},
                                        {255, 190, 84}};

static uint32_t between(const uint8_t (*points)[3], uint32_t count, double share) {
    uint32_t colour = 0;
    const double place = fmin(fmax(share, 0), 1) * (count - 1);
    const uint32_t first = place < count - 1 ? (uint32_t)place : count - 2;
    const double rest = place - first;
    for (uint32_t c = 0; c < 3; c++)
        colour = colour << 8 |
                 (uint32_t)(points[first][c] * (1 - rest) + points[first + 1][c] * rest + 0.5);
    return colour << 8 | 255;
}

uint32_t colourmap_at(colourmap map, double value) {
    if (isnan(value)) return 0x808080ff;
    if (map == COLOURMAP_AMOUNT) return between(amount, sizeof amount / sizeof *amount, value);
    return between(difference, sizeof difference / sizeof *difference, (value + 1) / 2);
}

void colourmap_fill(colourmap map, const float *values, uint64_t count, double low, double high,
                    uint8_t *rgba) {
    const double range = map == COLOURMAP_AMOUNT ? high - low : high;
    for (uint64_t i = 0; i < count; i++) {
        const double above = (double)values[i] - (map == COLOURMAP_AMOUNT ? low : 0);
        double share = range > 0 ? above / range : 0;
        if (isnan((double)values[i])) share = NAN;
        const uint32_t colour = colourmap_at(map, share);
        for (uint32_t c = 0; c < 4; c++)
            rgba[4 * i + c] = (uint8_t)(colour >> (24 - 8 * c));
    }
}

void colourmap_pixels(const uint8_t *pixels, uint64_t count, uint32_t channels, uint8_t *rgba) {
    for (uint64_t i = 0; i < count; i++) {
        for (uint32_t c = 0; c < 3; c++)
            rgba[4 * i + c] = pixels[i * channels + (channels == 3 ? c : 0)];
        rgba[4 * i + 3] = 255;
    }
}
