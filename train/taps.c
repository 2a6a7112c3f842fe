// SPDX-License-Identifier: Apache-2.0
/* The taps that a loss names, found in the models that a graph has built. The teacher's side may
 * begin with the teacher's name, as in "a:stage1.out"; without it the first teacher is meant. */
#include <stdio.h>
#include <string.h>

#include "train/session.h"

typedef struct side {
    const vkd__model_io *io;
    const char *model;
} side;

static vkd_result no_tap(vkd_ctx *ctx, const char *what, const side *s, const char *name) {
    const char *names[VKD__MAX_TAPS];
    vkd__text all = {.ctx = ctx};
    for (uint32_t i = 0; i < s->io->tap_count; i++) {
        names[i] = s->io->taps[i].name;
        vkd__text_add(&all, "%s%s", i ? ", " : "", names[i]);
    }
    const char *near = vkd__nearest(name, names, s->io->tap_count);
    const vkd_result r =
        all.failed ? VKD_E_MEMORY
                   : vkd__fail(ctx, VKD_E_RECIPE,
                               "%s: the model '%s' has no tap '%s'%s%s%s (it has: %.500s)", what,
                               s->model, name, near ? ", did you mean '" : "", near ? near : "",
                               near ? "'?" : "", all.text);
    vkd__text_term(&all);
    return r;
}

static vkd_result find(const vkd_graph *g, vkd_ctx *ctx, const char *what, const side *s,
                       const char *name, vkd_tensor *out) {
    *out = vkd__tap_find(s->io, name);
    if (!out->id) return no_tap(ctx, what, s, name);
    const vkd_shape shape = vkd_tensor_shape(g, *out);
    const vkd_shape rows = vkd_tensor_shape(g, vkd__tap_find(s->io, "logits"));
    if (shape.axes > 1 && shape.dim[0] == rows.dim[0]) return VKD_OK;
    return vkd__fail(ctx, VKD_E_RECIPE, "%s: the tap '%s' of '%s' does not have one part a sample",
                     what, name, s->model);
}

vkd_result vkd__tap_of(vkd_ctx *ctx, const vkd_graph *g, const char *what, const char *model,
                       const vkd__model_io *io, const char *name, vkd_tensor *out) {
    return find(g, ctx, what, &(side){io, model}, name, out);
}

/* Which teacher a tap is of, and the rest of its name. */
static vkd_result find_teacher(const vkd__session *s, const vkd__phase *p, const char *what,
                               const vkd__model_io *teachers, const char **name, side *out) {
    const char *colon = strchr(*name, ':');
    const size_t length = colon ? (size_t)(colon - *name) : 0;
    for (uint32_t k = 0; k < p->teacher_count; k++) {
        const char *model = s->recipe->models[p->stage->teachers[k].model].name;
        if (colon && (strncmp(model, *name, length) != 0 || model[length])) continue;
        *out = (side){&teachers[k], model};
        if (colon) *name = colon + 1;
        return VKD_OK;
    }
    return vkd__fail(s->ctx, VKD_E_RECIPE, "%s: the tap '%s' is of no teacher of this stage", what,
                     *name);
}

/* The teacher's half of a pair, and whether the loss can compare the two. */
static vkd_result find_partner(const vkd__session *s, const vkd__phase *p, const vkd__term *t,
                               vkd_graph *g, const char *what, const vkd__model_io *teachers,
                               vkd__tap_pair *pair) {
    const char *name = pair->teacher_name;
    char names[2][128];
    side teacher = {0};
    vkd_result r = find_teacher(s, p, what, teachers, &name, &teacher);
    if (!r) r = find(g, s->ctx, what, &teacher, name, &pair->teacher);
    if (r) return r;
    pair->teacher = vkd_stop_gradient(g, pair->teacher);
    snprintf(names[0], sizeof names[0], "'%s' of '%s'", pair->student_name, p->model->name);
    snprintf(names[1], sizeof names[1], "'%s' of '%s'", name, teacher.model);
    return vkd__loss_check_pair(s->ctx, t->def, t->config, what, names[0],
                                vkd_tensor_shape(g, pair->student), names[1],
                                vkd_tensor_shape(g, pair->teacher));
}

vkd_result vkd__taps_find(const vkd__session *s, const vkd__phase *p, const vkd__term *t,
                          vkd_graph *g, const vkd__model_io *student, const vkd__model_io *teachers,
                          uint32_t rows, vkd__tap_pair *out) {
    if (!t->tap_count) return VKD_OK;
    const side own = {student, p->model->name};
    vkd__text what = {.ctx = s->ctx};
    vkd__text_add(&what, "stage '%s', loss '%s'", p->stage->name, t->name);
    vkd_result r = what.failed ? VKD_E_MEMORY : vkd_graph_status(g);
    for (uint32_t i = 0; i < t->tap_count && !r; i++) {
        out[i] =
            (vkd__tap_pair){.student_name = t->taps[i].student, .teacher_name = t->taps[i].teacher};
        r = find(g, s->ctx, what.text, &own, t->taps[i].student, &out[i].student);
        if (!r && vkd_tensor_shape(g, out[i].student).dim[0] != rows)
            out[i].student = vkd_slice(g, out[i].student, 0, 0, rows);
        if (!r && !(t->def->needs & VKD__LOSS_OWN_TAPS))
            r = find_partner(s, p, t, g, what.text, teachers, &out[i]);
    }
    vkd__text_term(&what);
    return r;
}
