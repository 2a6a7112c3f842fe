// SPDX-License-Identifier: Apache-2.0
/* Which samples are worth a look, in order, and what classes look like to a model. */
#ifndef VKD_VIEWER_RANKING_H
#define VKD_VIEWER_RANKING_H

#include "viewer/scene.h"

typedef enum ranking_order {
    RANKING_NUMBER,
    RANKING_DISAGREEMENT, /* Jensen-Shannon divergence of teacher and student, largest first */
    RANKING_CONFIDENCE,   /* the student's largest probability, lowest first */
    RANKING_CLASS         /* a side's probability of a class, largest first */
} ranking_order;

typedef struct ranking_wish {
    ranking_order order;
    double tau;
    int32_t label;   /* only samples of this class; -1: all */
    bool wrong;      /* only those that the student takes for another class */
    scene_side side; /* of RANKING_CLASS */
    uint32_t class;  /* of RANKING_CLASS */
} ranking_wish;

typedef struct ranking_entry {
    uint32_t sample; /* number in the test split */
    int32_t label;
    uint32_t said[2]; /* by side: the likeliest class, SCENE_NONE: no answer */
    double value;     /* that it is ordered by; NaN for RANKING_NUMBER */
} ranking_entry;

/* Fills `out` (answers' count); returns how many samples there are. NaN values come last. Without
 * memory there are none. */
uint32_t ranking_make(const scene_answers *a, const ranking_wish *wish, ranking_entry *out);

/* Mean probabilities of a side by true class: (classes, classes). false: no answers, no memory. */
bool ranking_classes(const scene_answers *a, scene_side side, double tau, double *out);

#endif
