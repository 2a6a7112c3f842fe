// SPDX-License-Identifier: Apache-2.0
/* Samples that a teacher labels: which of them are kept, how often each comes, and what their
 * targets are. Noisy Student: Xie, Luong, Hovy, Le, arXiv:1911.04252, section 3 and the appendix;
 * formulas in pseudo.c. */
#ifndef VKD_PSEUDO_H
#define VKD_PSEUDO_H

#include "base/base.h"

enum { VKD__PSEUDO_SOFT, VKD__PSEUDO_HARD };

typedef struct vkd__pseudo_options {
    uint32_t first, samples; /* of the training split; samples 0: all from the first on */
    uint32_t labels;         /* VKD__PSEUDO_... */
    float temperature;       /* of soft targets */
    float threshold;         /* smallest confidence that is kept */
    uint32_t per_class;      /* after balancing; 0: samples / classes */
    bool balance;
} vkd__pseudo_options;

/* The labelled set. entries[i] is the number of a sample in the training split; one that was
 * duplicated comes several times. Targets are logits whose softmax is the label: (samples, classes)
 * rows of all samples looked at, kept or not, in their order. */
typedef struct vkd__pseudo {
    uint32_t *entries;
    uint32_t count;
    uint32_t first, samples, classes;
    float *targets;
    uint32_t distinct; /* samples that are kept at least once */
} vkd__pseudo;

/* The probability of the most probable class, and which one it is. */
float vkd__pseudo_confidence(const float *z, uint32_t classes, uint32_t *class_index);
/* The largest multiple of 0.01, from `least` on, that at least `wanted` of the confidences reach;
 * `least` where fewer do. confidences in any order. */
float vkd__pseudo_threshold(const float *confidences, uint32_t count, uint32_t wanted, float least);

/* From the teacher's logits (samples, classes) for the samples first, first + 1, ...; the seed
 * rounds the numbers of copies. On failure nothing is left in *out. Errors: VKD_E_MEMORY; no sample
 * kept is none. */
vkd_result vkd__pseudo_make(vkd_ctx *ctx, const float *logits, uint32_t first, uint32_t samples,
                            uint32_t classes, uint32_t seed, const vkd__pseudo_options *options,
                            vkd__pseudo *out);
void vkd__pseudo_term(vkd_ctx *ctx, vkd__pseudo *p);

#endif
