// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "viewer/renderer.h"

static vkd_result make(view_renderer *r, view_picture *p, const gui_picture *from) {
    view_gpu *v = r->gpu;
    /* A picture whose size changes may still be read by frames under way. */
    vkd_result result =
        p->image.image ? view_check(v, v->vk.vkQueueWaitIdle(v->queue), "vkQueueWaitIdle") : VKD_OK;
    if (result) return result;
    view_image_destroy(v, &p->image);
    result =
        view_image_create(v, from->width, from->height,
                          VK_IMAGE_USAGE_SAMPLED_BIT | VK_IMAGE_USAGE_TRANSFER_DST_BIT, &p->image);
    if (!result && !p->set)
        result = view_check(v,
                            v->vk.vkAllocateDescriptorSets(
                                v->device,
                                &(VkDescriptorSetAllocateInfo){
                                    .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
                                    .descriptorPool = r->pool,
                                    .descriptorSetCount = 1,
                                    .pSetLayouts = &r->set_layout},
                                &p->set),
                            "vkAllocateDescriptorSets");
    if (result) return result;
    const VkDescriptorImageInfo image = {r->samplers[from->smooth], p->image.view,
                                         VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL};
    v->vk.vkUpdateDescriptorSets(
        v->device, 1,
        &(VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                .dstSet = p->set,
                                .descriptorCount = 1,
                                .descriptorType = VK_DESCRIPTOR_TYPE_COMBINED_IMAGE_SAMPLER,
                                .pImageInfo = &image},
        0, NULL);
    p->smooth = from->smooth;
    p->generation = 0;
    return VKD_OK;
}

static bool is_new(const view_picture *p, const gui_picture *from) {
    return from->pixels && p->generation != from->generation;
}

static bool is_other(const view_picture *p, const gui_picture *from) {
    return !p->image.image || p->image.width != from->width || p->image.height != from->height ||
           p->smooth != from->smooth;
}

static const view_step READ = {VK_IMAGE_LAYOUT_SHADER_READ_ONLY_OPTIMAL,
                               VK_PIPELINE_STAGE_2_FRAGMENT_SHADER_BIT,
                               VK_ACCESS_2_SHADER_SAMPLED_READ_BIT};
static const view_step WRITTEN = {VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL,
                                  VK_PIPELINE_STAGE_2_COPY_BIT, VK_ACCESS_2_TRANSFER_WRITE_BIT};

static void copy(view_renderer *r, view_frame *f, view_picture *p, const gui_picture *from,
                 VkDeviceSize at) {
    view_gpu *v = r->gpu;
    memcpy((char *)f->staging.mapped + at, from->pixels, (size_t)from->width * from->height * 4);
    const VkBufferImageCopy region = {
        .bufferOffset = at,
        .imageSubresource = {.aspectMask = VK_IMAGE_ASPECT_COLOR_BIT, .layerCount = 1},
        .imageExtent = {from->width, from->height, 1}};
    /* Nobody wants what was there, and reads need no flush. */
    view_step before = READ;
    before.access = VK_ACCESS_2_NONE;
    if (!p->generation) before.layout = VK_IMAGE_LAYOUT_UNDEFINED;
    view_image_turn(v, f->commands, p->image.image, before, WRITTEN);
    v->vk.vkCmdCopyBufferToImage(f->commands, f->staging.buffer, p->image.image,
                                 VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, 1, &region);
    view_image_turn(v, f->commands, p->image.image, WRITTEN, READ);
    p->generation = from->generation;
}

vkd_result view_renderer_pictures(view_renderer *r, view_frame *f, const gui_frame *frame) {
    VkDeviceSize bytes = 0, at = 0;
    vkd_result result = VKD_OK;
    const uint32_t count =
        frame->picture_count < VIEW_PICTURES ? frame->picture_count : VIEW_PICTURES;
    for (uint32_t i = 0; i < count && !result; i++) {
        const gui_picture *from = &frame->pictures[i];
        if (!is_new(&r->pictures[i], from)) continue;
        bytes += (VkDeviceSize)from->width * from->height * 4;
        if (is_other(&r->pictures[i], from)) result = make(r, &r->pictures[i], from);
    }
    if (!result && bytes > f->staging.size) {
        view_buffer_destroy(r->gpu, &f->staging);
        result =
            view_buffer_create(r->gpu, 2 * bytes, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, &f->staging);
    }
    for (uint32_t i = 0; i < count && !result; i++) {
        const gui_picture *from = &frame->pictures[i];
        if (!is_new(&r->pictures[i], from)) continue;
        copy(r, f, &r->pictures[i], from, at);
        at += (VkDeviceSize)from->width * from->height * 4;
    }
    return result;
}
