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

/* The next tap of a teacher that a loss compares, from *at on, which moves past it; NULL: no more.
 * One that two losses compare comes twice. */
static const char *next_tap(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                            uint32_t *at) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->term_count; i++) {
        if (p->terms[i].def->needs & VKD__LOSS_OWN_TAPS) continue;
        for (uint32_t k = 0; k < p->terms[i].tap_count; k++, n++) {
            if (n < *at) continue;
            const char *tap = vkd__tap_of_teacher(s, p, teacher, p->terms[i].taps[k].teacher);
            if (!tap) continue;
            *at = n + 1;
            return tap;
        }
    }
    return NULL;
}

bool vkd__kept_taps_any(const vkd__session *s, const vkd__phase *p, uint32_t teacher) {
    uint32_t at = 0;
    return next_tap(s, p, teacher, &at) != NULL;
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
    for (uint32_t i = 0; i < io->tap_count; i++) {
        uint32_t at = 0;
        const char *tap;
        if (!strcmp(io->taps[i].name, "logits")) io->taps[i].tensor = logits;
        while ((tap = next_tap(s, p, teacher, &at)) && strcmp(tap, io->taps[i].name) != 0) {
        }
        if (tap && strcmp(tap, "logits") != 0) replace(g, s, p, teacher, indices, &io->taps[i]);
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
    vkd_result r = VKD_OK;
    const char *tap;
    for (uint32_t at = 0; !r && (tap = next_tap(s, p, teacher, &at));)
        r = fill(s, p, teacher, tap);
    return r;
}
