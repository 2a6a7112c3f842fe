// SPDX-License-Identifier: Apache-2.0
/* The section stages. */
#include <stdio.h>
#include <string.h>

#include "train/recipe_read.h"

static const vkd__field stage_fields[] = {
    {.name = "epochs",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, epochs),
     .low = 0,
     .high = 1e6,
     .preset = "0",
     .help = "passes over the training split; give this or steps"},
    {.name = "steps",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, steps),
     .low = 0,
     .high = 2147483647.0,
     .preset = "0",
     .help = "steps of the optimiser; give this or epochs"},
    {.name = "batch",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, batch),
     .low = 1,
     .high = 65535,
     .preset = "128",
     .help = "samples of one step; an epoch's last samples that fill no batch are left out of it"},
    {.name = "samples",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, samples),
     .low = 0,
     .high = 4294967295.0,
     .preset = "0",
     .help = "train on so many samples of the training split only; 0: all"},
    {.name = "first",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, first),
     .low = 0,
     .high = 4294967295.0,
     .preset = "0",
     .help = "begin with this sample of the training split, so that stages can have parts of it"},
    {.name = "control",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(vkd__stage_options, control),
     .preset = "false",
     .help = "train the model once more, by this stage alone and without the teacher: from its own "
             "start values, in the same order"},
    {.name = "teacher_logits",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd__stage_options, teacher_logits),
     .preset = "cached",
     .words = "cached|live",
     .help = "cached: computed once for every sample, features too; live: in every step, as "
             "augmented images need; the default there and for losses on features"},
    {.name = "combine",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd__stage_options, combine),
     .preset = "probabilities",
     .words = "probabilities|logits",
     .help = "what several teachers say together: the mean of their probabilities, at each loss's "
             "temperature, or of their logits"},
    {.name = "ema",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd__stage_options, ema),
     .low = 0,
     .high = 0.999999,
     .preset = "0",
     .help = "decay of a moving average of the parameters, which is evaluated and which the model "
             "becomes at the stage's end; 0: none"},
    {.name = "classes",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(vkd__stage_options, classes),
     .low = 0,
     .high = 199999,
     .preset = "[]",
     .help = "the only classes whose samples the stage sees; []: all"},
    {.name = "omit_classes",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(vkd__stage_options, omit_classes),
     .low = 0,
     .high = 199999,
     .preset = "[]",
     .help = "classes whose samples the stage never sees"},
    {.name = "sampler",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd__stage_options, sampler),
     .preset = "shuffle",
     .words = "shuffle|classes",
     .help = "shuffle: an epoch is a permutation of the samples; classes: each batch has per_class "
             "samples of each of batch / per_class classes, which are drawn"},
    {.name = "per_class",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_options, per_class),
     .low = 1,
     .high = 65535,
     .preset = "2",
     .help = "with sampler classes: samples of a class in a batch, which they must divide"},
};

vkd__table vkd__stage_fields(void) {
    return (vkd__table){stage_fields, VKD_COUNT(stage_fields)};
}

/* Each of the next three reads a map whose one word names a definition of a register. */

static vkd_result read_loss(vkd__reader *r, const vkd__tree *map, vkd__recipe_loss *out) {
    static const char *const keys[] = {"loss", "name", "weight", "final_weight", "taps", NULL};
    const char *name = NULL;
    if (map->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a loss must be a map, such as {loss: ce}",
                         map->where);
    vkd_result result = vkd__read_word(r, map, "a loss", "loss", NULL, &name);
    if (!result) result = vkd__read_word(r, map, "a loss", "name", name, &out->name);
    if (!result) result = vkd__read_name(r, map, "loss", out->name);
    if (!result) result = vkd__read_number(r, map, "weight", 0, 1e9, 1, &out->weight);
    if (!result)
        result = vkd__read_number(r, map, "final_weight", 0, 1e9, out->weight, &out->final_weight);
    if (result) return result;
    out->def = vkd__loss_find(name);
    if (!out->def) {
        const char *names[64];
        size_t count = 0;
        for (; count < vkd__loss_count && count < VKD_COUNT(names); count++)
            names[count] = vkd__losses[count]->name;
        return vkd__read_no_such(r, map, "loss", "loss", name, names, count);
    }
    const char *what = vkd__arena_format(r->arena, "loss '%s'", name);
    if (!what) return VKD_E_MEMORY;
    result = vkd__read_part(r, map, what, keys, name, out->def->fields, out->def->field_count,
                            out->def->config_size, &out->part);
    return result ? result : vkd__read_taps(r, map, what, out);
}

static vkd_result read_optimiser(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    static const char *const keys[] = {"name", NULL};
    const vkd__tree *child = NULL;
    const char *name = NULL;
    vkd_result result = vkd__read_child(r, map, "optimiser", VKD__TREE_MAP, true, &child);
    if (!result) result = vkd__read_word(r, child, "optimiser", "name", NULL, &name);
    if (result) return result;
    s->optimiser = vkd__optimiser_find(name);
    if (!s->optimiser) {
        const char *names[32];
        size_t count = 0;
        for (; count < vkd__optimiser_count && count < VKD_COUNT(names); count++)
            names[count] = vkd__optimisers[count]->name;
        return vkd__read_no_such(r, child, "name", "optimiser", name, names, count);
    }
    const vkd__optimiser_def *d = s->optimiser;
    return vkd__read_part(r, child, "optimiser", keys, name, d->fields, d->field_count,
                          d->config_size, &s->optimiser_part);
}

static vkd_result read_schedule(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    static const char *const keys[] = {"name", "warmup", NULL};
    static const vkd__field warmup = {
        .name = "warmup", .type = VKD__FIELD_U32, .low = 0, .high = 1e9, .preset = "0"};
    const vkd__tree *child = NULL;
    const char *name = NULL;
    vkd_result result = vkd__read_child(r, map, "schedule", VKD__TREE_MAP, false, &child);
    if (!result) result = vkd__read_word(r, child, "schedule", "name", "constant", &name);
    if (result) return result;
    s->schedule = vkd__schedule_find(name);
    if (!s->schedule) {
        const char *names[32];
        size_t count = 0;
        for (; count < vkd__schedule_count && count < VKD_COUNT(names); count++)
            names[count] = vkd__schedules[count]->name;
        return vkd__read_no_such(r, child, "name", "schedule", name, names, count);
    }
    const vkd__schedule_def *d = s->schedule;
    result = vkd__read_part(r, child, "schedule", keys, name, d->fields, d->field_count,
                            d->config_size, &s->schedule_part);
    if (!result) result = vkd__read_fields(r, child, &warmup, 1, &s->warmup);
    return result;
}

/* ---- One stage ---- */

static vkd_result read_losses(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    const vkd__tree *list = NULL;
    vkd_result result = vkd__read_child(r, map, "losses", VKD__TREE_LIST, s->data.labelled, &list);
    if (result) return result;
    if (!s->data.labelled && list)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: the losses of stage '%s' are for labelled samples, and it has none",
                         list->where, s->name);
    if (!list) return VKD_OK;
    const uint32_t count = vkd__tree_count(list);
    if (!count)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: stage '%s' has no losses", list->where,
                         s->name);
    s->losses = VKD_NEW(r->arena, vkd__recipe_loss, count);
    if (!s->losses) return VKD_E_MEMORY;
    for (const vkd__tree *l = list->first; l; l = l->next) {
        vkd__recipe_loss *loss = &s->losses[s->loss_count];
        result = read_loss(r, l, loss);
        if (result) return result;
        for (uint32_t i = 0; i < s->loss_count; i++)
            if (!strcmp(s->losses[i].name, loss->name))
                return vkd__fail(r->ctx, VKD_E_RECIPE,
                                 "%s: two losses of stage '%s' are called '%s'; give one a 'name'",
                                 l->where, s->name, loss->name);
        if (vkd__loss_needs_teacher(loss->def) && s->teacher == VKD__NONE)
            return vkd__fail(r->ctx, VKD_E_RECIPE,
                             "%s: the loss '%s' needs a teacher, and stage '%s' names none",
                             l->where, loss->name, s->name);
        s->loss_count++;
    }
    return VKD_OK;
}

/* Features are made in every step, unless a file has them or the recipe wants tables of them. */
static vkd_result choose_logits(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    const vkd__tree *asked = vkd__tree_find(map, "teacher_logits");
    uint32_t files = 0;
    for (uint32_t k = 0; k < s->teacher_count; k++)
        files += s->teachers[k].cache != NULL;
    if (files && files == s->teacher_count) {
        if (!asked || s->options.teacher_logits == VKD__LOGITS_CACHED) return VKD_OK;
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: what the teachers of stage '%s' say is read from files; leave "
                         "teacher_logits out",
                         asked->where, s->name);
    }
    for (uint32_t i = 0; i < s->loss_count; i++) {
        const uint32_t needs = s->losses[i].def->needs;
        if (!(needs & VKD__LOSS_TAPS) || (needs & VKD__LOSS_OWN_TAPS)) continue;
        if (!asked) s->options.teacher_logits = VKD__LOGITS_LIVE;
    }
    return VKD_OK;
}

/* Whether a model has values that mean something when the stage starts. */
static bool is_ready(const vkd_recipe *recipe, const vkd__recipe_stage *s, uint32_t model) {
    bool ready = recipe->models[model].load != NULL;
    for (const vkd__recipe_stage *before = recipe->stages; before < s; before++)
        ready = ready || before->model == model;
    return ready;
}

static vkd_result check_names(vkd__reader *r, const vkd__tree *map, const vkd__recipe_stage *s) {
    for (const vkd__recipe_stage *before = r->recipe->stages; before < s; before++)
        if (!strcmp(before->name, s->name))
            return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: two stages are called '%s'", map->where,
                             s->name);
    return VKD_OK;
}

static vkd_result check_teachers(vkd__reader *r, const vkd__tree *map, const vkd__recipe_stage *s) {
    const vkd_recipe *recipe = r->recipe;
    for (uint32_t i = 0; i < s->teacher_count; i++) {
        const uint32_t teacher = s->teachers[i].model;
        const char *name = recipe->models[teacher].name;
        if (teacher == s->model)
            return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' cannot be its own teacher", map->where,
                             name);
        if (!is_ready(recipe, s, teacher))
            return vkd__fail(
                r->ctx, VKD_E_RECIPE,
                "%s: the teacher '%s' is neither loaded nor trained by an earlier stage",
                map->where, name);
    }
    return VKD_OK;
}

/* The group of the averaged parameters needs a name of its own. */
static vkd_result check_average(vkd__reader *r, const vkd__tree *map, const vkd__recipe_stage *s) {
    const vkd_recipe *recipe = r->recipe;
    static const char *const forms[] = {"%s_ema", "%s_control_ema"};
    for (int i = 0; i < 1 + s->options.control && s->options.ema > 0; i++) {
        const char *name = vkd__arena_format(r->arena, forms[i], recipe->models[s->model].name);
        if (!name) return VKD_E_MEMORY;
        if (vkd__recipe_model_index(recipe, name) != VKD__NONE)
            return vkd__fail(r->ctx, VKD_E_RECIPE,
                             "%s: the average of '%s' needs the name of the model '%s'", map->where,
                             recipe->models[s->model].name, name);
    }
    return VKD_OK;
}

/* A model has one control at most, and nothing else goes by its name. */
static vkd_result check_control(vkd__reader *r, const vkd__tree *map, const vkd__recipe_stage *s) {
    const vkd_recipe *recipe = r->recipe;
    if (!s->options.control) return VKD_OK;
    const char *model = recipe->models[s->model].name;
    for (const vkd__recipe_stage *before = recipe->stages; before < s; before++)
        if (before->model == s->model && before->options.control)
            return vkd__fail(r->ctx, VKD_E_RECIPE,
                             "%s: stage '%s' asks for a control of '%s', which stage '%s' has "
                             "already",
                             map->where, s->name, model, before->name);
    if (!s->data.labelled)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: a control has no labels of a teacher, and stage '%s' has no others",
                         map->where, s->name);
    const char *name = vkd__arena_format(r->arena, "%s_control", model);
    if (!name) return VKD_E_MEMORY;
    if (vkd__recipe_model_index(recipe, name) == VKD__NONE) return VKD_OK;
    return vkd__fail(r->ctx, VKD_E_RECIPE,
                     "%s: the control of '%s' needs the name of the model '%s'", map->where, model,
                     name);
}

static vkd_result read_training(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    static const char *const keys[] = {"name",      "train",    "teacher", "teachers",
                                       "data",      "augment",  "losses",  "teacher_cache",
                                       "optimiser", "schedule", NULL};
    const char *train = NULL;
    vkd_result result = vkd__read_word(r, map, "a stage", "train", NULL, &train);
    if (!result) result = vkd__read_word(r, map, "a stage", "name", train, &s->name);
    if (!result) result = vkd__read_name(r, map, "stage", s->name);
    if (result) return result;
    const char *what = vkd__arena_format(r->arena, "stage '%s'", s->name);
    if (!what) return VKD_E_MEMORY;
    result = vkd__read_keys(r, map, what, keys, stage_fields, VKD_COUNT(stage_fields));
    if (!result)
        result = vkd__read_fields(r, map, stage_fields, VKD_COUNT(stage_fields), &s->options);
    if (!result) result = vkd__read_model_name(r, map, "train", train, &s->model);
    if (!result) result = vkd__read_teachers(r, map, s);
    if (!result) result = vkd__read_stage_data(r, map, s);
    if (!result) result = vkd__read_augment(r, map, s);
    if (!result) result = read_losses(r, map, s);
    if (!result) result = choose_logits(r, map, s);
    if (!result) result = read_optimiser(r, map, s);
    if (!result) result = read_schedule(r, map, s);
    if (!result && !s->options.epochs == !s->options.steps)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s needs either epochs or steps, and has %s",
                           map->where, what, s->options.epochs ? "both" : "none of them");
    const vkd__stage_options *o = &s->options;
    if (!result && o->sampler == VKD__SAMPLER_CLASSES && o->batch % o->per_class)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s: per_class %u does not divide batch %u",
                           map->where, what, (unsigned)o->per_class, (unsigned)o->batch);
    if (!result) result = check_control(r, map, s);
    if (!result) result = check_average(r, map, s);
    return result;
}

static vkd_result read_stage(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    if (map->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a stage must be a map of keys and values",
                         map->where);
    vkd_result result =
        vkd__tree_find(map, "label") ? vkd__read_label(r, map, s) : read_training(r, map, s);
    if (!result) result = check_names(r, map, s);
    if (!result) result = check_teachers(r, map, s);
    return result;
}

vkd_result vkd__read_stages(vkd__reader *r, const vkd__tree *root) {
    const vkd__tree *list = NULL;
    vkd_result result = vkd__read_child(r, root, "stages", VKD__TREE_LIST, true, &list);
    if (result) return result;
    const uint32_t count = vkd__tree_count(list);
    if (!count) return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: 'stages' is empty", list->where);
    r->recipe->stages = VKD_NEW(r->arena, vkd__recipe_stage, count);
    if (!r->recipe->stages) return VKD_E_MEMORY;
    for (const vkd__tree *s = list->first; s && !result; s = s->next) {
        result = read_stage(r, s, &r->recipe->stages[r->recipe->stage_count]);
        r->recipe->stage_count++;
    }
    return result;
}
