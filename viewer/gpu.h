// SPDX-License-Identifier: Apache-2.0
/* The device that draws: an instance, a device and a queue of the viewer's own, apart from those
 * that the library computes with. One thread. */
#ifndef VKD_VIEWER_GPU_H
#define VKD_VIEWER_GPU_H

#include "gpu/instance.h"

enum { VIEW_FRAMES = 2 /* under way at once */, VIEW_PICTURES = 512 };

typedef struct view_gpu {
    vkd_ctx *ctx;
    VkInstance instance;
    VkDebugUtilsMessengerEXT messenger;
    vkd__messages messages;
    VkPhysicalDevice physical;
    VkPhysicalDeviceMemoryProperties memory;
    char name[VK_MAX_PHYSICAL_DEVICE_NAME_SIZE];
    bool cpu; /* the device is the processor: what is drawn is taken from what trains */
    VkDevice device;
    struct VolkDeviceTable vk;
    uint32_t family;
    VkQueue queue;
    VkCommandPool pool;
} view_gpu;

typedef struct view_buffer {
    VkBuffer buffer;
    VkDeviceMemory memory;
    void *mapped;
    VkDeviceSize size;
} view_buffer;

typedef struct view_image {
    VkImage image;
    VkDeviceMemory memory;
    VkImageView view;
    uint32_t width, height;
} view_image;

/* What an image is laid out for, and who has touched it last or does next. */
typedef struct view_step {
    VkImageLayout layout;
    VkPipelineStageFlags2 stage;
    VkAccessFlags2 access;
} view_step;

/* The instance alone; a window makes its surface of it. Errors: VKD_E_NO_DEVICE, VKD_E_MEMORY. */
vkd_result view_gpu_create(vkd_ctx *ctx, bool validate, const char *const *extensions,
                           uint32_t extension_count, view_gpu **out);
/* The device that `choice` or VKD_DEVICE names, as everywhere, else the best that can show images
 * on the surface, which may be VK_NULL_HANDLE. Errors: VKD_E_NO_DEVICE, VKD_E_DEVICE. */
vkd_result view_gpu_open(view_gpu *v, const char *choice, VkSurfaceKHR surface);
/* NULL is allowed. Everything made with it must be gone. */
void view_gpu_destroy(view_gpu *v);

/* The context's error for a call of Vulkan's that failed: VKD_E_DEVICE_LOST, VKD_E_DEVICE_MEMORY or
 * VKD_E_DEVICE; VKD_OK for VK_SUCCESS. */
vkd_result view_check(view_gpu *v, VkResult result, const char *call);

/* Mapped, coherent memory. Errors: those of view_check. */
vkd_result view_buffer_create(view_gpu *v, VkDeviceSize size, VkBufferUsageFlags usage,
                              view_buffer *out);
void view_buffer_destroy(view_gpu *v, view_buffer *b);
vkd_result view_image_create(view_gpu *v, uint32_t width, uint32_t height, VkImageUsageFlags usage,
                             view_image *out);
void view_image_destroy(view_gpu *v, view_image *i);
/* Records the barrier between two steps of a colour image. */
void view_image_turn(view_gpu *v, VkCommandBuffer commands, VkImage image, view_step from,
                     view_step to);

#endif
