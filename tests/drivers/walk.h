// SPDX-License-Identifier: Apache-2.0
/* Plans what the product may ever launch: every op, every loss and every recipe, with what the
 * device's profile chooses and with everything else that the tuner may choose. Kernels are found in
 * the plans, so a new one is walked without a line here. */
#ifndef VKD_TEST_WALK_H
#define VKD_TEST_WALK_H

#include "graph/plan.h"

typedef struct walk {
    vkd_ctx *ctx;
    vkd_profile profile; /* under way */
    /* Is given each launch of each plan; a failure ends the walk. */
    vkd_result (*visit)(void *user, const vkd__launch *launch);
    void *user;
    uint64_t plans;
} walk;

/* Every plan under w->profile, and under each profile that a knob makes of it.
 * Errors: what a plan or `visit` says. */
vkd_result walk_all(walk *w);

#endif
