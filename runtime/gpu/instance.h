// SPDX-License-Identifier: Apache-2.0
/* The loader and the instance. Not needed outside device.c. */
#ifndef VKD_INSTANCE_H
#define VKD_INSTANCE_H

#include "gpu/gpu.h"

/* Errors: VKD_E_NO_DEVICE says what is missing: loader, driver, or layer. On failure *instance may
 * be set and is to be destroyed. */
vkd_result vkd__instance_create(vkd_ctx *ctx, bool validate, vkd__messages *messages,
                                VkInstance *instance, VkDebugUtilsMessengerEXT *messenger);
void vkd__instance_destroy(VkInstance instance, VkDebugUtilsMessengerEXT messenger);

#endif
