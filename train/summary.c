// SPDX-License-Identifier: Apache-2.0
#include "train/summary.h"

#include <math.h>
#include <string.h>

#include "base/platform.h"

/* The figures of a result that have a mean, and where they stand in a row. */
const vkd__figure_place vkd__figure_places[] = {
    {"accuracy", offsetof(vkd__result, accuracy), offsetof(vkd_row, accuracy)},
    {"errors", offsetof(vkd__result, errors), offsetof(vkd_row, errors)},
    {"kl", offsetof(vkd__result, kl), offsetof(vkd_row, kl)},
    {"agreement", offsetof(vkd__result, agreement), offsetof(vkd_row, agreement)},
    {"teacher_entropy", offsetof(vkd__result, teacher_entropy), offsetof(vkd_row, teacher_entropy)},
    {"calibration_error", offsetof(vkd__result, calibration), offsetof(vkd_row, calibration)},
    {"omitted_recall", offsetof(vkd__result, omitted_recall), offsetof(vkd_row, omitted_recall)},
    {"seconds", offsetof(vkd__result, seconds), offsetof(vkd_row, seconds)},
    {"recall_at_1", offsetof(vkd__result, recall_at_1), offsetof(vkd_row, recall_at_1)},
    {"shift", offsetof(vkd__result, shift), offsetof(vkd_row, shift)},
};
const size_t vkd__figure_count = VKD_COUNT(vkd__figure_places);

static double value_of(const vkd__result *r, size_t offset) {
    double value;
    memcpy(&value, (const char *)r + offset, sizeof value);
    return value;
}

static const vkd__result *find(const vkd__result *rows, uint32_t count, const char *label) {
    for (uint32_t i = 0; i < count; i++)
        if (!strcmp(rows[i].label, label) && !rows[i].shared) return &rows[i];
    return NULL;
}

/* Two passes, because the textbook's one-pass form cancels. */
static vkd_figure figure_of(vkd__result *const *results, const uint32_t *counts, uint32_t seeds,
                            const char *label, size_t offset) {
    vkd_figure f = {0, 0};
    uint32_t n = 0;
    for (uint32_t i = 0; i < seeds; i++) {
        const vkd__result *r = find(results[i], counts[i], label);
        if (!r) continue;
        f.mean += value_of(r, offset);
        n++;
    }
    f.mean /= n;
    for (uint32_t i = 0; i < seeds; i++) {
        const vkd__result *r = find(results[i], counts[i], label);
        if (r) f.deviation += pow(value_of(r, offset) - f.mean, 2);
    }
    f.deviation = n > 1 ? sqrt(f.deviation / (n - 1)) : 0;
    return f;
}

uint32_t vkd__summary_rows(vkd__result *const *results, const uint32_t *counts, uint32_t seeds,
                           vkd_row *out) {
    for (uint32_t i = 0; i < counts[0]; i++) {
        const vkd__result *first = &results[0][i];
        out[i] = (vkd_row){.label = first->label,
                           .model = first->model,
                           .tests = first->tests,
                           .parameters = first->parameters};
        for (uint32_t k = 0; k < seeds; k++)
            out[i].seeds += find(results[k], counts[k], first->label) != NULL;
        for (size_t f = 0; f < vkd__figure_count; f++) {
            const vkd_figure figure =
                figure_of(results, counts, seeds, first->label, vkd__figure_places[f].from);
            memcpy((char *)&out[i] + vkd__figure_places[f].to, &figure, sizeof figure);
        }
    }
    return counts[0];
}

/* ---- JSON ---- */

void vkd__json_number(vkd__text *t, double value) {
    if (!isfinite(value)) {
        vkd__text_add(t, "null");
        return;
    }
    char text[40];
    snprintf(text, sizeof text, "%.9g", value);
    for (char *c = text; *c; c++)
        if (*c == ',') *c = '.'; /* some locales' decimal point */
    vkd__text_add(t, "%s", text);
}

void vkd__json_text(vkd__text *t, const char *text) {
    vkd__text_add(t, "\"");
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            vkd__text_add(t, "\\%c", *c);
        else if ((unsigned char)*c < 0x20)
            vkd__text_add(t, "\\u%04x", (unsigned)*c);
        else
            vkd__text_add(t, "%c", *c);
    }
    vkd__text_add(t, "\"");
}

static void row_json(vkd__text *t, const vkd_row *row) {
    vkd__text_add(t, "    {\"label\": ");
    vkd__json_text(t, row->label);
    vkd__text_add(t, ", \"model\": ");
    vkd__json_text(t, row->model);
    vkd__text_add(t, ", \"seeds\": %u, \"tests\": %u, \"parameters\": %llu", (unsigned)row->seeds,
                  (unsigned)row->tests, (unsigned long long)row->parameters);
    for (size_t f = 0; f < vkd__figure_count; f++) {
        vkd_figure figure;
        memcpy(&figure, (const char *)row + vkd__figure_places[f].to, sizeof figure);
        vkd__text_add(t, ", \"%s\": ", vkd__figure_places[f].name);
        vkd__json_number(t, figure.mean);
        if (row->seeds < 2) continue;
        vkd__text_add(t, ", \"%s_deviation\": ", vkd__figure_places[f].name);
        vkd__json_number(t, isfinite(figure.mean) ? figure.deviation : NAN);
    }
    vkd__text_add(t, "}");
}

static void stage_json(vkd__text *t, const vkd__stage_note *stage) {
    vkd__text_add(t, "    {\"phase\": \"%s\", \"stage\": \"%s\", \"terms\": [", stage->phase,
                  stage->stage);
    for (uint32_t i = 0; i < stage->term_count; i++) {
        const vkd__term_note *term = &stage->terms[i];
        vkd__text_add(t, "%s{\"term\": \"%s\", \"weight\": ", i ? ", " : "", term->name);
        vkd__json_number(t, term->weight);
        vkd__text_add(t, ", \"scale\": ");
        vkd__json_number(t, term->value);
        vkd__text_add(t, ", \"gradient_norm\": ");
        vkd__json_number(t, term->norm);
        vkd__text_add(t, "}");
    }
    vkd__text_add(t, "]}");
}

void vkd__summary_json(vkd__text *t, const vkd__summary *s) {
    vkd__text_add(t, "{\n  \"recipe\": ");
    vkd__json_text(t, s->recipe->name);
    vkd__text_add(t, ",\n  \"seed\": %u,\n  \"seeds\": %u,\n  \"device\": ",
                  (unsigned)s->recipe->options.seed, (unsigned)s->seeds);
    vkd__json_text(t, s->device);
    vkd__text_add(t, ",\n  \"rows\": [\n");
    for (uint32_t i = 0; i < s->row_count; i++) {
        row_json(t, &s->rows[i]);
        vkd__text_add(t, "%s\n", i + 1 < s->row_count ? "," : "");
    }
    vkd__text_add(t, "  ],\n  \"stages\": [\n");
    for (uint32_t i = 0; i < s->notes.stage_count; i++) {
        stage_json(t, &s->notes.stages[i]);
        vkd__text_add(t, "%s\n", i + 1 < s->notes.stage_count ? "," : "");
    }
    vkd__text_add(t, "  ],\n  \"warnings\": [");
    for (const vkd__warning *w = s->notes.warnings; w; w = w->next) {
        vkd__text_add(t, "\n    ");
        vkd__json_text(t, w->text);
        vkd__text_add(t, "%s", w->next ? "," : "\n  ");
    }
    vkd__text_add(t, "]\n}\n");
}

vkd_result vkd__summary_write(vkd_ctx *ctx, const char *folder, const vkd__summary *s) {
    vkd__text t = {.ctx = ctx}, path = {.ctx = ctx};
    vkd__summary_json(&t, s);
    vkd__text_add(&path, "%s/summary.json", folder);
    vkd_result r = VKD_E_MEMORY;
    if (!t.failed && !path.failed) {
        const vkd__bytes whole = {t.text, t.length};
        r = vkd__write_file(ctx, path.text, &whole, 1);
    }
    vkd__text_term(&t);
    vkd__text_term(&path);
    return r;
}

/* ---- Notes ---- */

static vkd_result add_stage(vkd__notes *n, vkd__arena *arena, const vkd__phase *p) {
    vkd__stage_note *note = &n->stages[n->stage_count++];
    *note = (vkd__stage_note){.phase = vkd__arena_format(arena, "%s", p->group),
                              .stage = p->stage->name,
                              .term_count = p->term_count};
    for (uint32_t i = 0; i < p->term_count; i++) {
        const double weight = (double)p->terms[i].weight;
        const vkd__watch *w = &p->watches[i];
        note->terms[i] =
            (vkd__term_note){p->terms[i].name, weight, weight * w->value, weight * w->norm};
    }
    return note->phase ? VKD_OK : VKD_E_MEMORY;
}

vkd_result vkd__notes_add(vkd__notes *n, vkd__arena *arena, const vkd__session *s) {
    vkd_result r = VKD_OK;
    if (!s->seed_index) {
        n->stages = VKD_NEW(arena, vkd__stage_note, s->phase_count);
        if (!n->stages) return VKD_E_MEMORY;
        for (uint32_t i = 0; i < s->phase_count && !r; i++)
            if (s->phases[i].term_count && !isnan(s->phases[i].watches[0].norm))
                r = add_stage(n, arena, &s->phases[i]);
    }
    vkd__warning **end = &n->warnings;
    while (*end)
        end = &(*end)->next;
    for (const vkd__warning *w = s->warnings; w && !r; w = w->next) {
        *end = VKD_NEW(arena, vkd__warning, 1);
        if (!*end) return VKD_E_MEMORY;
        (*end)->text = s->desc->seeds > 1
                           ? vkd__arena_format(arena, "seed %u: %s", (unsigned)s->seed, w->text)
                           : vkd__arena_format(arena, "%s", w->text);
        if (!(*end)->text) r = VKD_E_MEMORY;
        end = &(*end)->next;
    }
    return r;
}
