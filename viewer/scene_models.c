// SPDX-License-Identifier: Apache-2.0
/* The run's models answer for the test split: at once when the run is over, and in small pieces
 * that take a four-hundredth of the time while it trains, for they compute where it does. */
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "viewer/scene.h"

#define SHARE 0.0025  /* of the time, beside a run that trains */
#define RETRY 2.0     /* seconds */
enum { CHUNK = 100 }; /* a window waits for it */

static void forget(scene *s, scene_model *m) {
    vkd_predictor_close(m->predictor);
    vkd__free(s->ctx, m->logits);
    for (uint32_t i = 0; i < SCENE_MAPS; i++)
        vkd__free(s->ctx, m->maps[i]);
    *m = (scene_model){.model = SCENE_NONE, .map_sample = SCENE_NONE};
}

void scene_models_term(scene *s) {
    for (int side = 0; side < 2; side++)
        forget(s, &s->models[side]);
    s->tests = (scene_answers){0};
    s->pair_count = 0;
}

/* ---- Which models, which maps ---- */

static const vkd_inspect_tap *find_tap(const vkd_inspect_model *m, const char *name) {
    for (uint32_t i = 0; i < m->tap_count; i++)
        if (!strcmp(m->taps[i].name, name)) return &m->taps[i];
    return NULL;
}

static void add_pair(scene *s, const char *teacher, const char *student) {
    const vkd_inspect_tap *t = find_tap(&s->info->models[s->models[0].model], teacher);
    const vkd_inspect_tap *u = find_tap(&s->info->models[s->models[1].model], student);
    if (!t || !u || t->shape.axes != 3 || u->shape.axes != 3 || s->pair_count == SCENE_MAPS) return;
    for (uint32_t i = 0; i < s->pair_count; i++)
        if (!strcmp(s->pairs[i].tap[0], teacher) && !strcmp(s->pairs[i].tap[1], student)) return;
    scene_pair *p = &s->pairs[s->pair_count++];
    snprintf(p->tap[0], sizeof p->tap[0], "%s", teacher);
    snprintf(p->tap[1], sizeof p->tap[1], "%s", student);
}

/* Those that the losses between the two compare; where there are none, those of the same name. */
static void find_pairs(scene *s) {
    const uint32_t teacher = s->models[0].model, student = s->models[1].model;
    s->pair_count = 0;
    if (teacher == SCENE_NONE || student == SCENE_NONE) return;
    for (uint32_t i = 0; i < s->info->stage_count; i++) {
        const vkd_inspect_stage *stage = &s->info->stages[i];
        if (strcmp(s->info->models[stage->model].model, s->info->models[student].model) != 0)
            continue;
        for (uint32_t k = 0; k < stage->term_count; k++)
            for (uint32_t n = 0; n < stage->terms[k].pair_count; n++) {
                const vkd_inspect_pair *p = &stage->terms[k].pairs[n];
                const char *colon = strchr(p->teacher, ':');
                add_pair(s, colon ? colon + 1 : p->teacher, p->student);
            }
    }
    if (s->pair_count) return;
    const vkd_inspect_model *m = &s->info->models[student];
    for (uint32_t i = 0; i < m->tap_count; i++)
        add_pair(s, m->taps[i].name, m->taps[i].name);
}

/* The last stage that distils says who teaches whom; a run without one shows its last model. */
static void choose_models(scene *s) {
    const vkd_inspect_info *info = s->info;
    if (s->models[SCENE_STUDENT].model != SCENE_NONE || !info->model_count) return;
    uint32_t teacher = SCENE_NONE, student = SCENE_NONE;
    for (uint32_t i = 0; i < info->stage_count; i++)
        if (info->stages[i].teacher_count) {
            student = info->stages[i].model;
            teacher = info->stages[i].teachers[0].model;
        }
    if (student == SCENE_NONE) student = info->model_count - 1;
    s->models[SCENE_TEACHER].model = teacher;
    s->models[SCENE_STUDENT].model = student;
    for (uint32_t i = 0; i < info->stage_count; i++)
        for (uint32_t k = 0; k < info->stages[i].term_count; k++)
            if (info->stages[i].model == student && info->stages[i].terms[k].tau > 0)
                s->tau = info->stages[i].terms[k].tau;
    find_pairs(s);
    s->changes++;
}

/* Programs are made for the maps of both, so that the other one starts anew, too. */
void scene_take_model(scene *s, scene_side side, uint32_t model) {
    if (!s->info || model >= s->info->model_count || s->models[side].model == model) return;
    const uint32_t other = s->models[!side].model;
    scene_models_term(s);
    s->models[side].model = model;
    s->models[!side].model = other;
    find_pairs(s);
    s->changes++;
}

/* ---- Answers ---- */

static vkd_result open_model(scene *s, scene_side side) {
    scene_model *m = &s->models[side];
    const char *taps[SCENE_MAPS];
    for (uint32_t i = 0; i < s->pair_count; i++)
        taps[i] = s->pairs[i].tap[side];
    vkd_predictor_close(m->predictor);
    m->predictor = NULL;
    vkd_result r = VKD_OK;
    if (!s->device)
        r = vkd_device_open(s->ctx, &(vkd_device_desc){.choice = s->device_choice}, &s->device);
    if (!r && !m->logits) {
        m->logits =
            vkd__alloc(s->ctx, (size_t)s->info->tests * s->info->classes, sizeof *m->logits);
        if (!m->logits) r = VKD_E_MEMORY;
    }
    if (!r)
        r = vkd_predictor_open(
            s->inspect, s->device,
            &(vkd_predictor_desc){
                .model = m->model, .batch = CHUNK, .maps = taps, .map_count = s->pair_count},
            &m->predictor);
    if (r) return r;
    m->version = vkd_predictor_version(m->predictor);
    m->at = 0;
    m->map_sample = SCENE_NONE;
    return VKD_OK;
}

static vkd_result answer(scene *s, scene_model *m) {
    const uint32_t left = s->info->tests - m->at, count = left < CHUNK ? left : CHUNK;
    const vkd_result r = vkd_predictor_logits(m->predictor, m->at, count,
                                              m->logits + (size_t)m->at * s->info->classes);
    if (r) return r;
    m->at += count;
    if (m->at > m->known) m->known = m->at;
    return VKD_OK;
}

static vkd_result answer_maps(scene *s, scene_side side) {
    scene_model *m = &s->models[side];
    const vkd_inspect_model *info = &s->info->models[m->model];
    for (uint32_t i = 0; i < s->pair_count; i++) {
        const vkd_inspect_tap *tap = find_tap(info, s->pairs[i].tap[side]);
        const size_t count = (size_t)tap->shape.dim[0] * tap->shape.dim[1];
        if (!m->maps[i]) m->maps[i] = vkd__alloc(s->ctx, count, sizeof(float));
        if (!m->maps[i]) return VKD_E_MEMORY;
    }
    const vkd_result r =
        vkd_predictor_run(m->predictor, &s->sample, 1, &(vkd_predictor_out){.maps = m->maps});
    m->map_sample = s->sample;
    return r;
}

typedef enum task { REST, OPEN, MAPS, ANSWER } task;

static task next_task(const scene *s, const scene_model *m) {
    if (!s->info || m->model == SCENE_NONE || s->now < m->next) return REST;
    const vkd_inspect_model *info = &s->info->models[m->model];
    if (info->source == VKD_INSPECT_NONE) return REST;
    if (!m->predictor || info->version != m->version) return OPEN;
    if (s->want_maps && s->pair_count && m->map_sample != s->sample && s->sample < s->info->tests)
        return MAPS;
    return m->at < s->info->tests ? ANSWER : REST;
}

bool scene_models_busy(const scene *s) {
    return next_task(s, &s->models[0]) || next_task(s, &s->models[1]);
}

/* One piece of what there is to do for a side; false: nothing. */
static bool work(scene *s, scene_side side, vkd_result *r) {
    scene_model *m = &s->models[side];
    const task t = next_task(s, m);
    if (!t) return false;
    *r = t == OPEN ? open_model(s, side) : t == MAPS ? answer_maps(s, side) : answer(s, m);
    if (*r) m->next = s->now + RETRY; /* it may be written right now */
    s->changes++;
    s->answers++;
    return true;
}

static void gather(scene *s) {
    const scene_model *t = &s->models[SCENE_TEACHER], *u = &s->models[SCENE_STUDENT];
    const uint32_t both = t->known < u->known ? t->known : u->known;
    s->tests = (scene_answers){.count = both,
                               .classes = s->info->classes,
                               .labels = s->info->labels,
                               .logits = {both ? t->logits : NULL, both ? u->logits : NULL}};
}

void scene_inspect_update(scene *s) {
    if (!s->info) return;
    choose_models(s);
    const bool slow = s->training && !s->hurry;
    if (!s->rest && (!slow || s->now >= s->eval_due)) {
        const double start = vkd__seconds();
        vkd_result r = VKD_OK;
        /* The one that is behind first, so that both have the same samples. */
        const scene_side first = s->models[SCENE_TEACHER].at <= s->models[SCENE_STUDENT].at
                                     ? SCENE_TEACHER
                                     : SCENE_STUDENT;
        if (work(s, first, &r) ||
            work(s, first == SCENE_TEACHER ? SCENE_STUDENT : SCENE_TEACHER, &r))
            s->eval_due = s->now + (slow ? (vkd__seconds() - start) / SHARE : 0);
        if (r) scene_trouble(s, vkd_ctx_error(s->ctx));
    }
    gather(s);
}
