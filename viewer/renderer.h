// SPDX-License-Identifier: Apache-2.0
/* Draws frames of gui.h into images, for the window and for pictures without one. */
#ifndef VKD_VIEWER_RENDERER_H
#define VKD_VIEWER_RENDERER_H

#include "viewer/gpu.h"
#include "viewer/gui.h"

typedef struct view_picture {
    view_image image; /* none while its image is VK_NULL_HANDLE */
    VkDescriptorSet set;
    uint64_t generation; /* that the image holds */
    bool smooth;
} view_picture;

typedef struct view_frame {
    VkCommandBuffer commands;
    VkFence done;
    view_buffer vertices, indices, staging;
} view_frame;

typedef struct view_renderer {
    view_gpu *gpu;
    VkFormat format;
    VkSampler samplers[2]; /* squares, smooth */
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkPipeline pipeline;
    VkDescriptorPool pool;
    view_picture pictures[VIEW_PICTURES];
    view_frame frames[VIEW_FRAMES];
    uint32_t current;
} view_renderer;

/* format: of the images that are drawn into. Errors: those of view_check; VKD_E_MEMORY. */
vkd_result view_renderer_create(view_gpu *gpu, VkFormat format, view_renderer **out);
void view_renderer_destroy(view_renderer *r); /* waits; NULL is allowed */

typedef struct view_target {
    VkImage image;
    VkImageView view;
    uint32_t width, height;
    VkImageLayout layout;    /* that it is left in */
    VkSemaphore ready;       /* when it may be drawn into; VK_NULL_HANDLE: now */
    VkSemaphore drawn;       /* signalled when it is; may be VK_NULL_HANDLE */
    const view_buffer *copy; /* where its pixels are copied to, or NULL */
} view_target;
/* Waits until fewer than VIEW_FRAMES frames are under way. */
vkd_result view_renderer_ready(view_renderer *r);
/* Submits the drawing of one frame, when view_renderer_ready. */
vkd_result view_renderer_draw(view_renderer *r, const gui_frame *frame, const view_target *target);
vkd_result view_renderer_wait(view_renderer *r);

/* ---- renderer_make.c, renderer_pictures.c ---- */

/* Pipeline, samplers and descriptors. */
vkd_result view_renderer_make(view_renderer *r);
/* Records the copies that bring pictures up to date. */
vkd_result view_renderer_pictures(view_renderer *r, view_frame *f, const gui_frame *frame);

#endif
