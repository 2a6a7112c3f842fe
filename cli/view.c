// SPDX-License-Identifier: Apache-2.0
#include "cli/view.h"

#include <stdio.h>

#include "base/platform.h"

#define PROGRAM "vkdistill-view"

void cli_view_open(vkd_ctx *ctx, const char *folder) {
    char path[1024], run[1100];
    if (!vkd__has_display()) {
        vkd__log(ctx, VKD_LOG_WARNING,
                 "there is no display for the viewer: neither DISPLAY nor WAYLAND_DISPLAY is set; "
                 "later, or elsewhere: " PROGRAM " %s",
                 folder);
        return;
    }
    if (!vkd__find_program(PROGRAM, path, sizeof path)) {
        vkd__log(ctx, VKD_LOG_WARNING,
                 "there is no program " PROGRAM
                 " beside vkdistill or in PATH, so nothing is shown; "
                 "it is built where GLFW is found");
        return;
    }
    /* A name like an option is none. */
    snprintf(run, sizeof run, "%s%s", *folder == '-' ? "./" : "", folder);
    if (vkd__start_program(ctx, path, (const char *const[]){PROGRAM, run, NULL}))
        vkd__log(ctx, VKD_LOG_WARNING, "%s; nothing is shown", vkd_ctx_error(ctx));
}
