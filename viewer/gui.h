// SPDX-License-Identifier: Apache-2.0
/* What the panels draw with: windows, widgets, shapes, pictures and the events that move them. The
 * one file behind it, gui.cpp, is Dear ImGui's; nothing else knows of it, and nothing here knows of
 * Vulkan or of a window system: events go in, triangles come out. Tests go in the same way.
 *
 * Lengths and places are pixels of the frame, from its upper left corner; sizes are best given in
 * gui_em, the height of the text, which follows the screen's scale. Colours are 0xRRGGBBAA.
 *
 * One thread. A gui belongs to its creator; one at a time exists in a process. */
#ifndef VKD_VIEWER_GUI_H
#define VKD_VIEWER_GUI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#define GUI_PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define GUI_PRINTF(text, first)
#endif

typedef struct gui gui;
typedef uint32_t gui_colour;
typedef struct gui_rect {
    float x, y, w, h;
} gui_rect;

/* font: a TrueType file, or NULL for the first one that is found. NULL: no memory. */
gui *gui_create(const char *font, float scale);
void gui_destroy(gui *g);

/* ---- Events, any number between two frames ---- */

/* A key that prints is its ASCII code, a letter the capital one. */
enum {
    GUI_KEY_TAB = 256,
    GUI_KEY_LEFT,
    GUI_KEY_RIGHT,
    GUI_KEY_UP,
    GUI_KEY_DOWN,
    GUI_KEY_PAGE_UP,
    GUI_KEY_PAGE_DOWN,
    GUI_KEY_HOME,
    GUI_KEY_END,
    GUI_KEY_ENTER,
    GUI_KEY_ESCAPE,
    GUI_KEY_BACKSPACE,
    GUI_KEY_DELETE,
    GUI_KEY_SHIFT,
    GUI_KEY_CONTROL,
    GUI_KEY_F1,
    GUI_KEY_COUNT
};
void gui_event_move(gui *g, float x, float y); /* of the mouse */
void gui_event_button(gui *g, bool down);      /* the left one */
void gui_event_wheel(gui *g, float lines);     /* above 0: away from the user */
void gui_event_key(gui *g, int key, bool down);
void gui_event_character(gui *g, uint32_t unicode);
/* Whether events wait for frames to come: what happened between two frames is played one change of
 * a button a frame, so that a quick click is seen. */
bool gui_busy(gui *g);

/* ---- Frames ---- */

/* A change of scale makes the font anew. seconds: of a clock that never runs backwards. */
void gui_begin(gui *g, float width, float height, float scale, double seconds);

/* RGBA, rows from above, in straight alpha. Number 0 is the font. */
typedef struct gui_picture {
    uint32_t width, height;
    const uint8_t *pixels;
    uint64_t generation; /* grows with each change of the pixels */
    bool smooth;         /* enlarged with interpolation, else in squares */
} gui_picture;
typedef struct gui_vertex {
    float x, y, u, v;
    uint32_t colour; /* bytes R, G, B, A */
} gui_vertex;
typedef struct gui_draw {
    gui_rect clip;
    uint32_t picture, first_index, index_count, first_vertex;
} gui_draw;
typedef struct gui_frame {
    float width, height;
    const gui_vertex *vertices;
    const uint16_t *indices; /* relative to a draw's first_vertex */
    const gui_draw *draws;
    uint32_t vertex_count, index_count, draw_count;
    const gui_picture *pictures;
    uint32_t picture_count;
} gui_frame;
/* Valid until the next gui_begin. NULL: no memory; the frame is lost. */
const gui_frame *gui_end(gui *g);

/* ---- Where and what ---- */

float gui_em(const gui *g);
/* Went down in this frame, or was written, whatever the keyboard's layout; and no widget wants the
 * keyboard's text. */
bool gui_pressed(const gui *g, int key);

/* A rectangle under a name, for tests: widgets leave theirs as "<panel>/<label>". The newest of a
 * name counts. false: it was not drawn in the last frame. */
void gui_mark(gui *g, gui_rect r, const char *format, ...) GUI_PRINTF(3, 4);
bool gui_find(gui *g, const char *name, gui_rect *out);

/* ---- Panels: fixed rectangles of the frame ---- */

void gui_panel_begin(gui *g, const char *name, gui_rect r);
void gui_panel_end(gui *g);
/* A panel without margins or ground, for what lies between others. */
void gui_border_begin(gui *g, const char *name, gui_rect r);
/* A part of a panel that scrolls; height 0: to the panel's end. */
void gui_scroll_begin(gui *g, const char *name, float height);
void gui_scroll_end(gui *g);
gui_rect gui_visible(gui *g); /* what is seen of such a part, or of the panel */
/* A box over everything else, such as help. */
void gui_overlay_begin(gui *g, const char *name);
void gui_overlay_end(gui *g);

/* ---- Widgets: one under the other, or beside the last after gui_beside ---- */

void gui_text(gui *g, gui_colour colour, const char *format, ...) GUI_PRINTF(3, 4);
void gui_wrapped(gui *g, gui_colour colour, const char *text); /* over several lines */
void gui_beside(gui *g, float gap);                            /* below 0: the usual gap */
/* Beside the last widget if `width` has room there, else below it. */
void gui_beside_if(gui *g, float gap, float width);
void gui_beside_at(gui *g, float x); /* from the panel's left */
void gui_space(gui *g, float height);
void gui_width(gui *g, float width); /* of the next widget */
void gui_align(gui *g);              /* the next text stands as high as a widget's */
/* Room that is left to the right and below. */
float gui_room_x(gui *g);
float gui_room_y(gui *g);
/* Whether pressed, changed, chosen. `label` is shown up to "##". */
bool gui_button(gui *g, const char *label, bool enabled);
bool gui_toggle(gui *g, const char *label, bool on); /* a button that shows what it is about */
bool gui_check(gui *g, const char *label, bool *value);
bool gui_slider(gui *g, const char *label, float *value, float low, float high, bool logarithmic,
                const char *format);
bool gui_slider_u32(gui *g, const char *label, uint32_t *value, uint32_t low, uint32_t high);
bool gui_combo(gui *g, const char *label, const char *const *items, uint32_t count,
               uint32_t *chosen);
/* Shown while the mouse rests on the last widget. */
void gui_hint(gui *g, const char *text);
void gui_tooltip(gui *g, const char *format, ...) GUI_PRINTF(2, 3); /* at the mouse, now */

/* A rectangle to draw in, with what the mouse does there. */
typedef struct gui_canvas {
    gui_rect r;
    bool hovered, clicked, held, double_clicked;
    float x, y;           /* of the mouse, in the frame */
    float drag_x, drag_y; /* since the last frame, while held */
    float wheel;          /* while hovered */
} gui_canvas;
gui_canvas gui_canvas_add(gui *g, const char *name, float width, float height);

/* ---- Shapes ---- */

void gui_fill(gui *g, gui_rect r, gui_colour colour);
void gui_outline(gui *g, gui_rect r, gui_colour colour, float width);
void gui_line(gui *g, float x0, float y0, float x1, float y1, gui_colour colour, float width);
/* Through (count) points x, y. */
void gui_curve(gui *g, const float *points, uint32_t count, gui_colour colour, float width);
void gui_dot(gui *g, float x, float y, float radius, gui_colour colour);
/* align: 0 begins at x, 0.5 is centred there, 1 ends there; y is the middle of the line. */
void gui_label(gui *g, float x, float y, float align, gui_colour colour, const char *text);
float gui_label_width(gui *g, const char *text);
/* The panel's picture of this name becomes these pixels, which are copied, and is drawn over r.
 * What is not drawn for some frames is forgotten. */
void gui_image(gui *g, const char *name, gui_rect r, uint32_t width, uint32_t height,
               const uint8_t *pixels, bool smooth, float alpha);
void gui_clip(gui *g, gui_rect r);
void gui_unclip(gui *g);

#ifdef __cplusplus
}
#endif
#endif
