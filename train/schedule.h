// SPDX-License-Identifier: Apache-2.0
/* How the learning rate moves: a factor between 0 and 1 for each step of a stage. */
#ifndef VKD_SCHEDULE_H
#define VKD_SCHEDULE_H

#include "base/field.h"

/* Where a step stands. After the warm-up, the schedule's own clock runs from 0 to `steps`. */
typedef struct vkd__schedule_at {
    uint64_t step, steps; /* 0 <= step < steps */
    uint64_t epoch_steps; /* steps of one epoch */
} vkd__schedule_at;

typedef struct vkd__schedule_def {
    const char *name, *summary, *formula;
    size_t config_size;
    const vkd__field *fields;
    size_t field_count;
    double (*factor)(const vkd__schedule_at *at, const void *config);
} vkd__schedule_def;

#define VKD_SCHEDULE(name) extern const vkd__schedule_def vkd_schedule_##name;
#include "train/schedules.def"
#undef VKD_SCHEDULE

extern const vkd__schedule_def *const vkd__schedules[];
extern const size_t vkd__schedule_count;
const vkd__schedule_def *vkd__schedule_find(const char *name);

/* The factor for a step, warm-up included: it rises in equal parts to 1 over the first `warmup`
 * steps (the first step gets 1/warmup), then the schedule runs over the steps that remain. */
double vkd__schedule_factor(const vkd__schedule_def *def, const void *config, uint32_t warmup,
                            const vkd__schedule_at *at);

#endif
