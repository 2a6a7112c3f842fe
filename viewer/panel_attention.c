// SPDX-License-Identifier: Apache-2.0
/* Where teacher and student look: the mean over channels of a tap's squares (Zagoruyko & Komodakis,
 * arXiv:1612.03928), over the image, with one scale of colours for both, and their difference.
 *
 * As the loss compares them: each map divided by its length, sqrt(sum of squares). Unchanged, the
 * two differ by a factor that no loss sees. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/maths.h"
#include "viewer/panel.h"

typedef struct state {
    uint32_t layer;  /* 0: all */
    bool raw, alone; /* as they are; without the image below */
} state;

typedef struct pair_maps {
    scene_map maps[2];
    float *values[2];  /* as shown; NULL: none */
    float *difference; /* student less teacher; NULL where the shapes differ */
    double low, high, most;
} pair_maps;

static float *prepare(const scene_map *m, bool raw) {
    const size_t count = (size_t)m->height * m->width;
    float *out = m->values ? malloc(count * sizeof *out) : NULL;
    double sum = 0;
    if (!out) return NULL;
    for (size_t i = 0; i < count; i++)
        sum += (double)m->values[i] * (double)m->values[i];
    const double length = raw || !(sum > 0) ? 1 : sqrt(sum);
    for (size_t i = 0; i < count; i++)
        out[i] = (float)((double)m->values[i] / length);
    return out;
}

static pair_maps find(const scene *s, uint32_t pair, bool raw) {
    pair_maps p = {.low = 0, .high = 0};
    scene_maps(s, pair, p.maps);
    for (int side = 0; side < 2; side++) {
        double low = 0, high = 0;
        p.values[side] = prepare(&p.maps[side], raw);
        if (p.values[side] &&
            math_range(p.values[side], (uint64_t)p.maps[side].height * p.maps[side].width, &low,
                       &high))
            p.high = fmax(p.high, high);
    }
    const scene_map *a = &p.maps[0], *b = &p.maps[1];
    if (!p.values[0] || !p.values[1] || a->height != b->height || a->width != b->width) return p;
    const size_t count = (size_t)a->height * a->width;
    p.difference = malloc(count * sizeof *p.difference);
    for (size_t i = 0; p.difference && i < count; i++) {
        p.difference[i] = p.values[1][i] - p.values[0][i];
        p.most = fmax(p.most, fabs((double)p.difference[i]));
    }
    return p;
}

static void drop(pair_maps *p) {
    free(p->values[0]);
    free(p->values[1]);
    free(p->difference);
}

static void draw_map(panel_io *io, const state *st, const char *name, gui_rect r,
                     const float *values, const scene_map *m, colourmap map, double low,
                     double high) {
    uint8_t *rgba = values ? malloc((size_t)m->height * m->width * 4) : NULL;
    if (!rgba) {
        gui_outline(io->g, r, COLOUR_LINE, 1);
        gui_label(io->g, r.x + r.w / 2, r.y + r.h / 2, 0.5f, COLOUR_MUTED,
                  scene_models_busy(io->s) ? "computing" : "none");
        return;
    }
    char image[64];
    snprintf(image, sizeof image, "%s.image", name);
    if (!st->alone) part_sample(io, image, r, io->s->sample);
    colourmap_fill(map, values, (uint64_t)m->height * m->width, low, high, rgba);
    gui_image(io->g, name, r, m->width, m->height, rgba, false, st->alone ? 1 : 0.72f);
    gui_mark(io->g, r, "%s", name);
    free(rgba);
}

/* One layer: image, teacher, scale, student, difference, scale. */
static void draw_pair(panel_io *io, const state *st, uint32_t pair, float height) {
    pair_maps p = find(io->s, pair, st->raw);
    char name[64];
    snprintf(name, sizeof name, "layer.%u", (unsigned)pair);
    const gui_canvas row = gui_canvas_add(io->g, name, gui_room_x(io->g), height);
    const float scale = 4.2f * io->em, gap = 0.8f * io->em;
    const float side = floorf(fminf(height - 3 * io->em, (row.r.w - 2 * scale - 4 * gap) / 4));
    if (side < io->em) {
        drop(&p);
        return;
    }
    const float width = 4 * side + 2 * scale + 4 * gap;
    float x = floorf(row.r.x + fmaxf(0, (row.r.w - width) / 2));
    const float y = floorf(row.r.y + 1.4f * io->em);
    const scene_pair *taps = &io->s->pairs[pair];
    static const char *const heads[] = {"teacher", "student", "student - teacher"};
    static const gui_colour inks[] = {COLOUR_TEACHER, COLOUR_STUDENT, COLOUR_TEXT};
    for (int i = 0; i < 4; i++) {
        const gui_rect r = {x, y, side, side};
        snprintf(name, sizeof name, "map.%u.%d", (unsigned)pair, i - 1);
        if (i == 0)
            part_sample(io, name, r, io->s->sample);
        else if (i < 3)
            draw_map(io, st, name, r, p.values[i - 1], &p.maps[i - 1], COLOURMAP_AMOUNT, p.low,
                     p.high);
        else
            draw_map(io, st, name, r, p.difference, &p.maps[0], COLOURMAP_DIFFERENCE, -p.most,
                     p.most);
        gui_label(io->g, x + side / 2, y - 0.7f * io->em, 0.5f, i ? inks[i - 1] : COLOUR_MUTED,
                  i ? heads[i - 1] : "image");
        if (i > 0 && i < 3)
            gui_label(io->g, x + side / 2, y + side + 0.7f * io->em, 0.5f, COLOUR_MUTED,
                      taps->tap[i - 1]);
        x += side + gap;
        if (i < 2) continue;
        if (!(p.high > 0)) {
            x += scale;
            continue;
        }
        snprintf(name, sizeof name, "scale.%u.%d", (unsigned)pair, i);
        part_scale(io, name, (gui_rect){x - gap / 2, y, scale, side},
                   i == 2 ? COLOURMAP_AMOUNT : COLOURMAP_DIFFERENCE, i == 2 ? p.low : -p.most,
                   i == 2 ? p.high : p.most);
        x += scale;
    }
    drop(&p);
}

static void draw_options(panel_io *io, state *st) {
    static char texts[SCENE_MAPS][112];
    const char *items[SCENE_MAPS + 1] = {"all layers"};
    const scene *s = io->s;
    for (uint32_t i = 0; i < s->pair_count; i++) {
        const scene_pair *p = &s->pairs[i];
        snprintf(texts[i], sizeof texts[i], "%s", p->tap[1]);
        if (strcmp(p->tap[0], p->tap[1]) != 0)
            snprintf(texts[i], sizeof texts[i], "%s, %s", p->tap[0], p->tap[1]);
        items[i + 1] = texts[i];
    }
    if (st->layer > s->pair_count) st->layer = 0;
    gui_width(io->g, 11 * io->em);
    gui_combo(io->g, "layer", items, s->pair_count + 1, &st->layer);
    part_beside_text(io, "as they are", true);
    gui_check(io->g, "as they are", &st->raw);
    gui_hint(io->g, "else each map is divided by its length, as the loss compares them");
    part_beside_text(io, "without the image", true);
    gui_check(io->g, "without the image", &st->alone);
}

static void draw(panel_io *io, void *state_) {
    state *st = state_;
    scene *s = io->s;
    if (!s->info) {
        part_no_answers(io);
        return;
    }
    if (!s->pair_count) {
        part_message(io, "The losses of this run compare no feature maps, and its models have "
                         "none of the same name. A recipe with attention transfer, such as "
                         "attention_transfer.yaml, has some.");
        return;
    }
    s->want_maps = true;
    part_chooser(io);
    draw_options(io, st);
    const uint32_t first = st->layer ? st->layer - 1 : 0;
    const uint32_t count = st->layer ? 1 : s->pair_count;
    gui_scroll_begin(io->g, "layers", 0);
    const float room = gui_room_y(io->g);
    for (uint32_t i = 0; i < count; i++)
        draw_pair(io, st, first + i,
                  floorf(fmaxf(8 * io->em, room / (float)count - 0.4f * io->em)));
    gui_scroll_end(io->g);
}

const panel_def panel_attention = {
    .name = "attention", .title = "Attention maps", .state_size = sizeof(state), .draw = draw};
