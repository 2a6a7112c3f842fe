// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdlib.h>

#include "viewer/maths.h"
#include "viewer/ranking.h"

static int by_value_down(const void *a_, const void *b_) {
    const ranking_entry *a = a_, *b = b_;
    const double x = isnan(a->value) ? -INFINITY : a->value;
    const double y = isnan(b->value) ? -INFINITY : b->value;
    if (x != y) return x > y ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

static int by_value_up(const void *a_, const void *b_) {
    const ranking_entry *a = a_, *b = b_;
    const double x = isnan(a->value) ? INFINITY : a->value;
    const double y = isnan(b->value) ? INFINITY : b->value;
    if (x != y) return x < y ? -1 : 1;
    return a->sample < b->sample ? -1 : a->sample > b->sample;
}

static double value_of(const ranking_wish *wish, double *const p[2], const bool good[2],
                       const ranking_entry *e, uint32_t classes) {
    switch (wish->order) {
    case RANKING_DISAGREEMENT:
        return good[0] && good[1] ? math_js(p[0], p[1], classes) : NAN;
    case RANKING_CONFIDENCE:
        return good[SCENE_STUDENT] ? p[SCENE_STUDENT][e->said[SCENE_STUDENT]] : NAN;
    case RANKING_CLASS:
        return good[wish->side] && wish->class < classes ? p[wish->side][wish->class] : NAN;
    case RANKING_NUMBER:
        break;
    }
    return NAN;
}

uint32_t ranking_make(const scene_answers *a, const ranking_wish *wish, ranking_entry *out) {
    uint32_t count = 0, second;
    double *room = malloc(2 * (size_t)a->classes * sizeof *room);
    if (!room) return 0;
    double *const p[2] = {room, room + a->classes};
    for (uint32_t i = 0; i < a->count; i++) {
        ranking_entry e = {.sample = a->indices ? (uint32_t)a->indices[i] : i,
                           .label = a->labels[i],
                           .said = {SCENE_NONE, SCENE_NONE}};
        bool good[2] = {false, false};
        for (int side = 0; side < 2; side++) {
            if (!a->logits[side]) continue;
            good[side] = math_softmax(a->logits[side] + (size_t)i * a->classes, a->classes,
                                      wish->tau, p[side]);
            if (good[side]) math_top(p[side], a->classes, &e.said[side], &second);
        }
        if (wish->label >= 0 && e.label != wish->label) continue;
        if (wish->wrong && (int64_t)e.said[SCENE_STUDENT] == e.label) continue;
        e.value = value_of(wish, p, good, &e, a->classes);
        out[count++] = e;
    }
    free(room);
    if (wish->order != RANKING_NUMBER)
        qsort(out, count, sizeof *out,
              wish->order == RANKING_CONFIDENCE ? by_value_up : by_value_down);
    return count;
}

bool ranking_classes(const scene_answers *a, scene_side side, double tau, double *out) {
    const size_t cells = (size_t)a->classes * a->classes;
    math_class_sums s = {.classes = a->classes};
    double *p = malloc(a->classes * sizeof *p);
    s.sums = calloc(cells, sizeof *s.sums);
    s.counts = calloc(a->classes, sizeof *s.counts);
    const bool can = p && s.sums && s.counts && a->logits[side] && a->count;
    for (uint32_t i = 0; can && i < a->count; i++)
        if (math_softmax(a->logits[side] + (size_t)i * a->classes, a->classes, tau, p))
            math_class_add(&s, a->labels[i], p);
    if (can) math_class_means(&s, out);
    free(p);
    free(s.sums);
    free(s.counts);
    return can;
}
