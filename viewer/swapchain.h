// SPDX-License-Identifier: Apache-2.0
/* The images of a window. */
#ifndef VKD_VIEWER_SWAPCHAIN_H
#define VKD_VIEWER_SWAPCHAIN_H

#include "viewer/renderer.h"

enum { VIEW_IMAGES = 16 };

typedef struct view_swapchain {
    view_gpu *gpu;
    VkSurfaceKHR surface; /* the caller's */
    VkSurfaceFormatKHR format;
    VkSwapchainKHR chain; /* VK_NULL_HANDLE: there is none, the window has no size */
    uint32_t width, height, count;
    VkImage images[VIEW_IMAGES];
    VkImageView views[VIEW_IMAGES];
    VkSemaphore drawn[VIEW_IMAGES], ready[VIEW_FRAMES];
    uint32_t turn;
    bool stale; /* to be made anew before the next frame */
} view_swapchain;

/* Chooses the format; images are made with the first frame. Errors: VKD_E_NO_DEVICE: the surface
 * has no format of eight bits; those of view_check. */
vkd_result view_swapchain_init(view_swapchain *c, view_gpu *gpu, VkSurfaceKHR surface);
/* For another surface of the same window, after the old one was lost. */
void view_swapchain_term(view_swapchain *c);

typedef enum view_shown { VIEW_SHOWN, VIEW_NOT_NOW, VIEW_SURFACE_LOST } view_shown;
/* Draws a frame into the window. VIEW_NOT_NOW: it has no size, or its images were just found to be
 * stale: try again. width, height: what the window says of itself. */
vkd_result view_swapchain_show(view_swapchain *c, view_renderer *r, const gui_frame *frame,
                               uint32_t width, uint32_t height, view_shown *out);

#endif
