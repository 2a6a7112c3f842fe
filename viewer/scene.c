// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "viewer/scene.h"

#define METRICS_EVERY 0.5 /* seconds between two looks */
#define INSPECT_EVERY 1.0

vkd_result scene_open(vkd_ctx *ctx, const char *folder, const char *device_choice, scene **out) {
    *out = vkd__alloc(ctx, 1, sizeof **out);
    if (!*out) return VKD_E_MEMORY;
    **out = (scene){.ctx = ctx, .device_choice = device_choice, .tau = 1};
    snprintf((*out)->folder, sizeof(*out)->folder, "%s", folder);
    for (int i = 0; i < 2; i++)
        (*out)->models[i] = (scene_model){.model = SCENE_NONE, .map_sample = SCENE_NONE};
    return VKD_OK;
}

void scene_close(scene *s) {
    if (!s) return;
    scene_models_term(s);
    vkd_device_close(s->device);
    vkd_inspect_close(s->inspect);
    vkd_metrics_close(s->metrics);
    vkd_live_close(s->live);
    vkd__free(s->ctx, s);
}

void scene_trouble(scene *s, const char *text) {
    if (!strncmp(s->trouble, text, sizeof s->trouble - 1)) return;
    snprintf(s->trouble, sizeof s->trouble, "%s", text);
    s->changes++;
}

static void metrics_update(scene *s) {
    if (!s->info || (s->now < s->metrics_due && !(s->view && s->view->more))) return;
    s->metrics_due = s->now + METRICS_EVERY;
    if (!s->metrics && vkd_metrics_open(s->ctx, s->info->folder, &s->metrics)) return;
    const uint64_t before = s->view ? s->view->sequence : 0;
    if (vkd_metrics_read(s->metrics, &s->view)) scene_trouble(s, vkd_ctx_error(s->ctx));
    if (s->view && s->view->sequence != before) s->changes++;
}

static void close_run(scene *s) {
    scene_models_term(s);
    vkd_live_close(s->live);
    s->live = NULL;
    s->frame = NULL;
    s->probe = (scene_answers){0};
    s->training = false;
    s->answers++;
    vkd_inspect_close(s->inspect);
    vkd_metrics_close(s->metrics);
    s->inspect = NULL;
    s->info = NULL;
    s->metrics = NULL;
    s->view = NULL;
    s->changes++;
}

/* A folder that is no run yet may become one. */
static void open_run(scene *s) {
    char problem[SCENE_TEXT] = "";
    if (vkd_inspect_open(s->ctx, s->folder, &s->inspect)) {
        s->inspect = NULL;
        snprintf(problem, sizeof problem, "%s", vkd_ctx_error(s->ctx));
    } else {
        s->info = vkd_inspect_get(s->inspect);
        s->changes++;
    }
    if (strcmp(problem, s->problem) != 0) s->changes++;
    memcpy(s->problem, problem, sizeof problem);
}

static void run_update(scene *s) {
    if (s->now >= s->inspect_due) {
        vkd_inspect_news news = VKD_INSPECT_SAME;
        s->inspect_due = s->now + INSPECT_EVERY;
        if (s->inspect && vkd_inspect_refresh(s->inspect, &news))
            scene_trouble(s, vkd_ctx_error(s->ctx));
        if (news == VKD_INSPECT_ANOTHER) close_run(s);
        if (!s->inspect) open_run(s);
        if (news == VKD_INSPECT_MODELS) s->changes++;
    }
    scene_inspect_update(s);
}

void scene_update(scene *s, double now) {
    s->now = now;
    scene_live_update(s);
    run_update(s);
    metrics_update(s);
}

bool scene_busy(const scene *s) {
    return (scene_models_busy(s) && s->now >= s->eval_due) || (s->view && s->view->more);
}

void scene_finish(scene *s) {
    s->hurry = true;
    do {
        s->live_due = s->metrics_due = s->inspect_due = 0;
        scene_update(s, vkd__seconds());
    } while (scene_busy(s));
    scene_update(s, vkd__seconds());
}

/* ---- What there is ---- */

uint32_t scene_classes(const scene *s) {
    if (s->info) return s->info->classes;
    return s->frame && s->frame->samples ? s->frame->classes : 0;
}

uint32_t scene_sample_count(const scene *s) {
    return s->info ? s->info->tests : s->probe.count;
}

const char *scene_class_name(const scene *s, int64_t index) {
    static char texts[4][32];
    static unsigned turn;
    if (index >= 0 && s->info && s->info->class_names && index < (int64_t)s->info->classes)
        return s->info->class_names[index];
    char *text = texts[turn++ % 4];
    if (index < 0)
        snprintf(text, sizeof texts[0], "unknown");
    else
        snprintf(text, sizeof texts[0], "class %lld", (long long)index);
    return text;
}

int32_t scene_label(const scene *s, uint32_t sample) {
    if (s->info) return sample < s->info->tests ? s->info->labels[sample] : -1;
    const uint32_t row = scene_probe_row(s, sample);
    return row == SCENE_NONE ? -1 : s->probe.labels[row];
}

const char *scene_model_name(const scene *s, scene_side side) {
    const uint32_t model = s->models[side].model;
    if (s->info && model != SCENE_NONE) return s->info->models[model].name;
    if (!s->frame) return "";
    return side == SCENE_TEACHER ? s->frame->teacher : s->frame->phase;
}

uint32_t scene_probe_row(const scene *s, uint32_t sample) {
    for (uint32_t i = 0; i < s->probe.count; i++)
        if ((uint32_t)s->probe.indices[i] == sample) return i;
    return SCENE_NONE;
}

/* The probe batch answers for the model that is trained now, whichever side it is on, and for its
 * teacher. */
static const float *live_logits(const scene *s, uint32_t sample, scene_side side) {
    const uint32_t row = scene_probe_row(s, sample);
    const char *name = scene_model_name(s, side);
    if (!s->frame || row == SCENE_NONE) return NULL;
    scene_side from = SCENE_TEACHER;
    if (!strcmp(name, s->frame->phase))
        from = SCENE_STUDENT;
    else if (strcmp(name, s->frame->teacher) != 0)
        return NULL;
    const float *logits = s->probe.logits[from];
    return logits ? logits + (size_t)row * s->probe.classes : NULL;
}

const float *scene_logits(const scene *s, uint32_t sample, scene_side side, char *where) {
    const float *live = live_logits(s, sample, side);
    const scene_model *m = &s->models[side];
    const bool known = s->info && sample < m->known;
    if (where) where[0] = 0;
    if (known && !(s->training && live)) {
        if (where) snprintf(where, 64, "%s", sample < m->at ? "from its file" : "of an older file");
        return m->logits + (size_t)sample * s->info->classes;
    }
    if (live && where) snprintf(where, 64, "live, step %llu", (unsigned long long)s->frame->step);
    return live;
}

const scene_answers *scene_all(const scene *s) {
    const bool tests = s->tests.count && s->tests.logits[0] && s->tests.logits[1];
    return tests && s->tests.count >= s->probe.count ? &s->tests : &s->probe;
}

bool scene_batch(const scene *s, uint32_t most, scene_answers *out) {
    const bool live = s->probe.count && s->probe.logits[0] && s->probe.logits[1];
    *out = live && (s->training || !s->tests.count) ? s->probe : s->tests;
    if (out->count > most) out->count = most;
    return out->count && out->logits[0] && out->logits[1];
}

bool scene_maps(const scene *s, uint32_t pair, scene_map out[2]) {
    bool found = false;
    const uint32_t row = scene_probe_row(s, s->sample);
    for (int side = 0; side < 2; side++) {
        const scene_model *m = &s->models[side];
        out[side] = (scene_map){.tap = s->pairs[pair].tap[side]};
        for (uint32_t i = 0; s->frame && row != SCENE_NONE && i < s->frame->map_count; i++) {
            const vkd_live_map *map = &s->frame->maps[i];
            if (map->teacher != (side == SCENE_TEACHER) || strcmp(map->tap, out[side].tap) != 0)
                continue;
            out[side].height = map->height;
            out[side].width = map->width;
            out[side].values = map->values + (size_t)row * map->height * map->width;
        }
        if (m->map_sample == s->sample && m->maps[pair] && !(out[side].values && s->training)) {
            const vkd_inspect_model *info = &s->info->models[m->model];
            for (uint32_t i = 0; i < info->tap_count; i++)
                if (!strcmp(info->taps[i].name, out[side].tap)) {
                    out[side].height = info->taps[i].shape.dim[0];
                    out[side].width = info->taps[i].shape.dim[1];
                }
            out[side].values = m->maps[pair];
        }
        found = found || out[side].values;
    }
    return found;
}

/* ---- What is asked for ---- */

void scene_choose(scene *s, uint32_t sample) {
    const uint32_t count = scene_sample_count(s);
    if (sample >= count) sample = count ? count - 1 : 0;
    if (s->sample != sample) s->changes++;
    s->sample = sample;
}

bool scene_ask(scene *s, const vkd_live_setting *settings, uint32_t count) {
    if (!s->live || vkd_live_ask(s->live, settings, count)) {
        scene_trouble(s, s->live ? vkd_ctx_error(s->ctx) : "no trainer is there to take settings");
        return false;
    }
    s->live_due = 0;
    s->changes++;
    return true;
}
