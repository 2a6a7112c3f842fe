// SPDX-License-Identifier: Apache-2.0
/* A loss with numbers to compute it from, as a reference, a graph on the host or on a device. */
#ifndef VKD_TEST_LOSS_PROBLEM_H
#define VKD_TEST_LOSS_PROBLEM_H

#include "support/support.h"

#include "graph/graph.h"
#include "losses/loss.h"

typedef struct loss_problem {
    const vkd__loss_def *def;
    max_align_t config[4];
    uint32_t N, V;
    float tau;
    double *student, *teacher; /* (N, V), exact in f32 */
    int32_t *labels;           /* (N) */
} loss_problem;

/* Logits within +-size, labels inside, tau 2; the configuration's presets. */
void loss_problem_init(loss_problem *p, const char *loss, uint32_t N, uint32_t V, double size);
void loss_problem_term(loss_problem *p);
/* Sets a field of the configuration, and tau with it. */
void loss_problem_set(loss_problem *p, const char *key, const char *text);
/* Value from the loss's own reference, gradient into ds (N, V). */
double loss_problem_reference(const loss_problem *p, double *ds);

typedef enum loss_form { LOSS_COMPOSED, LOSS_FUSED } loss_form;

typedef struct loss_graph {
    vkd_ctx *ctx, *own; /* own: made with the graph, and destroyed with it */
    vkd_store *store;
    vkd_graph *g;
    vkd_tensor student, teacher, labels; /* parameter "net.logits", inputs "teacher" and "labels" */
    vkd_tensor loss, gradient;           /* outputs "loss" and "gradient" */
} loss_graph;

/* The loss times a setting "weight", which starts at 1, and its gradient. */
void loss_graph_init(loss_graph *lg, const loss_problem *p, loss_form form);
/* The same in a context that the caller has. */
void loss_graph_init_on(loss_graph *lg, const loss_problem *p, loss_form form, vkd_ctx *ctx);
void loss_graph_term(loss_graph *lg);
/* Runs the graph's references on the host. */
double loss_graph_host(const loss_graph *lg, const loss_problem *p, double *ds);

/* |got - want| <= bound * (1 + |want|) for all; says which loss and sizes otherwise. NaN fails. */
void loss_same(const loss_problem *p, const char *what, const double *got, const double *want,
               size_t count, double bound);

#endif
