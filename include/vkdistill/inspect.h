// SPDX-License-Identifier: Apache-2.0
/* Looking at a run from outside: what is in its folder, what its models say of the test split, and
 * its metrics as they grow. Beside it, vkd_live_open (train.h) has the state of a run under way.
 *
 * A complete program, errors left out:
 *
 *     vkd_ctx *ctx;       vkd_ctx_create(NULL, &ctx);
 *     vkd_device *device; vkd_device_open(ctx, NULL, &device);
 *     vkd_inspect *run;   vkd_inspect_open(ctx, "runs/hinton", &run);
 *     const vkd_inspect_info *info = vkd_inspect_get(run);
 *     vkd_predictor *p;   vkd_predictor_open(run, device, &(vkd_predictor_desc){.model = 0}, &p);
 *     float *logits = malloc(sizeof(float) * 250 * info->classes);
 *     for (uint32_t first = 0; first + 250 <= info->tests; first += 250)
 *         vkd_predictor_logits(p, first, 250, logits);
 *     vkd_predictor_close(p);
 *     vkd_inspect_close(run);
 *
 * Nothing here writes into the folder, waits for the trainer, or trusts what it reads. Threads and
 * ownership as in vkdistill.h. */
#ifndef VKDISTILL_INSPECT_H
#define VKDISTILL_INSPECT_H

#include "vkdistill/train.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ---- What a run's folder holds --------------------------------------------------------------- */

typedef struct vkd_inspect vkd_inspect;

/* Where the parameters of a model are to be had. */
typedef enum vkd_inspect_source {
    VKD_INSPECT_NONE,       /* nowhere yet */
    VKD_INSPECT_FILE,       /* its own file in the folder: it is finished */
    VKD_INSPECT_LOADED,     /* the file that the recipe loads: it is not trained, or not yet */
    VKD_INSPECT_CHECKPOINT, /* the folder's checkpoint: it is being trained */
    VKD_INSPECT_OTHER_SEED  /* the file of the first seed's folder, which trained it for all */
} vkd_inspect_source;

/* What losses may compare, and maps and features are asked by. */
typedef struct vkd_inspect_tap {
    const char *name;
    vkd_shape shape; /* of one sample: (H, W, C) for feature maps, else (D) */
} vkd_inspect_tap;

/* One trained or loaded set of parameters. */
typedef struct vkd_inspect_model {
    const char *name;  /* "teacher", "student", "student_control": a phase's name */
    const char *model; /* of the recipe: "student" for its control too */
    const char *arch;
    bool teaches; /* some stage has it as a teacher */
    bool taught;  /* some stage trains it with a teacher */
    bool control; /* trained by a stage alone, without its teacher */
    uint64_t parameters;
    uint32_t tap_count;
    const vkd_inspect_tap *taps; /* from input to "logits" */
    vkd_inspect_source source;
    const char *path; /* of the file behind source; "" for none */
    uint64_t step;    /* with VKD_INSPECT_CHECKPOINT: steps done of the stage it is in, 0 between
                         two stages */
    uint64_t version; /* another number when the file is another */
} vkd_inspect_model;

typedef struct vkd_inspect_pair {
    const char *student, *teacher; /* taps; teacher is "" where the loss looks at the student alone
                                    */
    uint32_t teacher_model;        /* index of the model that has the teacher's tap */
} vkd_inspect_pair;

/* A loss of a stage, as the recipe has it; a viewer may have turned weight and tau since (the
 * settings of vkd_live_frame and the metrics have them as they are). */
typedef struct vkd_inspect_term {
    const char *name; /* in metrics, in "tau.<name>" and "weight.<name>" */
    const char *loss; /* "kd_kl" */
    float weight;     /* a control's are scaled as it is trained with them */
    float tau;        /* not a number where the loss has none */
    float tau_low, tau_high;
    uint32_t pair_count;
    const vkd_inspect_pair *pairs; /* of a loss on features */
} vkd_inspect_term;

typedef struct vkd_inspect_teacher {
    uint32_t model; /* index into models */
    float share;    /* those of a stage sum to 1 */
} vkd_inspect_teacher;

/* What trains one model, in the order of the run. */
typedef struct vkd_inspect_stage {
    const char *name;
    uint32_t model;         /* index of the one that is trained */
    uint32_t teacher_count; /* 0 for a teacher's own stage and for controls */
    const vkd_inspect_teacher *teachers;
    bool combine_logits; /* several teachers: the mean of their logits, else of probabilities */
    uint32_t term_count;
    const vkd_inspect_term *terms;
} vkd_inspect_stage;

typedef struct vkd_inspect_info {
    const char *folder; /* of this run: the one that has recipe.yaml and live */
    const char *recipe; /* its name */
    uint32_t seed;
    uint32_t seed_count;      /* folders of a run with several seeds, 0 for another */
    const char *const *seeds; /* (seed_count) their paths, by seed; `folder` is one of them */

    /* The test split. */
    uint32_t tests, classes;
    const char *const *class_names; /* (classes), or NULL */
    bool images;                    /* else plain rows: height 1, width values, 1 channel */
    uint32_t height, width, channels;
    const uint8_t *pixels; /* (tests, height, width, channels), as the data set has them */
    const int32_t *labels; /* (tests), each 0 <= label < classes */

    uint32_t model_count;
    const vkd_inspect_model *models; /* as the recipe has them, each followed by its control */
    uint32_t stage_count;
    const vkd_inspect_stage *stages;
} vkd_inspect_info;

/* Opens a run's folder, finished or under way; needs no device. Of a folder with several seeds it
 * takes the one whose metrics are newest. Reads the data set from where the recipe says: a relative
 * path is relative to where the run was started, and so to the working folder.
 *
 * Errors: VKD_E_FILE: no such folder, it holds no run, or the data set cannot be read;
 * VKD_E_RECIPE, VKD_E_DATA, VKD_E_FORMAT: recipe or data are damaged; VKD_E_MEMORY. */
VKD_API vkd_result vkd_inspect_open(vkd_ctx *ctx, const char *folder, vkd_inspect **out);
/* Predictors opened with it must be closed before. */
VKD_API void vkd_inspect_close(vkd_inspect *inspect);
/* Valid until it is closed; what is in it changes with vkd_inspect_refresh alone. */
VKD_API const vkd_inspect_info *vkd_inspect_get(const vkd_inspect *inspect);

typedef enum vkd_inspect_news {
    VKD_INSPECT_SAME,
    VKD_INSPECT_MODELS, /* source or version of some model is another: open its predictor anew */
    VKD_INSPECT_ANOTHER /* the folder holds another run now, or none: close and open */
} vkd_inspect_news;

/* Looks whether models of the folder have changed; costs a few calls of stat when they have not. A
 * damaged checkpoint is warned of and counts as none. Errors: VKD_E_MEMORY. */
VKD_API vkd_result vkd_inspect_refresh(vkd_inspect *inspect, vkd_inspect_news *out);

/* ---- What its models say --------------------------------------------------------------------- */

/* One model with the parameters that were there when it was opened. */
typedef struct vkd_predictor vkd_predictor;

typedef struct vkd_predictor_desc {
    uint32_t model;          /* index into the info's models */
    uint32_t batch;          /* samples of a step of vkd_predictor_logits; default 250 */
    const char *const *maps; /* (map_count) taps of (H, W, C) whose attention maps are wanted */
    uint32_t map_count;
    const char *const *taps; /* (tap_count) taps whose values are wanted */
    uint32_t tap_count;
} vkd_predictor_desc;

/* Reads the parameters and builds the program for vkd_predictor_logits; that for vkd_predictor_run
 * is built when it is first called. The device must outlive it.
 *
 * Errors: VKD_E_FILE: there are no parameters yet, or the file is gone; VKD_E_FORMAT, VKD_E_SHAPE,
 * VKD_E_DATA: the file is damaged or of another model; VKD_E_ARGUMENT: no such model or tap, or a
 * map of a tap that is no image; VKD_E_DEVICE...; VKD_E_MEMORY. */
VKD_API vkd_result vkd_predictor_open(vkd_inspect *inspect, vkd_device *device,
                                      const vkd_predictor_desc *desc, vkd_predictor **out);
VKD_API void vkd_predictor_close(vkd_predictor *p);
/* The version of vkd_inspect_model that it was opened with. */
VKD_API uint64_t vkd_predictor_version(const vkd_predictor *p);

/* Logits of the test samples first to first + count - 1: the bits of `vkdistill eval` with the same
 * batch, where `first` is a multiple of it.
 *
 * logits  (count, classes)
 *
 * Errors: VKD_E_ARGUMENT: the test split has fewer samples; VKD_E_DEVICE... */
VKD_API vkd_result vkd_predictor_logits(vkd_predictor *p, uint32_t first, uint32_t count,
                                        float *logits);

/* Where answers for chosen samples go; NULL is not wanted. */
typedef struct vkd_predictor_out {
    float *logits;      /* (count, classes) */
    float *const *maps; /* (map_count) arrays (count, H, W): the mean over channels of the squares,
                           as in vkd_live_map */
    float *const *taps; /* (tap_count) arrays (count, ...) of the tap's shape */
} vkd_predictor_out;

/* Answers for `count` samples of the test split, in any order, in steps of 16. Where another batch
 * adds in another order, logits differ from vkd_predictor_logits in the last bits. Errors:
 * VKD_E_ARGUMENT: a number beyond the split; VKD_E_DEVICE..., VKD_E_MEMORY. */
VKD_API vkd_result vkd_predictor_run(vkd_predictor *p, const uint32_t *samples, uint32_t count,
                                     const vkd_predictor_out *out);

/* ---- Its metrics ----------------------------------------------------------------------------- */

/* Reads metrics.jsonl while it grows. */
typedef struct vkd_metrics vkd_metrics;

typedef enum vkd_series_kind {
    VKD_SERIES_OTHER,    /* "tau.<term>", "loss_scale", "skipped", "kl", "agreement", ... */
    VKD_SERIES_LOSS,     /* "loss": the weighted sum */
    VKD_SERIES_TERM,     /* "<term>": a loss before its weight */
    VKD_SERIES_ACCURACY, /* "test_accuracy", 0 to 1 */
    VKD_SERIES_RATE,     /* "learning_rate" */
    VKD_SERIES_NORM,     /* "gradient_norm" */
    VKD_SERIES_SPEED     /* "samples_per_second" */
} vkd_series_kind;

/* One curve. */
typedef struct vkd_series {
    const char *name; /* the key in metrics.jsonl */
    vkd_series_kind kind;
    uint32_t count;
    const double *steps;  /* (count) of the phase, never falling */
    const double *values; /* (count); not a number where the file has null */
} vkd_series;

/* One model trained by one stage. */
typedef struct vkd_metrics_phase {
    const char *phase, *stage; /* the model's name, and the stage's */
    uint64_t step;             /* the newest that a row has */
    uint32_t series_count;
    const vkd_series *series;
} vkd_metrics_phase;

typedef enum vkd_event_kind {
    VKD_EVENT_STAGE,   /* a phase begins */
    VKD_EVENT_SETTING, /* a viewer has changed a setting: name, from, to */
    VKD_EVENT_SKIPPED, /* a step was left out: its gradient was not finite */
    VKD_EVENT_WARNING, /* something looks wrong */
    VKD_EVENT_RESUMED, /* the run goes on after an interruption */
    VKD_EVENT_LABELS   /* a stage has labelled samples */
} vkd_event_kind;

typedef struct vkd_event {
    vkd_event_kind kind;
    uint32_t phase; /* index */
    uint64_t step;
    const char *text; /* a line to show: "tau.kd_kl from 4 to 8" */
    const char *name; /* of a setting, else "" */
    double from, to;  /* of a setting, else not numbers */
} vkd_event;

typedef struct vkd_metrics_view {
    uint64_t sequence;  /* grows with each change */
    uint32_t restarts;  /* how often the file was cut or replaced, and read from its beginning */
    uint64_t rows;      /* taken */
    uint64_t noise;     /* lines that were none, and skipped */
    bool more;          /* there is more to read now: one call takes a few megabytes at most */
    const char *device; /* that the run computes on; "" before the first row */
    uint32_t phase_count;
    const vkd_metrics_phase *phases; /* in the order in which they began */
    uint32_t event_count;
    const vkd_event *events; /* in the order of the file */
} vkd_metrics_view;

/* A folder without metrics.jsonl is no mistake: the file may come. Errors: VKD_E_FILE: there is no
 * such folder; VKD_E_MEMORY. */
VKD_API vkd_result vkd_metrics_open(vkd_ctx *ctx, const char *folder, vkd_metrics **out);
VKD_API void vkd_metrics_close(vkd_metrics *m);
/* Takes what is new. Never blocks, never fails for what is in the file: a last line without its end
 * is left for later, lines that are no rows are counted as noise. *out and all it points to are
 * valid until the next call. Errors: VKD_E_MEMORY; *out is then as far as it came. */
VKD_API vkd_result vkd_metrics_read(vkd_metrics *m, const vkd_metrics_view **out);

#ifdef __cplusplus
}
#endif
#endif
