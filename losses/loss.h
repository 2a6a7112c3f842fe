// SPDX-License-Identifier: Apache-2.0
/* A loss compares what two models (or a model and the labels) say, and is one () tensor. Each
 * stands in one file, losses/<name>.c, and in one line of losses.def; recipes, `list`, `--help`,
 * the `loss` command and the standard tests follow from its definition. */
#ifndef VKD_LOSS_H
#define VKD_LOSS_H

#include "base/field.h"

/* What a loss may ask for; absent tensors are {0}. */
typedef struct vkd__loss_io {
    vkd_tensor student; /* (N, V) logits */
    vkd_tensor teacher; /* (N, V) logits */
    vkd_tensor labels;  /* (N) i32 */
    vkd_tensor tau; /* () temperature, for losses with VKD__LOSS_TAU: a setting, so that it can turn
                       while training runs */
} vkd__loss_io;

enum {
    VKD__LOSS_TEACHER = 1,
    VKD__LOSS_LABELS = 2,
    VKD__LOSS_TAU = 4
}; /* what it needs besides the student */

typedef struct vkd__loss_ref {
    uint32_t N, V;
    const double *student, *teacher; /* (N, V) */
    const int32_t *labels;           /* (N) */
    double tau;
    double loss;      /* out */
    double *dstudent; /* out (N, V) */
} vkd__loss_ref;

typedef struct vkd__loss_def {
    const char *name;
    const char *summary;
    const char *paper;   /* "Hinton, Vinyals, Dean, arXiv:1503.02531" */
    const char *formula; /* one line, reductions named */
    uint32_t needs;
    size_t config_size;
    const vkd__field
        *fields; /* of config; "tau" is a field here too, its start value and schedule */
    size_t field_count;
    /* The loss out of plain ops: always there. */
    vkd_tensor (*build)(vkd_graph *g, const vkd__loss_io *io, const void *config);
    /* The same by one fused op, or NULL; each is the other's witness in the tests. */
    vkd_tensor (*fused)(vkd_graph *g, const vkd__loss_io *io, const void *config);
    /* Value and gradient in double precision, plain loops, written from the formula. */
    void (*reference)(vkd__loss_ref *r, const void *config);
} vkd__loss_def;

#define VKD_LOSS(name) extern const vkd__loss_def vkd_loss_##name;
#include "losses/losses.def"
#undef VKD_LOSS

extern const vkd__loss_def *const vkd__losses[];
extern const size_t vkd__loss_count;
const vkd__loss_def *vkd__loss_find(const char *name);

/* For references: log sum_v exp(x[v] / tau). */
double vkd__loss_log_sum_exp(const double *x, uint32_t V, double tau);

#endif
