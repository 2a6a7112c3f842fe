// SPDX-License-Identifier: Apache-2.0
/* How far apart the samples of the probe batch are for the teacher and for the student, each
 * divided by its mean (Park et al., arXiv:1904.05068), and where the two differ most. Rows and
 * columns are ordered by label, so that classes are blocks. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/maths.h"
#include "viewer/panel.h"

enum { ROWS = 64, PAIRS = 24 };

typedef struct pair {
    uint32_t i, j;
} pair;

typedef struct state {
    uint32_t space; /* 0: logits, 1: probabilities at tau */
    uint32_t rows;
    uint32_t samples[ROWS];
    int32_t labels[ROWS];
    double both[2][ROWS * ROWS];
    float shown[3][ROWS * ROWS]; /* teacher, student, student less teacher */
    double high, most;
    pair pairs[PAIRS]; /* the largest differences */
    uint32_t pair_count;
} state;

/* ---- Distances ---- */

static void order(const scene_answers *a, uint32_t rows, uint32_t *out) {
    for (uint32_t i = 0; i < rows; i++) {
        uint32_t at = i;
        for (; at && a->labels[out[at - 1]] > a->labels[i]; at--)
            out[at] = out[at - 1];
        out[at] = i;
    }
}

static bool measure(const state *st, const scene_answers *a, const uint32_t *rows, int side,
                    double tau, double *out) {
    const uint32_t width = a->classes;
    float *x = malloc((size_t)st->rows * width * sizeof *x);
    double *p = malloc(width * sizeof *p);
    for (uint32_t i = 0; x && p && i < st->rows; i++) {
        const float *logits = a->logits[side] + (size_t)rows[i] * width;
        if (st->space) math_softmax(logits, width, tau, p);
        for (uint32_t k = 0; k < width; k++)
            x[(size_t)i * width + k] = st->space ? (float)p[k] : logits[k];
    }
    const bool can = x && p;
    if (can) math_distances(x, st->rows, width, out);
    free(x);
    free(p);
    return can;
}

static void find_pairs(state *st) {
    st->pair_count = 0;
    for (uint32_t i = 0; i < st->rows; i++)
        for (uint32_t j = i + 1; j < st->rows; j++) {
            const float gap = fabsf(st->shown[2][i * st->rows + j]);
            uint32_t at = st->pair_count;
            for (; at; at--) {
                const pair *q = &st->pairs[at - 1];
                if (!(gap > fabsf(st->shown[2][q->i * st->rows + q->j]))) break;
                if (at < PAIRS) st->pairs[at] = *q;
            }
            if (at == PAIRS) continue;
            st->pairs[at] = (pair){i, j};
            if (st->pair_count < PAIRS) st->pair_count++;
        }
}

static bool compute(state *st, const scene_answers *a, double tau) {
    uint32_t rows[ROWS];
    st->rows = a->count < ROWS ? a->count : ROWS;
    if (!st->rows || !a->logits[0] || !a->logits[1]) return false;
    order(a, st->rows, rows);
    for (uint32_t i = 0; i < st->rows; i++) {
        st->samples[i] = a->indices ? (uint32_t)a->indices[rows[i]] : rows[i];
        st->labels[i] = a->labels[rows[i]];
    }
    st->high = st->most = 0;
    for (int side = 0; side < 2; side++)
        if (!measure(st, a, rows, side, tau, st->both[side])) return false;
    for (uint32_t i = 0; i < st->rows * st->rows; i++) {
        const double teacher = st->both[0][i], student = st->both[1][i];
        st->shown[0][i] = (float)teacher;
        st->shown[1][i] = (float)student;
        st->shown[2][i] = (float)(student - teacher);
        st->high = fmax(st->high, fmax(teacher, student));
        st->most = fmax(st->most, fabs(student - teacher));
    }
    find_pairs(st);
    return true;
}

/* ---- Drawing ---- */

static void draw_one(panel_io *io, const state *st, int which, gui_rect r) {
    static const char *const heads[] = {"teacher", "student", "student - teacher"};
    static const char *const names[] = {"teacher", "student", "difference"};
    static const gui_colour inks[] = {COLOUR_TEACHER, COLOUR_STUDENT, COLOUR_TEXT};
    const float n = (float)st->rows;
    gui_label(io->g, r.x + r.w / 2, r.y - 0.7f * io->em, 0.5f, inks[which], heads[which]);
    part_matrix(io, names[which], r, st->shown[which], st->rows, st->rows,
                which < 2 ? COLOURMAP_AMOUNT : COLOURMAP_DIFFERENCE, 0,
                which < 2 ? st->high : st->most);
    for (uint32_t i = 1; i < st->rows; i++) {
        if (st->labels[i] == st->labels[i - 1]) continue;
        const float at = (float)i / n;
        gui_line(io->g, r.x, r.y + at * r.h, r.x + r.w, r.y + at * r.h, 0x14161b90, 1);
        gui_line(io->g, r.x + at * r.w, r.y, r.x + at * r.w, r.y + r.h, 0x14161b90, 1);
    }
}

static void point_at(panel_io *io, const state *st, const gui_canvas *c, gui_rect r) {
    if (!c->hovered) return; /* without a mouse its place is no number of a cell */
    const int64_t i = (int64_t)floorf((c->y - r.y) / r.h * (float)st->rows);
    const int64_t j = (int64_t)floorf((c->x - r.x) / r.w * (float)st->rows);
    if (i < 0 || j < 0 || i >= st->rows || j >= st->rows) return;
    const uint32_t at = (uint32_t)i * st->rows + (uint32_t)j;
    gui_tooltip(io->g, "%u %s, %u %s\nteacher %.3f  student %.3f\nclick: choose sample %u",
                (unsigned)st->samples[i], scene_class_name(io->s, st->labels[i]),
                (unsigned)st->samples[j], scene_class_name(io->s, st->labels[j]), st->both[0][at],
                st->both[1][at], (unsigned)st->samples[i]);
    if (c->clicked) scene_choose(io->s, st->samples[i]);
}

/* All three in a row, or the difference below in a panel that is not wide. */
typedef struct places {
    uint32_t columns;
    float side, height; /* of a matrix, of all */
} places;

static places arrange(const panel_io *io, float width, float room) {
    const float scale = 4.2f * io->em, gap = 0.8f * io->em, head = 1.8f * io->em;
    const float wide = fminf(room - head, (width - 2 * scale - 3 * gap) / 3);
    const float high = fminf(room / 2 - head, (width - scale - 2 * gap) / 2);
    const places one = {3, floorf(wide), floorf(wide + head)};
    const places two = {2, floorf(high), floorf(2 * (high + head))};
    return high > 1.15f * wide ? two : one;
}

static void draw_matrices(panel_io *io, const state *st, const places *p) {
    const float scale = 4.2f * io->em, gap = 0.8f * io->em, side = p->side;
    const gui_canvas c = gui_canvas_add(io->g, "matrices", gui_room_x(io->g), p->height);
    if (side < 2 * io->em) return;
    const float n = (float)p->columns, scales = p->columns == 3 ? 2 : 1;
    const float left = floorf(c.r.x + (c.r.w - n * side - scales * scale - n * gap) / 2);
    float x = left, y = floorf(c.r.y + 1.4f * io->em);
    for (int i = 0; i < 3; i++) {
        if (i == 2 && p->columns == 2) {
            x = left;
            y += side + 1.8f * io->em;
        }
        const gui_rect r = {x, y, side, side};
        draw_one(io, st, i, r);
        point_at(io, st, &c, r);
        x += side + gap;
        if (!i) continue;
        part_scale(io, i == 1 ? "scale" : "scale.difference",
                   (gui_rect){x - gap / 2, y, scale, side},
                   i == 1 ? COLOURMAP_AMOUNT : COLOURMAP_DIFFERENCE, i == 1 ? 0 : -st->most,
                   i == 1 ? st->high : st->most);
        x += scale;
    }
}

static void draw_pair(panel_io *io, const state *st, uint32_t n, gui_rect r) {
    const pair *p = &st->pairs[n];
    const uint32_t at = p->i * st->rows + p->j;
    const float side = r.h - 0.4f * io->em;
    char name[32], text[96];
    for (int k = 0; k < 2; k++) {
        snprintf(name, sizeof name, "pair.%u.%d", (unsigned)n, k);
        part_sample(io, name, (gui_rect){r.x + (float)k * (side + 3), r.y, side, side},
                    st->samples[k ? p->j : p->i]);
    }
    const float x = r.x + 2 * side + 0.9f * io->em, line = 1.15f * io->em;
    snprintf(text, sizeof text, "%s, %s", scene_class_name(io->s, st->labels[p->i]),
             scene_class_name(io->s, st->labels[p->j]));
    gui_clip(io->g, r);
    gui_label(io->g, x, r.y + 0.6f * io->em, 0, COLOUR_TEXT, text);
    snprintf(text, sizeof text, "%.2f", st->both[0][at]);
    gui_label(io->g, x, r.y + 0.6f * io->em + line, 0, COLOUR_TEACHER, text);
    snprintf(text, sizeof text, "%.2f", st->both[1][at]);
    gui_label(io->g, x + 3 * io->em, r.y + 0.6f * io->em + line, 0, COLOUR_STUDENT, text);
    gui_unclip(io->g);
}

static void draw_pairs(panel_io *io, const state *st) {
    const float width = 15 * io->em, height = 2.9f * io->em;
    gui_text(io->g, COLOUR_MUTED, "where they differ most");
    const gui_canvas c =
        gui_canvas_add(io->g, "pairs", gui_room_x(io->g), fmaxf(1, gui_room_y(io->g)));
    const uint32_t columns = (uint32_t)fmaxf(1, floorf(c.r.w / width));
    const uint32_t rows = (uint32_t)fmaxf(0, floorf(c.r.h / height));
    for (uint32_t i = 0; i < st->pair_count && i < columns * rows; i++) {
        const uint32_t row = i / columns;
        const gui_rect r = {floorf(c.r.x + (float)(i % columns) * c.r.w / (float)columns),
                            floorf(c.r.y + (float)row * height), floorf(c.r.w / (float)columns),
                            height};
        draw_pair(io, st, i, r);
        const bool in = c.x >= r.x && c.x < r.x + r.w && c.y >= r.y && c.y < r.y + r.h;
        if (in && c.clicked) scene_choose(io->s, st->samples[st->pairs[i].i]);
    }
}

static void draw(panel_io *io, void *state_) {
    static const char *const spaces[] = {"of logits", "of probabilities at tau"};
    state *st = state_;
    scene_answers batch;
    if (!scene_batch(io->s, ROWS, &batch) || !compute(st, &batch, (double)io->s->tau)) {
        part_no_answers(io);
        return;
    }
    gui_align(io->g);
    gui_text(io->g, COLOUR_MUTED, "distances");
    gui_beside(io->g, -1);
    gui_width(io->g, 13 * io->em);
    gui_combo(io->g, "##space", spaces, 2, &st->space);
    part_beside_text(io, "over their mean, 64 samples by label", false);
    gui_text(io->g, COLOUR_MUTED, "over their mean, %u samples by label", (unsigned)st->rows);
    const places p =
        arrange(io, gui_room_x(io->g), fmaxf(8 * io->em, gui_room_y(io->g) - 4.6f * io->em));
    draw_matrices(io, st, &p);
    draw_pairs(io, st);
}

const panel_def panel_relations = {
    .name = "relations", .title = "Relations", .state_size = sizeof(state), .draw = draw};
