// SPDX-License-Identifier: Apache-2.0
/* The test split to browse: by number, by class, by how far teacher and student disagree, by how
 * unsure the student is. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "viewer/panel.h"
#include "viewer/ranking.h"

#define AGAIN 0.5 /* seconds between two orders while answers come in */

typedef struct state {
    ranking_wish wish, made; /* that `entries` were made of */
    uint32_t order, class;   /* class 0: all; else its number and one */
    uint64_t answers;
    double when;
    bool ordered;
    ranking_entry *entries;
    uint32_t count;
} state;

/* ---- The order ---- */

static bool same(const ranking_wish *a, const ranking_wish *b) {
    return a->order == b->order && a->tau == b->tau && a->label == b->label && a->wrong == b->wrong;
}

static void compute(state *st, const scene *s, const scene_answers *a) {
    st->wish.order = (ranking_order)st->order;
    st->wish.tau = (double)s->tau;
    st->wish.label = (int32_t)st->class - 1;
    const bool news = st->answers != s->answers && (s->now - st->when > AGAIN || !scene_busy(s));
    if (st->ordered && !news && same(&st->wish, &st->made)) return;
    ranking_entry *room = realloc(st->entries, (a->count + 1) * sizeof *room);
    if (!room) return;
    st->entries = room;
    st->count = ranking_make(a, &st->wish, room);
    st->made = st->wish;
    st->answers = s->answers;
    st->when = s->now;
    st->ordered = true;
}

/* ---- Controls ---- */

static void choose_model(panel_io *io, scene_side side, const char *label) {
    const char *items[65] = {"none"};
    const vkd_inspect_info *info = io->s->info;
    const uint32_t count = info->model_count < 64 ? info->model_count : 64;
    uint32_t chosen = io->s->models[side].model;
    for (uint32_t i = 0; i < count; i++)
        items[i] = info->models[i].name;
    gui_width(io->g, 8.5f * io->em);
    if (gui_combo(io->g, label, items, count, &chosen)) scene_take_model(io->s, side, chosen);
}

static void draw_progress(panel_io *io) {
    scene *s = io->s;
    const uint32_t tests = s->info->tests;
    const uint32_t teacher = s->models[0].at, student = s->models[1].at;
    const uint32_t least =
        s->models[0].model == SCENE_NONE || student < teacher ? student : teacher;
    if (least >= tests || (!s->models[0].predictor && !s->models[1].predictor)) return;
    part_beside_text(io, "answers 100%", false);
    gui_text(io->g, COLOUR_ACCENT, "answers %.0f%%", 100.0 * least / tests);
    if (!s->training || s->hurry) return;
    gui_beside(io->g, -1);
    if (gui_button(io->g, "At once", true)) s->hurry = true;
    gui_hint(io->g, "let the models answer at full speed, which slows the training down");
}

static void draw_controls(panel_io *io, state *st) {
    static const char *const orders[] = {"by number", "largest disagreement", "lowest confidence"};
    enum { CLASSES = 1024 };
    static const char *classes[CLASSES + 1] = {"all classes"};
    static char texts[CLASSES][32];
    const uint32_t all = scene_classes(io->s), count = all < CLASSES ? all : CLASSES;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%.30s", scene_class_name(io->s, i));
        classes[i + 1] = texts[i];
    }
    gui_width(io->g, 11 * io->em);
    gui_combo(io->g, "##order", orders, 3, &st->order);
    gui_beside(io->g, -1);
    gui_width(io->g, 9 * io->em);
    gui_combo(io->g, "##class", classes, count + 1, &st->class);
    part_beside_text(io, "only mistakes", true);
    gui_check(io->g, "only mistakes", &st->wish.wrong);
    gui_hint(io->g, "samples that the student takes for another class");
    if (!io->s->info) return;
    choose_model(io, SCENE_TEACHER, "teacher");
    gui_beside_if(io->g, io->em, 12 * io->em);
    choose_model(io, SCENE_STUDENT, "student");
    part_beside_text(io, "10000 samples", false);
    gui_text(io->g, COLOUR_MUTED, "%u samples", (unsigned)st->count);
    draw_progress(io);
}

/* ---- The grid ---- */

static void draw_entry(panel_io *io, const state *st, uint32_t n, gui_rect r, const gui_canvas *c) {
    const ranking_entry *e = &st->entries[n];
    const float side = r.w - 0.6f * io->em;
    const gui_rect image = {r.x + 0.3f * io->em, r.y + 0.3f * io->em, side, side};
    const bool right = (int64_t)e->said[SCENE_STUDENT] == e->label;
    char name[32], text[96];
    snprintf(name, sizeof name, "thumb.%u", (unsigned)n);
    const bool hovered =
        c->hovered && c->x >= r.x && c->x < r.x + r.w && c->y >= r.y && c->y < r.y + r.h;
    if (e->sample == io->s->sample) gui_fill(io->g, r, COLOUR_FIELD_HOVER);
    part_sample(io, name, image, e->sample);
    if (hovered) gui_outline(io->g, image, COLOUR_ACCENT, 2);
    gui_clip(io->g, r);
    const float x = r.x + r.w / 2, y = image.y + side + 0.75f * io->em;
    gui_label(io->g, x, y, 0.5f, COLOUR_MUTED, scene_class_name(io->s, e->label));
    if (e->said[SCENE_STUDENT] != SCENE_NONE)
        gui_label(io->g, x, y + 1.1f * io->em, 0.5f, right ? COLOUR_GOOD : COLOUR_BAD,
                  scene_class_name(io->s, e->said[SCENE_STUDENT]));
    snprintf(text, sizeof text, "%u", (unsigned)e->sample);
    if (!isnan(e->value)) snprintf(text, sizeof text, "%.3f", e->value);
    gui_label(io->g, x, y + 2.2f * io->em, 0.5f, COLOUR_MUTED, text);
    gui_unclip(io->g);
    if (!hovered) return;
    gui_tooltip(io->g, "sample %u\nlabel %s\nteacher says %s\nstudent says %s", (unsigned)e->sample,
                scene_class_name(io->s, e->label),
                e->said[0] == SCENE_NONE ? "-" : scene_class_name(io->s, e->said[0]),
                e->said[1] == SCENE_NONE ? "-" : scene_class_name(io->s, e->said[1]));
    if (c->clicked) scene_choose(io->s, e->sample);
}

static void draw_grid(panel_io *io, const state *st) {
    gui_scroll_begin(io->g, "grid", 0);
    const gui_rect seen = gui_visible(io->g);
    const float width = 6.2f * io->em, height = 9.2f * io->em;
    const uint32_t columns = (uint32_t)fmaxf(1, floorf(gui_room_x(io->g) / width));
    const uint32_t rows = (st->count + columns - 1) / columns;
    const gui_canvas c =
        gui_canvas_add(io->g, "samples", gui_room_x(io->g), fmaxf(1, (float)rows * height));
    const uint32_t first = (uint32_t)fmaxf(0, floorf((seen.y - c.r.y) / height));
    for (uint32_t row = first; row < rows; row++) {
        const float y = c.r.y + (float)row * height;
        if (y > seen.y + seen.h) break;
        for (uint32_t i = 0; i < columns && row * columns + i < st->count; i++)
            draw_entry(
                io, st, row * columns + i,
                (gui_rect){floorf(c.r.x + (float)i * width), floorf(y), width - 2, height - 2}, &c);
    }
    gui_scroll_end(io->g);
}

static void draw(panel_io *io, void *state_) {
    state *st = state_;
    const scene_answers *a = scene_all(io->s);
    scene_answers labels;
    if (!a->count && io->s->info) { /* none has answered yet: they can be looked at all the same */
        labels = (scene_answers){.count = io->s->info->tests,
                                 .classes = io->s->info->classes,
                                 .labels = io->s->info->labels};
        a = &labels;
    }
    if (!a->count) {
        part_no_answers(io);
        return;
    }
    compute(st, io->s, a);
    draw_controls(io, st);
    draw_grid(io, st);
}

static void term(scene *s, void *state_) {
    state *st = state_;
    (void)s;
    free(st->entries);
}

const panel_def panel_samples = {
    .name = "samples", .title = "Samples", .state_size = sizeof(state), .draw = draw, .term = term};
