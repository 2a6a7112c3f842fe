// SPDX-License-Identifier: Apache-2.0
/* The run's metrics as curves, one model's at a time, beside its control's; the run's own events
 * are marks on them. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/chart.h"

enum { MARKS = 256, PHASES = 64 };

typedef struct state {
    uint32_t phase; /* 0: the newest; else the phase's number and one */
    bool linear;
    chart_view view;
    chart_mark marks[MARKS];
} state;

static const gui_colour palette[] = {0x4fa8e8ff, 0xf2a93bff, 0xc58af9ff, 0x6fcf97ff,
                                     0xe8685fff, 0x56c8c8ff, 0xd9d36bff, 0xe58ac0ff};

static const vkd_series *find(const vkd_metrics_phase *p, vkd_series_kind kind) {
    for (uint32_t i = 0; i < p->series_count; i++)
        if (p->series[i].kind == kind && p->series[i].count) return &p->series[i];
    return NULL;
}

static void add(chart *c, const vkd_series *s, const char *name, gui_colour colour, bool dots) {
    if (!s || c->curve_count == CHART_CURVES) return;
    c->curves[c->curve_count++] = (chart_curve){.name = name,
                                                .colour = colour,
                                                .x = s->steps,
                                                .y = s->values,
                                                .count = s->count,
                                                .dots = dots};
}

/* The model's control, or for a control the model itself: the other phase of the two. */
static const vkd_metrics_phase *find_other(const vkd_metrics_view *v, const vkd_metrics_phase *p) {
    static const char end[] = "_control";
    const size_t own = strlen(p->phase);
    for (uint32_t i = 0; i < v->phase_count; i++) {
        const vkd_metrics_phase *q = &v->phases[i];
        const size_t length = strlen(q->phase);
        const char *longer = length > own ? q->phase : p->phase;
        const size_t less = length > own ? own : length;
        if (q != p && !strcmp(p->stage, q->stage) && !strncmp(p->phase, q->phase, less) &&
            !strcmp(longer + less, end))
            return q;
    }
    return NULL;
}

/* ---- What each chart shows ---- */

static void losses(const vkd_metrics_phase *p, chart *c) {
    add(c, find(p, VKD_SERIES_LOSS), "loss", COLOUR_TEXT, false);
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->series_count; i++)
        if (p->series[i].kind == VKD_SERIES_TERM)
            add(c, &p->series[i], p->series[i].name,
                palette[n++ % (sizeof palette / sizeof *palette)], false);
}

static void accuracies(const vkd_metrics_view *v, const vkd_metrics_phase *p, chart *c) {
    const vkd_metrics_phase *other = find_other(v, p);
    add(c, find(p, VKD_SERIES_ACCURACY), p->phase, COLOUR_STUDENT, true);
    if (other) add(c, find(other, VKD_SERIES_ACCURACY), other->phase, COLOUR_CONTROL, true);
}

static uint32_t find_marks(const vkd_metrics_view *v, uint32_t phase, chart_mark *out) {
    static const gui_colour inks[] = {
        [VKD_EVENT_STAGE] = COLOUR_MUTED,    [VKD_EVENT_SETTING] = 0xc58af9ff,
        [VKD_EVENT_SKIPPED] = COLOUR_BAD,    [VKD_EVENT_WARNING] = COLOUR_TEACHER,
        [VKD_EVENT_RESUMED] = COLOUR_ACCENT, [VKD_EVENT_LABELS] = COLOUR_GOOD};
    uint32_t count = 0;
    for (uint32_t i = v->event_count; i-- > 0 && count < MARKS;)
        if (v->events[i].phase == phase &&
            (v->events[i].kind != VKD_EVENT_STAGE || v->events[i].step))
            out[count++] =
                (chart_mark){(double)v->events[i].step, inks[v->events[i].kind], v->events[i].text};
    return count;
}

static void draw_charts(panel_io *io, state *st, const vkd_metrics_view *v, uint32_t phase) {
    const vkd_metrics_phase *p = &v->phases[phase];
    chart charts[] = {
        {.name = "loss", .title = "loss", .logarithmic = !st->linear},
        {.name = "accuracy", .title = "test accuracy", .percent = true},
        {.name = "rate", .title = "learning rate", .from_zero = true},
        {.name = "norm", .title = "gradient norm", .logarithmic = !st->linear},
        {.name = "speed", .title = "samples/s", .from_zero = true},
    };
    enum { ALL = sizeof charts / sizeof *charts };
    losses(p, &charts[0]);
    accuracies(v, p, &charts[1]);
    add(&charts[2], find(p, VKD_SERIES_RATE), "learning rate", 0xc58af9ff, false);
    add(&charts[3], find(p, VKD_SERIES_NORM), "gradient norm", 0x6fcf97ff, false);
    add(&charts[4], find(p, VKD_SERIES_SPEED), "samples/s", 0x56c8c8ff, false);
    const uint32_t marks = find_marks(v, phase, st->marks);
    const float gap = 0.5f * io->em;
    const float width = gui_room_x(io->g), height = gui_room_y(io->g) - 1.2f * io->em;
    /* Two rows, of two and three; three of two in a narrow panel. */
    const bool narrow = width < 40 * io->em;
    const float upper = floorf(height * (narrow ? 0.4f : 0.56f));
    const float lower = floorf((height - upper) / (narrow ? 2 : 1));
    /* An event may be newer than the newest row. */
    const double last = fmax(fmax(1, (double)p->step), marks ? st->marks[0].x : 0);
    double hover = -1;
    for (int i = 0; i < ALL; i++) {
        charts[i].marks = st->marks;
        charts[i].mark_count = marks;
        charts[i].most = last;
        const float n = narrow && i == 4 ? 1 : i < 2 || narrow ? 2 : 3;
        if (i != 0 && i != 2 && !(narrow && i == 4)) gui_beside(io->g, gap);
        chart_draw(io, &charts[i], floorf((width - (n - 1) * gap) / n), i < 2 ? upper : lower,
                   &st->view, &hover);
    }
    st->view.hover = hover;
}

static uint32_t choose_phase(panel_io *io, state *st, const vkd_metrics_view *v) {
    static char texts[PHASES + 1][96];
    const char *items[PHASES + 1] = {"the newest"};
    const uint32_t count = v->phase_count < PHASES ? v->phase_count : PHASES;
    for (uint32_t i = 0; i < count; i++) {
        snprintf(texts[i], sizeof texts[i], "%u  %s: %s", (unsigned)i + 1, v->phases[i].stage,
                 v->phases[i].phase);
        items[i + 1] = texts[i];
    }
    if (st->phase > count) st->phase = 0;
    gui_width(io->g, 14 * io->em);
    if (gui_combo(io->g, "##phase", items, count + 1, &st->phase))
        st->view = (chart_view){.hover = -1};
    const uint32_t phase = st->phase ? st->phase - 1 : v->phase_count - 1;
    if (!st->phase) {
        gui_beside_if(io->g, 0.8f * io->em, 10 * io->em);
        gui_text(io->g, COLOUR_MUTED, "%s: %s", v->phases[phase].stage, v->phases[phase].phase);
    }
    part_beside_text(io, "linear", true);
    gui_check(io->g, "linear", &st->linear);
    gui_hint(io->g, "losses and gradient norm; else logarithmic");
    part_beside_text(io, "All steps ", false);
    if (gui_button(io->g, "All steps", st->view.high > st->view.low))
        st->view = (chart_view){.hover = -1};
    return phase;
}

static void draw(panel_io *io, void *state_) {
    state *st = state_;
    const vkd_metrics_view *v = io->s->view;
    if (!v || !v->phase_count) {
        part_message(io,
                     io->s->problem[0] ? io->s->problem : "This run has written no metrics yet.");
        return;
    }
    draw_charts(io, st, v, choose_phase(io, st, v));
}

const panel_def panel_training = {
    .name = "training", .title = "Training", .state_size = sizeof(state), .draw = draw};
