// SPDX-License-Identifier: Apache-2.0
/* Reading a saved model without the recipe that made it, for eval and infer. */
#ifndef VKD_MODEL_FILE_H
#define VKD_MODEL_FILE_H

#include "data/safetensors.h"
#include "models/model.h"

/* Version 1 laid samples out as planes, (C, H, W), and grey ones as (H, W). */
#define VKD__MODEL_FORMAT "vkdistill model 2"
#define VKD__MODEL_FORMAT_PLANES "vkdistill model 1"

#define VKD__MODEL_PAIRS 64 /* most entries of a model file's metadata */

typedef struct vkd__saved_model {
    const vkd__model_def *def;
    void *config; /* to be freed with vkd__free */
    vkd__embedding embedding;
    uint32_t classes;
    char **class_names;   /* (classes), or NULL */
    vkd_shape sample;     /* of the input, without the batch */
    vkd_batch_desc batch; /* how bytes become the input */
} vkd__saved_model;

/* Reads the metadata. Errors: VKD_E_FILE, VKD_E_FORMAT: not such a file, or damaged. */
vkd_result vkd__saved_model_open(vkd_ctx *ctx, const char *path, vkd__saved_model *out);
void vkd__saved_model_term(vkd_ctx *ctx, vkd__saved_model *m);
/* Fails for a file whose parameters expect samples of another layout. One without such metadata,
 * from another tool, is taken as it is. Errors: VKD_E_FORMAT. */
vkd_result vkd__model_check_layout(vkd_ctx *ctx, const char *path, const vkd__st_file *file);
/* Writes the file's tensors over the group's parameters and buffers, which a graph must have made
 * before. The file may be of this program or of any other that names them so: what it has besides
 * is then left out, with a warning. class_names are the data's, (classes), or NULL. (model_load.c)
 * Errors: VKD_E_SHAPE: another architecture, class count or order of classes; VKD_E_DATA: tensors
 * that are not F32; VKD_E_FILE, VKD_E_FORMAT. */
vkd_result vkd__model_load(vkd_ctx *ctx, vkd_store *store, const char *group, const char *path,
                           uint32_t classes, char *const *class_names);

/* ---- class_names.c ---- */
/* The names in a file's metadata, NULL when it has none; freed with the next function.
 * Errors: VKD_E_FORMAT, VKD_E_MEMORY. */
vkd_result vkd__class_names_read(vkd_ctx *ctx, const vkd__st_file *file, const char *path,
                                 uint32_t classes, char ***out);
void vkd__class_names_free(vkd_ctx *ctx, char **names, uint32_t classes);
/* Fails with VKD_E_SHAPE when a class of the file has another number in the data, and warns of one
 * that the data calls otherwise. Either side may be NULL, which says nothing. */
vkd_result vkd__class_names_agree(vkd_ctx *ctx, const char *path, char *const *file,
                                  char *const *data, uint32_t classes);

#endif
