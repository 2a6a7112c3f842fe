// SPDX-License-Identifier: Apache-2.0
/* One repetition of a recipe: one seed, one folder, one store. A session is a list of phases, each
 * of which trains one group of parameters: a stage's model, or its control.
 *
 *   run.c         public: seeds, aggregation
 *   session.c     phases, models, folder
 *   graphs.c      the training and the evaluation graph
 *   taps.c        the features that losses compare
 *   average.c     moving averages of parameters
 *   teachers.c    what several teachers say together
 *   cached_teacher.c  teachers that are read from files
 *   label.c       samples that a teacher labels
 *   tables.c      what a step reads and does not change
 *   states.c      what a step keeps beside the parameters
 *   show.c        what a viewer sees, and what it asks for
 *   prepare.c     what losses put there before the first step
 *   loop.c        steps in flight, logging, the guard
 *   infer.c       a model's logits, or a tap, for a whole split
 *   provenance.c  what a model follows from
 *   evaluate.c    the figures of the table
 *   checkpoint.c  what resuming needs
 *   diagnose.c    what a user should know of a run that goes wrong quietly
 *   metrics.c     metrics.jsonl */
#ifndef VKD_SESSION_H
#define VKD_SESSION_H

#include <stdio.h>

#include "train/figures.h"
#include "train/live.h"
#include "train/order.h"
#include "train/recipe.h"
#include "train/teacher_cache.h"

#define VKD__MAX_TERMS 16
#define VKD__MAX_PHASES 64
#define VKD__ROWS_A_PHASE 3 /* as trained, with the given shift, with the searched one */

typedef struct vkd__term {
    const char *name;
    bool pseudo; /* compares what a stage labelled, not the labelled samples */
    const vkd__loss_def *def;
    const void *config;
    const vkd__tap_names *taps; /* of a loss on features */
    uint32_t tap_count;
    float weight, final_weight; /* at the phase's first step and at its last; in between a line */
    float tau;                  /* start value, for losses with VKD__LOSS_TAU */
    uint32_t k;     /* the teacher's classes that are told apart, for kd_topk; 0 for others */
    bool t_squared; /* the loss multiplies by tau^2 */
} vkd__term;

/* What is known of a term of one phase: see diagnose.c. */
typedef struct vkd__watch {
    double value, norm; /* before the first step, without the weight: and of its gradient */
    double low, high;   /* of its value, over the phase's last tenth */
} vkd__watch;

typedef struct vkd__phase {
    const vkd__recipe_stage *stage;
    const vkd__recipe_model *model;
    const char *group; /* of its parameters: the model's name, or "<model>_control" */
    bool control;
    const vkd__recipe_stage *labels; /* whose labels it learns from, or NULL */
    const char *average;             /* group of averaged parameters, or NULL */
    bool last;                       /* of the group's phases: then it has its file and its row */
    vkd__teacher_cache caches[VKD__MAX_TEACHERS]; /* of those that are read from files */
    uint32_t teacher;                             /* model index of the first, or VKD__NONE */
    uint32_t teacher_count;
    vkd__term terms[VKD__MAX_TERMS];
    vkd__watch watches[VKD__MAX_TERMS];
    uint32_t term_count;
    uint32_t samples; /* that it trains on */
    uint64_t steps, epoch_steps;
    double seconds;    /* of training so far */
    bool turned;       /* a viewer has changed a setting: it is not what the recipe says */
    uint64_t skipped;  /* steps that the guard left out */
    double loss_scale; /* of the last step read; 0 where the loss is not scaled */
    bool shared;       /* trained by the session of the first seed: its values are loaded */
    const char *pool;  /* file of the group as it is in the end, of this run or another; or NULL */
} vkd__phase;

/* Means of metrics.jsonl are over the steps since the last row; a checkpoint keeps them. */
typedef struct vkd__sums {
    uint64_t steps;
    double loss, terms[VKD__MAX_TERMS];
} vkd__sums;

typedef struct vkd__warning {
    const char *text;
    struct vkd__warning *next;
} vkd__warning;

typedef struct vkd__session {
    vkd_ctx *ctx;
    vkd_device *device;
    const vkd_recipe *recipe;
    const vkd_run_desc *desc;
    const vkd__dataset *data;
    uint32_t seed, seed_index;
    uint64_t hash; /* of the recipe with this seed */
    vkd__arena arena;
    const char *folder;
    const char *shared_folder; /* of the first seed, or NULL */
    bool claimed;              /* this session wrote the folder's first recipe.yaml */
    vkd_batch_desc batch;
    vkd_store *store;
    vkd__live_writer *live; /* NULL where there is none */
    vkd__phase *phases;
    uint32_t phase_count;
    bool *cached; /* (model_count) its logits for the training split, as it is now, are in the store
                   */
    vkd__pseudo *labels; /* (stage_count) of stages that label; without entries until needed */
    const char **states; /* (state_count) of the phase under way: see states.c */
    uint32_t state_count, state_capacity;
    /* Where it stands: what a checkpoint holds. */
    uint32_t phase;
    uint64_t step;
    vkd__sums sums;
    uint64_t metrics_bytes;
    FILE *metrics;
    double test_accuracy; /* newest, -1 before */
    vkd__warning *warnings;
    bool other_sizes; /* than the checkpoint's: it was made with some that cannot be had */
} vkd__session;

/* ---- session.c ---- */
vkd_result vkd__session_create(vkd_ctx *ctx, vkd_device *device, const vkd_recipe *recipe,
                               const vkd_run_desc *desc, const vkd__dataset *data,
                               uint32_t seed_index, const char *folder, const char *shared_folder,
                               vkd__session **out);
/* For planning: phases and an empty store, without device, folder and values. Its graphs can be
 * built and planned, and nothing else. */
vkd_result vkd__session_sketch(vkd_ctx *ctx, const vkd_recipe *recipe, const vkd__dataset *data,
                               vkd__session **out);
void vkd__session_destroy(vkd__session *s);
/* Holds recipe and data against each other, and sets how bytes become a model's input. Errors:
 * VKD_E_RECIPE. */
vkd_result vkd__session_check(vkd__session *s);
/* Trains what is left. */
vkd_result vkd__session_train(vkd__session *s);
/* "<folder>/<name><suffix>" in the session's arena; NULL: no memory. */
const char *vkd__session_path(vkd__session *s, const char *name, const char *suffix);

/* ---- phases.c ---- */
vkd_result vkd__phases_create(vkd__session *s);
/* The same without what follows from the data: their lengths, and caches of teachers. Of the
 * session it wants context, arena, recipe and shared_folder. */
vkd_result vkd__phases_outline(vkd__session *s);
/* The stage whose teachers a model's table row is held against: the phase's own, or the one whose
 * labels it learns from; else that of the model's newest stage before it; NULL where there is none.
 */
const vkd__recipe_stage *vkd__phase_taught(const vkd__session *s, const vkd__phase *p);
/* Labelled samples, and those that a stage labelled, of one step. */
uint32_t vkd__phase_labelled(const vkd__phase *p);
uint32_t vkd__phase_pseudo(const vkd__phase *p);
/* Which samples a stage sees, in which order. */
/* A term's weight in a step, the phase's first being 0: on a line from weight to final_weight. */
float vkd__term_weight(const vkd__phase *p, uint32_t term, uint64_t step);
vkd__order_desc vkd__stage_order(const vkd__session *s, const vkd__recipe_stage *stage);

/* ---- graphs.c ---- */
/* Inputs "indices" (B) i32, "labels" (B) i32 where a loss wants them, "lr", "weight.<term>",
 * "tau.<term>", with labels of a stage P more "indices" and "rows" (P) i32 of their targets, with
 * an average "ema"; outputs "loss", "loss.<term>", "guard" (2). */
vkd_result vkd__graph_train(const vkd__session *s, const vkd__phase *p, vkd_graph **out);
/* The step's inputs; outputs "value" of one term, without its weight, and "norm", of its gradient
 * by the model's parameters. Changes no parameter. */
vkd_result vkd__graph_gauge(const vkd__session *s, const vkd__phase *p, uint32_t term,
                            vkd_graph **out);
/* Names what a phase's losses read: adapters, of a group that is not laid out yet, and tables. */
vkd_result vkd__graph_declare(const vkd__session *s, const vkd__phase *p);
/* Input "indices" (B) i32 into a split ("data.train" or "data.test"); output "logits" (B, V). The
 * first of these for a group gives its parameters their start values. */
vkd_result vkd__graph_infer(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                            const char *split, uint32_t count, uint32_t batch, vkd_graph **out);
/* The same with the output "features" (B, width) in place of the logits: a tap, all of a sample in
 * one row. Errors: VKD_E_RECIPE: there is no such tap. */
vkd_result vkd__graph_tap(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                          const char *tap, const char *split, uint32_t count, uint32_t batch,
                          uint32_t *width, vkd_graph **out);
/* The same on the first `batch` samples of the test split, with maps: output "map.<tap>" (B, H, W)
 * is the mean over channels of the tap's squares, for the taps that are images. shapes[i] is its
 * shape, without axes where there is none. */
vkd_result vkd__graph_show(const vkd__session *s, const vkd__recipe_model *m, const char *group,
                           uint32_t batch, const char *const *taps, uint32_t tap_count,
                           vkd_shape *shapes, vkd_graph **out);
/* What the names of a term's adapters and states begin with, before a dot. */
#define VKD__ADAPTERS_NAME 192
void vkd__adapters_name(const vkd__phase *p, const vkd__term *t, char out[VKD__ADAPTERS_NAME]);
/* The store tensor that holds a teacher's logits for the training split, (N, V). */
void vkd__cache_name(const vkd__recipe_model *teacher, char *out, size_t size);

/* ---- taps.c ---- */
/* The features that a term compares, out of what both models have; tap_count pairs. rows: of the
 * labelled samples, which come first in the student's batch. Errors:
 * VKD_E_RECIPE: there is no such tap, VKD_E_SHAPE: the loss cannot compare the two. */
vkd_result vkd__taps_find(const vkd__session *s, const vkd__phase *p, const vkd__term *t,
                          vkd_graph *g, const vkd__model_io *student, const vkd__model_io *teachers,
                          uint32_t rows, vkd__tap_pair *out);

/* ---- teachers.c ---- */
/* The logits (N, V) of a stage's teachers as those of one, for a loss with the () temperature tau,
 * {0} for 1. One teacher's are given back as they are. */
vkd_tensor vkd__teachers_combine(vkd_graph *g, const vkd__recipe_stage *s, const vkd_tensor *logits,
                                 vkd_tensor tau);
/* The same on the host, for temperature 1; their logits for the test split, which the caller frees.
 */
vkd_result vkd__teachers_test(vkd__session *s, const vkd__recipe_stage *stage, float **out);
void vkd__teachers_mix(const vkd__recipe_stage *s, const float *const *logits, uint32_t rows,
                       uint32_t classes, float *out);

/* ---- cached_teacher.c ---- */
/* Opens the files of the phase's teachers and holds them against what its losses compare.
 * Errors: VKD_E_FILE, VKD_E_FORMAT, VKD_E_DATA. */
vkd_result vkd__cached_teacher_open(vkd__session *s, vkd__phase *p);
void vkd__cached_teacher_close(vkd__phase *p);
/* A cached teacher's logits (B, V) for the samples `indices` (B); its taps in io. */
vkd_tensor vkd__cached_teacher(vkd_graph *g, const vkd__session *s, const vkd__phase *p,
                               uint32_t teacher, vkd_tensor indices, vkd__model_io *io);
/* Its tables into the store, once the graph has named them. Errors: VKD_E_DATA: the file was made
 * for another teacher, other data or another augmentation; VKD_E_MEMORY. */
vkd_result vkd__cached_teacher_fill(vkd__session *s, const vkd__phase *p, uint32_t teacher);
/* The tap of this teacher that a loss's name for it means; NULL when it is another teacher's. */
const char *vkd__tap_of_teacher(const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                                const char *name);

/* ---- kept_taps.c ---- */
/* Whether a loss compares features of this teacher. */
bool vkd__kept_taps_any(const vkd__session *s, const vkd__phase *p, uint32_t teacher);
/* Puts rows of tables in the place of the taps that losses compare. `io` is what the teacher has
 * built for as many samples; `logits` (B, V) are its cached ones. */
void vkd__kept_taps(vkd_graph *g, const vkd__session *s, const vkd__phase *p, uint32_t teacher,
                    vkd_tensor indices, vkd_tensor logits, vkd__model_io *io);
/* The tables into the store, once the graph has named them. */
vkd_result vkd__kept_taps_fill(vkd__session *s, const vkd__phase *p, uint32_t teacher);

/* ---- label.c ---- */
/* Runs the phase of a stage that labels, and writes "<folder>/<stage>.labels.safetensors". */
vkd_result vkd__label_run(vkd__session *s, vkd__phase *p);
/* What a stage labelled: from memory, or the folder's file. Borrowed. */
vkd_result vkd__label_get(vkd__session *s, uint32_t stage, const vkd__pseudo **out);
/* The store tensor with the targets, (samples, V). */
void vkd__label_name(const vkd__recipe_stage *stage, char *out, size_t size);
/* How many samples of the training split a stage labels. */
uint32_t vkd__label_samples(const vkd__session *s, const vkd__recipe_stage *stage);

/* ---- average.c ---- */
enum { VKD__COPY_PARAMETERS = 1, VKD__COPY_REST = 2 };
/* Tensors of one group into those of another that it has too; REST are a model's running
 * statistics, since an average has no optimiser. */
vkd_result vkd__average_copy(vkd__session *s, const char *from, const char *to, uint32_t what);
double vkd__average_decay(const vkd__phase *p, uint64_t step);

/* ---- tables.c ---- */
/* Into the store, each once while what it follows from stays as it is. */
vkd_result vkd__tables_fill(vkd__session *s, const vkd__phase *p);

/* ---- show.c ---- */
typedef struct vkd__show vkd__show;
/* *out is NULL where nobody can watch; the functions below take NULL then. Errors: VKD_E_MEMORY. */
vkd_result vkd__show_create(vkd__session *s, const vkd__phase *p, vkd__show **out);
void vkd__show_destroy(vkd__show *b);
/* After a row of metrics. */
void vkd__show_report(vkd__show *b, const vkd_progress *p);
/* After each collected step: takes requests, computes the probe batch when it is time. */
vkd_result vkd__show_step(vkd__show *b, vkd__phase *p, vkd_program *training);

/* One tap of a model that a graph has built. Errors: VKD_E_RECIPE, in a sentence that begins with
 * `what`: there is none of that name, or it has no part for each sample. */
vkd_result vkd__tap_of(vkd_ctx *ctx, const vkd_graph *g, const char *what, const char *model,
                       const vkd__model_io *io, const char *name, vkd_tensor *out);

/* ---- states.c ---- */
/* Lists the states of the phase's group that its training step names; a `fresh` phase begins with
 * zeros in them. */
vkd_result vkd__states_begin(vkd__session *s, const vkd__phase *p, const vkd_graph *step,
                             bool fresh);
bool vkd__states_has(const vkd__session *s, const char *name);

/* ---- prepare.c ---- */
/* Gives a term's states what it wants them to begin with, where it wants anything. The term's graph
 * must have made them. */
vkd_result vkd__term_prepare(const vkd__session *s, const vkd__phase *p, uint32_t term);

/* ---- infer.c ---- */
typedef struct vkd__infer {
    vkd_ctx *ctx;
    vkd_program *program;
    const char *output; /* of the program: "logits", or "features" */
    uint32_t first;     /* of the split's samples; 0 unless the caller sets it, and count */
    uint32_t count, batch, width; /* width: classes, or that of the features */
} vkd__infer;
vkd_result vkd__infer_create(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, vkd__infer *out);
/* The same for the rows of a tap, in steps of `batch` samples. */
vkd_result vkd__infer_create_tap(vkd__session *s, const vkd__recipe_model *m, const char *group,
                                 const char *tap, bool train_split, uint32_t batch,
                                 vkd__infer *out);
void vkd__infer_destroy(vkd__infer *i);
/* Rows of `count` samples of the split from the first on, (count, width). */
vkd_result vkd__infer_run(vkd__infer *i, float *rows);

/* Logits (count, classes) of a whole split; the caller frees them. */
vkd_result vkd__infer_logits(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, float **out);
/* A tap (count, width) of the whole test split, all of a sample in one row; the caller frees it.
 * Errors: VKD_E_RECIPE: the model has no such tap. */
vkd_result vkd__infer_tap(vkd__session *s, const vkd__recipe_model *m, const char *group,
                          const char *tap, float **out, uint32_t *width);

/* ---- diagnose.c ---- */
/* Fills the phase's watches with value and gradient of each term before the first step, on the
 * samples that `write` puts into a program's inputs, writes the row of metrics.jsonl, and warns of
 * terms without a gradient. */
vkd_result vkd__diagnose_start(vkd__session *s, vkd__phase *p,
                               vkd_result (*write)(void *user, vkd_program *program), void *user);
/* Before anything is known of a phase. */
void vkd__diagnose_init(vkd__phase *p);
/* Takes note of a term's value at a step. */
void vkd__diagnose_step(vkd__phase *p, uint32_t term, uint64_t step, double value);
/* What is wrong with a phase that has just ended. */
vkd_result vkd__diagnose_end(vkd__session *s, const vkd__phase *p);
/* Everything that was found in the phases so far into s->warnings, which was empty. */
vkd_result vkd__diagnose_summary(vkd__session *s);
/* Warns of a student that is better than what taught it; into s->warnings too. */
vkd_result vkd__diagnose_rows(vkd__session *s, const vkd__phase *p, double student, double teacher);

/* ---- loop.c ---- */
/* Trains a phase from s->step to its end. */
vkd_result vkd__loop(vkd__session *s, vkd__phase *p, bool restore);

/* ---- evaluate.c ---- */
typedef struct vkd__result {
    const char *label, *model;
    uint64_t parameters;
    uint32_t tests;
    double accuracy, errors, kl, agreement, teacher_entropy, calibration;
    double omitted_recall, seconds, shift, recall_at_1;
    bool shared;
} vkd__result;
/* rows has room for VKD__ROWS_A_PHASE per phase, one per model and one per ensemble. */
vkd_result vkd__evaluate(vkd__session *s, vkd__result *rows, uint32_t *count);

/* ---- checkpoint.c ---- */
vkd_result vkd__checkpoint_write(vkd__session *s);
/* Reads where the session stands. *found is false when the folder has none. */
vkd_result vkd__checkpoint_read(vkd__session *s, bool *found);
/* Where a run stands: the hash of its recipe.yaml, its phase, and that one's step. */
typedef struct vkd__standing {
    uint64_t hash;
    uint32_t phase;
    uint64_t step;
} vkd__standing;
/* Reads it from a checkpoint without knowing the run. Errors: VKD_E_FILE, VKD_E_FORMAT,
 * VKD_E_MEMORY. */
vkd_result vkd__checkpoint_standing(vkd_ctx *ctx, const char *path, vkd__standing *out);
/* Writes every tensor of the checkpoint into the store, where they must all be. */
vkd_result vkd__checkpoint_restore(vkd__session *s);

/* ---- metrics.c ---- */
/* Opens metrics.jsonl, cut to s->metrics_bytes, and writes the row of device and sizes where the
 * file is empty or, on resuming, they are others than before. */
vkd_result vkd__metrics_open(vkd__session *s);
vkd_result vkd__metrics_step(vkd__session *s, const vkd_progress *p);
vkd_result vkd__metrics_epoch(vkd__session *s, const vkd__phase *p, uint64_t epoch,
                              const vkd__figures *f);
typedef struct vkd__label_row {
    uint32_t samples, kept, entries; /* looked at; kept; with copies */
    double right;                    /* share of the entries, by the data set's labels */
} vkd__label_row;
vkd_result vkd__metrics_label(vkd__session *s, const vkd__phase *p, const vkd__label_row *row);
vkd_result vkd__metrics_start(vkd__session *s, const vkd__phase *p);
vkd_result vkd__metrics_warning(vkd__session *s, const vkd__phase *p, const char *text);
/* A phase begins, one goes on after an interruption, a step was left out. */
vkd_result vkd__metrics_stage(vkd__session *s, const vkd__phase *p);
vkd_result vkd__metrics_resumed(vkd__session *s, const vkd__phase *p);
vkd_result vkd__metrics_skipped(vkd__session *s, const vkd__phase *p, uint64_t step);
/* A setting that a viewer has changed. */
vkd_result vkd__metrics_setting(vkd__session *s, const vkd__phase *p, const char *name, double from,
                                double to);
void vkd__metrics_close(vkd__session *s);

/* ---- provenance.c ---- */
/* What the phase's group follows from as it is in the end, as 16 hexadecimal digits; "" where it
 * teaches before that. NULL: no memory. */
const char *vkd__provenance(vkd__session *s, const vkd__phase *p, uint64_t data_hash);

/* ---- model_file.c ---- */
/* Parameters and buffers without the group's name, and what eval and infer need to build the model
 * again. seconds: of its training, as metadata; NaN: none. */
vkd_result vkd__model_save(vkd__session *s, const vkd__phase *p, const char *path, double seconds);

#endif
