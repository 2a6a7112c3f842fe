// SPDX-License-Identifier: Apache-2.0
/* A figure of a run's table as text. */
#ifndef VKD_CLI_FIGURE_H
#define VKD_CLI_FIGURE_H

#include <stddef.h>

#include "vkdistill/train.h"

/* "88.41% +- 0.21", without the deviation for one seed, "-" for no number. */
void cli_figure(char *out, size_t size, uint32_t seeds, vkd_figure f, double scale, int digits,
                const char *unit);

#endif
