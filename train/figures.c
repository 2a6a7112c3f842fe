// SPDX-License-Identifier: Apache-2.0
/* For logits z and labels y of N samples, p = softmax(z), t the teacher's softmax, tau 1:
 *
 *   accuracy         share of samples where argmax_v z[n,v] is the label
 *   kl               1/N sum_n sum_v t[n,v] (log t[n,v] - log p[n,v])
 *   agreement        share of samples where student and teacher have the same argmax
 *   teacher_entropy  1/N sum_n -sum_v t[n,v] log t[n,v]
 *   calibration      expected calibration error: samples fall into 15 bins by their confidence
 *                    c = max_v p[n,v], bin b where (b-1)/15 < c <= b/15;
 *                    sum_b n_b/N |share right in b - mean c in b|
 *                    (Guo, Pleiss, Sun, Weinberger, arXiv:1706.04599, equation 3) */
#include "train/figures.h"

#include <math.h>

uint32_t vkd__argmax(const float *z, uint32_t classes) {
    uint32_t best = 0;
    for (uint32_t v = 1; v < classes; v++)
        if (z[v] > z[best]) best = v;
    return best;
}

static double log_sum_exp(const float *z, uint32_t classes) {
    const double top = (double)z[vkd__argmax(z, classes)];
    double sum = 0;
    for (uint32_t v = 0; v < classes; v++)
        sum += exp((double)z[v] - top);
    return log(sum) + top;
}

uint32_t vkd__correct_count(const float *logits, const int32_t *labels, uint32_t rows,
                            uint32_t classes) {
    uint32_t correct = 0;
    for (uint32_t n = 0; n < rows; n++)
        correct += vkd__argmax(logits + (size_t)n * classes, classes) == (uint32_t)labels[n];
    return correct;
}

double vkd__mean_kl(const float *teacher, const float *student, uint32_t rows, uint32_t classes) {
    double total = 0;
    for (uint32_t n = 0; n < rows; n++) {
        const float *t = teacher + (size_t)n * classes, *s = student + (size_t)n * classes;
        const double lt = log_sum_exp(t, classes), ls = log_sum_exp(s, classes);
        for (uint32_t v = 0; v < classes; v++) {
            const double p = exp((double)t[v] - lt);
            if (p > 0) total += p * (((double)t[v] - lt) - ((double)s[v] - ls));
        }
    }
    return total / rows;
}

double vkd__share_agreeing(const float *a, const float *b, uint32_t rows, uint32_t classes) {
    uint32_t same = 0;
    for (uint32_t n = 0; n < rows; n++)
        same += vkd__argmax(a + (size_t)n * classes, classes) ==
                vkd__argmax(b + (size_t)n * classes, classes);
    return (double)same / rows;
}

double vkd__mean_entropy(const float *logits, uint32_t rows, uint32_t classes) {
    double total = 0;
    for (uint32_t n = 0; n < rows; n++) {
        const float *z = logits + (size_t)n * classes;
        const double l = log_sum_exp(z, classes);
        for (uint32_t v = 0; v < classes; v++) {
            const double p = exp((double)z[v] - l);
            if (p > 0) total -= p * ((double)z[v] - l);
        }
    }
    return total / rows;
}

double vkd__calibration_error(const float *logits, const int32_t *labels, uint32_t rows,
                              uint32_t classes) {
    double gap[VKD__CALIBRATION_BINS] = {0}; /* sum over a bin of (right - confidence) */
    for (uint32_t n = 0; n < rows; n++) {
        const float *z = logits + (size_t)n * classes;
        const uint32_t top = vkd__argmax(z, classes);
        const double confidence = exp((double)z[top] - log_sum_exp(z, classes));
        int bin = (int)ceil(confidence * VKD__CALIBRATION_BINS) - 1;
        if (bin < 0) bin = 0;
        if (bin >= VKD__CALIBRATION_BINS) bin = VKD__CALIBRATION_BINS - 1;
        gap[bin] += (top == (uint32_t)labels[n]) - confidence;
    }
    double total = 0;
    for (int b = 0; b < VKD__CALIBRATION_BINS; b++)
        total += fabs(gap[b]);
    return total / rows;
}

vkd__figures vkd__figures_of(const float *logits, const float *teacher, const int32_t *labels,
                             uint32_t rows, uint32_t classes) {
    const uint32_t correct = vkd__correct_count(logits, labels, rows, classes);
    return (vkd__figures){
        .errors = rows - correct,
        .accuracy = (double)correct / rows,
        .calibration = vkd__calibration_error(logits, labels, rows, classes),
        .kl = teacher ? vkd__mean_kl(teacher, logits, rows, classes) : NAN,
        .agreement = teacher ? vkd__share_agreeing(teacher, logits, rows, classes) : NAN,
        .teacher_entropy = teacher ? vkd__mean_entropy(teacher, rows, classes) : NAN,
    };
}

/* log(e^a + e^b). */
static double log_add(double a, double b) {
    const double top = a > b ? a : b, low = a > b ? b : a;
    return top == -INFINITY ? top : top + log1p(exp(low - top));
}

void vkd__mix_probabilities(const float *const *parts, const float *weights, uint32_t count,
                            uint32_t rows, uint32_t classes, float *out) {
    for (uint32_t n = 0; n < rows; n++) {
        const size_t at = (size_t)n * classes;
        for (uint32_t v = 0; v < classes; v++)
            out[at + v] = -INFINITY;
        for (uint32_t k = 0; k < count; k++) {
            const double rest = log((double)weights[k]) - log_sum_exp(parts[k] + at, classes);
            for (uint32_t v = 0; v < classes; v++)
                out[at + v] = (float)log_add((double)out[at + v], (double)parts[k][at + v] + rest);
        }
    }
}

void vkd__mix_logits(const float *const *parts, const float *weights, uint32_t count, uint32_t rows,
                     uint32_t classes, float *out) {
    for (size_t i = 0; i < (size_t)rows * classes; i++) {
        double sum = 0;
        for (uint32_t k = 0; k < count; k++)
            sum += (double)weights[k] * (double)parts[k][i];
        out[i] = (float)sum;
    }
}
