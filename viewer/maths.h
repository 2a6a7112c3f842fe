// SPDX-License-Identifier: Apache-2.0
/* What the panels compute of logits: in double precision, with nothing allocated. Natural
 * logarithms: entropies and divergences are in nats. */
#ifndef VKD_VIEWER_MATHS_H
#define VKD_VIEWER_MATHS_H

#include <stdbool.h>
#include <stdint.h>

/* softmax(logits / tau); tau > 0. Logits of -infinity have probability 0; where one is not a number
 * or +infinity, or all are -infinity, false is returned and p is all zeros. */
bool math_softmax(const float *logits, uint32_t classes, double tau, double *p);
/* sum -p log p, with 0 log 0 = 0. */
double math_entropy(const double *p, uint32_t classes);
/* KL(p || q) = sum p (log p - log q); infinite where q is 0 and p is not. */
double math_kl(const double *p, const double *q, uint32_t classes);
/* The Jensen-Shannon divergence, 0 to log 2: how far two models disagree, whichever is right. */
double math_js(const double *p, const double *q, uint32_t classes);
/* The two largest; the first of equals. second is UINT32_MAX for a single class. */
void math_top(const double *p, uint32_t classes, uint32_t *first, uint32_t *second);

/* Euclidean distances between the rows of x (rows, width), divided by their mean over pairs i != j
 * (Park et al., arXiv:1904.05068, equation 4), so that spaces of different scale compare; all
 * zeros where every row is the same. out (rows, rows). */
void math_distances(const float *x, uint32_t rows, uint32_t width, double *out);

/* Adds a row of probabilities to the sum of its label's class; math_class_means divides. */
typedef struct math_class_sums {
    uint32_t classes;
    double *sums;     /* (classes, classes): [label][class] */
    uint32_t *counts; /* (classes) rows of each label */
} math_class_sums;
void math_class_add(math_class_sums *s, int32_t label, const double *p);
/* A class without rows has zeros. out (classes, classes). */
void math_class_means(const math_class_sums *s, double *out);

/* The least and greatest of the finite values; false when there is none. */
bool math_range(const float *values, uint64_t count, double *low, double *high);

#endif
