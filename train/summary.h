// SPDX-License-Identifier: Apache-2.0
/* Tables of several seeds into one, and summary.json. */
#ifndef VKD_SUMMARY_H
#define VKD_SUMMARY_H

#include "train/session.h"

/* The figures that have a mean: their names in summary.json, and where they stand. */
typedef struct vkd__figure_place {
    const char *name;
    size_t from, to; /* offsets of a double in vkd__result, and of a vkd_figure in vkd_row */
} vkd__figure_place;
extern const vkd__figure_place vkd__figure_places[];
extern const size_t vkd__figure_count;

/* Each term of a stage, before its first step. */
typedef struct vkd__term_note {
    const char *name;
    double weight, value, norm; /* value and gradient's norm with the weight */
} vkd__term_note;

typedef struct vkd__stage_note {
    const char *phase, *stage;
    vkd__term_note terms[VKD__MAX_TERMS];
    uint32_t term_count;
} vkd__stage_note;

/* What stands beside the table. */
typedef struct vkd__notes {
    vkd__stage_note *stages; /* of the first seed */
    uint32_t stage_count;
    vkd__warning *warnings; /* of all seeds */
} vkd__notes;

/* Adds a session's notes, into an arena that outlives it. Errors: VKD_E_MEMORY. */
vkd_result vkd__notes_add(vkd__notes *n, vkd__arena *arena, const vkd__session *s);

/* One row for each of the first seed's, with mean and sample standard deviation over the seeds that
 * trained it. `out` has room for counts[0]. Returns how many. Labels are borrowed from results. */
uint32_t vkd__summary_rows(vkd__result *const *results, const uint32_t *counts, uint32_t seeds,
                           vkd_row *out);
typedef struct vkd__summary {
    const vkd_recipe *recipe;
    uint32_t seeds;
    const char *device;
    const vkd_row *rows;
    uint32_t row_count;
    vkd__notes notes;
} vkd__summary;

/* Reads rows that vkd__summary_write wrote, into the arena; a figure that is no number is NaN. The
 * folder is named in messages. Errors: VKD_E_FILE, VKD_E_FORMAT: not such a file, VKD_E_MEMORY. */
vkd_result vkd__summary_read(vkd__arena *arena, const char *folder, vkd_row **rows,
                             uint32_t *row_count, uint32_t *seeds);
/* The same from bytes in memory; `name` stands for the file in messages. */
vkd_result vkd__summary_parse(vkd__arena *arena, const char *name, const void *bytes, size_t size,
                              vkd_row **rows, uint32_t *row_count, uint32_t *seeds);

/* {"recipe", "seed", "seeds", "device", "rows": [...], "stages": [...], "warnings": [...]}. */
void vkd__summary_json(vkd__text *t, const vkd__summary *s);
vkd_result vkd__summary_write(vkd_ctx *ctx, const char *folder, const vkd__summary *s);
/* Quoted, with what JSON wants escaped. */
void vkd__json_text(vkd__text *t, const char *text);
/* NaN and infinity become null. */
void vkd__json_number(vkd__text *t, double value);

#endif
