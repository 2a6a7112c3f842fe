// SPDX-License-Identifier: Apache-2.0
/* The points of a sweep: the cartesian product of what each --grid names. */
#ifndef VKD_CLI_SWEEP_GRID_H
#define VKD_CLI_SWEEP_GRID_H

#include "cli/cli.h"

enum { SWEEP_KEYS = 8, SWEEP_POINTS = 1000 };

typedef struct sweep_axis {
    const char *key;     /* "stages.distil.losses.kd_kl.tau" */
    const char **values; /* (count) */
    uint32_t count;
} sweep_axis;

typedef struct sweep_grid {
    vkd__arena *arena;
    sweep_axis axes[SWEEP_KEYS];
    uint32_t axis_count, point_count;
} sweep_grid;

/* Reads "key=v1,v2,..." for each axis; commas inside brackets, braces and quotes part no values.
 * Errors: VKD_E_ARGUMENT. */
vkd_result sweep_grid_read(vkd__arena *arena, const cli_words *words, sweep_grid *out);
/* Which value of an axis a point has; the last axis moves fastest. */
uint32_t sweep_grid_value(const sweep_grid *g, uint32_t point, uint32_t axis);
/* "key=value" for one axis of a point; NULL: no memory. */
const char *sweep_grid_set(const sweep_grid *g, uint32_t point, uint32_t axis);
/* A name for a point's folder, made of all its assignments, so that it stays when the grid grows.
 * NULL: no memory. */
const char *sweep_grid_folder(const sweep_grid *g, uint32_t point);
/* The key's shortest end that no other axis has, for a column's heading. */
const char *sweep_grid_heading(const sweep_grid *g, uint32_t axis);

#endif
