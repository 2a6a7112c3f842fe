// SPDX-License-Identifier: Apache-2.0
#include "train/recipe.h"

#include <string.h>

#include "base/platform.h"
#include "train/recipe_read.h"

static const vkd__field recipe_fields[] = {
    {.name = "seed",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__recipe_options, seed),
     .low = 0,
     .high = 4294967295.0,
     .preset = "1",
     .help = "of start values, dropout, augmentation and the order of samples"},
    {.name = "share_teacher",
     .type = VKD__FIELD_BOOL,
     .offset = offsetof(vkd__recipe_options, share_teacher),
     .preset = "true",
     .help = "with --seeds: train models that teach once, with the first seed"},
    {.name = "log_every",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__recipe_options, log_every),
     .low = 1,
     .high = 1e9,
     .preset = "50",
     .help = "steps from one row of metrics.jsonl to the next"},
    {.name = "checkpoint_every",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__recipe_options, checkpoint_every),
     .low = 0,
     .high = 1e9,
     .preset = "1000",
     .help = "steps from one checkpoint to the next; 0: only at the ends of stages"},
    {.name = "precision",
     .type = VKD__FIELD_ENUM,
     .offset = offsetof(vkd__recipe_options, precision),
     .words = "f32|mixed|mixed_bf16",
     .preset = "f32",
     .help =
         "of training: mixed gives products and activations f16, mixed_bf16 bf16; sums, losses, "
         "parameters, optimiser and convolutions stay f32"},
    {.name = "loss_scale",
     .type = VKD__FIELD_F32,
     .offset = offsetof(vkd__recipe_options, loss_scale),
     .low = 1,
     .high = 16777216,
     .preset = "65536",
     .help = "with precision mixed: what the loss is multiplied with at first"},
    {.name = "loss_scale_growth",
     .type = VKD__FIELD_U32,
     .offset = offsetof(vkd__recipe_options, loss_scale_growth),
     .low = 1,
     .high = 1e9,
     .preset = "2000",
     .help = "with precision mixed: steps without overflow after which the scale is doubled"},
};

vkd__table vkd__recipe_fields(void) {
    return (vkd__table){recipe_fields, VKD_COUNT(recipe_fields)};
}

static vkd_result read_recipe(vkd__reader *r, const vkd__tree *root) {
    static const char *const keys[] = {"name", "data", "models", "stages", "evaluation", NULL};
    if (root->kind != VKD__TREE_MAP)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: a recipe must be a map of keys and values",
                         root->where);
    vkd_recipe *recipe = r->recipe;
    vkd_result result =
        vkd__read_keys(r, root, "a recipe", keys, recipe_fields, VKD_COUNT(recipe_fields));
    if (!result)
        result =
            vkd__read_fields(r, root, recipe_fields, VKD_COUNT(recipe_fields), &recipe->options);
    if (!result) result = vkd__read_word(r, root, "a recipe", "name", NULL, &recipe->name);
    if (!result) result = vkd__read_name(r, root, "recipe", recipe->name);
    if (!result) result = vkd__read_data(r, root);
    if (!result) result = vkd__read_models(r, root);
    if (!result) result = vkd__read_stages(r, root);
    if (!result) result = vkd__read_evaluation(r, root);
    return result;
}

vkd_result vkd_recipe_parse(vkd_ctx *ctx, const char *name, const char *text, size_t size,
                            const char *const *sets, size_t set_count, vkd_recipe **out) {
    *out = NULL;
    vkd_recipe *recipe = vkd__alloc(ctx, 1, sizeof *recipe);
    if (!recipe) return VKD_E_MEMORY;
    recipe->ctx = ctx;
    recipe->arena.ctx = ctx;
    vkd__reader reader = {ctx, &recipe->arena, recipe};
    vkd__tree *root = NULL;
    vkd_result r = vkd__tree_parse(&recipe->arena, name, text, size, &root);
    for (size_t i = 0; i < set_count && !r; i++)
        r = vkd__tree_set(&recipe->arena, root, sets[i]);
    if (!r) r = read_recipe(&reader, root);
    if (r) {
        vkd_recipe_destroy(recipe);
        return r;
    }
    *out = recipe;
    return VKD_OK;
}

vkd_result vkd_recipe_load(vkd_ctx *ctx, const char *path, const char *const *sets,
                           size_t set_count, vkd_recipe **out) {
    *out = NULL;
    vkd__mapping file = {0};
    vkd_result r = vkd__map_file(ctx, path, &file);
    if (r) return r;
    r = vkd_recipe_parse(ctx, path, (const char *)file.bytes, file.size, sets, set_count, out);
    vkd__unmap_file(&file);
    return r;
}

void vkd_recipe_destroy(vkd_recipe *recipe) {
    if (!recipe) return;
    vkd__arena_term(&recipe->arena);
    vkd__free(recipe->ctx, recipe);
}

vkd_result vkd__recipe_load_data(vkd_ctx *ctx, const vkd_recipe *recipe, vkd__dataset *out) {
    const vkd__recipe_data *d = &recipe->data;
    return vkd__dataset_load(ctx, d->def, d->part.config, &d->options, out);
}

const char *vkd_recipe_name(const vkd_recipe *recipe) {
    return recipe->name;
}
