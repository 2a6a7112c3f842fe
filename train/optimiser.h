// SPDX-License-Identifier: Apache-2.0
/* An optimiser as a recipe names it: its options, and the nodes that it adds to a training graph.
 */
#ifndef VKD_OPTIMISER_H
#define VKD_OPTIMISER_H

#include "base/field.h"

/* Every optimiser's configuration begins with these, so that the loop can read them. */
typedef struct vkd__optimiser_base {
    float lr;   /* before the schedule's factor */
    float clip; /* largest global norm of the gradient; 0: no limit */
} vkd__optimiser_base;

/* The two fields of the base, for the front of an optimiser's own table. */
#define VKD__OPTIMISER_FIELDS(config, lr_preset)                                                   \
    {.name = "lr",                                                                                 \
     .type = VKD__FIELD_F32,                                                                       \
     .offset = offsetof(config, base.lr),                                                          \
     .low = 0,                                                                                     \
     .high = 1e9,                                                                                  \
     .preset = lr_preset,                                                                          \
     .help = "learning rate, before the schedule's factor"},                                       \
    {                                                                                              \
        .name = "clip", .type = VKD__FIELD_F32, .offset = offsetof(config, base.clip), .low = 0,   \
        .high = 1e9, .preset = "0",                                                                \
        .help = "largest norm of the whole gradient, above it is scaled down; 0: no limit"         \
    }

typedef struct vkd__optimiser_def {
    const char *name, *summary, *paper; /* paper may be NULL */
    size_t config_size;
    const vkd__field *fields;
    size_t field_count;
    void (*build)(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor guard,
                  vkd_tensor lr, const void *config);
} vkd__optimiser_def;

#define VKD_OPTIMISER(name) extern const vkd__optimiser_def vkd_optimiser_##name;
#include "train/optimisers.def"
#undef VKD_OPTIMISER

extern const vkd__optimiser_def *const vkd__optimisers[];
extern const size_t vkd__optimiser_count;
const vkd__optimiser_def *vkd__optimiser_find(const char *name);

#endif
