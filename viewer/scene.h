// SPDX-License-Identifier: Apache-2.0
/* What is looked at: a run's folder, its live file, metrics and models, and what was chosen to be
 * shown of them. Knows nothing of how it is drawn.
 *
 * Whatever is wrong with the folder is a sentence in `problem` and no end: the folder is looked at
 * again, and shown as soon as it is right. One thread. */
#ifndef VKD_VIEWER_SCENE_H
#define VKD_VIEWER_SCENE_H

#include "base/base.h"
#include "vkdistill/inspect.h"
#include "vkdistill/train.h"

#define SCENE_NONE UINT32_MAX
enum { SCENE_MAPS = 16, SCENE_TEXT = 512 };

typedef enum scene_side { SCENE_TEACHER, SCENE_STUDENT } scene_side;

/* Logits of some samples of the test split. */
typedef struct scene_answers {
    uint32_t count, classes;
    const int32_t *indices; /* (count) numbers in the test split; NULL: 0, 1, 2, ... */
    const int32_t *labels;  /* (count) */
    const float *logits[2]; /* (count, classes) by side; NULL: that one has not answered */
} scene_answers;

/* Two attention maps that a loss compares, of one sample. */
typedef struct scene_map {
    const char *tap; /* of the side */
    uint32_t height, width;
    const float *values; /* (height, width); NULL: there is none (yet) */
} scene_map;

/* A pair of taps whose maps are shown. */
typedef struct scene_pair {
    char tap[2][48]; /* by side */
} scene_pair;

/* One model of the run that answers for a side; eval.c. */
typedef struct scene_model {
    uint32_t model; /* index into the info's models; SCENE_NONE: none of the run fits */
    vkd_predictor *predictor;
    uint64_t version;        /* of the answers */
    float *logits;           /* (tests, classes) */
    uint32_t at, known;      /* answers of this version; answers of this or an older one */
    double next;             /* when a failure is tried again */
    float *maps[SCENE_MAPS]; /* of map_sample */
    uint32_t map_sample;     /* SCENE_NONE: none */
    uint64_t map_version;
} scene_model;

typedef struct scene {
    vkd_ctx *ctx;
    const char *device_choice;
    char folder[1024];
    char problem[SCENE_TEXT]; /* what is wrong with the folder, "" for nothing */
    char trouble[SCENE_TEXT]; /* why a part of it is not shown: live file, models, a request */
    uint64_t changes;         /* grows whenever there is something else to draw */

    vkd_live *live;
    const vkd_live_frame *frame; /* NULL: there is no live file */
    bool training;               /* the trainer is at work */
    vkd_metrics *metrics;
    const vkd_metrics_view *view; /* NULL: none */
    vkd_inspect *inspect;
    const vkd_inspect_info *info; /* NULL: the folder is no run, or its data are not there */

    vkd_device *device;    /* opened when a model is to answer */
    scene_model models[2]; /* by side */
    bool hurry;            /* answers at full speed, though the run trains */
    bool rest;             /* the user is at work: models do not answer just now */
    bool want_maps;        /* maps of the chosen sample are wanted */
    double eval_due;
    scene_pair pairs[SCENE_MAPS];
    uint32_t pair_count;

    scene_answers probe, tests; /* of the live file; of the models */
    uint64_t answers;           /* grows whenever one of them is another */

    uint32_t sample; /* number in the test split */
    float tau;       /* that the panels show */

    double now, live_due, metrics_due, inspect_due;
} scene;

/* Errors: VKD_E_MEMORY. device_choice: as vkd_device_open has it; it must outlive the scene. */
vkd_result scene_open(vkd_ctx *ctx, const char *folder, const char *device_choice, scene **out);
void scene_close(scene *s); /* NULL is allowed */
/* Looks for what is new and lets the models answer some more; a few milliseconds, but for the
 * first answers of a model. now: seconds of a clock that never runs backwards. */
void scene_update(scene *s, double now);
/* Whether scene_update has work to do at once, and no reason to wait. */
bool scene_busy(const scene *s);
/* Works on until nothing is left that could be known now; for pictures. */
void scene_finish(scene *s);

/* ---- What there is ---- */

/* Samples of the test split that can be chosen. */
uint32_t scene_sample_count(const scene *s);
/* "Ankle boot", or "class 9". The text is valid until the fourth call from now. */
const char *scene_class_name(const scene *s, int64_t index);
/* SCENE_NONE: unknown. */
int32_t scene_label(const scene *s, uint32_t sample);
/* The name of the model on a side, "" for none. */
const char *scene_model_name(const scene *s, scene_side side);
/* Logits of the chosen sample: of the live file while it is fresher, else of the run's models.
 * NULL: unknown. where (64 bytes, may be NULL): "live, step 1200" or "test split". */
const float *scene_logits(const scene *s, uint32_t sample, scene_side side, char *where);
uint32_t scene_classes(const scene *s); /* 0: unknown */
/* The row of a sample in the live file's probe batch, or SCENE_NONE. */
uint32_t scene_probe_row(const scene *s, uint32_t sample);
/* Every sample that both models have answered, else those of the probe batch. */
const scene_answers *scene_all(const scene *s);
/* The probe batch as its models are now: the first `most` samples that both have answered. */
bool scene_batch(const scene *s, uint32_t most, scene_answers *out);
/* false: neither side has a map of this pair for the chosen sample. */
bool scene_maps(const scene *s, uint32_t pair, scene_map out[2]);

/* ---- What is asked for ---- */

void scene_choose(scene *s, uint32_t sample);
/* Lets another model of the run answer for a side. */
void scene_take_model(scene *s, scene_side side, uint32_t model);
/* Settings for the trainer. Errors are in `trouble`. */
bool scene_ask(scene *s, const vkd_live_setting *settings, uint32_t count);

/* ---- Between its files ---- */

void scene_live_update(scene *s);    /* scene_live.c */
void scene_inspect_update(scene *s); /* scene_models.c */
void scene_models_term(scene *s);
bool scene_models_busy(const scene *s);
void scene_trouble(scene *s, const char *text);

#endif
