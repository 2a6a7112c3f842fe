// SPDX-License-Identifier: Apache-2.0
/* What the readers of a recipe's sections share. */
#ifndef VKD_RECIPE_READ_H
#define VKD_RECIPE_READ_H

#include "train/recipe.h"
#include "train/tree.h"

typedef struct vkd__reader {
    vkd_ctx *ctx;
    vkd__arena *arena; /* the recipe's */
    vkd_recipe *recipe;
} vkd__reader;

/* A map's keys must be among `keys` (NULL-terminated) or the names of `fields`; else the message
 * names the nearest of them. `what` says whose key it is: "stage 'distil'". */
vkd_result vkd__read_keys(vkd__reader *r, const vkd__tree *map, const char *what,
                          const char *const *keys, const vkd__field *fields, size_t field_count);
/* Writes defaults, then every field that the map gives. map may be NULL. */
vkd_result vkd__read_fields(vkd__reader *r, const vkd__tree *map, const vkd__field *fields,
                            size_t field_count, void *config);
/* Both, into a new config: a definition's options. `keys` are the map's keys that are not options.
 */
vkd_result vkd__read_part(vkd__reader *r, const vkd__tree *map, const char *what,
                          const char *const *keys, const char *name, const vkd__field *fields,
                          size_t field_count, size_t config_size, vkd__part *out);
/* The scalar under a key. Absent: the preset, or a failure when that is NULL. */
vkd_result vkd__read_word(vkd__reader *r, const vkd__tree *map, const char *what, const char *key,
                          const char *preset, const char **out);
/* A number under a key, the preset when absent. */
vkd_result vkd__read_number(vkd__reader *r, const vkd__tree *map, const char *key, double low,
                            double high, float preset, float *out);
/* "there is no x 'name', did you mean b? (there is: a, b)", at the place of the map's key, which
 * may be a --set: names has count entries. */
vkd_result vkd__read_no_such(vkd__reader *r, const vkd__tree *map, const char *key,
                             const char *what, const char *name, const char *const *names,
                             size_t count);
/* The map or list under a key; NULL when absent. Fails when it is something else. */
vkd_result vkd__read_child(vkd__reader *r, const vkd__tree *map, const char *key,
                           vkd__tree_kind kind, bool required, const vkd__tree **out);
uint32_t vkd__tree_count(const vkd__tree *list);
/* A name that may stand in a file's and a tensor's name: letters, digits, '_' and '-'. */
vkd_result vkd__read_name(vkd__reader *r, const vkd__tree *node, const char *what,
                          const char *name);

/* The key `taps` of a loss: there for one on features, and for no other. `what` names the loss. */
vkd_result vkd__read_taps(vkd__reader *r, const vkd__tree *map, const char *what,
                          vkd__recipe_loss *loss);
/* The index of the model called so; else "there is no model", at the place of the map's key, or of
 * the node itself where key is NULL. */
vkd_result vkd__read_model_name(vkd__reader *r, const vkd__tree *node, const char *key,
                                const char *name, uint32_t *out);
/* A stage that labels, whole. */
vkd_result vkd__read_label(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s);
/* The key `data` of one that trains. */
vkd_result vkd__read_stage_data(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s);
/* The keys `teacher` and `teachers` of a stage. */
vkd_result vkd__read_teachers(vkd__reader *r, const vkd__tree *map, vkd__recipe_stage *s);
/* The key `ensembles` of the evaluation. */
vkd_result vkd__read_ensembles(vkd__reader *r, const vkd__tree *map);

/* A stage's augment, after its options and teachers: these are live where images change. */
vkd_result vkd__read_augment(vkd__reader *r, const vkd__tree *stage, vkd__recipe_stage *s);
vkd_result vkd__read_stages(vkd__reader *r, const vkd__tree *root);
vkd_result vkd__read_data(vkd__reader *r, const vkd__tree *root);
vkd_result vkd__read_models(vkd__reader *r, const vkd__tree *root);
vkd_result vkd__read_evaluation(vkd__reader *r, const vkd__tree *root);

#endif
