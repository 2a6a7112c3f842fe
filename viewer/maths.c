// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <string.h>

#include "viewer/maths.h"

bool math_softmax(const float *logits, uint32_t classes, double tau, double *p) {
    double highest = -INFINITY, sum = 0;
    bool good = true;
    for (uint32_t i = 0; i < classes; i++) {
        if (isnan(logits[i])) good = false;
        highest = fmax(highest, (double)logits[i]);
    }
    if (!good || !isfinite(highest)) {
        memset(p, 0, classes * sizeof *p);
        return false;
    }
    for (uint32_t i = 0; i < classes; i++)
        sum += p[i] = exp(((double)logits[i] - highest) / tau);
    for (uint32_t i = 0; i < classes; i++)
        p[i] /= sum;
    return true;
}

double math_entropy(const double *p, uint32_t classes) {
    double sum = 0;
    for (uint32_t i = 0; i < classes; i++)
        if (p[i] > 0) sum -= p[i] * log(p[i]);
    return sum;
}

double math_kl(const double *p, const double *q, uint32_t classes) {
    double sum = 0;
    for (uint32_t i = 0; i < classes; i++)
        if (p[i] > 0) sum += q[i] > 0 ? p[i] * log(p[i] / q[i]) : INFINITY;
    return sum > 0 ? sum : 0; /* rounding may bring it below */
}

double math_js(const double *p, const double *q, uint32_t classes) {
    double sum = 0;
    for (uint32_t i = 0; i < classes; i++) {
        const double m = (p[i] + q[i]) / 2;
        if (p[i] > 0) sum += p[i] / 2 * log(p[i] / m);
        if (q[i] > 0) sum += q[i] / 2 * log(q[i] / m);
    }
    return sum > 0 ? sum : 0;
}

void math_top(const double *p, uint32_t classes, uint32_t *first, uint32_t *second) {
    *first = 0;
    *second = UINT32_MAX;
    for (uint32_t i = 1; i < classes; i++) {
        if (p[i] > p[*first]) {
            *second = *first;
            *first = i;
        } else if (*second == UINT32_MAX || p[i] > p[*second]) {
            *second = i;
        }
    }
}

void math_distances(const float *x, uint32_t rows, uint32_t width, double *out) {
    double mean = 0;
    for (uint32_t i = 0; i < rows; i++) {
        out[(uint64_t)i * rows + i] = 0;
        for (uint32_t j = 0; j < i; j++) {
            double sum = 0;
            for (uint32_t k = 0; k < width; k++) {
                const double gap =
                    (double)x[(uint64_t)i * width + k] - (double)x[(uint64_t)j * width + k];
                sum += gap * gap;
            }
            out[(uint64_t)i * rows + j] = out[(uint64_t)j * rows + i] = sqrt(sum);
            mean += sqrt(sum);
        }
    }
    mean /= rows > 1 ? rows * (rows - 1.0) / 2 : 1;
    for (uint64_t i = 0; i < (uint64_t)rows * rows && mean > 0; i++)
        out[i] /= mean;
}

void math_class_add(math_class_sums *s, int32_t label, const double *p) {
    if (label < 0 || (uint32_t)label >= s->classes) return;
    double *row = s->sums + (uint64_t)label * s->classes;
    for (uint32_t i = 0; i < s->classes; i++)
        row[i] += p[i];
    s->counts[label]++;
}

void math_class_means(const math_class_sums *s, double *out) {
    for (uint32_t i = 0; i < s->classes; i++)
        for (uint32_t j = 0; j < s->classes; j++) {
            const uint64_t at = (uint64_t)i * s->classes + j;
            out[at] = s->counts[i] ? s->sums[at] / s->counts[i] : 0;
        }
}

bool math_range(const float *values, uint64_t count, double *low, double *high) {
    bool found = false;
    for (uint64_t i = 0; i < count; i++) {
        const double v = (double)values[i];
        if (!isfinite(v)) continue;
        if (!found || v < *low) *low = v;
        if (!found || v > *high) *high = v;
        found = true;
    }
    return found;
}
