// SPDX-License-Identifier: Apache-2.0
/* Frames without a window: for pictures, and for tests that read pixels back. */
#ifndef VKD_VIEWER_OFFSCREEN_H
#define VKD_VIEWER_OFFSCREEN_H

#include "viewer/renderer.h"

typedef struct view_offscreen {
    view_gpu *gpu;
    view_renderer *renderer;
    view_image image;
    view_buffer copy;
    const uint8_t *pixels; /* (height, width, 4) RGBA of the last frame */
} view_offscreen;

/* Errors: those of view_gpu_create and view_gpu_open. On failure *o is to be terminated, too. */
vkd_result view_offscreen_init(view_offscreen *o, vkd_ctx *ctx, const char *choice, bool validate,
                               uint32_t width, uint32_t height);
void view_offscreen_term(view_offscreen *o);
/* Draws, and waits for the pixels. */
vkd_result view_offscreen_draw(view_offscreen *o, const gui_frame *frame);
/* What was drawn last, as a PNG. Errors: VKD_E_FILE. */
vkd_result view_offscreen_save(view_offscreen *o, const char *path);

#endif
