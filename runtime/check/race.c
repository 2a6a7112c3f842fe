// SPDX-License-Identifier: Apache-2.0
#include "check/race.h"

#include <stdlib.h>
#include <string.h>

static const double too_slow = 1.5, worth_it = 0.95;

vkd__race vkd__race_start(uint32_t count) {
    VKD_ASSERT(count <= VKD__MAX_CANDIDATES + 1);
    return (vkd__race){.count = count, .steps = 1};
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double vkd__race_median(const vkd__race *r, uint32_t runner) {
    double sorted[VKD__RACE_SAMPLES];
    const uint32_t n = r->runner[runner].samples;
    if (!n) return 0;
    memcpy(sorted, r->runner[runner].seconds, sizeof sorted);
    qsort(sorted, n, sizeof *sorted, by_value);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

/* What those inside need until each has the samples that count. */
static double owed(const vkd__race *r) {
    double sum = 0;
    for (uint32_t i = 0; i < r->entered; i++) {
        const uint32_t n = r->runner[i].samples;
        if (!r->runner[i].dropped && n < VKD__RACE_NEEDED)
            sum += (VKD__RACE_NEEDED - n) * r->runner[i].seconds[0] * r->steps;
    }
    return sum;
}

static uint32_t inside(const vkd__race *r) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < r->entered; i++)
        n += !r->runner[i].dropped;
    return n;
}

uint32_t vkd__race_next(vkd__race *r, double left) {
    if (left <= 0) return VKD__RACE_OVER;
    if (r->entered == r->count || left <= owed(r) + r->dearest) r->closed = true;
    if (!r->closed) return r->entered;
    if (inside(r) < 2) return VKD__RACE_OVER;
    uint32_t next = VKD__RACE_OVER, fewest = VKD__RACE_SAMPLES;
    for (uint32_t i = 0; i < r->entered; i++) {
        if (r->runner[i].dropped || r->runner[i].samples >= fewest) continue;
        next = i;
        fewest = r->runner[i].samples;
    }
    return next;
}

static void drop_slow(vkd__race *r) {
    double best = 0;
    for (uint32_t i = 0; i < r->entered; i++) {
        const double median = vkd__race_median(r, i);
        if (r->runner[i].samples && (best == 0 || median < best)) best = median;
    }
    for (uint32_t i = 1; i < r->entered; i++)
        if (vkd__race_median(r, i) > too_slow * best) r->runner[i].dropped = true;
}

void vkd__race_add(vkd__race *r, uint32_t runner, double seconds, double cost) {
    if (runner == r->entered) {
        r->entered++;
        if (cost > r->dearest) r->dearest = cost;
    }
    r->runner[runner].seconds[r->runner[runner].samples++] = seconds;
    drop_slow(r);
}

void vkd__race_drop(vkd__race *r, uint32_t runner) {
    if (runner == r->entered) r->entered++;
    r->runner[runner].dropped = true;
}

uint32_t vkd__race_winner(const vkd__race *r) {
    uint32_t best = 0;
    if (r->runner[0].samples < VKD__RACE_NEEDED) return 0;
    for (uint32_t i = 1; i < r->entered; i++)
        if (!r->runner[i].dropped && r->runner[i].samples >= VKD__RACE_NEEDED &&
            vkd__race_median(r, i) < vkd__race_median(r, best))
            best = i;
    return vkd__race_median(r, best) < worth_it * vkd__race_median(r, 0) ? best : 0;
}
