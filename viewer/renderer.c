// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "viewer/colours.h"
#include "viewer/renderer.h"

static vkd_result make_frames(view_renderer *r) {
    view_gpu *v = r->gpu;
    VkCommandBuffer commands[VIEW_FRAMES];
    vkd_result result = view_check(
        v,
        v->vk.vkAllocateCommandBuffers(
            v->device,
            &(VkCommandBufferAllocateInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                           .commandPool = v->pool,
                                           .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                           .commandBufferCount = VIEW_FRAMES},
            commands),
        "vkAllocateCommandBuffers");
    for (uint32_t i = 0; i < VIEW_FRAMES && !result; i++) {
        r->frames[i].commands = commands[i];
        result = view_check(
            v,
            v->vk.vkCreateFence(v->device,
                                &(VkFenceCreateInfo){.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                                                     .flags = VK_FENCE_CREATE_SIGNALED_BIT},
                                NULL, &r->frames[i].done),
            "vkCreateFence");
    }
    return result;
}

vkd_result view_renderer_create(view_gpu *gpu, VkFormat format, view_renderer **out) {
    *out = NULL;
    view_renderer *r = vkd__alloc(gpu->ctx, 1, sizeof *r);
    if (!r) return VKD_E_MEMORY;
    r->gpu = gpu;
    r->format = format;
    vkd_result result = view_renderer_make(r);
    if (!result) result = make_frames(r);
    if (result)
        view_renderer_destroy(r);
    else
        *out = r;
    return result;
}

void view_renderer_destroy(view_renderer *r) {
    if (!r) return;
    view_gpu *v = r->gpu;
    v->vk.vkDeviceWaitIdle(v->device);
    for (uint32_t i = 0; i < VIEW_PICTURES; i++)
        view_image_destroy(v, &r->pictures[i].image);
    for (uint32_t i = 0; i < VIEW_FRAMES; i++) {
        view_frame *f = &r->frames[i];
        view_buffer_destroy(v, &f->vertices);
        view_buffer_destroy(v, &f->indices);
        view_buffer_destroy(v, &f->staging);
        v->vk.vkDestroyFence(v->device, f->done, NULL);
        if (f->commands) v->vk.vkFreeCommandBuffers(v->device, v->pool, 1, &f->commands);
    }
    v->vk.vkDestroyPipeline(v->device, r->pipeline, NULL);
    v->vk.vkDestroyPipelineLayout(v->device, r->layout, NULL);
    v->vk.vkDestroyDescriptorPool(v->device, r->pool, NULL);
    v->vk.vkDestroyDescriptorSetLayout(v->device, r->set_layout, NULL);
    for (uint32_t i = 0; i < 2; i++)
        v->vk.vkDestroySampler(v->device, r->samplers[i], NULL);
    vkd__free(v->ctx, r);
}

vkd_result view_renderer_wait(view_renderer *r) {
    return view_check(r->gpu, r->gpu->vk.vkQueueWaitIdle(r->gpu->queue), "vkQueueWaitIdle");
}

/* ---- One frame ---- */

static vkd_result fill(view_gpu *v, view_buffer *b, const void *from, size_t size,
                       VkBufferUsageFlags usage) {
    vkd_result result = VKD_OK;
    if (size > b->size || !b->buffer) {
        view_buffer_destroy(v, b);
        result = view_buffer_create(v, 2 * size + 4096, usage, b);
    }
    if (!result && size) memcpy(b->mapped, from, size);
    return result;
}

static const view_step DRAWING = {VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
                                  VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT,
                                  VK_ACCESS_2_COLOR_ATTACHMENT_WRITE_BIT};

/* What lies outside the frame is cut off; false: nothing is left. */
static bool scissor(gui_rect c, const view_target *t, VkRect2D *out) {
    const float x0 = c.x > 0 ? c.x : 0, y0 = c.y > 0 ? c.y : 0;
    const float right = (float)t->width, bottom = (float)t->height;
    const float x1 = c.x + c.w < right ? c.x + c.w : right,
                y1 = c.y + c.h < bottom ? c.y + c.h : bottom;
    if (!(x1 > x0 && y1 > y0)) return false;
    *out = (VkRect2D){{(int32_t)x0, (int32_t)y0}, {0, 0}};
    out->extent.width = (uint32_t)x1 - (uint32_t)x0;
    out->extent.height = (uint32_t)y1 - (uint32_t)y0;
    return out->extent.width && out->extent.height;
}

static void record_draws(view_renderer *r, view_frame *f, const gui_frame *frame,
                         const view_target *t) {
    view_gpu *v = r->gpu;
    const VkDeviceSize zero = 0;
    const float scale[] = {2 / frame->width, 2 / frame->height};
    v->vk.vkCmdBindPipeline(f->commands, VK_PIPELINE_BIND_POINT_GRAPHICS, r->pipeline);
    v->vk.vkCmdSetViewport(f->commands, 0, 1,
                           &(VkViewport){0, 0, (float)t->width, (float)t->height, 0, 1});
    v->vk.vkCmdPushConstants(f->commands, r->layout, VK_SHADER_STAGE_VERTEX_BIT, 0, sizeof scale,
                             scale);
    v->vk.vkCmdBindVertexBuffers(f->commands, 0, 1, &f->vertices.buffer, &zero);
    v->vk.vkCmdBindIndexBuffer(f->commands, f->indices.buffer, 0, VK_INDEX_TYPE_UINT16);
    for (uint32_t i = 0; i < frame->draw_count; i++) {
        const gui_draw *d = &frame->draws[i];
        VkRect2D inside;
        if (d->picture >= VIEW_PICTURES || !r->pictures[d->picture].image.image ||
            !scissor(d->clip, t, &inside))
            continue;
        v->vk.vkCmdSetScissor(f->commands, 0, 1, &inside);
        v->vk.vkCmdBindDescriptorSets(f->commands, VK_PIPELINE_BIND_POINT_GRAPHICS, r->layout, 0, 1,
                                      &r->pictures[d->picture].set, 0, NULL);
        v->vk.vkCmdDrawIndexed(f->commands, d->index_count, 1, d->first_index,
                               (int32_t)d->first_vertex, 0);
    }
}

static float share(uint32_t colour, int shift) {
    return (float)(colour >> shift & 255) / 255;
}

static void record(view_renderer *r, view_frame *f, const gui_frame *frame, const view_target *t) {
    view_gpu *v = r->gpu;
    const view_step before = {VK_IMAGE_LAYOUT_UNDEFINED, DRAWING.stage, 0};
    const view_step copied = {VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_PIPELINE_STAGE_2_COPY_BIT,
                              VK_ACCESS_2_TRANSFER_READ_BIT};
    const view_step shown = {t->layout, VK_PIPELINE_STAGE_2_NONE, 0};
    const VkRenderingAttachmentInfo attachment = {
        .sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
        .imageView = t->view,
        .imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
        .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
        .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
        .clearValue.color.float32 = {share(COLOUR_GROUND, 24), share(COLOUR_GROUND, 16),
                                     share(COLOUR_GROUND, 8), 1}};
    view_image_turn(v, f->commands, t->image, before, DRAWING);
    v->vk.vkCmdBeginRendering(f->commands,
                              &(VkRenderingInfo){.sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
                                                 .renderArea = {{0, 0}, {t->width, t->height}},
                                                 .layerCount = 1,
                                                 .colorAttachmentCount = 1,
                                                 .pColorAttachments = &attachment});
    record_draws(r, f, frame, t);
    v->vk.vkCmdEndRendering(f->commands);
    view_image_turn(v, f->commands, t->image, DRAWING, t->copy ? copied : shown);
    if (!t->copy) return;
    const VkBufferImageCopy region = {
        .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
        .imageExtent = {t->width, t->height, 1}};
    v->vk.vkCmdCopyImageToBuffer(f->commands, t->image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                                 t->copy->buffer, 1, &region);
    const VkMemoryBarrier2 host = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER_2,
                                   .srcStageMask = VK_PIPELINE_STAGE_2_COPY_BIT,
                                   .srcAccessMask = VK_ACCESS_2_TRANSFER_WRITE_BIT,
                                   .dstStageMask = VK_PIPELINE_STAGE_2_HOST_BIT,
                                   .dstAccessMask = VK_ACCESS_2_HOST_READ_BIT};
    v->vk.vkCmdPipelineBarrier2(f->commands,
                                &(VkDependencyInfo){.sType = VK_STRUCTURE_TYPE_DEPENDENCY_INFO,
                                                    .memoryBarrierCount = 1,
                                                    .pMemoryBarriers = &host});
}

static vkd_result submit(view_renderer *r, view_frame *f, const view_target *t) {
    view_gpu *v = r->gpu;
    const VkSemaphoreSubmitInfo ready = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                         .semaphore = t->ready,
                                         .stageMask =
                                             VK_PIPELINE_STAGE_2_COLOR_ATTACHMENT_OUTPUT_BIT};
    const VkSemaphoreSubmitInfo drawn = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                         .semaphore = t->drawn,
                                         .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
    const VkCommandBufferSubmitInfo commands = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO, .commandBuffer = f->commands};
    const VkSubmitInfo2 info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                .waitSemaphoreInfoCount = t->ready ? 1 : 0,
                                .pWaitSemaphoreInfos = &ready,
                                .commandBufferInfoCount = 1,
                                .pCommandBufferInfos = &commands,
                                .signalSemaphoreInfoCount = t->drawn ? 1 : 0,
                                .pSignalSemaphoreInfos = &drawn};
    vkd_result result = view_check(v, v->vk.vkResetFences(v->device, 1, &f->done), "vkResetFences");
    if (!result)
        result = view_check(v, v->vk.vkQueueSubmit2(v->queue, 1, &info, f->done), "vkQueueSubmit2");
    return result;
}

vkd_result view_renderer_ready(view_renderer *r) {
    view_gpu *v = r->gpu;
    return view_check(
        v, v->vk.vkWaitForFences(v->device, 1, &r->frames[r->current].done, VK_TRUE, UINT64_MAX),
        "vkWaitForFences");
}

vkd_result view_renderer_draw(view_renderer *r, const gui_frame *frame, const view_target *target) {
    view_gpu *v = r->gpu;
    view_frame *f = &r->frames[r->current];
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                            .flags = VK_COMMAND_BUFFER_USAGE_ONE_TIME_SUBMIT_BIT};
    vkd_result result = view_renderer_ready(r);
    if (!result)
        result = fill(v, &f->vertices, frame->vertices, frame->vertex_count * sizeof(gui_vertex),
                      VK_BUFFER_USAGE_VERTEX_BUFFER_BIT);
    if (!result)
        result = fill(v, &f->indices, frame->indices, frame->index_count * sizeof(uint16_t),
                      VK_BUFFER_USAGE_INDEX_BUFFER_BIT);
    if (!result)
        result =
            view_check(v, v->vk.vkBeginCommandBuffer(f->commands, &begin), "vkBeginCommandBuffer");
    if (!result) result = view_renderer_pictures(r, f, frame);
    if (!result) {
        record(r, f, frame, target);
        result = view_check(v, v->vk.vkEndCommandBuffer(f->commands), "vkEndCommandBuffer");
    }
    if (!result) result = submit(r, f, target);
    r->current = (r->current + 1) % VIEW_FRAMES;
    return result;
}
