// SPDX-License-Identifier: Apache-2.0
/* A recipe after it was read: names resolved to definitions, every default filled in. Plain data in
 * one arena; nothing changes it. */
#ifndef VKD_RECIPE_H
#define VKD_RECIPE_H

#include "data/dataset.h"
#include "losses/loss.h"
#include "models/model.h"
#include "train/optimiser.h"
#include "train/pseudo.h"
#include "train/schedule.h"
#include "vkdistill/train.h"

#define VKD__NONE 0xffffffffu
#define VKD__MAX_SHIFTS 32

/* What stands for a definition and its options everywhere: fields in, config out. */
typedef struct vkd__part {
    const char *name; /* the definition's */
    const vkd__field *fields;
    size_t field_count;
    void *config; /* of the definition's config_size */
} vkd__part;

typedef struct vkd__recipe_model {
    const char *name; /* the group of its parameters */
    const vkd__model_def *def;
    vkd__part part;
    const char *load;   /* a safetensors file that holds it, or NULL */
    uint32_t init_seed; /* 0: start values of the run's seed; else of another one */
    vkd__embedding embedding;
} vkd__recipe_model;

/* The taps that a loss compares, one of each model. */
typedef struct vkd__tap_names {
    const char *student, *teacher;
} vkd__tap_names;

typedef struct vkd__recipe_loss {
    const char *name; /* in metrics and --set: the loss's own unless the recipe gives one */
    const vkd__loss_def *def;
    vkd__part part;
    float weight, final_weight; /* at the stage's first step and at its last */
    vkd__tap_names *taps;       /* of a loss on features, at most VKD__MAX_PAIRS */
    uint32_t tap_count;
} vkd__recipe_loss;

#define VKD__MAX_TEACHERS 8

typedef struct vkd__recipe_teacher {
    uint32_t model;    /* index */
    float weight;      /* as the recipe has it; see vkd__teacher_share */
    const char *cache; /* a file of its outputs, read in place of running it, or NULL */
} vkd__recipe_teacher;

enum { VKD__LOGITS_CACHED, VKD__LOGITS_LIVE };
enum { VKD__COMBINE_PROBABILITIES, VKD__COMBINE_LOGITS };
enum { VKD__SAMPLER_SHUFFLE, VKD__SAMPLER_CLASSES };
enum { VKD__PRECISION_F32, VKD__PRECISION_MIXED, VKD__PRECISION_MIXED_BF16 };

typedef struct vkd__stage_options {
    uint32_t epochs; /* 0: steps count */
    uint32_t steps;
    uint32_t batch;
    uint32_t samples; /* 0: all */
    uint32_t first;   /* samples before them */
    bool control;
    uint32_t teacher_logits; /* VKD__LOGITS_... */
    uint32_t combine;        /* VKD__COMBINE_...: what several teachers say together */
    float ema;               /* decay of the averaged parameters; 0: none */
    vkd__u32s classes;       /* empty: all */
    vkd__u32s omit_classes;
    uint32_t sampler;   /* VKD__SAMPLER_... */
    uint32_t per_class; /* VKD__SAMPLER_CLASSES; divides batch */
} vkd__stage_options;

/* What a stage trains on. */
typedef struct vkd__stage_data {
    bool labelled;
    uint32_t pseudo; /* index of the stage that labelled them, or VKD__NONE */
    uint32_t ratio;
} vkd__stage_data;

typedef struct vkd__recipe_stage {
    const char *name;
    vkd__pseudo_options
        *label;       /* NULL for a stage that trains; one that labels has only teachers */
    uint32_t model;   /* index of the one it trains, or VKD__NONE */
    uint32_t teacher; /* index of the first, or VKD__NONE */
    vkd__recipe_teacher teachers[VKD__MAX_TEACHERS];
    uint32_t teacher_count;
    vkd__stage_options options;
    vkd__stage_data data;
    vkd_augment_desc augment; /* of its images, for student and teacher alike */
    bool augmented;           /* whether that changes anything */
    vkd__recipe_loss *losses;
    uint32_t loss_count;
    const vkd__optimiser_def *optimiser;
    vkd__part optimiser_part;
    const vkd__schedule_def *schedule;
    vkd__part schedule_part;
    uint32_t warmup; /* steps */
} vkd__recipe_stage;

typedef struct vkd__recipe_data {
    const vkd__dataset_def *def;
    vkd__part part;
    vkd__data_options options;
    float mean[4], std[4];
    uint32_t channels; /* values given in mean and std; 1 stands for every channel */
} vkd__recipe_data;

typedef struct vkd__shift {
    uint32_t class_index;
    float value;
} vkd__shift;

typedef struct vkd__recipe_options {
    uint32_t seed;
    bool share_teacher;
    uint32_t log_every;         /* steps */
    uint32_t checkpoint_every;  /* steps; 0: only at phase ends and interruptions */
    uint32_t precision;         /* VKD__PRECISION_... */
    float loss_scale;           /* at the start; f16 alone */
    uint32_t loss_scale_growth; /* good steps until it is doubled */
} vkd__recipe_options;

/* A row of the table: the mean of its models' probabilities. */
typedef struct vkd__ensemble {
    const char *name;
    uint32_t *models; /* (count) indices */
    uint32_t count;
} vkd__ensemble;

/* Whose nearest neighbour the table speaks of. */
typedef struct vkd__retrieval {
    const char *tap;   /* NULL: of nobody */
    vkd__u32s classes; /* of the test split; none: all */
} vkd__retrieval;

typedef struct vkd__evaluation {
    uint32_t batch;
    uint32_t every_epochs; /* 0: only at the end */
    bool bias_search;
    vkd__shift shifts[VKD__MAX_SHIFTS];
    uint32_t shift_count;
    vkd__retrieval retrieval;
    vkd__ensemble *ensembles;
    uint32_t ensemble_count;
} vkd__evaluation;

struct vkd_recipe {
    vkd_ctx *ctx;
    vkd__arena arena;
    const char *name;
    vkd__recipe_options options;
    vkd__recipe_data data;
    vkd__recipe_model *models;
    uint32_t model_count;
    vkd__recipe_stage *stages;
    uint32_t stage_count;
    vkd__evaluation evaluation;
};

/* A teacher's weight; those of a stage's teachers sum to 1. */
float vkd__teacher_share(const vkd__recipe_stage *s, uint32_t teacher);
/* Whether a model is among the stage's teachers. */
bool vkd__stage_taught_by(const vkd__recipe_stage *s, uint32_t model);
/* VKD__NONE when there is none of that name. */
uint32_t vkd__recipe_model_index(const vkd_recipe *recipe, const char *name);
/* The data set that the recipe names. Errors: those of vkd__dataset_load. */
vkd_result vkd__recipe_load_data(vkd_ctx *ctx, const vkd_recipe *recipe, vkd__dataset *out);

/* The recipe's own keys with their ranges and defaults, for reading, printing and `--help`. */
typedef struct vkd__table {
    const vkd__field *fields;
    size_t count;
} vkd__table;
vkd__table vkd__recipe_fields(void);
vkd__table vkd__model_fields(void);
vkd__table vkd__stage_fields(void);
vkd__table vkd__stage_data_fields(void);
vkd__table vkd__label_fields(void);
vkd__table vkd__augment_fields(void);
vkd__table vkd__evaluation_fields(void);
/* The key evaluation.retrieval.classes. */
vkd__table vkd__retrieval_fields(void);

#endif
