// SPDX-License-Identifier: Apache-2.0
/* With p = softmax(teacher), a sample's confidence is c = max_v p_v and its class the argmax.
 *
 *   filter    samples with c >= threshold are candidates
 *   balance   a class with more candidates than per_class keeps the per_class most confident (of
 *             equal ones the first); one with n fewer has each of them per_class / n times, which
 * is rounded down or up at random so that the mean is kept targets   soft: p_v^(1/T) / sum_u
 * p_u^(1/T), that is logits divided by T hard: 1 for the class
 *
 * The authors find each class's limit on a grid of confidences, 0.01 wide, since their samples lie
 * in many files, and cut the rest off afterwards; what is left is the same. */
#include "train/pseudo.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "train/figures.h"

enum { GRID = 100 };

float vkd__pseudo_threshold(const float *confidences, uint32_t count, uint32_t wanted,
                            float least) {
    for (int step = GRID; step > 0; step--) {
        const float limit = (float)step / (float)GRID;
        uint32_t reach = 0;
        if (limit < least) break;
        for (uint32_t i = 0; i < count; i++)
            reach += confidences[i] >= limit;
        if (reach >= wanted) return limit;
    }
    return least;
}

float vkd__pseudo_confidence(const float *z, uint32_t classes, uint32_t *class_index) {
    double sum = 0;
    *class_index = vkd__argmax(z, classes);
    for (uint32_t v = 0; v < classes; v++)
        sum += exp((double)z[v] - (double)z[*class_index]);
    return (float)(1 / sum);
}

typedef struct candidate {
    uint32_t row, class_index;
    float confidence;
} candidate;

/* By class, the most confident first. */
static int compare(const void *a, const void *b) {
    const candidate *x = a, *y = b;
    if (x->class_index != y->class_index) return x->class_index < y->class_index ? -1 : 1;
    if (x->confidence != y->confidence) return x->confidence > y->confidence ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

static void make_target(const float *z, uint32_t classes, const vkd__pseudo_options *o,
                        float *out) {
    const uint32_t top = vkd__argmax(z, classes);
    for (uint32_t v = 0; v < classes; v++)
        out[v] = o->labels == VKD__PSEUDO_SOFT ? z[v] / o->temperature : v == top ? 0 : -INFINITY;
}

/* How often a sample comes; `share` copies in the mean. */
static uint32_t copies_of(double share, uint32_t seed, uint32_t sample) {
    const uint32_t bits = vkd__philox_at(seed, vkd__philox_stream("pseudo"), 0, sample).v[0];
    const double whole = floor(share);
    return (uint32_t)whole + ((double)vkd__philox_uniform(bits) < share - whole);
}

static bool add(vkd_ctx *ctx, vkd__pseudo *p, size_t *capacity, uint32_t row, uint32_t copies) {
    size_t count = p->count;
    for (uint32_t i = 0; i < copies; i++) {
        if (!VKD__RESERVE(ctx, p->entries, count, *capacity)) return false;
        p->entries[count++] = p->first + row;
    }
    p->count = (uint32_t)count;
    p->distinct += copies > 0;
    return true;
}

/* One class's candidates, the most confident first. */
static bool add_class(vkd_ctx *ctx, vkd__pseudo *p, size_t *capacity, const candidate *c,
                      uint32_t count, uint32_t seed, const vkd__pseudo_options *o) {
    const uint32_t wanted = o->per_class ? o->per_class : p->samples / p->classes;
    const bool many = count >= wanted || !o->balance;
    const uint32_t taken = o->balance && count > wanted ? wanted : count;
    for (uint32_t i = 0; i < taken; i++) {
        const uint32_t copies =
            many ? 1 : copies_of((double)wanted / count, seed, p->first + c[i].row);
        if (!add(ctx, p, capacity, c[i].row, copies)) return false;
    }
    return true;
}

static bool choose(vkd_ctx *ctx, vkd__pseudo *p, candidate *c, uint32_t count, uint32_t seed,
                   const vkd__pseudo_options *o) {
    size_t capacity = 0;
    qsort(c, count, sizeof *c, compare);
    for (uint32_t i = 0, end = 0; i < count; i = end) {
        while (end < count && c[end].class_index == c[i].class_index)
            end++;
        if (!add_class(ctx, p, &capacity, c + i, end - i, seed, o)) return false;
    }
    return true;
}

vkd_result vkd__pseudo_make(vkd_ctx *ctx, const float *logits, uint32_t first, uint32_t samples,
                            uint32_t classes, uint32_t seed, const vkd__pseudo_options *options,
                            vkd__pseudo *out) {
    *out = (vkd__pseudo){.first = first, .samples = samples, .classes = classes};
    candidate *c = vkd__alloc(ctx, samples, sizeof *c);
    out->targets = vkd__alloc(ctx, (size_t)samples * classes, sizeof *out->targets);
    bool ok = c && out->targets;
    uint32_t count = 0;
    for (uint32_t n = 0; n < samples && ok; n++) {
        const float *z = logits + (size_t)n * classes;
        make_target(z, classes, options, out->targets + (size_t)n * classes);
        c[count].row = n;
        c[count].confidence = vkd__pseudo_confidence(z, classes, &c[count].class_index);
        count += c[count].confidence >= options->threshold;
    }
    ok = ok && choose(ctx, out, c, count, seed, options);
    vkd__free(ctx, c);
    if (ok) return VKD_OK;
    vkd__pseudo_term(ctx, out);
    return VKD_E_MEMORY;
}

void vkd__pseudo_term(vkd_ctx *ctx, vkd__pseudo *p) {
    vkd__free(ctx, p->entries);
    vkd__free(ctx, p->targets);
    *p = (vkd__pseudo){0};
}
