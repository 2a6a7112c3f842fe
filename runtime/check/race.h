// SPDX-License-Identifier: Apache-2.0
/* Who is fastest of a few candidates when a clock is noisy and time is short. A pure function of
 * what was measured: the caller owns clock and device.
 *
 * Candidates enter in their order as long as the time left pays for them and for what those inside
 * still need. Then all are timed in turn, so that a drift of the machine hits them alike. One that
 * is 1.5 times slower than the best is not timed again. The median decides, of at least three
 * samples; candidate 0, the table's choice, stays unless another is 5 % faster. */
#ifndef VKD_RACE_H
#define VKD_RACE_H

#include "graph/geometry.h"

enum { VKD__RACE_NEEDED = 3, VKD__RACE_SAMPLES = 7 };
#define VKD__RACE_OVER UINT32_MAX

typedef struct vkd__race {
    uint32_t count, entered; /* candidates; those that were timed at least once */
    bool closed;             /* nobody enters any more */
    struct {
        double seconds[VKD__RACE_SAMPLES];
        uint32_t samples;
        bool dropped;
    } runner[VKD__MAX_CANDIDATES + 1];
    uint32_t steps; /* that a sample takes; 1 unless the caller sets it */
    double dearest; /* entry so far: building, and the first sample */
} vkd__race;

/* count is at most VKD__MAX_CANDIDATES + 1. */
vkd__race vkd__race_start(uint32_t count);
/* Whom to time next, with so many seconds left, or VKD__RACE_OVER. */
uint32_t vkd__race_next(vkd__race *r, double left);
/* A sample of whom vkd__race_next named: what was measured, and what measuring took. */
void vkd__race_add(vkd__race *r, uint32_t runner, double seconds, double cost);
/* It cannot run after all. */
void vkd__race_drop(vkd__race *r, uint32_t runner);
uint32_t vkd__race_winner(const vkd__race *r);
/* Of the samples there are; 0 when there are none. */
double vkd__race_median(const vkd__race *r, uint32_t runner);

#endif
