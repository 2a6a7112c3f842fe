// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "viewer/gpu.h"

vkd_result view_check(view_gpu *v, VkResult result, const char *call) {
    if (!result) return VKD_OK;
    vkd_result r = VKD_E_DEVICE;
    if (result == VK_ERROR_DEVICE_LOST) r = VKD_E_DEVICE_LOST;
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY || result == VK_ERROR_OUT_OF_HOST_MEMORY)
        r = VKD_E_DEVICE_MEMORY;
    return vkd__fail(v->ctx, r, "%s gave %s on '%s'", call, vkd__vk_text(result), v->name);
}

/* ---- Instance and device ---- */

vkd_result view_gpu_create(vkd_ctx *ctx, bool validate, const char *const *extensions,
                           uint32_t extension_count, view_gpu **out) {
    *out = NULL;
    view_gpu *v = vkd__alloc(ctx, 1, sizeof *v);
    if (!v) return VKD_E_MEMORY;
    v->ctx = ctx;
    v->messages.ctx = ctx;
    const vkd_result r = vkd__instance_create(ctx, validate, extensions, extension_count,
                                              &v->messages, &v->instance, &v->messenger);
    if (r)
        view_gpu_destroy(v);
    else
        *out = v;
    return r;
}

/* volk keeps one set of an instance's functions, and the library has another instance: those of an
 * extension are asked for where they are called. */
static bool can_present(const view_gpu *v, VkPhysicalDevice physical, uint32_t family,
                        VkSurfaceKHR surface) {
    VkBool32 supported = VK_FALSE;
    const PFN_vkGetPhysicalDeviceSurfaceSupportKHR ask =
        (PFN_vkGetPhysicalDeviceSurfaceSupportKHR)vkGetInstanceProcAddr(
            v->instance, "vkGetPhysicalDeviceSurfaceSupportKHR");
    return ask && !ask(physical, family, surface, &supported) && supported;
}

/* A family that draws, and presents if need be; UINT32_MAX: none. */
static uint32_t find_family(const view_gpu *v, VkPhysicalDevice physical, VkSurfaceKHR surface) {
    VkQueueFamilyProperties families[16];
    uint32_t count = VKD_COUNT(families);
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++)
        if ((families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT) &&
            (!surface || can_present(v, physical, i, surface)))
            return i;
    return UINT32_MAX;
}

static vkd_result choose(view_gpu *v, const char *choice, VkSurfaceKHR surface) {
    vkd__found f = {0};
    vkd_result r = vkd__devices_find(v->ctx, v->instance, &f);
    if (!choice || !choice[0]) choice = getenv("VKD_DEVICE");
    uint32_t chosen = r ? UINT32_MAX : vkd__probe_choose(f.probes, f.count, choice);
    v->family = UINT32_MAX;
    if (!r && chosen < f.count) v->family = find_family(v, f.physical[chosen], surface);
    for (uint32_t i = 0; !r && v->family == UINT32_MAX && i < f.count; i++) {
        chosen = i;
        v->family = find_family(v, f.physical[i], surface);
    }
    if (!r && v->family == UINT32_MAX)
        r = vkd__fail(v->ctx, VKD_E_NO_DEVICE,
                      "no Vulkan device of this machine can draw%s; --screenshot needs no display",
                      surface ? " on this display" : "");
    if (!r) {
        VkPhysicalDeviceProperties properties;
        v->physical = f.physical[chosen];
        vkGetPhysicalDeviceProperties(v->physical, &properties);
        vkGetPhysicalDeviceMemoryProperties(v->physical, &v->memory);
        memcpy(v->name, properties.deviceName, sizeof v->name);
        v->cpu = properties.deviceType == VK_PHYSICAL_DEVICE_TYPE_CPU;
    }
    vkd__free(v->ctx, f.probes);
    return r;
}

vkd_result view_gpu_open(view_gpu *v, const char *choice, VkSurfaceKHR surface) {
    vkd_result r = choose(v, choice, surface);
    if (r) return r;
    const float priority = 0.1f; /* what trains goes first, where the driver can tell */
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = v->family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    VkPhysicalDeviceVulkan13Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .synchronization2 = VK_TRUE,
        .dynamicRendering = VK_TRUE};
    const char *const extensions[] = {VK_KHR_SWAPCHAIN_EXTENSION_NAME};
    r = view_check(
        v,
        vkCreateDevice(v->physical,
                       &(VkDeviceCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                             .pNext = &features,
                                             .queueCreateInfoCount = 1,
                                             .pQueueCreateInfos = &queue,
                                             .enabledExtensionCount = surface ? 1 : 0,
                                             .ppEnabledExtensionNames = extensions},
                       NULL, &v->device),
        "vkCreateDevice");
    if (r) return r;
    volkLoadDeviceTable(&v->vk, v->device);
    v->vk.vkGetDeviceQueue(v->device, v->family, 0, &v->queue);
    return view_check(
        v,
        v->vk.vkCreateCommandPool(
            v->device,
            &(VkCommandPoolCreateInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                       .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                       .queueFamilyIndex = v->family},
            NULL, &v->pool),
        "vkCreateCommandPool");
}

void view_gpu_destroy(view_gpu *v) {
    if (!v) return;
    if (v->device) {
        v->vk.vkDestroyCommandPool(v->device, v->pool, NULL);
        v->vk.vkDestroyDevice(v->device, NULL);
    }
    vkd__instance_destroy(v->instance, v->messenger);
    vkd__free(v->ctx, v);
}

/* ---- Memory ---- */

static vkd_result allocate(view_gpu *v, const VkMemoryRequirements *needs,
                           VkMemoryPropertyFlags wanted, VkDeviceMemory *out) {
    uint32_t type = 0;
    while (type < v->memory.memoryTypeCount &&
           (!(needs->memoryTypeBits >> type & 1) ||
            (v->memory.memoryTypes[type].propertyFlags & wanted) != wanted))
        type++;
    if (type == v->memory.memoryTypeCount)
        return vkd__fail(v->ctx, VKD_E_DEVICE, "'%s' has no memory to draw from", v->name);
    return view_check(v,
                      v->vk.vkAllocateMemory(
                          v->device,
                          &(VkMemoryAllocateInfo){.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                                  .allocationSize = needs->size,
                                                  .memoryTypeIndex = type},
                          NULL, out),
                      "vkAllocateMemory");
}

vkd_result view_buffer_create(view_gpu *v, VkDeviceSize size, VkBufferUsageFlags usage,
                              view_buffer *out) {
    *out = (view_buffer){.size = size};
    VkMemoryRequirements needs;
    vkd_result r = view_check(
        v,
        v->vk.vkCreateBuffer(v->device,
                             &(VkBufferCreateInfo){.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                                   .size = size,
                                                   .usage = usage},
                             NULL, &out->buffer),
        "vkCreateBuffer");
    if (r) return r;
    v->vk.vkGetBufferMemoryRequirements(v->device, out->buffer, &needs);
    r = allocate(v, &needs,
                 VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                 &out->memory);
    if (!r)
        r = view_check(v, v->vk.vkBindBufferMemory(v->device, out->buffer, out->memory, 0),
                       "vkBindBufferMemory");
    if (!r)
        r = view_check(v,
                       v->vk.vkMapMemory(v->device, out->memory, 0, VK_WHOLE_SIZE, 0, &out->mapped),
                       "vkMapMemory");
    if (r) view_buffer_destroy(v, out);
    return r;
}

void view_buffer_destroy(view_gpu *v, view_buffer *b) {
    v->vk.vkDestroyBuffer(v->device, b->buffer, NULL);
    v->vk.vkFreeMemory(v->device, b->memory, NULL);
    *b = (view_buffer){0};
}

static vkd_result fill_image(view_gpu *v, view_image *i) {
    VkMemoryRequirements needs;
    v->vk.vkGetImageMemoryRequirements(v->device, i->image, &needs);
    vkd_result r = allocate(v, &needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, &i->memory);
    if (!r)
        r = view_check(v, v->vk.vkBindImageMemory(v->device, i->image, i->memory, 0),
                       "vkBindImageMemory");
    if (r) return r;
    return view_check(
        v,
        v->vk.vkCreateImageView(
            v->device,
            &(VkImageViewCreateInfo){.sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
                                     .image = i->image,
                                     .viewType = VK_IMAGE_VIEW_TYPE_2D,
                                     .format = VK_FORMAT_R8G8B8A8_UNORM,
                                     .subresourceRange = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT,
                                                          .levelCount = 1,
                                                          .layerCount = 1}},
            NULL, &i->view),
        "vkCreateImageView");
}

vkd_result view_image_create(view_gpu *v, uint32_t width, uint32_t height, VkImageUsageFlags usage,
                             view_image *out) {
    *out = (view_image){.width = width, .height = height};
    vkd_result r = view_check(
        v,
        v->vk.vkCreateImage(v->device,
                            &(VkImageCreateInfo){.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                                 .imageType = VK_IMAGE_TYPE_2D,
                                                 .format = VK_FORMAT_R8G8B8A8_UNORM,
                                                 .extent = {width, height, 1},
                                                 .mipLevels = 1,
                                                 .arrayLayers = 1,
                                                 .samples = VK_SAMPLE_COUNT_1_BIT,
                                                 .usage = usage},
                            NULL, &out->image),
        "vkCreateImage");
    if (!r) r = fill_image(v, out);
    if (r) view_image_destroy(v, out);
    return r;
}

void view_image_destroy(view_gpu *v, view_image *i) {
    v->vk.vkDestroyImageView(v->device, i->view, NULL);
    v->vk.vkDestroyImage(v->device, i->image, NULL);
    v->vk.vkFreeMemory(v->device, i->memory, NULL);
    *i = (view_image){0};
}

void view_image_turn(view_gpu *v, VkCommandBuffer commands, VkImage image, view_step from,
                     view_step to) {
    const VkImageMemoryBarrier2 barrier = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER_2,
        .srcStageMask = from.stage,
        .srcAccessMask = from.access,
        .dstStageMask = to.stage,
        .dstAccessMask = to.access,
        .oldLayout = from.layout,
        .newLayout = to.layout,
        .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
        .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
        .image = image,
        .subresourceRange = {
            .aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1}};
    v->vk.vkCmdPipelineBarrier2(commands,
                                &(VkDependencyInfo){.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                                    .imageMemoryBarrierCount = 1,
                                                    .pImageMemoryBarriers = &barrier});
}
