// SPDX-License-Identifier: Apache-2.0
/* How panels share the window: rows of tiles whose borders can be moved, one tile alone over all,
 * or some of them left out. It is kept in the user's state folder between two sessions. */
#ifndef VKD_VIEWER_LAYOUT_H
#define VKD_VIEWER_LAYOUT_H

#include "base/base.h"
#include "viewer/gui.h"

enum { LAYOUT_PANELS = 16, LAYOUT_ROWS = 4, LAYOUT_NONE = 99 };

typedef struct layout {
    uint32_t panels;           /* how many there are */
    bool shown[LAYOUT_PANELS]; /* at least one */
    uint32_t alone;            /* LAYOUT_NONE: none is over all */
    float heights[LAYOUT_ROWS], widths[LAYOUT_ROWS][LAYOUT_PANELS]; /* relative */
    uint32_t width, height; /* of the window, before the screen's scale */
} layout;

void layout_init(layout *l, uint32_t panels);

/* A border between two tiles, or two rows. */
typedef struct layout_border {
    gui_rect r;
    bool between_rows;
    uint32_t row, column; /* the tile or row before it */
    float length;         /* of both sides together */
} layout_border;
typedef struct layout_tiles {
    gui_rect r[LAYOUT_PANELS]; /* w is 0 for a panel that is not seen */
    layout_border borders[LAYOUT_PANELS + LAYOUT_ROWS];
    uint32_t border_count;
} layout_tiles;
/* Fills the area, `gap` pixels between tiles. */
void layout_place(const layout *l, gui_rect area, float gap, layout_tiles *out);
/* Moves a border by so many pixels; no side becomes smaller than a tenth of both. */
void layout_move(layout *l, const layout_border *b, float pixels);
/* Shows a panel, or leaves it out unless it is the last one. */
void layout_toggle(layout *l, uint32_t panel);

/* As text, and back. What is not understood leaves *l as it was: false. */
void layout_write(const layout *l, char *out, size_t size);
bool layout_read(layout *l, const char *text);

/* From and to "<state folder>/vkdistill/view". A file that is not there or is damaged changes
 * nothing, and one that cannot be written is no error. */
void layout_load(vkd_ctx *ctx, layout *l);
void layout_save(vkd_ctx *ctx, const layout *l);

#endif
