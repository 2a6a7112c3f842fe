// SPDX-License-Identifier: Apache-2.0
#include "train/metrics_rows.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* Steps are whole numbers that a double holds exactly. */
#define LARGEST_STEP 9007199254740992.0

typedef struct curve {
    const char *name;
    vkd_series_kind kind;
    double *steps, *values; /* (count) */
    size_t count, capacity;
} curve;

typedef struct stage {
    const char *phase, *stage;
    uint32_t index;
    uint64_t step; /* newest */
    curve curves[VKD__METRICS_SERIES];
    uint32_t curve_count;
    vkd_series shown[VKD__METRICS_SERIES];
} stage;

struct vkd__metrics_rows {
    vkd_ctx *ctx;
    vkd__arena arena; /* names and texts */
    stage *stages[VKD__METRICS_PHASES];
    uint32_t stage_count;
    vkd_event *events;
    size_t event_count, event_capacity;
    const char *device;
    uint64_t rows, noise;
    char *line; /* the beginning of a line whose end has not come */
    size_t length, capacity;
    bool too_long; /* it is left out up to its end */
    vkd_metrics_phase shown[VKD__METRICS_PHASES];
};

vkd__metrics_rows *vkd__metrics_rows_create(vkd_ctx *ctx) {
    vkd__metrics_rows *m = vkd__alloc(ctx, 1, sizeof *m);
    if (m) *m = (vkd__metrics_rows){.ctx = ctx, .arena = {.ctx = ctx}, .device = ""};
    return m;
}

void vkd__metrics_rows_reset(vkd__metrics_rows *m) {
    for (uint32_t i = 0; i < m->stage_count; i++) {
        for (uint32_t k = 0; k < m->stages[i]->curve_count; k++) {
            vkd__free(m->ctx, m->stages[i]->curves[k].steps);
            vkd__free(m->ctx, m->stages[i]->curves[k].values);
        }
        vkd__free(m->ctx, m->stages[i]);
    }
    vkd__free(m->ctx, m->events);
    vkd__free(m->ctx, m->line);
    vkd__arena_term(&m->arena);
    *m = (vkd__metrics_rows){.ctx = m->ctx, .arena = {.ctx = m->ctx}, .device = ""};
}

void vkd__metrics_rows_destroy(vkd__metrics_rows *m) {
    if (!m) return;
    vkd__metrics_rows_reset(m);
    vkd__free(m->ctx, m);
}

/* ---- Places ---- */

/* NULL where the row has none, or none that can be a name. */
static const char *name_of(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    const char *text = json_string_value(value);
    const size_t length = json_string_length(value);
    return text && length && length < VKD__METRICS_NAME && !memchr(text, 0, length) ? text : NULL;
}

static stage *find_stage(const vkd__metrics_rows *m, const char *phase, const char *name) {
    /* Rows come in runs of one stage. */
    for (uint32_t i = m->stage_count; i-- > 0;)
        if (!strcmp(m->stages[i]->phase, phase) && !strcmp(m->stages[i]->stage, name))
            return m->stages[i];
    return NULL;
}

/* *out is NULL where there are too many. */
static vkd_result add_stage(vkd__metrics_rows *m, const char *phase, const char *name,
                            stage **out) {
    *out = NULL;
    if (m->stage_count == VKD__METRICS_PHASES) return VKD_OK;
    stage *s = vkd__alloc(m->ctx, 1, sizeof *s);
    if (!s) return VKD_E_MEMORY;
    s->phase = vkd__arena_format(&m->arena, "%s", phase);
    s->stage = vkd__arena_format(&m->arena, "%s", name);
    s->index = m->stage_count;
    if (!s->phase || !s->stage) {
        vkd__free(m->ctx, s);
        return VKD_E_MEMORY;
    }
    *out = m->stages[m->stage_count++] = s;
    return VKD_OK;
}

/* *out is as it was where there is none. */
static bool step_of(const json_t *row, const char *key, double *out) {
    const json_t *value = json_object_get(row, key);
    const double step = (double)json_integer_value(value);
    if (!json_is_integer(value) || !(step >= 0 && step <= LARGEST_STEP)) return false;
    *out = step;
    return true;
}

/* ---- Numbers ---- */

static bool begins(const char *text, const char *with) {
    return !strncmp(text, with, strlen(with));
}

/* Every other number beside "loss" is a term. */
static vkd_series_kind kind_of(const json_t *row, const char *key) {
    static const struct {
        const char *key;
        vkd_series_kind kind;
    } known[] = {{"loss", VKD_SERIES_LOSS},
                 {"test_accuracy", VKD_SERIES_ACCURACY},
                 {"learning_rate", VKD_SERIES_RATE},
                 {"gradient_norm", VKD_SERIES_NORM},
                 {"samples_per_second", VKD_SERIES_SPEED},
                 {"loss_scale", VKD_SERIES_OTHER},
                 {"skipped", VKD_SERIES_OTHER}};
    for (size_t i = 0; i < VKD_COUNT(known); i++)
        if (!strcmp(known[i].key, key)) return known[i].kind;
    return json_object_get(row, "loss") && !begins(key, "tau.") ? VKD_SERIES_TERM
                                                                : VKD_SERIES_OTHER;
}

static curve *find_curve(stage *s, const char *name) {
    for (uint32_t i = 0; i < s->curve_count; i++)
        if (!strcmp(s->curves[i].name, name)) return &s->curves[i];
    return NULL;
}

static vkd_result make_room(vkd__metrics_rows *m, curve *c) {
    if (c->count < c->capacity) return VKD_OK;
    const size_t more = c->capacity ? 2 * c->capacity : 64;
    double *steps = vkd__grow(m->ctx, c->steps, c->capacity, more, sizeof *steps);
    if (!steps) return VKD_E_MEMORY;
    c->steps = steps;
    double *values = vkd__grow(m->ctx, c->values, c->capacity, more, sizeof *values);
    if (!values) return VKD_E_MEMORY;
    c->values = values;
    c->capacity = more;
    return VKD_OK;
}

static vkd_result add_point(vkd__metrics_rows *m, stage *s, const json_t *row, const char *key,
                            double step, double value) {
    curve *c = find_curve(s, key);
    if (!c) {
        if (s->curve_count == VKD__METRICS_SERIES || strlen(key) >= VKD__METRICS_NAME)
            return VKD_OK;
        const char *name = vkd__arena_format(&m->arena, "%s", key);
        if (!name) return VKD_E_MEMORY;
        c = &s->curves[s->curve_count++];
        *c = (curve){.name = name, .kind = kind_of(row, key)};
    }
    if (c->count == UINT32_MAX) return VKD_OK;
    const vkd_result r = make_room(m, c);
    if (r) return r;
    c->steps[c->count] = step;
    c->values[c->count++] = value;
    return VKD_OK;
}

static bool is_place(const char *key) {
    return !strcmp(key, "step") || !strcmp(key, "epoch");
}

/* false for a row of numbers that says nothing of a step, or goes back. Rows of evaluations had no
 * step once: they are of the newest. */
static bool place_of(const json_t *row, const stage *s, double *step) {
    double epoch = 0;
    const double newest = s ? (double)s->step : 0;
    *step = newest;
    return (step_of(row, "step", step) || step_of(row, "epoch", &epoch)) && *step >= newest;
}

static vkd_result take_numbers(vkd__metrics_rows *m, stage *s, json_t *row, double step) {
    const char *key = NULL;
    json_t *value = NULL;
    vkd_result r = VKD_OK;
    s->step = (uint64_t)step;
    json_object_foreach(row, key, value) {
        if (r || is_place(key) || (!json_is_number(value) && !json_is_null(value))) continue;
        r = add_point(m, s, row, key, step, json_is_null(value) ? NAN : json_number_value(value));
    }
    return r;
}

/* ---- Events ---- */

static double number_of(const json_t *row, const char *key) {
    const json_t *value = json_object_get(row, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

/* Whatever the file has, the text is short and without control characters. */
static const char *text_of(vkd__metrics_rows *m, const char *text) {
    char *copy = vkd__arena_format(&m->arena, "%.1000s", text);
    for (char *c = copy; c && *c; c++)
        if ((unsigned char)*c < 0x20) *c = ' ';
    return copy;
}

static const char *describe(vkd__metrics_rows *m, const json_t *row, const stage *s,
                            const vkd_event *e) {
    switch (e->kind) {
    case VKD_EVENT_STAGE:
        return number_of(row, "steps") > 0
                   ? vkd__arena_format(&m->arena, "%s: stage %s, %.0f steps", s->phase, s->stage,
                                       number_of(row, "steps"))
                   : vkd__arena_format(&m->arena, "stage %s", s->stage);
    case VKD_EVENT_SETTING:
        return vkd__arena_format(&m->arena, "%s from %g to %g", e->name, e->from, e->to);
    case VKD_EVENT_SKIPPED:
        return vkd__arena_format(&m->arena, "a step was skipped, its gradient was not finite");
    case VKD_EVENT_RESUMED:
        return vkd__arena_format(&m->arena, "resumed at step %llu", (unsigned long long)e->step);
    case VKD_EVENT_LABELS:
        return vkd__arena_format(&m->arena, "%s: %.0f of %.0f samples are labelled", s->stage,
                                 number_of(row, "kept"), number_of(row, "samples"));
    case VKD_EVENT_WARNING:
        break;
    }
    return text_of(m, json_string_value(json_object_get(row, "warning")));
}

/* false for a row that is no event, or one that a later version writes. */
static bool kind_of_event(const json_t *row, vkd_event_kind *out) {
    static const struct {
        const char *name;
        vkd_event_kind kind;
    } events[] = {{"stage", VKD_EVENT_STAGE},
                  {"setting", VKD_EVENT_SETTING},
                  {"skipped", VKD_EVENT_SKIPPED},
                  {"resumed", VKD_EVENT_RESUMED}};
    const char *name = name_of(row, "event");
    for (size_t i = 0; name && i < VKD_COUNT(events); i++)
        if (!strcmp(events[i].name, name)) {
            *out = events[i].kind;
            return *out != VKD_EVENT_SETTING || name_of(row, "name");
        }
    *out = json_is_string(json_object_get(row, "warning")) ? VKD_EVENT_WARNING : VKD_EVENT_LABELS;
    return *out == VKD_EVENT_WARNING || (json_is_number(json_object_get(row, "kept")) &&
                                         json_is_number(json_object_get(row, "samples")));
}

static vkd_result take_event(vkd__metrics_rows *m, const stage *s, const json_t *row,
                             vkd_event_kind kind) {
    double step = (double)s->step;
    step_of(row, "step", &step);
    vkd_event e = {.kind = kind,
                   .phase = s->index,
                   .step = (uint64_t)step,
                   .name = "",
                   .from = NAN,
                   .to = NAN};
    if (kind == VKD_EVENT_SETTING) {
        e.name = text_of(m, name_of(row, "name"));
        e.from = number_of(row, "from");
        e.to = number_of(row, "to");
    }
    e.text = e.name ? describe(m, row, s, &e) : NULL;
    if (!e.text || !VKD__RESERVE(m->ctx, m->events, m->event_count, m->event_capacity))
        return VKD_E_MEMORY;
    m->events[m->event_count++] = e;
    return VKD_OK;
}

/* ---- Rows ---- */

static vkd_result take_device(vkd__metrics_rows *m, const char *name) {
    const char *device = text_of(m, name);
    if (device) m->device = device;
    return device ? VKD_OK : VKD_E_MEMORY;
}

/* *taken is false for what is no row. */
static vkd_result take_row(vkd__metrics_rows *m, json_t *row, bool *taken) {
    const char *device = json_string_value(json_object_get(row, "device"));
    const char *phase = name_of(row, "phase"), *name = name_of(row, "stage");
    vkd_event_kind kind;
    double step = 0;
    *taken = device;
    if (device) return take_device(m, device);
    if (!phase || !name) return VKD_OK;
    stage *s = find_stage(m, phase, name);
    const bool event = kind_of_event(row, &kind);
    *taken = event || json_object_get(row, "event") || place_of(row, s, &step);
    if (!*taken || (!event && json_object_get(row, "event"))) return VKD_OK;
    const vkd_result r = s ? VKD_OK : add_stage(m, phase, name, &s);
    *taken = s;
    if (r || !s) return r;
    return event ? take_event(m, s, row, kind) : take_numbers(m, s, row, step);
}

static vkd_result take_line(vkd__metrics_rows *m, const char *line, size_t length) {
    bool taken = false;
    json_t *row = json_loadb(line, length, 0, NULL);
    const vkd_result r = json_is_object(row) ? take_row(m, row, &taken) : VKD_OK;
    json_decref(row);
    if (!r && taken) m->rows++;
    if (!r && !taken) m->noise++;
    return r;
}

/* Keeps the beginning of a line. */
static vkd_result keep(vkd__metrics_rows *m, const char *bytes, size_t size) {
    if (m->too_long || size > VKD__METRICS_LINE - m->length) {
        m->too_long = true;
        m->length = 0;
        return VKD_OK;
    }
    if (m->length + size > m->capacity) {
        const size_t more = m->length + size + 4096;
        char *line = vkd__grow(m->ctx, m->line, m->capacity, more, 1);
        if (!line) return VKD_E_MEMORY;
        m->line = line;
        m->capacity = more;
    }
    if (size) memcpy(m->line + m->length, bytes, size);
    m->length += size;
    return VKD_OK;
}

static vkd_result end_line(vkd__metrics_rows *m, const char *bytes, size_t size) {
    vkd_result r = VKD_OK;
    if (m->length || m->too_long || size > VKD__METRICS_LINE) {
        r = keep(m, bytes, size);
        if (!r && m->too_long) m->noise++;
        if (!r && !m->too_long) r = take_line(m, m->line, m->length);
    } else {
        r = take_line(m, bytes, size);
    }
    m->length = 0;
    m->too_long = false;
    return r;
}

vkd_result vkd__metrics_rows_feed(vkd__metrics_rows *m, const void *bytes, size_t size) {
    const char *at = bytes, *end = at + size;
    while (at < end) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline) return keep(m, at, (size_t)(end - at));
        const vkd_result r = end_line(m, at, (size_t)(newline - at));
        if (r) return r;
        at = newline + 1;
    }
    return VKD_OK;
}

/* ---- The view ---- */

void vkd__metrics_rows_view(vkd__metrics_rows *m, vkd_metrics_view *out) {
    for (uint32_t i = 0; i < m->stage_count; i++) {
        stage *s = m->stages[i];
        for (uint32_t k = 0; k < s->curve_count; k++)
            s->shown[k] = (vkd_series){.name = s->curves[k].name,
                                       .kind = s->curves[k].kind,
                                       .count = (uint32_t)s->curves[k].count,
                                       .steps = s->curves[k].steps,
                                       .values = s->curves[k].values};
        m->shown[i] = (vkd_metrics_phase){.phase = s->phase,
                                          .stage = s->stage,
                                          .step = s->step,
                                          .series_count = s->curve_count,
                                          .series = s->shown};
    }
    out->rows = m->rows;
    out->noise = m->noise;
    out->device = m->device;
    out->phase_count = m->stage_count;
    out->phases = m->shown;
    out->event_count = (uint32_t)m->event_count;
    out->events = m->events;
}
