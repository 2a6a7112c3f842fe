// SPDX-License-Identifier: Apache-2.0
/* What gui.cpp keeps beside Dear ImGui: events that wait, marks, pictures. C++ reads this too. */
#ifndef VKD_VIEWER_GUI_PARTS_H
#define VKD_VIEWER_GUI_PARTS_H

#include "viewer/gui.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gui_event_kind {
    GUI_EVENT_MOVE,
    GUI_EVENT_BUTTON,
    GUI_EVENT_WHEEL,
    GUI_EVENT_KEY,
    GUI_EVENT_CHARACTER
} gui_event_kind;
typedef struct gui_event {
    gui_event_kind kind;
    float x, y;
    uint32_t key; /* or the character */
    bool down;
} gui_event;

enum { GUI_EVENTS = 256, GUI_MARK_NAME = 96, GUI_PICTURE_NAME = 64 };

typedef struct gui_mark_entry {
    char name[GUI_MARK_NAME];
    gui_rect r;
} gui_mark_entry;

typedef struct gui_picture_entry {
    char name[GUI_PICTURE_NAME];
    uint8_t *pixels;
    uint64_t used; /* frame */
} gui_picture_entry;

typedef struct gui_parts {
    gui_event events[GUI_EVENTS]; /* a ring; what is beyond it is dropped */
    uint32_t first, count;
    gui_mark_entry *marks;
    uint32_t mark_count, mark_capacity;
    char panel[32];        /* in front of the names of marks and pictures */
    gui_picture *pictures; /* 0 is the font's, which somebody else owns */
    gui_picture_entry *entries;
    uint32_t picture_count, picture_capacity;
    uint64_t frame, generation;
} gui_parts;

gui_parts *gui_parts_of(gui *g); /* gui.cpp */
void gui_parts_term(gui_parts *p);
/* The next event of this frame: after one of a button or key, only characters come. */
bool gui_parts_next(gui_parts *p, bool *changed, gui_event *out);
/* Forgets marks, and pictures that have not been drawn for a while. */
void gui_parts_frame(gui_parts *p);
void gui_parts_mark(gui_parts *p, gui_rect r, const char *name);
/* The picture's number; 0: no memory. */
uint32_t gui_parts_picture(gui_parts *p, const char *name, uint32_t width, uint32_t height,
                           const uint8_t *pixels, bool smooth);
void gui_parts_font(gui_parts *p, uint32_t width, uint32_t height, const uint8_t *pixels);

/* The first font of the system that is known to be good, or NULL. */
const char *gui_parts_find_font(void);

#ifdef __cplusplus
}
#endif
#endif
