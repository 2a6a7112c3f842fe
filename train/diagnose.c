// SPDX-License-Identifier: Apache-2.0
/* What goes wrong quietly:
 *
 *   a term without gradient   before the first step, its gradient by the student's parameters is
 *                             exactly zero (adapters do not count: they are thrown away)
 *   a term at ln(classes)     at every step of the phase's last tenth its value lies within 1 % of
 *                             it: what cross-entropy is while a model says nothing
 *   a teacher that is worse   than its student, on the test split
 *
 * Each is a warning in the log and in summary.json; the first two also in metrics.jsonl, when they
 * are found. What they follow from is in the checkpoint. */
#include <math.h>
#include <string.h>

#include "train/session.h"

enum { FEWEST_STEPS = 10 }; /* a phase below has no last tenth */

/* ---- What is found ---- */

static const char *dead_text(vkd__session *s, const vkd__phase *p, uint32_t term) {
    if (p->watches[term].norm != 0) return "";
    return vkd__arena_format(
        &s->arena,
        "%s, stage '%s': no gradient of the loss '%s' reaches the model before "
        "the first step",
        p->group, p->stage->name, p->terms[term].name);
}

static const char *stuck_text(vkd__session *s, const vkd__phase *p, uint32_t term) {
    const vkd__watch *w = &p->watches[term];
    const double chance = log(s->data->classes);
    if (!(w->low <= w->high && w->low >= 0.99 * chance && w->high <= 1.01 * chance)) return "";
    return vkd__arena_format(
        &s->arena,
        "%s, stage '%s': the loss '%s' stays at ln(%u) = %.4f, as if the model "
        "had learnt nothing",
        p->group, p->stage->name, p->terms[term].name, (unsigned)s->data->classes, chance);
}

/* Texts are "" where there is nothing to say, and NULL where memory is out. */
static vkd_result keep(vkd__session *s, const char *text) {
    if (!text) return VKD_E_MEMORY;
    if (!*text) return VKD_OK;
    vkd__warning **end = &s->warnings;
    while (*end)
        end = &(*end)->next;
    *end = VKD_NEW(&s->arena, vkd__warning, 1);
    if (!*end) return VKD_E_MEMORY;
    **end = (vkd__warning){.text = text};
    return VKD_OK;
}

static vkd_result say(vkd__session *s, const vkd__phase *p, const char *text) {
    if (!text) return VKD_E_MEMORY;
    if (!*text) return VKD_OK;
    vkd__log(s->ctx, VKD_LOG_WARNING, "%s", text);
    return s->metrics ? vkd__metrics_warning(s, p, text) : VKD_OK;
}

/* ---- Before the first step ---- */

/* What a step changes beside the parameters, such as running statistics: the steps that gauge must
 * leave it as it was. */
typedef struct saved {
    vkd__arena arena;
    const char **names;
    void **values;
    size_t *bytes;
    uint32_t count;
} saved;

static vkd_result save(const vkd__session *s, const char *group, saved *out) {
    const uint32_t all = vkd_store_count(s->store);
    const size_t length = strlen(group);
    vkd_result r = VKD_OK;
    *out = (saved){.arena = {.ctx = s->ctx}};
    out->names = VKD_NEW(&out->arena, const char *, all);
    out->values = VKD_NEW(&out->arena, void *, all);
    out->bytes = VKD_NEW(&out->arena, size_t, all);
    if (!out->names || !out->values || !out->bytes) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < all && !r; i++) {
        const vkd_store_info info = vkd_store_at(s->store, i);
        if (info.parameter || strncmp(info.name, group, length) != 0 || info.name[length] != '.')
            continue;
        const uint32_t at = out->count++;
        out->names[at] = info.name;
        out->bytes[at] = (size_t)vkd_shape_count(info.shape) * vkd_dtype_size(info.dtype);
        out->values[at] = vkd__arena_alloc(&out->arena, out->bytes[at], 1);
        r = out->values[at] ? vkd_store_read(s->store, info.name, out->values[at], out->bytes[at])
                            : VKD_E_MEMORY;
    }
    return r;
}

static vkd_result put_back(const vkd__session *s, const saved *from) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < from->count && !r; i++)
        r = vkd_store_write(s->store, from->names[i], from->values[i], from->bytes[i]);
    return r;
}

typedef struct gauge {
    vkd_result (*write)(void *user, vkd_program *program);
    void *user;
} gauge;

static vkd_result ask(vkd__session *s, const gauge *by, vkd_program *program, vkd__watch *out) {
    uint64_t ticket = 0;
    vkd_result r = by->write(by->user, program);
    if (!r) r = vkd_program_submit(program, &ticket);
    if (!r) r = vkd_program_wait(program, ticket);
    if (r) return r;
    const float *value = vkd_program_output(program, ticket, "value", NULL);
    const float *norm = vkd_program_output(program, ticket, "norm", NULL);
    if (!value || !norm) return vkd__fail(s->ctx, VKD_E_DEVICE, "the results of a step are gone");
    out->value = (double)*value;
    out->norm = (double)*norm;
    return VKD_OK;
}

static vkd_result gauge_term(vkd__session *s, vkd__phase *p, uint32_t term, const gauge *by) {
    vkd_graph *graph = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    saved before = {0};
    vkd_result r = vkd__graph_gauge(s, p, term, &graph);
    if (!r) r = vkd_plan_create(graph, vkd_device_profile(s->device), &plan);
    if (!r) r = vkd_program_create(s->device, plan, &program);
    if (!r) r = vkd__term_prepare(s, p, term);
    if (!r) r = save(s, p->group, &before);
    if (!r) r = ask(s, by, program, &p->watches[term]);
    if (!r) r = put_back(s, &before);
    vkd__arena_term(&before.arena);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    return r;
}

vkd_result vkd__diagnose_start(vkd__session *s, vkd__phase *p,
                               vkd_result (*write)(void *user, vkd_program *program), void *user) {
    const gauge by = {write, user};
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < p->term_count && !r; i++)
        r = gauge_term(s, p, i, &by);
    if (!r) r = vkd__metrics_start(s, p);
    for (uint32_t i = 0; i < p->term_count && !r; i++)
        r = say(s, p, dead_text(s, p, i));
    return r;
}

/* ---- Later ---- */

void vkd__diagnose_init(vkd__phase *p) {
    for (uint32_t i = 0; i < p->term_count; i++)
        p->watches[i] = (vkd__watch){.value = NAN, .norm = NAN, .low = INFINITY, .high = -INFINITY};
}

void vkd__diagnose_step(vkd__phase *p, uint32_t term, uint64_t step, double value) {
    vkd__watch *w = &p->watches[term];
    if (p->steps < FEWEST_STEPS || step < p->steps - p->steps / 10) return;
    w->low = fmin(w->low, value);
    w->high = fmax(w->high, value);
    if (isnan(value)) w->high = INFINITY; /* fmin and fmax leave it out */
}

vkd_result vkd__diagnose_end(vkd__session *s, const vkd__phase *p) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < p->term_count && !r; i++)
        r = say(s, p, stuck_text(s, p, i));
    return r;
}

vkd_result vkd__diagnose_rows(vkd__session *s, const vkd__phase *p, double student,
                              double teacher) {
    if (!(teacher < student)) return VKD_OK;
    const char *text = vkd__arena_format(
        &s->arena, "%s: it is right on %.2f %% of the test split, what taught it on %.2f %%",
        p->group, 100 * student, 100 * teacher);
    const vkd_result r = say(s, p, text);
    return r ? r : keep(s, text);
}

vkd_result vkd__diagnose_summary(vkd__session *s) {
    vkd_result r = VKD_OK;
    s->warnings = NULL;
    for (uint32_t i = 0; i < s->phase_count; i++) {
        const vkd__phase *p = &s->phases[i];
        for (uint32_t k = 0; k < p->term_count && !p->shared && !r; k++) {
            r = keep(s, dead_text(s, p, k));
            if (!r) r = keep(s, stuck_text(s, p, k));
        }
    }
    return r;
}
