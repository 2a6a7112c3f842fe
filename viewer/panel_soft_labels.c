// SPDX-License-Identifier: Apache-2.0
/* What teacher and student say of one sample, at a temperature: the viewer applies the softmax to
 * the logits itself, so that the bars follow the slider at once. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/maths.h"
#include "viewer/panel.h"

enum { SETTINGS = 32 };

typedef struct state {
    vkd_live_setting wanted[SETTINGS];
    char names[SETTINGS][60];
    float theirs[SETTINGS]; /* as the trainer had them when `wanted` was taken over */
    uint32_t count;
    double *p[2]; /* (classes) by side */
    uint32_t classes;
} state;

typedef struct summary {
    bool known, good;
    uint32_t top[2];
    double entropy;
    char where[64];
} summary;

static const gui_colour inks[] = {COLOUR_TEACHER, COLOUR_STUDENT};

/* ---- Distributions ---- */

static bool reserve(state *st, uint32_t classes) {
    if (st->classes == classes) return true;
    for (int side = 0; side < 2; side++) {
        double *p = realloc(st->p[side], classes * sizeof *p);
        if (!p) return false;
        st->p[side] = p;
    }
    st->classes = classes;
    return true;
}

static summary summarise(panel_io *io, state *st, scene_side side) {
    summary m = {0};
    const float *logits = scene_logits(io->s, io->s->sample, side, m.where);
    m.known = logits;
    if (!logits) return m;
    m.good = math_softmax(logits, st->classes, (double)io->s->tau, st->p[side]);
    m.entropy = math_entropy(st->p[side], st->classes);
    math_top(st->p[side], st->classes, &m.top[0], &m.top[1]);
    return m;
}

static void draw_axis(panel_io *io, gui_rect r) {
    static const char *const texts[] = {"0", "0.25", "0.5", "0.75", "1"};
    for (int i = 0; i < 5; i++) {
        const float x = floorf(r.x + r.w * (float)i / 4);
        gui_line(io->g, x, r.y, x, r.y + r.h, i ? COLOUR_GRID : COLOUR_LINE, 1);
        if (i % 2 == 0 || r.w > 11 * io->em)
            gui_label(io->g, x, r.y + r.h + 0.6f * io->em, 0.5f, COLOUR_MUTED, texts[i]);
    }
}

/* One class: its name, both bars, both numbers. */
static void draw_row(panel_io *io, const state *st, const summary *m, gui_rect bars, gui_rect row,
                     uint32_t c, float name_width) {
    const bool right = scene_label(io->s, io->s->sample) == (int32_t)c;
    const float thick = floorf(row.h * 0.36f), top = floorf(row.y + row.h * 0.14f);
    const float middle = row.y + row.h / 2;
    char number[32];
    gui_clip(io->g, (gui_rect){row.x, row.y, name_width, row.h});
    gui_label(io->g, row.x + name_width - 0.6f * io->em, middle, 1,
              right ? COLOUR_GOOD : COLOUR_TEXT, scene_class_name(io->s, c));
    gui_unclip(io->g);
    for (int side = 0; side < 2; side++) {
        if (!m[side].good) continue;
        const gui_rect bar = {bars.x, top + (float)side * thick, bars.w * (float)st->p[side][c],
                              thick};
        gui_fill(io->g, bar, inks[side]);
        gui_mark(io->g, bar, "bar.%d.%u", side, (unsigned)c);
        snprintf(number, sizeof number, "%.3f", st->p[side][c]);
        if (row.h > 2.1f * io->em)
            gui_label(io->g, row.x + row.w, bar.y + thick / 2, 1, inks[side], number);
        else
            gui_label(io->g, row.x + row.w - (side ? 0 : 2.8f) * io->em, middle, 1, inks[side],
                      number);
    }
}

static void draw_bars(panel_io *io, const state *st, const summary *m, float height) {
    float name_width = 0;
    for (uint32_t c = 0; c < st->classes && c < 64; c++)
        name_width = fmaxf(name_width, gui_label_width(io->g, scene_class_name(io->s, c)));
    const float least = 1.25f * io->em, axis_height = 1.3f * io->em;
    gui_scroll_begin(io->g, "distributions", height);
    const float width = gui_room_x(io->g), room = gui_room_y(io->g) - axis_height;
    name_width = fminf(name_width + io->em, width * 0.35f);
    const float step = floorf(fminf(3 * io->em, fmaxf(least, room / (float)st->classes)));
    const gui_canvas all =
        gui_canvas_add(io->g, "bars", width, step * (float)st->classes + axis_height);
    const float numbers = (step > 2.1f * io->em ? 3 : 5.8f) * io->em;
    const gui_rect bars = {all.r.x + name_width, all.r.y, all.r.w - name_width - numbers,
                           step * (float)st->classes};
    draw_axis(io, bars);
    gui_mark(io->g, bars, "axis");
    for (uint32_t c = 0; c < st->classes; c++)
        draw_row(io, st, m, bars, (gui_rect){all.r.x, all.r.y + step * (float)c, all.r.w, step}, c,
                 name_width);
    gui_scroll_end(io->g);
}

/* ---- Numbers ---- */

static void draw_summary(panel_io *io, const state *st, const summary *m) {
    static const char *const roles[] = {"teacher", "student"};
    for (int side = 0; side < 2; side++) {
        const char *name = scene_model_name(io->s, (scene_side)side);
        gui_text(io->g, inks[side], "%s", *name ? name : roles[side]);
        gui_beside_at(io->g, 8 * io->em);
        if (!m[side].known) {
            gui_text(io->g, COLOUR_MUTED, "has not answered");
            continue;
        }
        if (!m[side].good) {
            gui_text(io->g, COLOUR_BAD, "its logits are no numbers");
            continue;
        }
        gui_text(io->g, COLOUR_TEXT, "entropy %.3f", m[side].entropy);
        gui_beside_at(io->g, 15 * io->em);
        const double *p = st->p[side];
        if (m[side].top[1] != UINT32_MAX)
            gui_text(io->g, COLOUR_TEXT, "%s %.1f%%, %s %.1f%%",
                     scene_class_name(io->s, m[side].top[0]), 100 * p[m[side].top[0]],
                     scene_class_name(io->s, m[side].top[1]), 100 * p[m[side].top[1]]);
    }
    if (m[0].good && m[1].good)
        gui_text(io->g, COLOUR_TEXT, "KL(teacher || student) %.4f nats",
                 math_kl(st->p[0], st->p[1], st->classes));
    else
        gui_text(io->g, COLOUR_MUTED, "KL(teacher || student) -");
    gui_beside(io->g, 1.5f * io->em);
    gui_text(io->g, COLOUR_MUTED, "%s", m[1].known ? m[1].where : m[0].where);
}

/* ---- Settings of the trainer ---- */

static bool is_tau(const char *name) {
    return !strncmp(name, "tau.", 4);
}

/* Follows the trainer's values until they are changed here. */
static void follow(state *st, const vkd_live_frame *f) {
    const uint32_t count = f->setting_count < SETTINGS ? f->setting_count : SETTINGS;
    for (uint32_t i = 0; i < count; i++) {
        const bool other = i >= st->count || strcmp(st->names[i], f->settings[i].name) != 0;
        if (other) snprintf(st->names[i], sizeof st->names[i], "%s", f->settings[i].name);
        if (other || st->theirs[i] != f->settings[i].value)
            st->wanted[i].value = st->theirs[i] = f->settings[i].value;
        st->wanted[i].name = st->names[i];
    }
    st->count = count;
}

static void draw_settings(panel_io *io, state *st) {
    const vkd_live_frame *f = io->s->frame;
    follow(st, f);
    for (uint32_t i = 0; i < st->count; i++) {
        vkd_live_setting *w = &st->wanted[i];
        if (is_tau(w->name)) {
            w->value = io->s->tau;
            continue;
        }
        gui_width(io->g, 11 * io->em);
        gui_slider(io->g, w->name, &w->value, 0, fmaxf(1, 4 * st->theirs[i]), false, "%.3f");
        gui_beside(io->g, -1);
        gui_text(io->g, COLOUR_MUTED, "trainer: %g", (double)f->settings[i].value);
    }
    const bool can = io->s->training && !f->pending && st->count;
    if (gui_button(io->g, "Use in training", can)) scene_ask(io->s, st->wanted, st->count);
    gui_hint(io->g, "tau and the weights, from the trainer's next step on");
    for (uint32_t i = 0; i < st->count; i++)
        if (is_tau(f->settings[i].name)) {
            gui_beside(io->g, -1);
            gui_text(io->g, COLOUR_MUTED, "trainer: %s %g", f->settings[i].name,
                     (double)f->settings[i].value);
        }
    if (f->pending) {
        gui_beside(io->g, -1);
        gui_text(io->g, COLOUR_ACCENT, "sent");
    }
}

static void draw(panel_io *io, void *state_) {
    state *st = state_;
    const uint32_t classes = scene_classes(io->s);
    if (!classes || !reserve(st, classes)) {
        part_no_answers(io);
        return;
    }
    part_chooser(io);
    const summary m[] = {summarise(io, st, SCENE_TEACHER), summarise(io, st, SCENE_STUDENT)};
    const bool settings = io->s->training && io->s->frame && io->s->frame->setting_count;
    float below = 6.4f;
    if (settings) {
        below += 1.9f;
        for (uint32_t i = 0; i < io->s->frame->setting_count; i++)
            if (!is_tau(io->s->frame->settings[i].name)) below += 1.9f;
    }
    const float most = ((float)classes * 3 + 1.4f) * io->em;
    const float height = fminf(most, fmaxf(6 * io->em, gui_room_y(io->g) - below * io->em));
    const float side = fminf(fminf(9 * io->em, gui_room_x(io->g) * 0.28f), height);
    if (io->s->info && io->s->info->pixels) {
        const gui_canvas image = gui_canvas_add(io->g, "image", side, height);
        part_sample(io, "sample", (gui_rect){image.r.x, image.r.y, side, side}, io->s->sample);
        gui_beside(io->g, io->em);
    }
    draw_bars(io, st, m, height);
    gui_width(io->g, 18 * io->em);
    gui_slider(io->g, "tau", &io->s->tau, 0.5f, 50, true, "%.2f");
    draw_summary(io, st, m);
    if (settings) draw_settings(io, st);
}

static void term(scene *s, void *state_) {
    state *st = state_;
    (void)s;
    free(st->p[0]);
    free(st->p[1]);
}

const panel_def panel_soft_labels = {.name = "soft_labels",
                                     .title = "Soft labels",
                                     .state_size = sizeof(state),
                                     .draw = draw,
                                     .term = term};
