// SPDX-License-Identifier: Apache-2.0
/* What a table says of a model, in double precision on the host, from logits (rows, classes) of a
 * whole split. Formulas are in figures.c. */
#ifndef VKD_FIGURES_H
#define VKD_FIGURES_H

#include "base/base.h"

#define VKD__CALIBRATION_BINS 15

typedef struct vkd__figures {
    uint32_t errors;
    double accuracy, calibration;
    double kl, agreement, teacher_entropy; /* NaN without a teacher */
} vkd__figures;

/* teacher may be NULL. */
vkd__figures vkd__figures_of(const float *logits, const float *teacher, const int32_t *labels,
                             uint32_t rows, uint32_t classes);

uint32_t vkd__correct_count(const float *logits, const int32_t *labels, uint32_t rows,
                            uint32_t classes);
double vkd__mean_kl(const float *teacher, const float *student, uint32_t rows, uint32_t classes);
double vkd__share_agreeing(const float *a, const float *b, uint32_t rows, uint32_t classes);
double vkd__mean_entropy(const float *logits, uint32_t rows, uint32_t classes);
double vkd__calibration_error(const float *logits, const int32_t *labels, uint32_t rows,
                              uint32_t classes);

/* Logits whose softmax is the weighted mean of the parts' softmax: out = log sum_k w_k
 * softmax(parts[k]). Weights sum to 1; out may be none of the parts. */
void vkd__mix_probabilities(const float *const *parts, const float *weights, uint32_t count,
                            uint32_t rows, uint32_t classes, float *out);
/* out = sum_k w_k parts[k]; a class that one part masks (-inf) is masked. */
void vkd__mix_logits(const float *const *parts, const float *weights, uint32_t count, uint32_t rows,
                     uint32_t classes, float *out);

/* Index of the first largest. */
uint32_t vkd__argmax(const float *z, uint32_t classes);

#endif
