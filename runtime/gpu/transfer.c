// SPDX-License-Identifier: Apache-2.0
/* Work that the host waits for: filling, uploads, downloads. Training's own copies are recorded in
 * the program and never come here. */
#include <string.h>

#include "base/platform.h"
#include "gpu/gpu.h"

#define STAGING_LEAST (64u << 10)
#define STAGING_MOST (16u << 20)

vkd_result vkd__command_begin(vkd_device *d, VkCommandBuffer cb, VkCommandBufferUsageFlags flags) {
    return VKD__VK(
        d, vkBeginCommandBuffer(
               cb, &(VkCommandBufferBeginInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                               .flags = flags}));
}

void vkd__barrier(vkd_device *d, VkCommandBuffer cb, VkPipelineStageFlags2 from,
                  VkAccessFlags2 from_access, VkPipelineStageFlags2 to, VkAccessFlags2 to_access) {
    const VkMemoryBarrier2 memory = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
                                     .srcStageMask = from,
                                     .srcAccessMask = from_access,
                                     .dstStageMask = to,
                                     .dstAccessMask = to_access};
    d->vk.vkCmdPipelineBarrier2(cb, &(VkDependencyInfo){.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                                        .memoryBarrierCount = 1,
                                                        .pMemoryBarriers = &memory});
}

vkd_result vkd__once_begin(vkd_device *d, VkCommandBuffer *out) {
    *out = d->once;
    if (d->lost) return vkd__fail(d->ctx, VKD_E_DEVICE_LOST, "'%s' was lost", d->probe.name);
    const vkd_result r =
        vkd__command_begin(d, d->once, VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT);
    if (r) return r;
    vkd__barrier(d, d->once, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, VK_ACCESS_2_MEMORY_WRITE_BIT,
                 VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT,
                 VK_ACCESS_2_MEMORY_READ_BIT | VK_ACCESS_2_MEMORY_WRITE_BIT);
    return VKD_OK;
}

/* Made at the first use, so that a driver without hardware, which can only compile, still opens. */
static vkd_result need_fence(vkd_device *d) {
    if (d->fence) return VKD_OK;
    VkFence fence = VK_NULL_HANDLE;
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    const vkd_result r = VKD__VK(d, vkCreateFence(d->device, &info, NULL, &fence));
    if (!r) d->fence = fence;
    return r;
}

static vkd_result submit_once(vkd_device *d, VkFence fence) {
    const VkCommandBufferSubmitInfo cb = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO,
                                          .commandBuffer = d->once};
    return VKD__VK(d, vkQueueSubmit2(d->queue, 1,
                                     &(VkSubmitInfo2){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                                      .commandBufferInfoCount = 1,
                                                      .pCommandBufferInfos = &cb},
                                     fence));
}

vkd_result vkd__once_end(vkd_device *d) {
    vkd__barrier(d, d->once, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, VK_ACCESS_2_MEMORY_WRITE_BIT,
                 VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    vkd_result r = VKD__VK(d, vkEndCommandBuffer(d->once));
    if (!r) r = need_fence(d);
    if (!r) r = submit_once(d, d->fence);
    if (r) return r;
    r = VKD__VK(d, vkWaitForFences(d->device, 1, &d->fence, VK_TRUE, UINT64_MAX));
    if (r) return r;
    return VKD__VK(d, vkResetFences(d->device, 1, &d->fence));
}

vkd_result vkd__device_submit_empty(vkd_device *d, double *seconds) {
    vkd_result r = VKD__VK(d, vkResetCommandBuffer(d->once, 0));
    if (!r) r = vkd__command_begin(d, d->once, 0);
    if (!r) r = VKD__VK(d, vkEndCommandBuffer(d->once));
    if (r) return r;
    const double start = vkd__seconds();
    r = submit_once(d, VK_NULL_HANDLE);
    *seconds = vkd__seconds() - start;
    return r ? r : vkd__device_idle(d);
}

vkd_result vkd__zero(vkd_device *d, const vkd__buffer *b) {
    VkCommandBuffer cb;
    const vkd_result r = vkd__once_begin(d, &cb);
    if (r) return r;
    d->vk.vkCmdFillBuffer(cb, b->buffer, 0, VK_WHOLE_SIZE, 0);
    return vkd__once_end(d);
}

vkd_result vkd__need_zeros(vkd_device *d) {
    if (d->zeros.buffer) return VKD_OK;
    vkd__buffer zeros;
    vkd_result r = vkd__buffer_create(d, VKD__ALIGNMENT, VKD__MEMORY_DEVICE, "zeros", &zeros);
    if (r) return r;
    r = vkd__zero(d, &zeros);
    if (r)
        vkd__buffer_destroy(d, &zeros);
    else
        d->zeros = zeros;
    return r;
}

static vkd_result need_staging(vkd_device *d, uint64_t bytes) {
    uint64_t size = STAGING_LEAST;
    while (size < bytes && size < STAGING_MOST)
        size *= 2;
    if (d->staging.size >= size) return VKD_OK;
    vkd__buffer_destroy(d, &d->staging);
    return vkd__buffer_create(d, size, VKD__MEMORY_READBACK, "a transfer", &d->staging);
}

vkd_result vkd__upload(vkd_device *d, VkBuffer to, uint64_t offset, const void *data,
                       uint64_t bytes) {
    vkd_result r = need_staging(d, bytes);
    for (uint64_t at = 0; !r && at < bytes;) {
        const uint64_t part = bytes - at < STAGING_MOST ? bytes - at : STAGING_MOST;
        memcpy(d->staging.mapped, (const char *)data + at, (size_t)part);
        VkCommandBuffer cb;
        r = vkd__once_begin(d, &cb);
        if (r) return r;
        d->vk.vkCmdCopyBuffer(cb, d->staging.buffer, to, 1,
                              &(VkBufferCopy){.dstOffset = offset + at, .size = part});
        r = vkd__once_end(d);
        at += part;
    }
    return r;
}

vkd_result vkd__download(vkd_device *d, VkBuffer from, uint64_t offset, void *data,
                         uint64_t bytes) {
    vkd_result r = need_staging(d, bytes);
    for (uint64_t at = 0; !r && at < bytes;) {
        const uint64_t part = bytes - at < STAGING_MOST ? bytes - at : STAGING_MOST;
        VkCommandBuffer cb;
        r = vkd__once_begin(d, &cb);
        if (r) return r;
        d->vk.vkCmdCopyBuffer(cb, from, d->staging.buffer, 1,
                              &(VkBufferCopy){.srcOffset = offset + at, .size = part});
        r = vkd__once_end(d);
        if (!r) memcpy((char *)data + at, d->staging.mapped, (size_t)part);
        at += part;
    }
    return r;
}
