// SPDX-License-Identifier: Apache-2.0
/* A stage that labels samples with a teacher, and a stage that learns from them:
 *
 *   - {name: pseudo, label: {teacher: teacher, first: 3000, samples: 15000, threshold: 0.3}}
 *   - {name: student, train: student, data: {pseudo: pseudo, ratio: 1}, ...} */
#include <string.h>

#include "train/recipe_read.h"

static const vkd__field label_fields[] = {
    {.name = "first",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__pseudo_options, first),
     .low = 0,
     .high = 4294967294.0,
     .preset = "0",
     .help = "number of the first sample of the training split that is labelled"},
    {.name = "samples",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__pseudo_options, samples),
     .low = 0,
     .high = 4294967295.0,
     .preset = "0",
     .help = "how many are labelled; 0: all from the first on"},
    {.name = "labels",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd__pseudo_options, labels),
     .words = "soft|hard",
     .preset = "soft",
     .help = "soft: the teacher's distribution; hard: its most probable class"},
    {.name = "temperature",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd__pseudo_options, temperature),
     .low = 0.05,
     .high = 1000,
     .preset = "1",
     .help = "of soft labels; which samples are kept is decided at 1"},
    {.name = "threshold",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd__pseudo_options, threshold),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "keep samples whose most probable class has at least this probability"},
    {.name = "balance",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(vkd__pseudo_options, balance),
     .preset = "false",
     .help =
         "as many samples of each class: the most confident, or copies where there are too few"},
    {.name = "per_class",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__pseudo_options, per_class),
     .low = 0,
     .high = 1e8,
     .preset = "0",
     .help = "with balance: how many; 0: samples / classes"},
};

vkd__table vkd__label_fields(void) {
    return (vkd__table){label_fields, VKD_COUNT(label_fields)};
}

vkd_result vkd__read_label(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    static const char *const keys[] = {"name", "label", NULL}, *const own[] = {"teacher", NULL};
    const vkd__tree *label = NULL;
    vkd_result result = vkd__read_child(r, map, "label", VKD__TREE_MAP, true, &label);
    if (!result) result = vkd__read_word(r, map, "a stage that labels", "name", NULL, &s->name);
    if (!result) result = vkd__read_name(r, map, "stage", s->name);
    if (!result) result = vkd__read_keys(r, map, "a stage that labels", keys, NULL, 0);
    if (!result)
        result = vkd__read_keys(r, label, "label", own, label_fields, VKD_COUNT(label_fields));
    if (result) return result;
    s->label = VKD_NEW(r->arena, vkd__pseudo_options, 1);
    if (!s->label) return VKD_E_MEMORY;
    s->model = s->data.pseudo = VKD__NONE;
    result = vkd__read_fields(r, label, label_fields, VKD_COUNT(label_fields), s->label);
    if (!result) result = vkd__read_teachers(r, label, s);
    if (!result && !s->teacher_count)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: label needs a 'teacher'", label->where);
    if (!result && s->label->per_class && !s->label->balance)
        result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: per_class counts only with balance: true",
                           label->where);
    return result;
}

/* ---- The key `data` of a stage that trains ---- */

static const vkd__field data_fields[] = {
    {.name = "labelled",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(vkd__stage_data, labelled),
     .preset = "true",
     .help = "train on the stage's labelled samples, with its losses"},
    {.name = "ratio",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__stage_data, ratio),
     .low = 1,
     .high = 1024,
     .preset = "1",
     .help = "samples with a teacher's label for each labelled one, and the weight of their loss"},
};

vkd__table vkd__stage_data_fields(void) {
    return (vkd__table){data_fields, VKD_COUNT(data_fields)};
}

static vkd_result find_label(vkd__reader *r, const vkd__tree *map, const char *name,
                             vkd__recipe_stage *s) {
    const vkd_recipe *recipe = r->recipe;
    const char **names = VKD_NEW(r->arena, const char *, recipe->stage_count + 1);
    uint32_t count = 0;
    if (!names) return VKD_E_MEMORY;
    for (const vkd__recipe_stage *before = recipe->stages; before < s; before++) {
        if (!before->label) continue;
        if (!strcmp(before->name, name)) s->data.pseudo = (uint32_t)(before - recipe->stages);
        names[count++] = before->name;
    }
    if (s->data.pseudo != VKD__NONE) return VKD_OK;
    return vkd__read_no_such(r, map, "pseudo", "earlier stage that labels called", name, names,
                             count);
}

vkd_result vkd__read_stage_data(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    static const char *const keys[] = {"pseudo", NULL};
    const vkd__tree *data = NULL;
    const char *pseudo = NULL;
    s->data.pseudo = VKD__NONE;
    vkd_result result = vkd__read_child(r, map, "data", VKD__TREE_MAP, false, &data);
    if (!result) result = vkd__read_fields(r, data, data_fields, VKD_COUNT(data_fields), &s->data);
    if (result || !data) return result;
    result = vkd__read_keys(r, data, "data", keys, data_fields, VKD_COUNT(data_fields));
    if (!result) result = vkd__read_word(r, data, "data", "pseudo", NULL, &pseudo);
    if (!result) result = find_label(r, data, pseudo, s);
    if (!result && !s->data.labelled && s->data.ratio != 1)
        result = vkd__fail(r->ctx, VKD_E_RECIPE,
                           "%s: without labelled samples there is no ratio to them", data->where);
    return result;
}
