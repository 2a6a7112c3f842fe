// SPDX-License-Identifier: Apache-2.0
/* One loss on a device, for the commands loss and selftest. */
#ifndef VKD_CLI_LOSS_STEP_H
#define VKD_CLI_LOSS_STEP_H

#include "losses/loss.h"

typedef struct cli_loss_problem {
    const vkd__loss_def *def;
    const void *config; /* of def->config_size; its field "tau" is the temperature */
    uint32_t N, V;
    const float *student, *teacher; /* (N, V); teacher may be NULL when the loss needs none */
    const int32_t *labels;          /* (N); likewise */
} cli_loss_problem;

/* The configuration's temperature; 1 for a loss without. */
float cli_loss_tau(const cli_loss_problem *p);

/* One step. `composed` takes the loss out of plain ops instead of its fused kernel, if it has one.
 *
 * gradient  (N, V), by the student
 *
 * Errors: those of graph, plan and program. */
vkd_result cli_loss_step(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                         const cli_loss_problem *p, bool composed, float *loss, float *gradient);

#endif
