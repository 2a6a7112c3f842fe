// SPDX-License-Identifier: Apache-2.0
/* Ensembles of the evaluation:
 *
 *   ensembles: [{name: ensemble3, models: [gen1, gen2, gen3]}] */
#include <string.h>

#include "train/recipe_read.h"

/* Whether the model has values that mean something when all is trained. */
static bool is_made(const vkd_recipe *recipe, uint32_t model) {
    bool made = recipe->models[model].load != NULL;
    for (uint32_t i = 0; i < recipe->stage_count; i++)
        made = made || recipe->stages[i].model == model;
    return made;
}

static vkd_result read_member(vkd__reader *r, const vkd__tree *item, vkd__ensemble *e) {
    uint32_t *index = &e->models[e->count];
    if (item->kind != VKD__TREE_TEXT)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: ensemble '%s' wants names of models",
                         item->where, e->name);
    const vkd_result result = vkd__read_model_name(r, item, NULL, item->text, index);
    if (result) return result;
    for (uint32_t i = 0; i < e->count; i++)
        if (e->models[i] == *index)
            return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: ensemble '%s' has '%s' twice", item->where,
                             e->name, item->text);
    if (!is_made(r->recipe, *index))
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: ensemble '%s' has '%s', which no stage trains and no file gives",
                         item->where, e->name, item->text);
    e->count++;
    return VKD_OK;
}

static vkd_result check_name(vkd__reader *r, const vkd__tree *map, const vkd__ensemble *e) {
    const vkd_recipe *recipe = r->recipe;
    bool taken = false;
    for (uint32_t i = 0; i < recipe->model_count; i++)
        taken = taken || !strcmp(recipe->models[i].name, e->name);
    for (const vkd__ensemble *other = recipe->evaluation.ensembles; other < e; other++)
        taken = taken || !strcmp(other->name, e->name);
    if (!taken) return VKD_OK;
    return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: the name '%s' is a model's or another ensemble's",
                     map->where, e->name);
}

static vkd_result read_ensemble(vkd__reader *r, const vkd__tree *map, vkd__ensemble *e) {
    static const char *const keys[] = {"name", "models", NULL};
    const vkd__tree *list = NULL;
    if (map->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: an ensemble must be a map, such as {name: both, models: [a, b]}",
                         map->where);
    vkd_result result = vkd__read_keys(r, map, "an ensemble", keys, NULL, 0);
    if (!result) result = vkd__read_word(r, map, "an ensemble", "name", NULL, &e->name);
    if (!result) result = vkd__read_name(r, map, "ensemble", e->name);
    if (!result) result = check_name(r, map, e);
    if (!result) result = vkd__read_child(r, map, "models", VKD__TREE_LIST, true, &list);
    if (result) return result;
    const uint32_t count = vkd__tree_count(list);
    if (count < 2)
        return vkd__fail(r->ctx, VKD_E_RECIPE,
                         "%s: ensemble '%s' has %u models, it wants 2 or more", list->where,
                         e->name, (unsigned)count);
    e->models = VKD_NEW(r->arena, uint32_t, count);
    if (!e->models) return VKD_E_MEMORY;
    for (const vkd__tree *item = list->first; item && !result; item = item->next)
        result = read_member(r, item, e);
    return result;
}

vkd_result vkd__read_ensembles(vkd__reader *r, const vkd__tree *map) {
    vkd__evaluation *e = &r->recipe->evaluation;
    const vkd__tree *list = NULL;
    vkd_result result = vkd__read_child(r, map, "ensembles", VKD__TREE_LIST, false, &list);
    if (result || !list || !list->first) return result;
    e->ensembles = VKD_NEW(r->arena, vkd__ensemble, vkd__tree_count(list));
    if (!e->ensembles) return VKD_E_MEMORY;
    for (const vkd__tree *item = list->first; item && !result; item = item->next)
        result = read_ensemble(r, item, &e->ensembles[e->ensemble_count++]);
    return result;
}
