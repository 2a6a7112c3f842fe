// SPDX-License-Identifier: Apache-2.0
/* A loss compares what two models (or a model and the labels) say, and is one () tensor. Each
 * stands in one file, losses/<name>.c, and in one line of losses.def; recipes, `list`, `--help`,
 * the `loss` command and the standard tests follow from its definition. */
#ifndef VKD_LOSS_H
#define VKD_LOSS_H

#include "base/field.h"

#define VKD__MAX_PAIRS 16

/* What a loss needs. Without VKD__LOSS_TAPS it is a loss on logits and always gets the student's;
 * with it, it is a loss on features and gets those instead. */
enum {
    VKD__LOSS_TEACHER = 1, /* the teacher's logits */
    VKD__LOSS_LABELS = 2,
    VKD__LOSS_TAU = 4,
    VKD__LOSS_TAPS = 8,     /* pairs of features; it may have adapters */
    VKD__LOSS_INDICES = 16, /* which samples these are */
    VKD__LOSS_OWN_TAPS =
        32, /* with VKD__LOSS_TAPS: of the student alone; there need be no teacher */
    VKD__LOSS_TAU_SQUARED = 64 /* multiplied by tau^2, with no field t_squared to leave that out */
};

/* What the student has at one of its taps, and what the teacher has at the one that it is compared
 * with: rows (N, D) or maps (N, H, W, C), in f32 or, in a mixed graph, 16 bits. */
typedef struct vkd__tap_pair {
    const char *student_name, *teacher_name; /* of the taps */
    vkd_tensor student;
    vkd_tensor teacher; /* no gradient flows into it; {0} with VKD__LOSS_OWN_TAPS */
} vkd__tap_pair;

/* What a loss may ask for; absent tensors are {0}. */
typedef struct vkd__loss_io {
    vkd_tensor student; /* (N, V) logits */
    vkd_tensor teacher; /* (N, V) logits */
    vkd_tensor labels;  /* (N) i32 */
    vkd_tensor tau; /* () temperature, for losses with VKD__LOSS_TAU: a setting, so that it can turn
                       while training runs */
    const vkd__tap_pair *pairs; /* VKD__LOSS_TAPS: at least one */
    uint32_t pair_count;
    /* What the loss trains beside the student (a regressor, an embedding) are parameters of the
     * student's group whose names begin with this and a dot: "<group>.adapter.<name of the loss in
     * its stage>". They take part in optimiser and gradient norm; checkpoints hold them, model
     * files and parameter counts leave them out. So are states, whose names begin alike. */
    const char *adapters;
    vkd_tensor indices; /* (N) i32: numbers of the samples in the training split */
    uint32_t samples;   /* of the training split */
    uint32_t used;      /* of these, the ones that the stage trains on */
    uint32_t classes;   /* of the data set */
} vkd__loss_io;

/* The training split, for a loss that fills its states before the first step. */
typedef struct vkd__loss_split {
    const char *adapters;  /* as in vkd__loss_io */
    const int32_t *labels; /* (samples) */
    uint32_t samples, classes;
    const uint32_t *used; /* (used_count) ascending: the samples that the stage trains on */
    uint32_t used_count;
    uint32_t seed; /* of the graph */
} vkd__loss_split;

/* ---- References ---- */

typedef struct vkd__loss_ref_pair {
    vkd_shape student_shape, teacher_shape; /* with N first */
    const double *student, *teacher;
    double *dstudent; /* out, zeros at first */
} vkd__loss_ref_pair;

typedef struct vkd__loss_ref_adapter {
    const char *name; /* without the prefix and its dot: "0.weight" */
    vkd_shape shape;
    const double *value;
    double *gradient; /* out, zeros at first; NULL: a state */
} vkd__loss_ref_adapter;

typedef struct vkd__loss_ref {
    uint32_t N, V;                   /* V: classes */
    const double *student, *teacher; /* (N, V) */
    const int32_t *labels;           /* (N) */
    double tau;
    const vkd__loss_ref_pair *pairs; /* of a loss on features, as the rest of these */
    uint32_t pair_count;
    const vkd__loss_ref_adapter *adapters; /* what the loss has made, in that order */
    uint32_t adapter_count;
    const int32_t *indices; /* (N) */
    uint32_t samples;       /* of the training split, all of which are used */
    uint32_t seed;          /* of the graph; random numbers follow from it and the step */
    int32_t step;
    double loss;      /* out, 0 at first */
    double *dstudent; /* out (N, V), zeros at first */
} vkd__loss_ref;

/* The adapter of that name, which must be there. */
const vkd__loss_ref_adapter *vkd__loss_ref_find(const vkd__loss_ref *r, const char *name);

/* A configuration and shapes, N first: what the standard tests and `selftest` run for a loss on
 * features. A loss on logits, with student[0] = (N, V) and no pairs, has cases where the usual
 * sizes (one row, two classes) leave it nothing to compare. */
#define VKD__CASE_PAIRS 3
typedef struct vkd__loss_case {
    const char *set[4][2]; /* keys and values of the configuration; NULL ends */
    uint32_t pair_count;
    vkd_shape student[VKD__CASE_PAIRS], teacher[VKD__CASE_PAIRS];
} vkd__loss_case;
#define VKD__ROWS(n, d)                                                                            \
    {                                                                                              \
        2, {                                                                                       \
            n, d                                                                                   \
        }                                                                                          \
    }
#define VKD__MAPS(n, h, w, c)                                                                      \
    {                                                                                              \
        4, {                                                                                       \
            n, h, w, c                                                                             \
        }                                                                                          \
    }

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
    /* Losses on features: why the two cannot be compared, or NULL where they can. Shapes have N
     * first. The words follow "cannot compare A (...) with B (...): ". NULL: any two can. */
    const char *(*misfit)(vkd_shape student, vkd_shape teacher, const void *config);
    /* Gives states of the loss other start values than zeros, at the start of a phase: the step's
     * graph has made them all, and a resumed phase has them from its checkpoint. Errors are those
     * of vkd_store_write, and VKD_E_DATA for a split that the loss can make nothing of. NULL: all
     * begin as zeros. */
    vkd_result (*prepare)(vkd_ctx *ctx, vkd_store *store, const vkd__loss_split *split,
                          const void *config);
    const vkd__loss_case *cases;
    size_t case_count;
} vkd__loss_def;

#define VKD_LOSS(name) extern const vkd__loss_def vkd_loss_##name;
#include "losses/losses.def"
#undef VKD_LOSS

extern const vkd__loss_def *const vkd__losses[];
extern const size_t vkd__loss_count;
const vkd__loss_def *vkd__loss_find(const char *name);

/* Whether a stage without a teacher can have it. */
bool vkd__loss_needs_teacher(const vkd__loss_def *def);

/* For references: log sum_v exp(x[v] / tau). */
double vkd__loss_log_sum_exp(const double *x, uint32_t V, double tau);

/* VKD_E_SHAPE with names and shapes of both, behind `where`, if the loss cannot compare them. */
vkd_result vkd__loss_check_pair(vkd_ctx *ctx, const vkd__loss_def *def, const void *config,
                                const char *where, const char *student_name, vkd_shape student,
                                const char *teacher_name, vkd_shape teacher);

/* Rows (N, D) of features of any shape: all of a sample in one row. */
vkd_tensor vkd__loss_rows(vkd_graph *g, vkd_tensor features);

/* Height and width that two features have in common: the smaller of each; 1 and 1 for rows. */
typedef struct vkd__loss_size {
    uint32_t H, W;
} vkd__loss_size;
vkd__loss_size vkd__loss_smaller(vkd_shape a, vkd_shape b);
/* Averages maps down to that size (adaptive average pooling); leaves the others as they are. */
void vkd__loss_same_size(vkd_graph *g, vkd_tensor *a, vkd_tensor *b);
/* For references: one element of a sample's features at that size, place = y * W + x; and its
 * gradient d on the way back. */
double vkd__loss_pooled(const double *features, vkd_shape shape, vkd__loss_size to, uint32_t place,
                        uint32_t channel);
void vkd__loss_pooled_back(double d, vkd_shape shape, vkd__loss_size to, uint32_t place,
                           uint32_t channel, double *dfeatures);

/* ---- A loss by itself: for the command `loss`, selftest and the tests ---- */

typedef struct vkd__loss_shapes {
    uint32_t N, V; /* V: classes */
    uint32_t pair_count;
    vkd_shape student[VKD__MAX_PAIRS], teacher[VKD__MAX_PAIRS];
} vkd__loss_shapes;

/* The group of all that a loss by itself is differentiated by. */
#define VKD__LOSS_ALONE "alone"

/* Makes store tensors of those shapes and the loss of them, fused or composed. Parameters are
 * "alone.student", or "alone.student.<pair>", and the adapters behind "alone.adapter.<loss>";
 * states "teacher", or "teacher.<pair>", "labels", "indices"; settings "tau" as given and "weight",
 * which is 1: the loss is multiplied with it. Indices count 4 N samples. */
vkd_tensor vkd__loss_alone(vkd_graph *g, const vkd__loss_def *def, const void *config,
                           const vkd__loss_shapes *shapes, float tau, bool fused);
/* What a phase does for that loss before its first step: def->prepare, where there is one. The
 * split has 4 N samples, of the classes that labels (N) say for indices (N); sample i of the others
 * is of class i % V. */
vkd_result vkd__loss_alone_prepare(vkd_ctx *ctx, vkd_store *store, const vkd__loss_def *def,
                                   const void *config, const vkd__loss_shapes *shapes,
                                   const int32_t *labels, const int32_t *indices);
/* The name behind "alone.adapter.<loss>.", or NULL where it is no adapter. */
const char *vkd__loss_alone_adapter(const vkd__loss_def *def, const char *name);

#endif
