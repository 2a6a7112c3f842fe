// SPDX-License-Identifier: Apache-2.0
/* Parts of a recipe as text, every default written out: pieces of vkd_recipe_print. */
#ifndef VKD_RECIPE_PRINT_H
#define VKD_RECIPE_PRINT_H

#include "train/recipe.h"

void vkd__print_options(vkd__text *t, const vkd_recipe *r);
void vkd__print_data(vkd__text *t, const vkd_recipe *r);
void vkd__print_model(vkd__text *t, const vkd__recipe_model *m);
void vkd__print_stage(vkd__text *t, const vkd_recipe *r, const vkd__recipe_stage *s);

#endif
