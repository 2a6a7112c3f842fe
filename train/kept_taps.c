// SPDX-License-Identifier: Apache-2.0
/* A teacher's features that a stage compares, computed once for the samples that it draws from, and
 * kept on the device beside the logits: for a stage with teacher_logits: cached and no file. Tables
 * are called "data.kept.<stage>.<teacher>.<tap>", (end, width), row i being sample i. They are made
 * in steps of the stage's batch, so that they are what the live teacher would say, bit for bit. */
#include <stdio.h>
#include <string.h>

#include "train/session.h"

static void table_name(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                       const char *tap, char *out, size_t size) {
    snprintf(out, size, "data.kept.%s.%s.%s", p->stage->name,
             s->recipe->models[p->stage->teachers[teacher].model].name, tap);
}

enum { MOST_TAPS = VKD__MAX_TERMS * VKD__MAX_PAIRS };

/* The taps of a teacher that losses compare, each once, however many compare it. */
static uint32_t find_taps(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                          const char *taps[MOST_TAPS]) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->term_count; i++) {
        const vkd__term *t = &p->terms[i];
        for (uint32_t k = 0; k < t->tap_count && !(t->def->needs & VKD__LOSS_OWN_TAPS); k++) {
            const char *tap = vkd__tap_of_teacher(s, p, teacher, t->taps[k].teacher);
            bool known = !tap;
            for (uint32_t n = 0; n < count && !known; n++)
                known = !strcmp(taps[n], tap);
            if (!known) taps[count++] = tap;
        }
    }
    return count;
}

bool vkd__kept_taps_any(const vkd__session *s, const vkd__phase *p, uint32_t teacher) {
    const char *taps[MOST_TAPS];
    return find_taps(s, p, teacher, taps) > 0;
}

/* Rows of a table in place of the tap that the model has built. */
static void replace(vkd_graph *g, const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                    vkd_tensor indices, vkd__tap *tap) {
    char name[192];
    const vkd_shape shape = vkd_tensor_shape(g, tap->tensor);
    const uint32_t end = vkd__stage_order(s, p->stage).end;
    table_name(s, p, teacher, tap->name, name, sizeof name);
    if (shape.axes < 2 || shape.dim[0] != vkd_tensor_shape(g, indices).dim[0]) return;
    const uint32_t width = (uint32_t)(vkd_shape_count(shape) / shape.dim[0]);
    const vkd_tensor table = vkd_state(g, name, VKD_F32, VKD_SHAPE(end, width));
    tap->tensor = vkd_reshape(g, vkd_gather(g, table, indices), shape);
}

void vkd__kept_taps(vkd_graph *g, const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                    vkd_tensor indices, vkd_tensor logits, vkd__model_io *io) {
    const char *taps[MOST_TAPS];
    const uint32_t count = find_taps(s, p, teacher, taps);
    for (uint32_t i = 0; i < io->tap_count; i++) {
        if (!strcmp(io->taps[i].name, "logits")) {
            io->taps[i].tensor = logits;
            continue;
        }
        for (uint32_t n = 0; n < count; n++)
            if (!strcmp(taps[n], io->taps[i].name))
                replace(g, s, p, teacher, indices, &io->taps[i]);
    }
}

static vkd_result fill(vkd__session *s, const vkd__phase *p, uint32_t teacher, const char *tap) {
    const vkd__recipe_model *m = &s->recipe->models[p->stage->teachers[teacher].model];
    const vkd__order_desc order = vkd__stage_order(s, p->stage);
    char name[192];
    vkd__infer infer = {0};
    table_name(s, p, teacher, tap, name, sizeof name);
    if (!vkd_store_find(s->store, name, NULL)) return VKD_OK; /* logits have a table of their own */
    vkd_result r = vkd__infer_create_tap(s, m, m->name, tap, true, p->stage->options.batch, &infer);
    const size_t count = (size_t)order.end * infer.width;
    float *rows = r ? NULL : vkd__alloc(s->ctx, count, sizeof *rows);
    if (!r && !rows) r = VKD_E_MEMORY;
    infer.first = order.first;
    infer.count = order.end - order.first;
    if (!r) r = vkd__infer_run(&infer, rows + (size_t)order.first * infer.width);
    if (!r) r = vkd_store_write(s->store, name, rows, count * sizeof *rows);
    vkd__infer_destroy(&infer);
    vkd__free(s->ctx, rows);
    return r;
}

vkd_result vkd__kept_taps_fill(vkd__session *s, const vkd__phase *p, uint32_t teacher) {
    const char *taps[MOST_TAPS];
    const uint32_t count = find_taps(s, p, teacher, taps);
    vkd_result r = VKD_OK;
    for (uint32_t n = 0; n < count && !r; n++)
        r = fill(s, p, teacher, taps[n]);
    return r;
}
