// SPDX-License-Identifier: Apache-2.0
/* What a step costs the host. */
#ifndef VKD_CLI_OVERHEAD_H
#define VKD_CLI_OVERHEAD_H

#include "base/base.h"

#include <stdio.h>

enum { CLI_OVERHEAD_STEPS = 3 };

typedef struct cli_overhead {
    uint32_t launches;    /* of the small step */
    double submit, empty; /* seconds of host time, medians: vkd_program_submit of that step, and the
                             driver's submission of one empty command buffer */
    uint32_t step_launches[CLI_OVERHEAD_STEPS]; /* steps of so many small launches, */
    double step_launch[CLI_OVERHEAD_STEPS];     /* and seconds of each launch in them */
} cli_overhead;

/* Errors: those of planning and running a program. */
vkd_result cli_overhead_measure(vkd_ctx *ctx, vkd_device *device, cli_overhead *out);

/* One line: a launch's cost by the length of its step. */
void cli_overhead_print(const cli_overhead *o, FILE *to);

#endif
