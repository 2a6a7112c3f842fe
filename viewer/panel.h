// SPDX-License-Identifier: Apache-2.0
/* A panel is one file, panel_<name>.c, and one line of panels.def. */
#ifndef VKD_VIEWER_PANEL_H
#define VKD_VIEWER_PANEL_H

#include "viewer/colourmap.h"
#include "viewer/colours.h"
#include "viewer/gui.h"
#include "viewer/scene.h"

typedef struct panel_io {
    gui *g;
    scene *s;
    float em;
} panel_io;

typedef struct panel_def {
    const char *name;  /* as --panel has it: "soft_labels" */
    const char *title; /* "Soft labels" */
    size_t state_size; /* of what it keeps between frames, zeros at first */
    void (*draw)(panel_io *io, void *state);
    void (*term)(scene *s, void *state); /* or NULL */
} panel_def;

#define PANEL(name) extern const panel_def panel_##name;
#include "viewer/panels.def"
#undef PANEL
#define PANEL(name) PANEL_##name,
enum {
#include "viewer/panels.def"
    PANEL_COUNT
};
#undef PANEL
extern const panel_def *const panels[PANEL_COUNT];

/* ---- What several panels draw; parts.c ---- */

/* The picture of a sample, as large as fits, in the middle of r. Returns where it is. */
gui_rect part_sample(panel_io *io, const char *name, gui_rect r, uint32_t sample);
/* The chosen sample: buttons to the one before and after, its number, its label. */
void part_chooser(panel_io *io);
/* The next text stands beside the last widget if it has room there, else below; with a box for a
 * check, too. */
void part_beside_text(panel_io *io, const char *text, bool check);
/* A sentence in the middle of what is left of the panel. */
void part_message(panel_io *io, const char *text);
/* Why there are no answers to show. */
void part_no_answers(panel_io *io);
/* A value's colours from low to high with numbers; as high as r. */
void part_scale(panel_io *io, const char *name, gui_rect r, colourmap map, double low, double high);
/* (rows, columns) values as squares, with part_scale's colours. */
void part_matrix(panel_io *io, const char *name, gui_rect r, const float *values, uint32_t rows,
                 uint32_t columns, colourmap map, double low, double high);

#endif
