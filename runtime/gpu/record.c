// SPDX-License-Identifier: Apache-2.0
/* The only place that records a step's commands.
 *
 *   prologue (one for each ring slot)  waits for the step before, copies the small inputs
 *   large (slot x large input)         copies one large input; submitted when it has changed
 *   slices (shared by all slots)       the plan's launches
 *   epilogue (one for each ring slot)  copies the outputs to where the host reads them */
#include "gpu/gpu.h"

#define COMPUTE VK_PIPELINE_STAGE_2_COMPUTE_SHADER_BIT
#define TRANSFER VK_PIPELINE_STAGE_2_ALL_TRANSFER_BIT
#define SHADER_ACCESS (VK_ACCESS_2_SHADER_READ_BIT | VK_ACCESS_2_SHADER_WRITE_BIT)
#define TRANSFER_ACCESS (VK_ACCESS_2_TRANSFER_READ_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT)

void vkd__record_launch(const vkd_program *p, VkCommandBuffer cb, size_t launch) {
    const struct VolkDeviceTable *vk = &p->device->vk;
    const vkd__launch *l = &p->launches[launch];
    const vkd__pipeline *pipeline = &p->pipelines[launch];
    vk->vkCmdBindPipeline(cb, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->pipeline);
    vk->vkCmdBindDescriptorSets(cb, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline->kernel->layout, 0, 1,
                                &p->sets[launch], 0, NULL);
    if (l->push_bytes)
        vk->vkCmdPushConstants(cb, pipeline->kernel->layout, VK_SHADER_STAGE_COMPUTE_BIT, 0,
                               l->push_bytes, l->push);
    if (l->piece)
        vk->vkCmdDispatchBase(cb, l->base[0], l->base[1], l->base[2], l->groups[0], l->groups[1],
                              l->groups[2]);
    else
        vk->vkCmdDispatch(cb, l->groups[0], l->groups[1], l->groups[2]);
}

void vkd__record_inputs_ready(vkd_device *d, VkCommandBuffer cb) {
    vkd__barrier(d, cb, COMPUTE | TRANSFER,
                 VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT, COMPUTE,
                 SHADER_ACCESS);
}

static void copy_input(const vkd_program *p, VkCommandBuffer cb, uint32_t slot, uint64_t offset,
                       uint64_t bytes) {
    p->device->vk.vkCmdCopyBuffer(cb, p->upload.buffer, p->input_block.buffer, 1,
                                  &(VkBufferCopy){.srcOffset = slot * p->input_bytes + offset,
                                                  .dstOffset = offset,
                                                  .size = bytes});
}

static vkd_result end(vkd_device *d, VkCommandBuffer cb) {
    return VKD__VK(d, vkEndCommandBuffer(cb));
}

static vkd_result record_prologue(const vkd_program *p, uint32_t slot) {
    const VkCommandBuffer cb = p->prologue[slot];
    const vkd_result r = vkd__command_begin(p->device, cb, 0);
    if (r) return r;
    vkd__barrier(p->device, cb, COMPUTE | TRANSFER,
                 VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT, COMPUTE | TRANSFER,
                 SHADER_ACCESS | TRANSFER_ACCESS);
    for (uint32_t i = 0; i < p->small_count; i++)
        copy_input(p, cb, slot, p->small[i].offset, p->small[i].bytes);
    return end(p->device, cb);
}

static vkd_result record_large(const vkd_program *p, uint32_t slot) {
    uint32_t large = slot * p->large_count;
    for (uint32_t i = 0; i < p->input_count; i++) {
        if (!p->inputs[i].large) continue;
        const VkCommandBuffer cb = p->large[large++];
        vkd_result r = vkd__command_begin(p->device, cb, 0);
        if (r) return r;
        copy_input(p, cb, slot, p->inputs[i].offset, p->inputs[i].bytes);
        r = end(p->device, cb);
        if (r) return r;
    }
    return VKD_OK;
}

vkd_result vkd__record_slice(const vkd_program *p, VkCommandBuffer cb, uint32_t slice,
                             VkQueryPool queries) {
    const struct VolkDeviceTable *vk = &p->device->vk;
    const vkd_result r =
        vkd__command_begin(p->device, cb, VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT);
    if (r) return r;
    if (queries && !slice) vk->vkCmdResetQueryPool(cb, queries, 0, p->slice_count * 2);
    if (!slice) vkd__record_inputs_ready(p->device, cb);
    if (queries)
        vk->vkCmdWriteTimestamp2(cb, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, queries, slice * 2);
    for (size_t i = 0; i < p->launch_count; i++) {
        if (p->launches[i].slice != slice) continue;
        if (p->launches[i].barrier)
            vkd__barrier(p->device, cb, COMPUTE, VK_ACCESS_2_SHADER_WRITE_BIT, COMPUTE,
                         SHADER_ACCESS);
        vkd__record_launch(p, cb, i);
    }
    if (queries)
        vk->vkCmdWriteTimestamp2(cb, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, queries, slice * 2 + 1);
    return end(p->device, cb);
}

static vkd_result record_epilogue(const vkd_program *p, uint32_t slot) {
    const VkCommandBuffer cb = p->epilogue[slot];
    const vkd_result r = vkd__command_begin(p->device, cb, 0);
    if (r) return r;
    vkd__barrier(p->device, cb, COMPUTE | TRANSFER,
                 VK_ACCESS_2_SHADER_WRITE_BIT | VK_ACCESS_2_TRANSFER_WRITE_BIT, TRANSFER,
                 TRANSFER_ACCESS);
    for (uint32_t i = 0; i < p->output_count; i++) {
        const vkd__io *out = &p->outputs[i];
        uint64_t offset = out->source.offset;
        const VkBuffer from = vkd__program_buffer(p, out->source.space, out->source.index, &offset);
        p->device->vk.vkCmdCopyBuffer(
            cb, from, p->readback.buffer, 1,
            &(VkBufferCopy){.srcOffset = offset,
                            .dstOffset = slot * p->output_bytes + out->offset,
                            .size = out->bytes});
    }
    vkd__barrier(p->device, cb, TRANSFER, VK_ACCESS_2_TRANSFER_WRITE_BIT,
                 VK_PIPELINE_STAGE_2_HOST_BIT, VK_ACCESS_2_HOST_READ_BIT);
    return end(p->device, cb);
}

vkd_result vkd__record_allocate(vkd_program *p, VkCommandBuffer *buffers, uint32_t count) {
    if (!count) return VKD_OK;
    return VKD__VK(p->device, vkAllocateCommandBuffers(
                                  p->device->device,
                                  &(VkCommandBufferAllocateInfo){
                                      .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                      .commandPool = p->pool,
                                      .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                      .commandBufferCount = count},
                                  buffers));
}

static vkd_result make_buffers(vkd_program *p) {
    p->large = VKD_NEW(&p->memory, VkCommandBuffer, VKD_PROGRAM_RING * p->large_count);
    if (!p->large) return VKD_E_MEMORY;
    vkd_result r =
        VKD__VK(p->device,
                vkCreateCommandPool(
                    p->device->device,
                    &(VkCommandPoolCreateInfo){.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                               .queueFamilyIndex = p->device->probe.family},
                    NULL, &p->pool));
    if (!r) r = vkd__record_allocate(p, p->prologue, VKD_PROGRAM_RING);
    if (!r) r = vkd__record_allocate(p, p->epilogue, VKD_PROGRAM_RING);
    return r ? r : vkd__record_allocate(p, p->large, VKD_PROGRAM_RING * p->large_count);
}

vkd_result vkd__program_recut(vkd_program *p) {
    p->slices = VKD_NEW(&p->memory, VkCommandBuffer, p->slice_count);
    if (!p->slices) return VKD_E_MEMORY;
    vkd_result r = vkd__record_allocate(p, p->slices, p->slice_count);
    for (uint32_t i = 0; !r && i < p->slice_count; i++)
        r = vkd__record_slice(p, p->slices[i], i, VK_NULL_HANDLE);
    return r ? r : vkd__program_make_submits(p);
}

vkd_result vkd__program_record(vkd_program *p) {
    vkd_result r = make_buffers(p);
    for (uint32_t slot = 0; !r && slot < VKD_PROGRAM_RING; slot++) {
        r = record_prologue(p, slot);
        if (!r) r = record_large(p, slot);
        if (!r) r = record_epilogue(p, slot);
    }
    return r ? r : vkd__program_recut(p);
}
