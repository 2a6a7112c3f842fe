// SPDX-License-Identifier: Apache-2.0
/* Training: recipes, runs, checkpoints and the table at the end. The runtime below is in
 * "vkdistill/vkdistill.h".
 *
 * A complete program, errors left out:
 *
 *     vkd_ctx *ctx;       vkd_ctx_create(NULL, &ctx);
 *     vkd_device *device; vkd_device_open(ctx, NULL, &device);
 *     const char *sets[] = {"stages.distil.losses.kd_kl.tau=8"};
 *     vkd_recipe *recipe; vkd_recipe_load(ctx, "recipes/hinton.yaml", sets, 1, &recipe);
 *     vkd_run *run;
 *     vkd_run_create(ctx, device, recipe, &(vkd_run_desc){.folder = "runs/tau8"}, &run);
 *     vkd_run_execute(run);
 *     for (uint32_t i = 0; i < vkd_run_row_count(run); i++) {
 *         const vkd_row *row = vkd_run_row(run, i);
 *         printf("%s: %.2f %%\n", row->label, 100 * row->accuracy.mean);
 *     }
 *     vkd_run_destroy(run);
 *     vkd_recipe_destroy(recipe);
 *
 * What it does not do: models other than those of models/models.def, data sets that do not fit into
 * the device's memory, several devices at once.
 *
 * Threads and ownership as in vkdistill.h. Nothing here prints, ends the process or installs a
 * signal handler: progress goes to callbacks, and `stop` asks the caller. */
#ifndef VKDISTILL_TRAIN_H
#define VKDISTILL_TRAIN_H

#include "vkdistill/vkdistill.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Recipes --------------------------------------------------------------------------------- */

/* One experiment, checked: names exist, values are in range, stages chain. Never changes. */
typedef struct vkd_recipe vkd_recipe;

/* Reads a recipe from a file. Each of the `set_count` texts "a.b.c=value" replaces one value (or
 * gives one that the file leaves to its default) before the recipe is checked; a part of the path
 * is a key, or for a list the item's name or index: "stages.distil.losses.kd_kl.tau=8".
 *
 * sets      may be NULL when set_count is 0
 *
 * Errors: VKD_E_FILE (path, reason); VKD_E_RECIPE with file and line: unknown key and the nearest
 * one, wrong type, value outside its range, a name that nothing defines; VKD_E_MEMORY. */
VKD_API vkd_result vkd_recipe_load(vkd_ctx *ctx, const char *path, const char *const *sets,
                                   size_t set_count, vkd_recipe **out);
/* The same from text in memory; `name` stands for the file in messages. */
VKD_API vkd_result vkd_recipe_parse(vkd_ctx *ctx, const char *name, const char *text, size_t size,
                                    const char *const *sets, size_t set_count, vkd_recipe **out);
VKD_API void vkd_recipe_destroy(vkd_recipe *recipe);
/* The recipe's own name; valid until it is destroyed. */
VKD_API const char *vkd_recipe_name(const vkd_recipe *recipe);
/* The recipe as resolved, every default written out, as YAML that parses to the same recipe. The
 * caller frees it with vkd_free_text. NULL: no memory. */
VKD_API char *vkd_recipe_print(const vkd_recipe *recipe);

/* ---- Runs ------------------------------------------------------------------------------------ */

typedef struct vkd_run vkd_run;

/* What is going on, for a progress bar or a log. All pointers are valid during the callback. */
typedef struct vkd_progress {
    const char *phase; /* "teacher", "student", "student_control" */
    const char *stage; /* of the recipe: a model may have several, one after the other */
    uint32_t phase_index, phase_count;
    uint32_t seed_index, seed_count;
    uint64_t step, steps;     /* steps done of this phase, and all of them */
    uint32_t term_count;      /* loss terms */
    const char *const *terms; /* (term_count) names */
    const double *values;     /* (term_count) means since the last call, before their weights */
    double loss;              /* weighted sum, mean since the last call */
    double gradient_norm;     /* of the last step, before clipping */
    double learning_rate;
    double samples_per_second;
    double seconds_left;  /* of this phase */
    double test_accuracy; /* newest evaluation, 0 to 1; below 0 when there was none */
} vkd_progress;

typedef struct vkd_run_desc {
    const char *folder; /* made if need be; required */
    bool resume;        /* go on from the folder's checkpoint, or start when there is none */
    bool force;         /* start over in a folder that holds a run */
    uint32_t seeds;     /* repetitions with seed, seed+1, ...; 0 means 1. Above 1, each has a folder
                           "seed-<n>" inside `folder` */
    /* A folder that several runs have in common, made if need be, or NULL. A run leaves there each
     * model and control that it has trained, under a name for all that it follows from: recipe,
     * seed, data, device, version. One that is there already is loaded in place of being trained.
     * For runs that differ in something that not all of their models depend on. */
    const char *pool;
    /* Called every `log_every` steps of the recipe and at each phase's end. May be NULL. */
    void (*progress)(void *user, const vkd_progress *progress);
    /* Asked after each step; true: write a checkpoint and return VKD_E_INTERRUPTED. May be NULL. */
    bool (*stop)(void *user);
    /* Not NULL: every launch of a training step is timed, and each phase ends with a call: one row
     * a launch, valid during the call. */
    void (*profile)(void *user, const char *phase, const vkd_profile_row *rows, uint32_t count);
    void *user; /* handed to the three above */
} vkd_run_desc;

/* Loads the data. The recipe and the device must outlive the run.
 * Errors: VKD_E_FILE: the data set cannot be read, or the folder holds a run of another number of
 * seeds, or a finished one, and neither resume nor force is given; VKD_E_DATA, VKD_E_FORMAT of the
 * data set; VKD_E_MEMORY. */
VKD_API vkd_result vkd_run_create(vkd_ctx *ctx, vkd_device *device, const vkd_recipe *recipe,
                                  const vkd_run_desc *desc, vkd_run **out);
/* Trains every stage and its control, evaluates, writes the folder's files. Blocks until done.
 *
 * Files: recipe.yaml as resolved, metrics.jsonl, checkpoint.safetensors, <model>.safetensors for
 * each trained model, summary.json. A run that was killed at any moment goes on with `resume` and
 * ends with the same bits, on the same device and driver.
 *
 * Errors: VKD_E_NONFINITE: ten steps in a row with a loss or gradient that is NaN or infinite (the
 * message names the first such tensor); VKD_E_INTERRUPTED: stop said so, a checkpoint is written;
 * VKD_E_DEVICE_LOST (the message names the last checkpoint); VKD_E_DEVICE_MEMORY; VKD_E_FILE. */
VKD_API vkd_result vkd_run_execute(vkd_run *run);
VKD_API void vkd_run_destroy(vkd_run *run);

/* Mean and sample standard deviation over the seeds; deviation is 0 for one seed. Not a number
 * where the row has no such figure. */
typedef struct vkd_figure {
    double mean, deviation;
} vkd_figure;

/* One model of the final table. */
typedef struct vkd_row {
    const char *label; /* "teacher", "student alone", "student distilled", ... */
    const char *model; /* group: also the name of its file in the folder; an ensemble has none */
    uint32_t tests;    /* samples of the test split */
    uint64_t parameters;
    uint32_t seeds;             /* trainings behind the figures */
    vkd_figure accuracy;        /* share of the test split, 0 to 1 */
    vkd_figure errors;          /* wrong answers on the test split */
    vkd_figure kl;              /* mean KL(teacher || model) on the test split, tau 1, nats */
    vkd_figure agreement;       /* share of the test split where model and teacher say the same */
    vkd_figure teacher_entropy; /* mean entropy of the teacher on the test split, tau 1, nats */
    vkd_figure calibration;     /* expected calibration error on the test split, 15 bins, 0 to 1 */
    vkd_figure omitted_recall;  /* share right among the classes that the stage left out */
    vkd_figure seconds;         /* of training */
    vkd_figure recall_at_1;     /* share of test samples whose nearest other one, by the tap that
                                   evaluation.retrieval names, is of their class */
    vkd_figure shift;           /* added to the left-out classes' logits; NaN for a row without */
} vkd_row;

/* Rows of a run that was executed; 0 before. */
VKD_API uint32_t vkd_run_row_count(const vkd_run *run);
/* index < vkd_run_row_count; valid until the run is destroyed. */
VKD_API const vkd_row *vkd_run_row(const vkd_run *run, uint32_t index);
/* What looks wrong in a run that was executed: a loss whose gradient reaches no parameter of its
 * model, one that stays at ln(classes), a teacher that is right less often than its student. They
 * were logged when they were found. index < count; valid until the run is destroyed. */
VKD_API uint32_t vkd_run_warning_count(const vkd_run *run);
VKD_API const char *vkd_run_warning(const vkd_run *run, uint32_t index);
/* What the folder's summary.json holds. The caller frees it with vkd_free_text. NULL: no memory. */
VKD_API char *vkd_run_summary(const vkd_run *run);

/* ---- Watching a run -------------------------------------------------------------------------- */

/* The file "live" of a run's folder, written while the run trains: where it stands, and what
 * student and teacher say of a few test samples, the probe batch. A watcher may ask the trainer for
 * another temperature or loss weight. Neither side waits for the other, and either may end at any
 * time. The layout is in docs/formats.md. */
typedef struct vkd_live vkd_live;

typedef enum vkd_live_state {
    VKD_LIVE_STARTING,
    VKD_LIVE_TRAINING,
    VKD_LIVE_FINISHED,
    VKD_LIVE_STOPPED, /* asked to; a checkpoint is there */
    VKD_LIVE_FAILED
} vkd_live_state;

/* Where a feature map is large: the mean over its channels of their squares (Zagoruyko &
 * Komodakis, arXiv:1612.03928, with p = 2, before any normalisation). */
typedef struct vkd_live_map {
    const char *tap;
    bool teacher; /* else the student's */
    uint32_t height, width;
    const float *values; /* (samples, height, width) */
} vkd_live_map;

typedef struct vkd_live_setting {
    const char *name; /* "tau.<term>" or "weight.<term>" */
    float value;
} vkd_live_setting;

typedef struct vkd_live_frame {
    uint64_t sequence; /* grows with each change */
    uint64_t updated;  /* nanoseconds since 1970 */
    vkd_live_state state;
    bool alive; /* the trainer's process is there; false with TRAINING: it was killed */
    const char *phase, *stage, *teacher; /* "" where there is none */
    uint32_t phase_index, phase_count, seed_index, seed_count;
    uint64_t step, steps;
    double loss, gradient_norm, learning_rate, samples_per_second;
    double test_accuracy; /* newest evaluation, 0 to 1; below 0 when there was none */
    /* The probe batch; samples is 0 until it was computed once. */
    uint32_t samples, classes;
    const int32_t *indices, *labels; /* (samples); numbers of the test split */
    const float *student_logits;     /* (samples, classes), or NULL */
    const float *teacher_logits;
    uint32_t map_count;
    const vkd_live_map *maps;
    uint32_t setting_count;
    const vkd_live_setting *settings; /* as the trainer has them */
    bool pending;                     /* the last request has not been taken yet */
} vkd_live_frame;

/* Errors: VKD_E_FILE: there is no such file; VKD_E_FORMAT: it is none of this version, cut short,
 * or noise; VKD_E_MEMORY. */
VKD_API vkd_result vkd_live_open(vkd_ctx *ctx, const char *folder, vkd_live **out);
VKD_API void vkd_live_close(vkd_live *live);
/* The newest whole state. Never blocks. *out and all it points to are valid until the next call;
 * after an error they are as before. Follows a run that is started over. Errors: VKD_E_FORMAT,
 * VKD_E_MEMORY. */
VKD_API vkd_result vkd_live_read(vkd_live *live, const vkd_live_frame **out);
/* Says that somebody looks: for two seconds from now the probe batch is computed up to ten times a
 * second, as long as that takes less than 2 % of the training; else every ten seconds.
 * Errors: VKD_E_FILE. */
VKD_API vkd_result vkd_live_watch(vkd_live *live);
/* Asks for other values of settings that the frame names, from the next step on; the trainer
 * ignores names that it does not have and values out of range. Errors: VKD_E_ARGUMENT, VKD_E_FILE.
 */
VKD_API vkd_result vkd_live_ask(vkd_live *live, const vkd_live_setting *settings, uint32_t count);

#ifdef __cplusplus
}
#endif
#endif
