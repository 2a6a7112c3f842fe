// SPDX-License-Identifier: Apache-2.0
/* Axes of charts: ranges, ticks and their texts. */
#ifndef VKD_VIEWER_AXIS_H
#define VKD_VIEWER_AXIS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef struct axis {
    double low, high; /* low < high; of a logarithmic one both are positive */
    bool logarithmic;
    double step; /* between ticks; of a logarithmic axis a factor */
    double first;
    uint32_t ticks;
} axis;

/* An axis for the values from low to high with at most `most` ticks at 1, 2 or 5 times a power of
 * ten, or at powers of ten. Not-numbers and equal values give an axis all the same. loose: the ends
 * move out to ticks. */
axis axis_make(double low, double high, bool logarithmic, bool loose, uint32_t most);
double axis_tick(const axis *a, uint32_t index);
/* Where a value lies: 0 at low, 1 at high; beyond them outside. */
double axis_place(const axis *a, double value);
double axis_value(const axis *a, double place);
/* "0.05", "2e-04", "12k": as few digits as tell the ticks apart. */
void axis_text(const axis *a, double value, char *out, size_t size);
/* A value by itself in few characters. */
void axis_number(double value, char *out, size_t size);

#endif
