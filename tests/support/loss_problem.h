// SPDX-License-Identifier: Apache-2.0
/* A loss with numbers to compute it from, as a reference, a graph on the host or on a device. */
#ifndef VKD_TEST_LOSS_PROBLEM_H
#define VKD_TEST_LOSS_PROBLEM_H

#include "support/support.h"

#include "graph/graph.h"
#include "losses/loss.h"

#define LOSS_VARIABLES 32

/* Something that the loss is differentiated by, or a state that it keeps. */
typedef struct loss_variable {
    char name[96]; /* in the store */
    vkd_shape shape;
    size_t first, count; /* in the problem's x */
} loss_variable;

typedef struct loss_problem {
    const vkd__loss_def *def;
    max_align_t config[4];
    vkd__loss_shapes shapes;
    uint32_t N, V;
    float tau;
    /* All variables one behind the other, exact in f32: the student's logits (N, V); or its
     * features, pair by pair, then the adapters, and then the states. */
    double *x;
    size_t count; /* of x without states */
    loss_variable variables[LOSS_VARIABLES];
    uint32_t variable_count, state_count;
    double *student, *teacher; /* x, and (N, V) or the features of all pairs; exact in f32 */
    int32_t *labels, *indices; /* (N) */
} loss_problem;

/* Logits within +-size, labels inside, tau 2; the configuration's presets. */
void loss_problem_init(loss_problem *p, const char *loss, uint32_t N, uint32_t V, double size);
/* The same for a case of a loss on features; adapters are within +-1. */
void loss_problem_init_case(loss_problem *p, const vkd__loss_def *def, const vkd__loss_case *c,
                            double size);
void loss_problem_term(loss_problem *p);
/* Sets a field of the configuration, and tau with it. */
void loss_problem_set(loss_problem *p, const char *key, const char *text);
/* Value from the loss's own reference, gradient by x into dx (count). */
double loss_problem_reference(const loss_problem *p, double *dx);

typedef enum loss_form { LOSS_COMPOSED, LOSS_FUSED } loss_form;

typedef struct loss_graph {
    vkd_ctx *ctx, *own; /* own: made with the graph, and destroyed with it */
    vkd_store *store;
    vkd_graph *g;
    vkd_tensor variables[LOSS_VARIABLES], gradients[LOSS_VARIABLES]; /* as in the problem */
    vkd_tensor loss; /* outputs "loss" and "gradient.<variable>" */
} loss_graph;

/* The loss times a setting "weight", which starts at 1, and its gradient. */
void loss_graph_init(loss_graph *lg, const loss_problem *p, loss_form form);
/* The same in a context that the caller has. */
void loss_graph_init_on(loss_graph *lg, const loss_problem *p, loss_form form, vkd_ctx *ctx);
void loss_graph_term(loss_graph *lg);
/* Writes the problem's numbers into the graph's store. */
void loss_graph_write(const loss_graph *lg, const loss_problem *p);
/* Runs the graph's references on the host. */
double loss_graph_host(const loss_graph *lg, const loss_problem *p, double *dx);

/* |got - want| <= bound * (1 + |want|) for all; says which loss and sizes otherwise. NaN fails. */
void loss_same(const loss_problem *p, const char *what, const double *got, const double *want,
               size_t count, double bound);

#endif
