// SPDX-License-Identifier: Apache-2.0
#ifndef VKD_VIEWER_WINDOW_H
#define VKD_VIEWER_WINDOW_H

#include "viewer/app.h"
#include "viewer/options.h"

/* Opens a window and stays in it until it is closed. Errors: VKD_E_NO_DEVICE: there is no display,
 * or no device that draws on it; VKD_E_DEVICE...; VKD_E_MEMORY. */
vkd_result view_window_run(vkd_ctx *ctx, app *a, const view_options *o);

#endif
