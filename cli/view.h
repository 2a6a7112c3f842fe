// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_CLI_VIEW_H
#define VKD_CLI_VIEW_H

#include "base/base.h"

/* Opens the viewer on a run's folder, as a program of its own. Where that cannot be, one warning
 * says why: nobody's training fails for want of a window. */
void cli_view_open(vkd_ctx *ctx, const char *folder);

#endif
