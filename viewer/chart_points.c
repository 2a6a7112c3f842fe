// SPDX-License-Identifier: Apache-2.0
#include <math.h>

#include "viewer/chart.h"

uint32_t chart_find(const double *x, uint32_t count, double value) {
    uint32_t low = 0, high = count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (x[middle] < value)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static double height_of(const chart_plot *p, double y) {
    return p->logarithmic ? (y > 0 ? log10(y) : NAN) : y;
}

static uint32_t put(const chart_plot *p, double x, double y, float *points, uint32_t count,
                    uint32_t room) {
    if (2 * count + 2 > room) return count;
    points[2 * count] = p->r.x + (float)((x - p->low) / (p->high - p->low) * (double)p->r.w);
    points[2 * count + 1] =
        p->r.y + p->r.h - (float)((y - p->bottom) / (p->top - p->bottom) * (double)p->r.h);
    return count + 1;
}

/* A column of the frame: its first, lowest, highest and last value, in their order. */
typedef struct column {
    int64_t at;
    double x, low, high, first, last;
    uint32_t values;
} column;

static uint32_t flush(const chart_plot *p, const column *c, float *points, uint32_t count,
                      uint32_t room) {
    if (!c->values) return count;
    if (c->values < 3) {
        count = put(p, c->x, c->first, points, count, room);
        return c->values > 1 ? put(p, c->x, c->last, points, count, room) : count;
    }
    const bool rises = c->last >= c->first;
    count = put(p, c->x, rises ? c->low : c->high, points, count, room);
    return put(p, c->x, rises ? c->high : c->low, points, count, room);
}

uint32_t chart_points(const chart_plot *p, const chart_curve *c, uint32_t first, uint32_t end,
                      float *points, uint32_t room, uint32_t *next) {
    const bool dense = end - first > 2 * (uint32_t)fmaxf(1, p->r.w);
    column now = {.at = INT64_MIN};
    uint32_t count = 0, i = first;
    while (i < end && !isfinite(height_of(p, c->y[i])))
        i++;
    for (; i < end; i++) {
        const double y = height_of(p, c->y[i]);
        if (!isfinite(y)) break;
        if (!dense) {
            count = put(p, c->x[i], y, points, count, room);
            continue;
        }
        const int64_t at = (int64_t)floor((c->x[i] - p->low) / (p->high - p->low) * (double)p->r.w);
        if (at != now.at) {
            count = flush(p, &now, points, count, room);
            now = (column){.at = at, .x = c->x[i], .low = y, .high = y, .first = y};
        }
        now.low = fmin(now.low, y);
        now.high = fmax(now.high, y);
        now.last = y;
        now.values++;
    }
    *next = i;
    return flush(p, &now, points, count, room);
}
