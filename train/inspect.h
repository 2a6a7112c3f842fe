// SPDX-License-Identifier: Apache-2.0
/* A run's folder, opened for looking.
 *
 *   inspect.c         folder, seeds, data
 *   inspect_models.c  models, and where their parameters are by now
 *   inspect_stages.c  what trains them
 *   predictor.c       what they say */
#ifndef VKD_INSPECT_H
#define VKD_INSPECT_H

#include "base/platform.h"
#include "train/session.h"
#include "vkdistill/inspect.h"

/* What is known of a model beside what is shown of it. */
typedef struct vkd__inspect_entry {
    const vkd__recipe_model *model;
    uint32_t first, last; /* phases that train it; VKD__NONE: none does */
    const char *file;     /* its own in the folder, there or not */
    const char *shared;   /* the first seed's, where that trained it; or NULL */
    const char *average;  /* group of its moving average, where the checkpoint has one; or NULL */
} vkd__inspect_entry;

struct vkd_inspect {
    vkd_ctx *ctx;
    vkd__arena arena;
    vkd_recipe *recipe;
    vkd__dataset data;    /* of the training split no more than it must have */
    vkd__session outline; /* phases, normalisation; nothing else of a session is there */
    const char *recipe_path, *checkpoint_path;
    vkd__stamp recipe_stamp, checkpoint_stamp;
    uint64_t hash;       /* of recipe.yaml */
    bool placed;         /* there is a checkpoint of this recipe: */
    vkd__standing place; /* where it stands */
    vkd_inspect_info info;
    vkd_inspect_model *models;   /* those of info */
    vkd__inspect_entry *entries; /* (info.model_count) */
};

/* Fills info's models. Errors: VKD_E_MEMORY, and those of building a model. */
vkd_result vkd__inspect_models(vkd_inspect *i);
/* Looks where the parameters are now; *changed says whether some are elsewhere, or others. */
vkd_result vkd__inspect_find(vkd_inspect *i, bool *changed);
/* The number of a group, or VKD__NONE. */
uint32_t vkd__inspect_index(const vkd_inspect *i, const char *group);

/* Fills info's stages, after the models. Errors: VKD_E_MEMORY. */
vkd_result vkd__inspect_stages(vkd_inspect *i);

#endif
