// SPDX-License-Identifier: Apache-2.0
/* What a trained model follows from, as a number: everything that can change its values, and
 * nothing else that stands in the recipe. Two runs whose models have the same number would train
 * the same model, so that one of them may take the other's.
 *
 * The number is the hash of a text: version and device, the recipe's options with the run's seed,
 * the data, and, as a recipe prints them, the model with its stages, the teachers and labelling
 * stages of these with theirs, and so on. Of a control it is its stage without all that a teacher
 * gives. */
#include <string.h>

#include "train/recipe_print.h"
#include "train/session.h"

/* ---- Which models and stages ---- */

typedef struct closure {
    const vkd_recipe *recipe;
    bool *models, *stages;
} closure;

/* The model as it is in front of stage `end`. Stages are marked once, so that the walk ends. */
static void mark(closure *c, uint32_t model, uint32_t end) {
    c->models[model] = true;
    for (uint32_t i = 0; i < end; i++) {
        const vkd__recipe_stage *s = &c->recipe->stages[i];
        if (s->model != model || c->stages[i]) continue;
        c->stages[i] = true;
        for (uint32_t k = 0; k < s->teacher_count; k++)
            mark(c, s->teachers[k].model, i);
        if (s->data.pseudo == VKD__NONE || c->stages[s->data.pseudo]) continue;
        c->stages[s->data.pseudo] = true;
        mark(c, c->recipe->stages[s->data.pseudo].teacher, s->data.pseudo);
    }
}

/* Whether nobody learns from the model before it is what it is in the end: else its file would be
 * of no use to them. */
static bool is_final(const vkd_recipe *r, uint32_t model) {
    bool taught = false;
    for (uint32_t i = 0; i < r->stage_count; i++) {
        if (r->stages[i].model == model && taught) return false;
        taught = taught || vkd__stage_taught_by(&r->stages[i], model);
    }
    return true;
}

/* ---- The text ---- */

static void add_surroundings(vkd__text *t, const vkd__session *s, uint64_t data_hash) {
    vkd_recipe own = *s->recipe;
    own.options.seed = s->seed;
    own.options.share_teacher = true;
    own.options.log_every = own.options.checkpoint_every = 1;
    vkd__text_add(t, "vkdistill %s on %s, data %llx\n", VKD_VERSION, vkd_device_name(s->device),
                  (unsigned long long)data_hash);
    vkd__print_options(t, &own);
    vkd__print_data(t, &own);
}

static void add_model(vkd__text *t, const vkd__session *s, closure *c, uint32_t model) {
    mark(c, model, s->recipe->stage_count);
    for (uint32_t i = 0; i < s->recipe->model_count; i++)
        if (c->models[i]) vkd__print_model(t, &s->recipe->models[i]);
    for (uint32_t i = 0; i < s->recipe->stage_count; i++) {
        vkd__recipe_stage stage = s->recipe->stages[i];
        stage.options.control = false;
        if (c->stages[i]) vkd__print_stage(t, s->recipe, &stage);
    }
}

/* The control's own terms, with its weights. */
static void add_control(vkd__text *t, const vkd__session *s, const vkd__phase *p,
                        vkd__recipe_loss *losses) {
    vkd__recipe_stage stage = *p->stage;
    stage.losses = losses;
    stage.loss_count = 0;
    for (uint32_t i = 0; i < p->stage->loss_count; i++) {
        if (vkd__loss_needs_teacher(p->stage->losses[i].def)) continue;
        losses[stage.loss_count] = p->stage->losses[i];
        losses[stage.loss_count].weight = p->terms[stage.loss_count].weight;
        losses[stage.loss_count].final_weight = p->terms[stage.loss_count].final_weight;
        stage.loss_count++;
    }
    stage.options.control = true;
    stage.teacher_count = 0;
    stage.data.pseudo = VKD__NONE;
    vkd__print_model(t, p->model);
    vkd__print_stage(t, s->recipe, &stage);
}

const char *vkd__provenance(vkd__session *s, const vkd__phase *p, uint64_t data_hash) {
    const vkd_recipe *r = s->recipe;
    closure c = {r, VKD_NEW(&s->arena, bool, r->model_count),
                 VKD_NEW(&s->arena, bool, r->stage_count)};
    vkd__recipe_loss *losses = VKD_NEW(&s->arena, vkd__recipe_loss, p->stage->loss_count + 1);
    vkd__text t = {.ctx = s->ctx};
    const char *out = NULL;
    if (!c.models || !c.stages || !losses) return NULL;
    if (!p->control && !is_final(r, p->stage->model)) return "";
    add_surroundings(&t, s, data_hash);
    if (p->control)
        add_control(&t, s, p, losses);
    else
        add_model(&t, s, &c, p->stage->model);
    if (!t.failed)
        out = vkd__arena_format(&s->arena, "%016llx",
                                (unsigned long long)vkd__hash(VKD__HASH_SEED, t.text, t.length));
    vkd__text_term(&t);
    return out;
}
