// SPDX-License-Identifier: Apache-2.0
#include "viewer/swapchain.h"

/* An extension's function of this instance: volk's own may be those of the library's. */
#define ASK(c, name) ((PFN_##name)vkGetInstanceProcAddr((c)->gpu->instance, #name))

static vkd_result make_semaphores(view_gpu *v, VkSemaphore *out, uint32_t count) {
    vkd_result r = VKD_OK;
    for (uint32_t i = 0; i < count && !r; i++)
        r = view_check(
            v,
            v->vk.vkCreateSemaphore(
                v->device,
                &(VkSemaphoreCreateInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO}, NULL,
                &out[i]),
            "vkCreateSemaphore");
    return r;
}

vkd_result view_swapchain_init(view_swapchain *c, view_gpu *gpu, VkSurfaceKHR surface) {
    VkSurfaceFormatKHR formats[64];
    uint32_t count = VKD_COUNT(formats);
    *c = (view_swapchain){.gpu = gpu, .surface = surface};
    const VkResult result =
        ASK(c, vkGetPhysicalDeviceSurfaceFormatsKHR)(gpu->physical, surface, &count, formats);
    if (result < 0) return view_check(gpu, result, "vkGetPhysicalDeviceSurfaceFormatsKHR");
    /* Colours are given as they are to be seen: not one that encodes them. */
    for (uint32_t i = count; i-- > 0;)
        if (formats[i].format == VK_FORMAT_B8G8R8A8_UNORM ||
            formats[i].format == VK_FORMAT_R8G8B8A8_UNORM)
            c->format = formats[i];
    if (!c->format.format)
        return vkd__fail(gpu->ctx, VKD_E_NO_DEVICE, "the display has no format of 8 bits a colour");
    return make_semaphores(gpu, c->ready, VIEW_FRAMES);
}

static void drop(view_swapchain *c) {
    view_gpu *v = c->gpu;
    v->vk.vkDeviceWaitIdle(v->device);
    for (uint32_t i = 0; i < c->count; i++) {
        v->vk.vkDestroyImageView(v->device, c->views[i], NULL);
        v->vk.vkDestroySemaphore(v->device, c->drawn[i], NULL);
        c->views[i] = VK_NULL_HANDLE;
        c->drawn[i] = VK_NULL_HANDLE;
    }
    c->count = 0;
}

void view_swapchain_term(view_swapchain *c) {
    if (!c->gpu || !c->gpu->device) return;
    view_gpu *v = c->gpu;
    drop(c);
    for (uint32_t i = 0; i < VIEW_FRAMES; i++)
        v->vk.vkDestroySemaphore(v->device, c->ready[i], NULL);
    if (c->chain) v->vk.vkDestroySwapchainKHR(v->device, c->chain, NULL);
    *c = (view_swapchain){0};
}

static uint32_t clamp(uint32_t value, uint32_t low, uint32_t high) {
    return value < low ? low : value > high ? high : value;
}

static vkd_result make_images(view_swapchain *c) {
    view_gpu *v = c->gpu;
    uint32_t count = VIEW_IMAGES;
    const VkResult result = v->vk.vkGetSwapchainImagesKHR(v->device, c->chain, &count, c->images);
    if (result == VK_INCOMPLETE)
        return vkd__fail(v->ctx, VKD_E_DEVICE, "the display wants more than %d images",
                         VIEW_IMAGES);
    vkd_result r = view_check(v, result, "vkGetSwapchainImagesKHR");
    for (uint32_t i = 0; i < count && !r; i++) {
        const VkImageViewCreateInfo info = {
            .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
            .image = c->images[i],
            .viewType = VK_IMAGE_VIEW_TYPE_2D,
            .format = c->format.format,
            .subresourceRange = {
                .aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .levelCount = 1, .layerCount = 1}};
        r = view_check(v, v->vk.vkCreateImageView(v->device, &info, NULL, &c->views[i]),
                       "vkCreateImageView");
        c->count = i + 1;
    }
    if (!r) r = make_semaphores(v, c->drawn, c->count);
    return r;
}

/* Images of the window's size; none while it has none. */
static vkd_result make(view_swapchain *c, uint32_t width, uint32_t height, VkResult *surface) {
    view_gpu *v = c->gpu;
    VkSurfaceCapabilitiesKHR can;
    *surface = ASK(c, vkGetPhysicalDeviceSurfaceCapabilitiesKHR)(v->physical, c->surface, &can);
    if (*surface) return VKD_OK;
    if (can.currentExtent.width != UINT32_MAX) {
        width = can.currentExtent.width;
        height = can.currentExtent.height;
    }
    c->width = clamp(width, can.minImageExtent.width, can.maxImageExtent.width);
    c->height = clamp(height, can.minImageExtent.height, can.maxImageExtent.height);
    drop(c);
    if (!width || !height || !c->width || !c->height) return VKD_OK;
    const uint32_t wanted = can.minImageCount + 1;
    const VkSwapchainKHR old = c->chain;
    const VkCompositeAlphaFlagBitsKHR opaque = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR;
    const VkSwapchainCreateInfoKHR info = {
        .sType = VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR,
        .surface = c->surface,
        .minImageCount =
            can.maxImageCount && wanted > can.maxImageCount ? can.maxImageCount : wanted,
        .imageFormat = c->format.format,
        .imageColorSpace = c->format.colorSpace,
        .imageExtent = {c->width, c->height},
        .imageArrayLayers = 1,
        .imageUsage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT,
        .preTransform = can.currentTransform,
        .compositeAlpha =
            can.supportedCompositeAlpha & opaque ? opaque : VK_COMPOSITE_ALPHA_INHERIT_BIT_KHR,
        .presentMode = VK_PRESENT_MODE_FIFO_KHR,
        .clipped = VK_TRUE,
        .oldSwapchain = old};
    c->chain = VK_NULL_HANDLE;
    *surface = v->vk.vkCreateSwapchainKHR(v->device, &info, NULL, &c->chain);
    if (old) v->vk.vkDestroySwapchainKHR(v->device, old, NULL);
    if (*surface == VK_ERROR_SURFACE_LOST_KHR) return VKD_OK;
    const vkd_result r = view_check(v, *surface, "vkCreateSwapchainKHR");
    c->stale = false;
    return r ? r : make_images(c);
}

static vkd_result present(view_swapchain *c, uint32_t image, view_shown *out) {
    view_gpu *v = c->gpu;
    const VkResult result = v->vk.vkQueuePresentKHR(
        v->queue, &(VkPresentInfoKHR){.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR,
                                      .waitSemaphoreCount = 1,
                                      .pWaitSemaphores = &c->drawn[image],
                                      .swapchainCount = 1,
                                      .pSwapchains = &c->chain,
                                      .pImageIndices = &image});
    if (result == VK_SUBOPTIMAL_KHR || result == VK_ERROR_OUT_OF_DATE_KHR) {
        c->stale = true;
        *out = result == VK_SUBOPTIMAL_KHR ? VIEW_SHOWN : VIEW_NOT_NOW;
        return VKD_OK;
    }
    *out = result == VK_ERROR_SURFACE_LOST_KHR ? VIEW_SURFACE_LOST : VIEW_SHOWN;
    return *out == VIEW_SURFACE_LOST ? VKD_OK : view_check(v, result, "vkQueuePresentKHR");
}

vkd_result view_swapchain_show(view_swapchain *c, view_renderer *r, const gui_frame *frame,
                               uint32_t width, uint32_t height, view_shown *out) {
    view_gpu *v = c->gpu;
    VkResult result = VK_SUCCESS;
    uint32_t image = 0;
    *out = VIEW_NOT_NOW;
    if (!width || !height) return VKD_OK;
    if (!c->count || c->stale || c->width != width || c->height != height) {
        const vkd_result made = make(c, width, height, &result);
        if (result == VK_ERROR_SURFACE_LOST_KHR) *out = VIEW_SURFACE_LOST;
        if (made || result || !c->count) return made;
    }
    vkd_result r2 = view_renderer_ready(r); /* so that the semaphore is free, too */
    if (r2) return r2;
    VkSemaphore ready = c->ready[c->turn];
    result =
        v->vk.vkAcquireNextImageKHR(v->device, c->chain, UINT64_MAX, ready, VK_NULL_HANDLE, &image);
    if (result == VK_ERROR_OUT_OF_DATE_KHR) c->stale = true;
    if (result == VK_ERROR_SURFACE_LOST_KHR) *out = VIEW_SURFACE_LOST;
    if (result == VK_ERROR_OUT_OF_DATE_KHR || result == VK_ERROR_SURFACE_LOST_KHR) return VKD_OK;
    if (result == VK_SUBOPTIMAL_KHR) c->stale = true;
    if (result < 0) return view_check(v, result, "vkAcquireNextImageKHR");
    c->turn = (c->turn + 1) % VIEW_FRAMES;
    const view_target target = {.image = c->images[image],
                                .view = c->views[image],
                                .width = c->width,
                                .height = c->height,
                                .layout = VK_IMAGE_LAYOUT_PRESENT_SRC_KHR,
                                .ready = ready,
                                .drawn = c->drawn[image]};
    r2 = view_renderer_draw(r, frame, &target);
    return r2 ? r2 : present(c, image, out);
}
