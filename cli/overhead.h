// SPDX-License-Identifier: Apache-2.0
/* What a step costs the host. */
#ifndef VKD_CLI_OVERHEAD_H
#define VKD_CLI_OVERHEAD_H

#include "base/base.h"

typedef struct cli_overhead {
    uint32_t launches;    /* of the small step */
    double submit, empty; /* seconds of host time, medians: vkd_program_submit of that step, and the
                             driver's submission of one empty command buffer */
} cli_overhead;

/* Errors: those of planning and running a program. */
vkd_result cli_overhead_measure(vkd_ctx *ctx, vkd_device *device, cli_overhead *out);

#endif
