// SPDX-License-Identifier: Apache-2.0
/* What each class looks like to teacher and student: the mean probability of every class over the
 * samples of one. Off the diagonal stands what soft labels teach beyond the labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/panel.h"
#include "viewer/ranking.h"

typedef struct state {
    uint64_t answers; /* of the scene, when `means` were made */
    float tau;
    uint32_t classes;
    double *means[2];
    float *shown[2];
    double high; /* of the colours */
    bool whole;  /* with the diagonal */
    bool chosen; /* a cell: samples of class `label` by their probability of `class` */
    ranking_wish wish;
    ranking_entry *samples;
    uint32_t sample_count;
} state;

static const gui_colour inks[] = {COLOUR_TEACHER, COLOUR_STUDENT};

/* ---- Values ---- */

static bool reserve(state *st, uint32_t classes) {
    const size_t cells = (size_t)classes * classes;
    if (st->classes == classes) return true;
    for (int side = 0; side < 2; side++) {
        free(st->means[side]);
        free(st->shown[side]);
        st->means[side] = malloc(cells * sizeof *st->means[side]);
        st->shown[side] = malloc(cells * sizeof *st->shown[side]);
        if (!st->means[side] || !st->shown[side]) return false;
    }
    st->classes = classes;
    st->chosen = false;
    return true;
}

static void find_samples(state *st, const scene_answers *a) {
    ranking_entry *room = realloc(st->samples, a->count * sizeof *room);
    st->sample_count = 0;
    if (!room) return;
    st->samples = room;
    st->wish.order = RANKING_CLASS;
    st->wish.tau = (double)st->tau;
    st->sample_count = ranking_make(a, &st->wish, st->samples);
}

static bool compute(state *st, const scene *s, const scene_answers *a) {
    if (!a->count || !a->logits[0] || !a->logits[1] || !reserve(st, a->classes)) return false;
    if (st->answers == s->answers && st->tau == s->tau && st->answers) return true;
    st->answers = s->answers;
    st->tau = s->tau;
    for (int side = 0; side < 2; side++) {
        if (!ranking_classes(a, (scene_side)side, (double)st->tau, st->means[side])) return false;
        for (uint32_t i = 0; i < a->classes * a->classes; i++)
            st->shown[side][i] = (float)st->means[side][i];
    }
    if (st->chosen) find_samples(st, a);
    return true;
}

static double find_high(const state *st) {
    double high = 0;
    for (uint32_t i = 0; i < st->classes; i++)
        for (uint32_t j = 0; j < st->classes; j++)
            for (int side = 0; side < 2; side++)
                if (i != j || st->whole)
                    high = fmax(high, st->means[side][(size_t)i * st->classes + j]);
    return high;
}

/* ---- Matrices ---- */

static void draw_names(panel_io *io, const state *st, gui_rect r, float width) {
    const float cell = r.h / (float)st->classes;
    const uint32_t every = (uint32_t)fmaxf(1, ceilf(0.8f * io->em / cell));
    char text[64];
    gui_clip(io->g, (gui_rect){r.x - width, r.y, width, r.h});
    for (uint32_t i = 0; i < st->classes; i += every) {
        const bool named = io->s->info && io->s->info->class_names;
        snprintf(text, sizeof text, named ? "%s  %u" : "%s", scene_class_name(io->s, i),
                 (unsigned)i);
        gui_label(io->g, r.x - 0.4f * io->em, r.y + ((float)i + 0.5f) * cell, 1, COLOUR_MUTED,
                  text);
    }
    gui_unclip(io->g);
}

static void draw_cells(panel_io *io, const state *st, int side, gui_rect r) {
    const float cell = r.w / (float)st->classes;
    const uint32_t every = (uint32_t)fmaxf(1, ceilf(1.6f * io->em / cell));
    char text[32];
    for (uint32_t j = 0; j < st->classes; j += every) {
        snprintf(text, sizeof text, "%u", (unsigned)j);
        gui_label(io->g, r.x + ((float)j + 0.5f) * cell, r.y + r.h + 0.6f * io->em, 0.5f,
                  COLOUR_MUTED, text);
    }
    for (uint32_t i = 0; i < st->classes * st->classes && cell > 2.2f * io->em; i++) {
        const double value = st->means[side][i];
        const uint32_t row = i / st->classes;
        const float x = r.x + ((float)(i % st->classes) + 0.5f) * cell;
        const float y = r.y + ((float)row + 0.5f) * cell;
        snprintf(text, sizeof text, value < 0.1 ? "%.3f" : "%.2f", value);
        gui_label(io->g, x, y, 0.5f, value > 0.6 * st->high ? 0x14161bffu : 0xdfe3eaffu,
                  *text == '0' ? text + 1 : text);
    }
    if (st->chosen && st->wish.side == (scene_side)side)
        gui_outline(io->g,
                    (gui_rect){r.x + (float)st->wish.class * cell,
                               r.y + (float)st->wish.label * cell, cell, cell},
                    0xffffffffu, fmaxf(1, 0.12f * io->em));
}

static void point_at(panel_io *io, state *st, const scene_answers *a, const gui_canvas *c,
                     gui_rect r, int side) {
    if (!c->hovered) return; /* without a mouse its place is no number of a cell */
    const int64_t i = (int64_t)floorf((c->y - r.y) / r.h * (float)st->classes);
    const int64_t j = (int64_t)floorf((c->x - r.x) / r.w * (float)st->classes);
    if (i < 0 || j < 0 || i >= st->classes || j >= st->classes) return;
    const size_t at = (size_t)i * st->classes + (size_t)j;
    gui_tooltip(io->g, "%s, probability of %s\nteacher %.4f  student %.4f\nclick: its samples",
                scene_class_name(io->s, i), scene_class_name(io->s, j), st->means[0][at],
                st->means[1][at]);
    if (!c->clicked) return;
    st->chosen = true;
    st->wish.label = (int32_t)i;
    st->wish.class = (uint32_t)j;
    st->wish.side = (scene_side)side;
    find_samples(st, a);
    io->s->changes++;
}

static void draw_matrix(panel_io *io, state *st, const scene_answers *a, const gui_canvas *c,
                        int side, gui_rect r) {
    static const char *const names[] = {"teacher", "student"};
    const char *name = scene_model_name(io->s, (scene_side)side);
    gui_label(io->g, r.x + r.w / 2, r.y - 0.7f * io->em, 0.5f, inks[side],
              *name ? name : names[side]);
    part_matrix(io, names[side], r, st->shown[side], st->classes, st->classes, COLOURMAP_AMOUNT, 0,
                st->high);
    draw_cells(io, st, side, r);
    point_at(io, st, a, c, r, side);
}

/* One beside the other, or below it in a panel that is high. */
static void draw_matrices(panel_io *io, state *st, const scene_answers *a, float height) {
    float width = 0;
    for (uint32_t i = 0; i < st->classes && i < 64; i++)
        width = fmaxf(width, gui_label_width(io->g, scene_class_name(io->s, i)) + 2 * io->em);
    const float scale = 4.2f * io->em, gap = 1.2f * io->em, head = 2.9f * io->em;
    const gui_canvas c = gui_canvas_add(io->g, "matrices", gui_room_x(io->g), height);
    width = fminf(width, c.r.w * 0.25f);
    const float wide = fminf(height - head, (c.r.w - width - scale - 2 * gap) / 2);
    const float high = fminf(height / 2 - head, c.r.w - width - scale - gap);
    const bool below = high > 1.15f * wide;
    const float side = floorf(below ? high : wide), across = below ? 1 : 2;
    if (side < 2 * io->em) return;
    const float left = floorf(c.r.x + width + (c.r.w - width - scale - across * (side + gap)) / 2);
    for (int i = 0; i < 2; i++) {
        const gui_rect r = {below || !i ? left : left + side + gap,
                            floorf(c.r.y + 1.4f * io->em + (below && i ? side + head : 0)), side,
                            side};
        if (!i || below) draw_names(io, st, r, width);
        draw_matrix(io, st, a, &c, i, r);
        if (i || below)
            part_scale(io, i ? "scale" : "scale.teacher",
                       (gui_rect){r.x + side + gap / 2, r.y, scale, side}, COLOURMAP_AMOUNT, 0,
                       st->high);
    }
}

/* ---- Samples of the chosen cell ---- */

static void draw_samples(panel_io *io, const state *st) {
    static const char *const names[] = {"teacher", "student"};
    char name[32], text[32];
    gui_text(io->g, inks[st->wish.side], "%s: the %s's likeliest %s",
             scene_class_name(io->s, st->wish.label), names[st->wish.side],
             scene_class_name(io->s, st->wish.class));
    const gui_canvas c =
        gui_canvas_add(io->g, "samples", gui_room_x(io->g), fmaxf(1, gui_room_y(io->g)));
    const float side = floorf(fminf(4.2f * io->em, c.r.h - 1.4f * io->em));
    const float step = side + 0.5f * io->em;
    if (side < io->em) return;
    const uint32_t columns = (uint32_t)(c.r.w / step);
    for (uint32_t i = 0; i < st->sample_count && i < columns; i++) {
        const gui_rect r = {floorf(c.r.x + (float)i * step), c.r.y, side, side};
        snprintf(name, sizeof name, "cell.%u", (unsigned)i);
        part_sample(io, name, r, st->samples[i].sample);
        snprintf(text, sizeof text, "%.3f", st->samples[i].value);
        gui_label(io->g, r.x + side / 2, r.y + side + 0.7f * io->em, 0.5f, COLOUR_MUTED, text);
        const bool in = c.hovered && c.x >= r.x && c.x < r.x + side && c.y < r.y + side;
        if (in) gui_outline(io->g, r, COLOUR_ACCENT, 2);
        if (in && c.clicked) scene_choose(io->s, st->samples[i].sample);
    }
}

static void draw(panel_io *io, void *state_) {
    state *st = state_;
    const scene_answers *a = scene_all(io->s);
    if (!compute(st, io->s, a)) {
        part_no_answers(io);
        return;
    }
    gui_align(io->g);
    gui_text(io->g, COLOUR_MUTED, "mean probability by true class (rows), tau %.2f, %u samples",
             (double)st->tau, (unsigned)a->count);
    part_beside_text(io, "scale to the diagonal", true);
    gui_check(io->g, "scale to the diagonal", &st->whole);
    st->high = find_high(st);
    const float room = gui_room_y(io->g), below = st->chosen ? 7.4f * io->em : 1.3f * io->em;
    draw_matrices(io, st, a, fmaxf(6 * io->em, room - below));
    if (st->chosen)
        draw_samples(io, st);
    else
        gui_text(io->g, COLOUR_MUTED, "click a cell to see its samples");
}

static void term(scene *s, void *state_) {
    state *st = state_;
    (void)s;
    for (int side = 0; side < 2; side++) {
        free(st->means[side]);
        free(st->shown[side]);
    }
    free(st->samples);
}

const panel_def panel_classes = {
    .name = "classes", .title = "Classes", .state_size = sizeof(state), .draw = draw, .term = term};
