// SPDX-License-Identifier: Apache-2.0
/* Shows how a run goes: a bar that is drawn over itself on a terminal, plain lines elsewhere. */
#ifndef VKD_CLI_PROGRESS_H
#define VKD_CLI_PROGRESS_H

#include "vkdistill/train.h"

typedef struct cli_progress {
    bool terminal;
    bool drawn;  /* a bar stands on the last line */
    double last; /* when the last plain line came */
    char phase[64];
} cli_progress;

void cli_progress_init(cli_progress *p);
/* The callback of vkd_run_desc; user is a cli_progress. */
void cli_progress_show(cli_progress *p, const vkd_progress *now);
/* Ends the bar's line, before other text comes. */
void cli_progress_clear(cli_progress *p);

#endif
