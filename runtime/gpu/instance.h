// SPDX-License-Identifier: Apache-2.0
/* The loader, the instance and its devices: for device.c and report.c. */
#ifndef VKD_INSTANCE_H
#define VKD_INSTANCE_H

#include "gpu/gpu.h"

/* extensions  (extension_count) that are wanted beside those for validation; may be NULL
 *
 * Errors: VKD_E_NO_DEVICE says what is missing: loader, driver, or layer. On failure *instance may
 * be set and is to be destroyed. */
vkd_result vkd__instance_create(vkd_ctx *ctx, bool validate, const char *const *extensions,
                                uint32_t extension_count, vkd__messages *messages,
                                VkInstance *instance, VkDebugUtilsMessengerEXT *messenger);
void vkd__instance_destroy(VkInstance instance, VkDebugUtilsMessengerEXT messenger);

typedef struct vkd__found {
    VkPhysicalDevice physical[32];
    vkd__probe *probes; /* the caller frees them, also after a failure */
    uint32_t count;
} vkd__found;
/* At least one device. Errors: VKD_E_NO_DEVICE, VKD_E_MEMORY. */
vkd_result vkd__devices_find(vkd_ctx *ctx, VkInstance instance, vkd__found *f);

#endif
