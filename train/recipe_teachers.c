// SPDX-License-Identifier: Apache-2.0
/* Who teaches a stage:
 *
 *   teacher: a
 *   teachers: [a, b]
 *   teachers: [{model: a, weight: 2}, {model: b, weight: 1, cache: b.safetensors}]
 *
 * Weights are shares of their sum; the default is 1 each. A cache holds a teacher's outputs, which
 * are then read in place of being computed; with `teacher` it is the stage's `teacher_cache`. */
#include "train/recipe_read.h"

static vkd_result read_teacher(vkd__reader *r, const vkd__tree *item, const char *what,
                               vkd__recipe_teacher *out) {
    static const char *const keys[] = {"model", "weight", "cache", NULL};
    const char *name = item->text;
    out->weight = 1;
    if (item->kind == VKD__TREE_TEXT) return vkd__read_model_name(r, item, NULL, name, &out->model);
    if (item->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: a teacher must be a name or {model: NAME, weight: W}", item->where);
    vkd_result result = vkd__read_keys(r, item, what, keys, NULL, 0);
    if (!result) result = vkd__read_word(r, item, what, "model", NULL, &name);
    if (!result) result = vkd__read_model_name(r, item, "model", name, &out->model);
    if (!result) result = vkd__read_number(r, item, "weight", 1e-6, 1e6, 1, &out->weight);
    if (!result && vkd__tree_find(item, "cache"))
        result = vkd__read_word(r, item, what, "cache", NULL, &out->cache);
    return result;
}

static vkd_result read_list(vkd__reader *r, const vkd__tree *list, vkd__recipe_stage *s) {
    const uint32_t count = vkd__tree_count(list);
    const char *what = vkd__arena_format(r->arena, "a teacher of stage '%s'", s->name);
    vkd_result result = what ? VKD_OK : VKD_E_MEMORY;
    if (!result && (!count || count > VKD__MAX_TEACHERS))
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: stage '%s' has %u teachers, it may have 1 to %d", list->where,
                         s->name, (unsigned)count, VKD__MAX_TEACHERS);
    for (const vkd__tree *item = list->first; item && !result; item = item->next) {
        vkd__recipe_teacher *t = &s->teachers[s->teacher_count];
        result = read_teacher(r, item, what, t);
        if (!result && vkd__stage_taught_by(s, t->model))
            result = vkd__fail(r->ctx, VKD_E_RECIPE, "%s: stage '%s' has the teacher '%s' twice",
                               item->where, s->name, r->recipe->models[t->model].name);
        s->teacher_count++;
    }
    return result;
}

vkd_result vkd__read_teachers(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s) {
    const vkd__tree *list = NULL;
    const char *one = NULL;
    vkd_result result = vkd__read_word(r, map, "a stage", "teacher", "", &one);
    if (!result) result = vkd__read_child(r, map, "teachers", VKD__TREE_LIST, false, &list);
    if (result) return result;
    if (*one && list)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: stage '%s' has both 'teacher' and 'teachers'",
                         list->where, s->name);
    if (list) {
        result = read_list(r, list, s);
    } else if (*one) {
        s->teachers[0].weight = 1;
        result = vkd__read_model_name(r, map, "teacher", one, &s->teachers[0].model);
        s->teacher_count = 1;
    }
    if (!result && vkd__tree_find(map, "teacher_cache")) {
        if (!*one)
            return vkd__fail(r->ctx, VKD_E_RECIPE,
                             "%s: stage '%s' has a teacher_cache, but no 'teacher'; one of several "
                             "teachers has its own 'cache'",
                             vkd__tree_find(map, "teacher_cache")->where, s->name);
        result = vkd__read_word(r, map, "a stage", "teacher_cache", NULL, &s->teachers[0].cache);
    }
    s->teacher = s->teacher_count ? s->teachers[0].model : VKD__NONE;
    return result;
}

float vkd__teacher_share(const vkd__recipe_stage *s, uint32_t teacher) {
    double sum = 0;
    for (uint32_t i = 0; i < s->teacher_count; i++)
        sum += (double)s->teachers[i].weight;
    return (float)((double)s->teachers[teacher].weight / sum);
}

bool vkd__stage_taught_by(const vkd__recipe_stage *s, uint32_t model) {
    for (uint32_t i = 0; i < s->teacher_count; i++)
        if (s->teachers[i].model == model) return true;
    return false;
}
