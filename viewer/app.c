// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/app.h"
#include "viewer/axis.h"

const panel_def *const panels[PANEL_COUNT] = {
#define PANEL(name) &panel_##name,
#include "viewer/panels.def"
#undef PANEL
};

vkd_result app_init(app *a, gui *g, scene *s) {
    *a = (app){.g = g, .s = s};
    layout_init(&a->l, PANEL_COUNT);
    for (uint32_t i = 0; i < PANEL_COUNT; i++) {
        a->states[i] = vkd__alloc(s->ctx, 1, panels[i]->state_size);
        if (!a->states[i]) return VKD_E_MEMORY;
    }
    return VKD_OK;
}

void app_term(app *a) {
    for (uint32_t i = 0; i < PANEL_COUNT; i++) {
        if (a->states[i] && panels[i]->term) panels[i]->term(a->s, a->states[i]);
        if (a->s) vkd__free(a->s->ctx, a->states[i]);
    }
}

uint32_t app_find_panel(const char *name) {
    uint32_t i = 0;
    while (i < PANEL_COUNT && strcmp(panels[i]->name, name) != 0)
        i++;
    return i;
}

/* ---- The bar ---- */

static const char *state_text(const scene *s, gui_colour *colour) {
    const vkd_live_frame *f = s->frame;
    *colour = COLOUR_MUTED;
    if (!f) return s->info ? "no live file" : "no run";
    if (f->state == VKD_LIVE_FINISHED) return "finished";
    if (f->state == VKD_LIVE_STOPPED) return "stopped";
    *colour = COLOUR_BAD;
    if (f->state == VKD_LIVE_FAILED) return "failed";
    if (!f->alive) return "the trainer is gone";
    *colour = COLOUR_GOOD;
    return f->state == VKD_LIVE_STARTING ? "starting" : "training";
}

static void draw_number(panel_io *io, const char *name, double value, double scale,
                        const char *unit) {
    char text[32];
    axis_number(value * scale, text, sizeof text);
    gui_beside(io->g, 1.3f * io->em);
    gui_text(io->g, COLOUR_MUTED, "%s", name);
    gui_beside(io->g, 0.35f * io->em);
    gui_text(io->g, COLOUR_TEXT, "%s%s", text, unit);
}

static void draw_progress(panel_io *io, const vkd_live_frame *f) {
    gui_beside(io->g, io->em);
    const gui_canvas c = gui_canvas_add(io->g, "progress", 11 * io->em, 1.4f * io->em);
    const float share = f->steps ? (float)f->step / (float)f->steps : 0;
    char text[64];
    gui_fill(io->g, c.r, COLOUR_FIELD);
    gui_fill(io->g, (gui_rect){c.r.x, c.r.y, c.r.w * fminf(1, share), c.r.h}, 0x3f5f93ff);
    snprintf(text, sizeof text, "%llu / %llu", (unsigned long long)f->step,
             (unsigned long long)f->steps);
    gui_label(io->g, c.r.x + c.r.w / 2, c.r.y + c.r.h / 2, 0.5f, COLOUR_TEXT, text);
    if (c.hovered) gui_tooltip(io->g, "steps of this phase");
}

static void draw_status(panel_io *io) {
    const vkd_live_frame *f = io->s->frame;
    gui_colour colour;
    const char *state = state_text(io->s, &colour);
    gui_align(io->g);
    gui_text(io->g, COLOUR_TEXT, "%s", io->s->info ? io->s->info->recipe : io->s->folder);
    gui_beside(io->g, io->em);
    gui_text(io->g, colour, "%s", state);
    if (!f) return;
    gui_beside(io->g, io->em);
    gui_text(io->g, COLOUR_MUTED, "%s%s%s", f->stage, *f->stage && *f->phase ? ": " : "", f->phase);
    draw_progress(io, f);
    if (io->s->training) {
        draw_number(io, "loss", f->loss, 1, "");
        draw_number(io, "samples/s", f->samples_per_second, 1, "");
    }
    if (f->test_accuracy >= 0) draw_number(io, "test accuracy", f->test_accuracy, 100, "%");
}

/* What can be reached from everywhere, at the right: panels by number, help. */
static void draw_menu(app *a, panel_io *io, float right) {
    const float width = (3.4f + 1.75f * (float)PANEL_COUNT) * io->em;
    gui_beside_at(io->g, right - width);
    for (uint32_t i = 0; i < PANEL_COUNT; i++) {
        char label[48];
        snprintf(label, sizeof label, "%u##panel%u", (unsigned)i + 1, (unsigned)i);
        if (gui_toggle(io->g, label, a->l.shown[i])) layout_toggle(&a->l, i);
        gui_hint(io->g, panels[i]->title);
        gui_beside(io->g, 0.25f * io->em);
    }
    if (gui_button(io->g, "Help", true)) a->help = !a->help;
}

static const char *trouble(const scene *s) {
    return s->problem[0] ? s->problem : s->trouble;
}

/* ---- Tiles ---- */

static void draw_header(app *a, panel_io *io, uint32_t panel) {
    const float height = 1.35f * io->em, button = 1.4f * io->em;
    const bool alone = a->l.alone == panel;
    gui_canvas c = gui_canvas_add(io->g, "title", gui_room_x(io->g) - 2.4f * button, height);
    gui_label(io->g, c.r.x, c.r.y + height / 2 - 1, 0, COLOUR_ACCENT, panels[panel]->title);
    if (c.double_clicked) a->l.alone = alone ? LAYOUT_NONE : panel;
    gui_beside(io->g, 0.2f * button);
    c = gui_canvas_add(io->g, "alone", button, height);
    const gui_rect box = {floorf(c.r.x + button * 0.3f), floorf(c.r.y + height * 0.25f),
                          floorf(button * 0.45f), floorf(button * 0.45f)};
    gui_outline(io->g, box, c.hovered ? COLOUR_TEXT : COLOUR_MUTED, 1);
    if (c.hovered) gui_tooltip(io->g, alone ? "all panels (0)" : "this panel alone");
    if (c.clicked) a->l.alone = alone ? LAYOUT_NONE : panel;
    gui_beside(io->g, 0.2f * button);
    c = gui_canvas_add(io->g, "close", button, height);
    const gui_colour ink = c.hovered ? COLOUR_TEXT : COLOUR_MUTED;
    const gui_rect x = {floorf(c.r.x + button * 0.3f) + 0.5f, box.y + 0.5f, box.w, box.h};
    gui_line(io->g, x.x, x.y, x.x + x.w, x.y + x.h, ink, 1);
    gui_line(io->g, x.x, x.y + x.h, x.x + x.w, x.y, ink, 1);
    if (c.hovered) gui_tooltip(io->g, "leave this panel out; the numbers above bring it back");
    if (c.clicked && a->l.shown[panel]) layout_toggle(&a->l, panel);
}

static void draw_tiles(app *a, panel_io *io, gui_rect area) {
    layout_tiles tiles;
    const float gap = fmaxf(3, roundf(0.35f * io->em));
    layout_place(&a->l, area, gap, &tiles);
    for (uint32_t i = 0; i < PANEL_COUNT; i++) {
        if (tiles.r[i].w < 1 || tiles.r[i].h < 1) continue;
        gui_panel_begin(io->g, panels[i]->name, tiles.r[i]);
        draw_header(a, io, i);
        panels[i]->draw(io, a->states[i]);
        gui_panel_end(io->g);
    }
    for (uint32_t i = 0; i < tiles.border_count; i++) {
        const layout_border *b = &tiles.borders[i];
        char name[32];
        snprintf(name, sizeof name, "border%u", (unsigned)i);
        gui_border_begin(io->g, name, b->r);
        const gui_canvas c = gui_canvas_add(io->g, "move", b->r.w, b->r.h);
        if (c.hovered || c.held) gui_fill(io->g, b->r, COLOUR_FIELD_HOVER);
        if (c.held) layout_move(&a->l, b, b->between_rows ? c.drag_y : c.drag_x);
        gui_panel_end(io->g);
    }
}

/* ---- Keys and help ---- */

static void take_keys(app *a) {
    gui *g = a->g;
    scene *s = a->s;
    for (uint32_t i = 0; i < PANEL_COUNT; i++)
        if (gui_pressed(g, '1' + (int)i)) a->l.alone = a->l.alone == i ? LAYOUT_NONE : i;
    if (gui_pressed(g, '0')) a->l.alone = LAYOUT_NONE;
    if (gui_pressed(g, GUI_KEY_PAGE_UP) && s->sample) scene_choose(s, s->sample - 1);
    if (gui_pressed(g, GUI_KEY_PAGE_DOWN)) scene_choose(s, s->sample + 1);
    const float step = 1.19f; /* four to a doubling */
    if (gui_pressed(g, '-')) s->tau = fmaxf(0.5f, s->tau / step);
    if (gui_pressed(g, '+') || gui_pressed(g, '=')) s->tau = fminf(50, s->tau * step);
    if (gui_pressed(g, GUI_KEY_F1) || gui_pressed(g, 'H')) a->help = !a->help;
    if (gui_pressed(g, GUI_KEY_ESCAPE)) a->help = false;
    if (gui_pressed(g, 'Q')) a->quit = true;
}

static void draw_help(panel_io *io) {
    static const char *const lines[][2] = {
        {"Page Up, Page Down", "the sample before, the next one"},
        {"-, +", "lower or higher temperature"},
        {"1 to 6", "one panel alone, and back"},
        {"0", "all panels"},
        {"Tab, arrows, Enter, Space", "reach and use buttons, sliders and lists"},
        {"wheel, drag, double click", "in charts: zoom, move, all of it again"},
        {"double click on a title", "that panel alone, and back"},
        {"drag between panels", "another share of the window"},
        {"F1 or H", "this help"},
        {"Q", "leave; a run goes on"},
    };
    gui_overlay_begin(io->g, "help");
    gui_text(io->g, COLOUR_ACCENT, "Keys and mouse");
    for (size_t i = 0; i < VKD_COUNT(lines); i++) {
        gui_text(io->g, COLOUR_TEXT, "%s", lines[i][0]);
        gui_beside_at(io->g, 14 * io->em);
        gui_text(io->g, COLOUR_MUTED, "%s", lines[i][1]);
    }
    gui_overlay_end(io->g);
}

const gui_frame *app_frame(app *a, float width, float height, float scale, double seconds) {
    gui_begin(a->g, width, height, scale, seconds);
    panel_io io = {a->g, a->s, gui_em(a->g)};
    const char *wrong = trouble(a->s);
    const float bar = floorf((wrong[0] ? 3.9f : 2.5f) * io.em), gap = roundf(0.35f * io.em);
    take_keys(a);
    gui_panel_begin(a->g, "bar", (gui_rect){0, 0, width, bar});
    draw_status(&io);
    draw_menu(a, &io, width);
    if (wrong[0]) {
        gui_text(a->g, COLOUR_BAD, "%s", wrong);
        gui_hint(a->g, wrong);
    }
    gui_panel_end(a->g);
    a->s->want_maps = false;
    draw_tiles(a, &io, (gui_rect){gap, bar + gap, width - 2 * gap, height - bar - 2 * gap});
    if (a->help) draw_help(&io);
    return gui_end(a->g);
}
