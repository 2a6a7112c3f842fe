// SPDX-License-Identifier: Apache-2.0
/* The probe batch: the first test samples, run through the student while it trains and through the
 * teacher once a phase, for whoever watches. It is submitted behind the steps under way and read
 * when they have been collected anyway, so that training does not wait for it; and no more often
 * than costs two hundredths of the time. It changes no value that training uses. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "train/session.h"

#define SHARE 0.02     /* of the time */
#define WATCHED 0.1    /* seconds between two probes with a viewer */
#define UNWATCHED 10.0 /* and without */
#define FIRST 0.5      /* seconds into a phase: a short one is not slowed down by compiling */
#define LISTEN 0.05    /* seconds between two looks for requests */

typedef struct side {
    vkd_program *program;
    const char *taps[VKD__LIVE_MAPS];
    uint32_t tap_count;
    vkd_shape shapes[VKD__LIVE_MAPS]; /* of the maps: (samples, height, width), or no axes */
    float *logits;
    float *maps[VKD__LIVE_MAPS];
} side;

struct vkd__show {
    vkd__session *s;
    const vkd__phase *p;
    vkd__live_writer *writer;
    uint32_t samples;
    int32_t indices[VKD__LIVE_SAMPLES], labels[VKD__LIVE_SAMPLES];
    side student, teacher;
    bool made;
    bool pending;
    uint64_t ticket, submitted_step;
    bool watched;
    double cost; /* seconds of a probe */
    double started, due, listen;
};

/* ---- What to show ---- */

static void add_tap(side *s, const char *tap) {
    for (uint32_t i = 0; i < s->tap_count; i++)
        if (!strcmp(s->taps[i], tap)) return;
    if (s->tap_count < VKD__LIVE_MAPS / 2) s->taps[s->tap_count++] = tap;
}

/* The first teacher is the one that is shown. */
static void find_taps(vkd__show *b) {
    const vkd__phase *p = b->p;
    for (uint32_t i = 0; i < p->term_count; i++)
        for (uint32_t k = 0; k < p->terms[i].tap_count; k++) {
            const char *tap = p->terms[i].taps[k].teacher, *colon = strchr(tap, ':');
            add_tap(&b->student, p->terms[i].taps[k].student);
            const char *name = p->teacher_count ? b->s->recipe->models[p->teacher].name : "";
            if (!colon) {
                add_tap(&b->teacher, tap);
            } else if (!strncmp(tap, name, (size_t)(colon - tap)) && !name[colon - tap]) {
                add_tap(&b->teacher, colon + 1);
            }
        }
}

static void describe(vkd__show *b) {
    const vkd__session *s = b->s;
    vkd__live_header *h = vkd__live_now(b->writer);
    h->state = VKD_LIVE_TRAINING;
    h->phase_index = s->phase;
    h->phase_count = s->phase_count;
    h->seed_index = s->seed_index;
    h->seed_count = s->desc->seeds ? s->desc->seeds : 1;
    h->step = s->step;
    h->steps = b->p->steps;
    snprintf(h->phase, sizeof h->phase, "%s", b->p->group);
    snprintf(h->stage, sizeof h->stage, "%s", b->p->stage->name);
    snprintf(h->teacher, sizeof h->teacher, "%s",
             b->p->teacher_count ? s->recipe->models[b->p->teacher].name : "");
    h->test_accuracy = s->test_accuracy;
    h->setting_count = 0;
    for (uint32_t i = 0; i < b->p->term_count; i++) {
        const vkd__term *t = &b->p->terms[i];
        vkd__live_setting *to = &h->settings[h->setting_count++];
        snprintf(to->name, sizeof to->name, "weight.%.50s", t->name);
        to->value = vkd__term_weight(b->p, i, s->step);
        if (!(t->def->needs & VKD__LOSS_TAU)) continue;
        to = &h->settings[h->setting_count++];
        snprintf(to->name, sizeof to->name, "tau.%.50s", t->name);
        to->value = t->tau;
    }
}
_Static_assert(VKD__LIVE_SETTINGS >= 2 * VKD__MAX_TERMS, "a term has two settings");

/* ---- Programs ---- */

static vkd_result make_side(vkd__show *b, const vkd__recipe_model *m, const char *group, side *to) {
    vkd__session *s = b->s;
    vkd_graph *graph = NULL;
    vkd_plan *plan = NULL;
    vkd_result r =
        vkd__graph_show(s, m, group, b->samples, to->taps, to->tap_count, to->shapes, &graph);
    if (!r) r = vkd_plan_create(graph, vkd_device_profile(s->device), &plan);
    if (!r) r = vkd_program_create(s->device, plan, &to->program);
    if (!r) to->logits = vkd__alloc(s->ctx, (size_t)b->samples * s->data->classes, sizeof(float));
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    if (!r && !to->logits) r = VKD_E_MEMORY;
    int32_t *indices = r ? NULL : vkd_program_input(to->program, "indices");
    if (indices) memcpy(indices, b->indices, b->samples * sizeof *indices);
    return r;
}

static vkd_result read_side(vkd__show *b, side *from, uint64_t ticket) {
    vkd_result r = vkd_program_wait(from->program, ticket);
    const float *logits = r ? NULL : vkd_program_output(from->program, ticket, "logits", NULL);
    if (logits)
        memcpy(from->logits, logits, (size_t)b->samples * b->s->data->classes * sizeof *logits);
    for (uint32_t i = 0; i < from->tap_count && !r; i++) {
        char name[64];
        const size_t count = (size_t)vkd_shape_count(from->shapes[i]);
        if (!from->shapes[i].axes) continue;
        snprintf(name, sizeof name, "map.%s", from->taps[i]);
        const float *map = vkd_program_output(from->program, ticket, name, NULL);
        if (!map) continue;
        if (!from->maps[i]) from->maps[i] = vkd__alloc(b->s->ctx, count, sizeof *map);
        if (!from->maps[i]) return VKD_E_MEMORY;
        memcpy(from->maps[i], map, count * sizeof *map);
    }
    return r;
}

/* Teacher and student, and the teacher's answers, which stay. */
static vkd_result make(vkd__show *b) {
    uint64_t ticket = 0;
    vkd_result r = make_side(b, b->p->model, b->p->group, &b->student);
    if (!r && b->p->teacher_count) {
        const vkd__recipe_model *m = &b->s->recipe->models[b->p->teacher];
        r = make_side(b, m, m->name, &b->teacher);
        if (!r) r = vkd_program_submit(b->teacher.program, &ticket);
        if (!r) r = read_side(b, &b->teacher, ticket);
    }
    b->made = !r;
    return r;
}

/* ---- Showing ---- */

static void add_maps(vkd__show *b, const side *from, bool teacher, vkd__live_tables *tables) {
    vkd__live_header *h = vkd__live_now(b->writer);
    for (uint32_t i = 0; i < from->tap_count; i++) {
        if (!from->maps[i]) continue;
        vkd__live_map *m = &h->maps[h->map_count];
        *m = (vkd__live_map){
            .teacher = teacher, .height = from->shapes[i].dim[1], .width = from->shapes[i].dim[2]};
        snprintf(m->name, sizeof m->name, "%s", from->taps[i]);
        tables->maps[h->map_count++] = from->maps[i];
    }
}

static void publish(vkd__show *b) {
    vkd__live_header *h = vkd__live_now(b->writer);
    vkd__live_tables tables = {.indices = b->indices,
                               .labels = b->labels,
                               .student_logits = b->student.logits,
                               .teacher_logits = b->teacher.logits};
    describe(b);
    h->samples = b->made ? b->samples : 0;
    h->classes = b->s->data->classes;
    h->map_count = 0;
    if (b->made) {
        add_maps(b, &b->student, false, &tables);
        add_maps(b, &b->teacher, true, &tables);
    }
    vkd__live_publish(b->writer, b->made ? &tables : NULL);
}

/* ---- Requests ---- */

/* The term that a setting belongs to, what it is now and its range; NULL for a name that the phase
 * does not have. */
static vkd__term *find_setting(vkd__phase *p, const char *name, uint64_t step, double *now,
                               double *low, double *high) {
    for (uint32_t i = 0; i < p->term_count; i++) {
        vkd__term *t = &p->terms[i];
        *low = 0;
        *high = 1e9;
        *now = (double)vkd__term_weight(p, i, step);
        if (!strncmp(name, "weight.", 7) && !strcmp(name + 7, t->name)) return t;
        if (strncmp(name, "tau.", 4) != 0 || strcmp(name + 4, t->name) != 0 ||
            !(t->def->needs & VKD__LOSS_TAU))
            continue;
        *now = (double)t->tau;
        for (size_t f = 0; f < t->def->field_count; f++)
            if (!strcmp(t->def->fields[f].name, "tau")) {
                *low = t->def->fields[f].low;
                *high = t->def->fields[f].high;
            }
        return t;
    }
    return NULL;
}

/* A weight that somebody sets stays there: it follows no line any more. */
static vkd_result apply(vkd__show *b, vkd__phase *p, vkd_program *training,
                        const vkd__live_setting *wanted) {
    double now, low, high;
    vkd__term *t = find_setting(p, wanted->name, b->s->step, &now, &low, &high);
    float *input = vkd_program_input(training, wanted->name);
    const double value = (double)wanted->value;
    if (!t || !input || !(value >= low && value <= high)) return VKD_OK;
    const vkd_result r = vkd__metrics_setting(b->s, p, wanted->name, now, value);
    if (*wanted->name == 't')
        t->tau = wanted->value;
    else
        t->weight = t->final_weight = wanted->value;
    *input = wanted->value;
    p->turned = true;
    return r;
}

static vkd_result listen(vkd__show *b, vkd__phase *p, vkd_program *training) {
    vkd__live_request q;
    vkd_result r = VKD_OK;
    if (!vkd__live_take(b->writer, &q)) return VKD_OK;
    for (uint32_t i = 0; i < q.count && !r; i++)
        r = apply(b, p, training, &q.settings[i]);
    publish(b);
    return r;
}

/* ---- The loop's side ---- */

vkd_result vkd__show_create(vkd__session *s, const vkd__phase *p, vkd__show **out) {
    const vkd__split *test = &s->data->test;
    *out = NULL;
    if (!s->live) return VKD_OK;
    vkd__show *b = vkd__alloc(s->ctx, 1, sizeof *b);
    if (!b) return VKD_E_MEMORY;
    *b = (vkd__show){.s = s, .p = p, .writer = s->live, .started = vkd__seconds()};
    b->due = b->started + UNWATCHED;
    b->samples = test->count < VKD__LIVE_SAMPLES ? test->count : VKD__LIVE_SAMPLES;
    for (uint32_t i = 0; i < b->samples; i++) {
        b->indices[i] = (int32_t)i;
        b->labels[i] = test->labels[i];
    }
    find_taps(b);
    publish(b);
    *out = b;
    return VKD_OK;
}

static void side_term(vkd_ctx *ctx, side *s) {
    vkd_program_destroy(s->program);
    vkd__free(ctx, s->logits);
    for (uint32_t i = 0; i < s->tap_count; i++)
        vkd__free(ctx, s->maps[i]);
}

void vkd__show_destroy(vkd__show *b) {
    if (!b) return;
    publish(b);
    side_term(b->s->ctx, &b->student);
    side_term(b->s->ctx, &b->teacher);
    vkd__free(b->s->ctx, b);
}

void vkd__show_report(vkd__show *b, const vkd_progress *p) {
    if (!b) return;
    vkd__live_header *h = vkd__live_now(b->writer);
    h->loss = p->loss;
    h->gradient_norm = p->gradient_norm;
    h->learning_rate = p->learning_rate;
    h->samples_per_second = p->samples_per_second;
}

/* The first probe is waited for: it says what one costs. */
static vkd_result first(vkd__show *b) {
    vkd_result r = b->samples ? make(b) : VKD_OK;
    const double start = vkd__seconds();
    if (!r && b->made) r = vkd_program_submit(b->student.program, &b->ticket);
    if (!r && b->made) r = read_side(b, &b->student, b->ticket);
    b->cost = vkd__seconds() - start;
    if (!r) publish(b);
    return r;
}

/* When the next one may be. A viewer that has just come need not wait for the slow pace to end. */
static void look(vkd__show *b, double now) {
    const bool before = b->watched;
    b->watched = vkd__live_watched(b->writer);
    if (b->watched && !before) b->due = fmin(b->due, fmax(now, b->started + FIRST));
}

vkd_result vkd__show_step(vkd__show *b, vkd__phase *p, vkd_program *training) {
    if (!b) return VKD_OK;
    const double now = vkd__seconds();
    vkd_result r = VKD_OK;
    if (now >= b->listen) {
        b->listen = now + LISTEN;
        look(b, now);
        r = listen(b, p, training);
    }
    /* The steps before it have been collected since: the wait is over before it begins. */
    if (!r && b->pending && b->s->step >= b->submitted_step) {
        b->pending = false;
        r = read_side(b, &b->student, b->ticket);
        if (!r) publish(b);
    }
    if (r || b->pending || now < b->due) return r;
    if (b->made) {
        r = vkd_program_submit(b->student.program, &b->ticket);
        b->submitted_step = b->s->step + VKD_PROGRAM_RING;
        b->pending = true;
    } else {
        r = first(b);
    }
    b->due = now + fmax(b->watched ? WATCHED : UNWATCHED, b->cost / SHARE);
    return r;
}
