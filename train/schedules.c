// SPDX-License-Identifier: Apache-2.0
/* With x = step / steps, the share of the stage that lies behind:
 *
 *   constant  1
 *   step      gamma ^ (milestones passed)
 *   cosine    final + (1 - final) * (1 + cos(pi x)) / 2
 *   linear    final + (1 - final) * (1 - x) */
#include "train/schedule.h"

#include <math.h>
#include <string.h>

#define PI 3.14159265358979323846

#define VKD_SCHEDULE(name) &vkd_schedule_##name,
const vkd__schedule_def *const vkd__schedules[] = {
#include "train/schedules.def"
    NULL};
#undef VKD_SCHEDULE
const size_t vkd__schedule_count = VKD_COUNT(vkd__schedules) - 1;

const vkd__schedule_def *vkd__schedule_find(const char *name) {
    for (size_t i = 0; i < vkd__schedule_count; i++)
        if (!strcmp(vkd__schedules[i]->name, name)) return vkd__schedules[i];
    return NULL;
}

double vkd__schedule_factor(const vkd__schedule_def *def, const void *config, uint32_t warmup,
                            const vkd__schedule_at *at) {
    if (at->step < warmup) return (double)(at->step + 1) / (double)warmup;
    vkd__schedule_at rest = *at;
    rest.step -= warmup;
    rest.steps = at->steps > warmup ? at->steps - warmup : 1;
    /* Milestones count epochs of the stage, so the step schedule keeps the whole clock. */
    return def->factor(def == &vkd_schedule_step ? at : &rest, config);
}

static double share(const vkd__schedule_at *at) {
    return (double)at->step / (double)at->steps;
}

static double constant_factor(const vkd__schedule_at *at, const void *config) {
    (void)at;
    (void)config;
    return 1;
}

const vkd__schedule_def vkd_schedule_constant = {
    .name = "constant",
    .summary = "the same learning rate throughout",
    .formula = "1",
    .factor = constant_factor,
};

typedef struct step_config {
    vkd__u32s milestones;
    float gamma;
} step_config;

static const vkd__field step_fields[] = {
    {.name = "milestones",
     .type = VKD__FIELD_U32S,
     .offset = offsetof(step_config, milestones),
     .low = 1,
     .high = 1e9,
     .preset = "[]",
     .help = "epochs after which the learning rate falls"},
    {.name = "gamma",
     .type = VKD__FIELD_F32,
     .offset = offsetof(step_config, gamma),
     .low = 0,
     .high = 1,
     .preset = "0.1",
     .help = "factor at each milestone"},
};

static double step_factor(const vkd__schedule_at *at, const void *config) {
    const step_config *c = config;
    double factor = 1;
    for (uint32_t i = 0; i < c->milestones.count; i++)
        if (at->step >= c->milestones.v[i] * at->epoch_steps) factor *= (double)c->gamma;
    return factor;
}

const vkd__schedule_def vkd_schedule_step = {
    .name = "step",
    .summary = "falls by a factor after given epochs",
    .formula = "gamma ^ (milestones passed)",
    .config_size = sizeof(step_config),
    .fields = step_fields,
    .field_count = VKD_COUNT(step_fields),
    .factor = step_factor,
};

typedef struct final_config {
    float final;
} final_config;

static const vkd__field final_fields[] = {
    {.name = "final",
     .type = VKD__FIELD_F32,
     .offset = offsetof(final_config, final),
     .low = 0,
     .high = 1,
     .preset = "0",
     .help = "factor at the stage's end"},
};

static double cosine_factor(const vkd__schedule_at *at, const void *config) {
    const double final = (double)((const final_config *)config)->final;
    return final + (1 - final) * (1 + cos(PI * share(at))) / 2;
}

/* Loshchilov & Hutter, arXiv:1608.03983, one period, without restarts. */
const vkd__schedule_def vkd_schedule_cosine = {
    .name = "cosine",
    .summary = "falls along half a cosine",
    .formula = "final + (1 - final) * (1 + cos(pi x)) / 2",
    .config_size = sizeof(final_config),
    .fields = final_fields,
    .field_count = VKD_COUNT(final_fields),
    .factor = cosine_factor,
};

static double linear_factor(const vkd__schedule_at *at, const void *config) {
    const double final = (double)((const final_config *)config)->final;
    return final + (1 - final) * (1 - share(at));
}

const vkd__schedule_def vkd_schedule_linear = {
    .name = "linear",
    .summary = "falls along a straight line",
    .formula = "final + (1 - final) * (1 - x)",
    .config_size = sizeof(final_config),
    .fields = final_fields,
    .field_count = VKD_COUNT(final_fields),
    .factor = linear_factor,
};
