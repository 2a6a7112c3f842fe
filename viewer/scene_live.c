// SPDX-License-Identifier: Apache-2.0
/* The live file: read ten times a second, and looked for every second while there is none. */
#include <stdio.h>
#include <string.h>

#include "viewer/scene.h"

#define LIVE_EVERY 0.1
#define LIVE_SEARCH 1.0

static void show(scene *s) {
    const vkd_live_frame *f = s->frame;
    s->training = f->alive && (f->state == VKD_LIVE_TRAINING || f->state == VKD_LIVE_STARTING);
    s->probe = (scene_answers){.count = f->samples,
                               .classes = f->classes,
                               .indices = f->indices,
                               .labels = f->labels,
                               .logits = {f->teacher_logits, f->student_logits}};
    if (s->info && f->samples && f->classes != s->info->classes) s->probe = (scene_answers){0};
}

static bool open_live(scene *s) {
    const char *folder = s->info ? s->info->folder : s->folder;
    const vkd_result r = vkd_live_open(s->ctx, folder, &s->live);
    if (!r) return true;
    s->live = NULL;
    /* A run that is over may have none. */
    if (r != VKD_E_FILE) scene_trouble(s, vkd_ctx_error(s->ctx));
    return false;
}

/* A watcher's own frame is the same until something is new. */
void scene_live_update(scene *s) {
    if (s->now < s->live_due) return;
    s->live_due = s->now + (s->live ? LIVE_EVERY : LIVE_SEARCH);
    if (!s->live && !open_live(s)) return;
    const uint64_t sequence = s->frame ? s->frame->sequence : 0;
    const bool alive = s->frame && s->frame->alive, pending = s->frame && s->frame->pending;
    if (vkd_live_read(s->live, &s->frame)) {
        scene_trouble(s, vkd_ctx_error(s->ctx));
        return;
    }
    show(s);
    if (s->training && vkd_live_watch(s->live)) scene_trouble(s, vkd_ctx_error(s->ctx));
    if (s->frame->sequence == sequence && s->frame->alive == alive && s->frame->pending == pending)
        return;
    if (s->trouble[0]) scene_trouble(s, ""); /* what was wrong with it is over */
    s->changes++;
    s->answers++;
}
