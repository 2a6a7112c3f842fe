// SPDX-License-Identifier: Apache-2.0
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/gui_parts.h"

enum { FORGET = 120 /* frames without being drawn */, PICTURES = 512 };

void gui_parts_term(gui_parts *p) {
    for (uint32_t i = 1; i < p->picture_count; i++)
        free(p->entries[i].pixels);
    free(p->entries);
    free(p->pictures);
    free(p->marks);
}

/* ---- Events ---- */

static void add_event(gui *g, gui_event e) {
    gui_parts *p = gui_parts_of(g);
    if (p->count < GUI_EVENTS) p->events[(p->first + p->count++) % GUI_EVENTS] = e;
}

void gui_event_move(gui *g, float x, float y) {
    add_event(g, (gui_event){.kind = GUI_EVENT_MOVE, .x = x, .y = y});
}

void gui_event_button(gui *g, bool down) {
    add_event(g, (gui_event){.kind = GUI_EVENT_BUTTON, .down = down});
}

void gui_event_wheel(gui *g, float lines) {
    add_event(g, (gui_event){.kind = GUI_EVENT_WHEEL, .y = lines});
}

void gui_event_key(gui *g, int key, bool down) {
    if (key > 0 && key < GUI_KEY_COUNT)
        add_event(g, (gui_event){.kind = GUI_EVENT_KEY, .key = (uint32_t)key, .down = down});
}

void gui_event_character(gui *g, uint32_t unicode) {
    add_event(g, (gui_event){.kind = GUI_EVENT_CHARACTER, .key = unicode});
}

bool gui_busy(gui *g) {
    return gui_parts_of(g)->count > 0;
}

bool gui_parts_next(gui_parts *p, bool *changed, gui_event *out) {
    if (!p->count) return false;
    *out = p->events[p->first];
    if (*changed && out->kind != GUI_EVENT_CHARACTER) return false;
    p->first = (p->first + 1) % GUI_EVENTS;
    p->count--;
    if (out->kind == GUI_EVENT_BUTTON || out->kind == GUI_EVENT_KEY) *changed = true;
    return true;
}

/* ---- Marks ---- */

void gui_parts_mark(gui_parts *p, gui_rect r, const char *name) {
    if (p->mark_count == p->mark_capacity) {
        const uint32_t capacity = p->mark_capacity ? 2 * p->mark_capacity : 256;
        gui_mark_entry *marks = realloc(p->marks, capacity * sizeof *marks);
        if (!marks) return;
        p->marks = marks;
        p->mark_capacity = capacity;
    }
    gui_mark_entry *m = &p->marks[p->mark_count++];
    snprintf(m->name, sizeof m->name, "%s/%s", p->panel, name);
    m->r = r;
}

void gui_mark(gui *g, gui_rect r, const char *format, ...) {
    char name[GUI_MARK_NAME - sizeof gui_parts_of(g)->panel];
    va_list list;
    va_start(list, format);
    vsnprintf(name, sizeof name, format, list);
    va_end(list);
    gui_parts_mark(gui_parts_of(g), r, name);
}

bool gui_find(gui *g, const char *name, gui_rect *out) {
    const gui_parts *p = gui_parts_of(g);
    for (uint32_t i = p->mark_count; i-- > 0;)
        if (!strcmp(p->marks[i].name, name)) {
            *out = p->marks[i].r;
            return true;
        }
    return false;
}

/* ---- Pictures ---- */

void gui_parts_frame(gui_parts *p) {
    p->frame++;
    p->mark_count = 0;
    while (p->picture_count > 1) {
        const uint32_t last = p->picture_count - 1;
        if (p->entries[last].used + FORGET > p->frame) break;
        free(p->entries[last].pixels);
        p->picture_count--;
    }
}

static bool reserve(gui_parts *p) {
    if (p->picture_count < p->picture_capacity) return true;
    const uint32_t capacity = p->picture_capacity ? 2 * p->picture_capacity : 32;
    if (capacity > PICTURES) return false;
    gui_picture *pictures = realloc(p->pictures, capacity * sizeof *pictures);
    if (pictures) p->pictures = pictures;
    gui_picture_entry *entries = realloc(p->entries, capacity * sizeof *entries);
    if (entries) p->entries = entries;
    if (!pictures || !entries) return false;
    p->picture_capacity = capacity;
    return true;
}

/* The entry of this name, else one that was not drawn for a while, else a new one. */
static uint32_t find(gui_parts *p, const char *name) {
    uint32_t stale = 0;
    for (uint32_t i = 1; i < p->picture_count; i++) {
        if (!strcmp(p->entries[i].name, name)) return i;
        if (!stale && p->entries[i].used + FORGET <= p->frame) stale = i;
    }
    if (!stale) {
        if (!reserve(p)) return 0;
        stale = p->picture_count++;
        p->entries[stale] = (gui_picture_entry){{0}, NULL, 0};
        p->pictures[stale] = (gui_picture){0, 0, NULL, 0, false};
    }
    snprintf(p->entries[stale].name, sizeof p->entries[stale].name, "%s", name);
    return stale;
}

uint32_t gui_parts_picture(gui_parts *p, const char *name, uint32_t width, uint32_t height,
                           const uint8_t *pixels, bool smooth) {
    const size_t size = (size_t)width * height * 4;
    char full[GUI_PICTURE_NAME];
    snprintf(full, sizeof full, "%s/%s", p->panel, name);
    const uint32_t number = size ? find(p, full) : 0;
    if (!number) return 0;
    gui_picture *shown = &p->pictures[number];
    gui_picture_entry *e = &p->entries[number];
    e->used = p->frame;
    const bool same_size = shown->pixels && shown->width == width && shown->height == height;
    if (same_size && shown->smooth == smooth && !memcmp(e->pixels, pixels, size)) return number;
    if (!same_size) {
        uint8_t *room = realloc(e->pixels, size);
        if (!room) return 0;
        e->pixels = room;
    }
    memcpy(e->pixels, pixels, size);
    *shown = (gui_picture){width, height, e->pixels, ++p->generation, smooth};
    return number;
}

void gui_parts_font(gui_parts *p, uint32_t width, uint32_t height, const uint8_t *pixels) {
    if (!p->picture_count && reserve(p)) {
        p->picture_count = 1;
        p->entries[0] = (gui_picture_entry){{0}, NULL, 0};
    }
    if (p->picture_count)
        p->pictures[0] = (gui_picture){width, height, pixels, ++p->generation, true};
}

/* ---- Fonts ---- */

const char *gui_parts_find_font(void) {
    static const char *const fonts[] = {
        "/usr/share/fonts/truetype/roboto/unhinted/RobotoTTF/Roboto-Regular.ttf",
        "/usr/share/fonts/truetype/noto/NotoSans-Regular.ttf",
        "/usr/share/fonts/noto/NotoSans-Regular.ttf",
        "/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf",
        "/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf",
        "/usr/share/fonts/TTF/DejaVuSans.ttf",
        "/usr/share/fonts/truetype/liberation/LiberationSans-Regular.ttf",
    };
    for (size_t i = 0; i < sizeof fonts / sizeof fonts[0]; i++) {
        FILE *f = fopen(fonts[i], "rb");
        if (!f) continue;
        fclose(f);
        return fonts[i];
    }
    return NULL;
}
