// SPDX-License-Identifier: Apache-2.0
/* What a teacher says of every sample of a training split, kept in a safetensors file, so that a
 * stage needs no forward pass of the teacher: its logits, or the log probabilities of its k most
 * likely classes and of the rest together, and chosen taps. f32 or f16.
 *
 * A cache knows what it was made for: hashes of the teacher's values and of the data, the
 * augmentation, k and the temperature. A stage that would read it for something else is refused.
 * Dense f32 logits made in steps of the stage's batch are the live teacher's, bit for bit, on the
 * same device: rows of a step do not influence each other, and its kernels are the same. */
#ifndef VKD_TEACHER_CACHE_H
#define VKD_TEACHER_CACHE_H

#include "data/dataset.h"
#include "data/safetensors.h"

#define VKD__TEACHER_CACHE_MOST_K 64u   /* as vkd_kd_topk */
#define VKD__TEACHER_CACHE_PLAIN "none" /* the augmentation's identity where there is none */

typedef struct vkd__teacher_cache_info {
    const char *teacher; /* the model's name in the recipe: for messages alone */
    uint64_t teacher_hash, data_hash;
    const char *augment;
    uint32_t samples, classes;
    uint32_t k;        /* 0: dense logits */
    float temperature; /* of the k log probabilities; 1 where dense */
    uint32_t batch;    /* samples of a step that made it */
    const char *device;
} vkd__teacher_cache_info;

/* Names, shapes and values of a group's tensors that a model file holds. */
vkd_result vkd__teacher_hash(vkd_ctx *ctx, vkd_store *store, const char *group, uint64_t *out);
/* Samples, labels and normalisation of the training split. */
uint64_t vkd__data_hash(const vkd__dataset *data, const vkd_batch_desc *batch);

/* One array of a cache: a row a sample. The shape's first axis is info.samples. */
typedef struct vkd__teacher_cache_tensor {
    const char *name; /* "logits", or a tap's */
    vkd_shape shape;
    const float *values;
} vkd__teacher_cache_tensor;

/* tensors[0] are the logits (samples, classes); with info->k they are kept as packed rows of
 * 2 k + 1 values (vkd_topk_expand) under the name "top". dtype is VKD_F32 or VKD_F16; packed rows
 * are always f32.
 * Errors: VKD_E_FILE, VKD_E_MEMORY, VKD_E_DATA: a value that f16 cannot hold. */
vkd_result vkd__teacher_cache_write(vkd_ctx *ctx, const char *path,
                                    const vkd__teacher_cache_info *info,
                                    const vkd__teacher_cache_tensor *tensors, uint32_t count,
                                    vkd_dtype dtype);

typedef struct vkd__teacher_cache {
    vkd__st_file *file;
    const char *path;
    vkd__teacher_cache_info info; /* texts valid until vkd__teacher_cache_close */
} vkd__teacher_cache;

/* `path` must outlive the cache. Errors: VKD_E_FILE, VKD_E_FORMAT: no cache, or one whose tensors
 * are not what it says. */
vkd_result vkd__teacher_cache_open(vkd_ctx *ctx, const char *path, vkd__teacher_cache *out);
void vkd__teacher_cache_close(vkd__teacher_cache *c);
/* VKD_OK, or VKD_E_DATA and every difference between what the cache was made for and what `need`
 * asks for. Fields of `need` that are 0 or NULL are not compared, but k always is. */
vkd_result vkd__teacher_cache_expect(vkd_ctx *ctx, const vkd__teacher_cache *c,
                                     const vkd__teacher_cache_info *need);
/* The cache's tensor of logits ("logits" or "top"), or of a tap; NULL when there is none. */
const vkd__st_tensor *vkd__teacher_cache_logits(const vkd__teacher_cache *c);
const vkd__st_tensor *vkd__teacher_cache_tap(const vkd__teacher_cache *c, const char *tap);
/* `count` values of t from value `first` on, as f32. */
void vkd__teacher_cache_read(const vkd__st_tensor *t, size_t first, size_t count, float *out);

/* One row of logits (classes), none of them NaN, to a packed row (2 k + 1), k <= classes: the
 * classes in falling order, the smaller index first among equals. Masked classes (-inf) have log
 * probability -inf. */
void vkd__teacher_cache_pack(const float *logits, uint32_t classes, uint32_t k, float temperature,
                             float *packed);

#endif
