// SPDX-License-Identifier: Apache-2.0
/* Curves over steps, with zoom, hover and marks. */
#ifndef VKD_VIEWER_CHART_H
#define VKD_VIEWER_CHART_H

#include "viewer/panel.h"

enum { CHART_CURVES = 12 };

typedef struct chart_curve {
    const char *name;
    gui_colour colour;
    const double *x, *y; /* (count), x never falling; a y that is not finite is a gap */
    uint32_t count;
    bool dots; /* few points, shown as such */
} chart_curve;

typedef struct chart_mark {
    double x;
    gui_colour colour;
    const char *text;
} chart_mark;

/* What charts side by side have in common. Zeros at first. */
typedef struct chart_view {
    double low, high; /* shown steps; equal: all */
    double hover;     /* step under the mouse, of this or another chart; below 0: none */
} chart_view;

typedef struct chart {
    const char *name, *title;
    chart_curve curves[CHART_CURVES];
    uint32_t curve_count;
    const chart_mark *marks;
    uint32_t mark_count;
    bool logarithmic, from_zero, percent;
    double least, most; /* steps of all charts together */
} chart;

void chart_draw(panel_io *io, const chart *c, float width, float height, chart_view *view,
                double *next_hover);

/* The number of points with x below the value. */
uint32_t chart_find(const double *x, uint32_t count, double value);
/* The points of a curve between two steps as at most `room` / 2 points x, y in the frame: where
 * there are more, the lowest and highest of each column. Returns the number of points. A gap ends
 * them: *next is where to go on, `end` when all is done. */
typedef struct chart_plot {
    gui_rect r;
    double low, high;   /* steps */
    double bottom, top; /* values, as their logarithms on a logarithmic axis */
    bool logarithmic;
} chart_plot;
uint32_t chart_points(const chart_plot *p, const chart_curve *c, uint32_t first, uint32_t end,
                      float *points, uint32_t room, uint32_t *next);

#endif
