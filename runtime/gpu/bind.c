// SPDX-License-Identifier: Apache-2.0
/* Pipelines, texel views and descriptor sets of a program, written once when it is made. */
#include "gpu/gpu.h"

VkBuffer vkd__program_buffer(const vkd_program *p, vkd__space space, uint32_t index,
                             uint64_t *offset) {
    switch (space) {
    case VKD__SPACE_ARENA:
        return p->arenas[index].buffer;
    case VKD__SPACE_STORE:
        return vkd__store_buffer(p->store, index, offset);
    case VKD__SPACE_INPUT:
        return p->input_block.buffer;
    case VKD__SPACE_DUMMY:
        break;
    }
    *offset = 0;
    return p->device->zeros.buffer;
}

static VkFormat texel_format(vkd__slot_kind kind) {
    if (kind == VKD__SLOT_TEXEL_FLOAT) return VK_FORMAT_R32G32B32A32_SFLOAT;
    /* Unsigned texels are the words of 16-bit tensors: four values each, too. */
    return kind == VKD__SLOT_TEXEL_INT ? VK_FORMAT_R32G32B32A32_SINT : VK_FORMAT_R32G32_UINT;
}

static vkd_result find_view(vkd_program *p, const vkd__view *want, VkBufferView *out) {
    for (size_t i = 0; i < p->view_count; i++) {
        const vkd__view *v = &p->views[i];
        if (v->buffer != want->buffer || v->offset != want->offset || v->bytes != want->bytes ||
            v->kind != want->kind)
            continue;
        *out = v->view;
        return VKD_OK;
    }
    if (!VKD__RESERVE(p->ctx, p->views, p->view_count, p->view_capacity)) return VKD_E_MEMORY;
    vkd__view made = *want;
    const vkd_result r = VKD__VK(
        p->device, vkCreateBufferView(
                       p->device->device,
                       &(VkBufferViewCreateInfo){.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO,
                                                 .buffer = want->buffer,
                                                 .format = texel_format(want->kind),
                                                 .offset = want->offset,
                                                 .range = want->bytes},
                       NULL, &made.view));
    if (r) return r;
    p->views[p->view_count++] = made;
    *out = made.view;
    return VKD_OK;
}

/* The range of a binding, checked against what the device can bind. */
static vkd_result find_range(const vkd_program *p, const vkd__launch *l, uint32_t slot,
                             vkd__view *out) {
    const vkd__binding *b = &l->bindings[slot];
    const VkPhysicalDeviceLimits *limits = &p->device->probe.limits;
    out->offset = b->offset;
    out->bytes = vkd__align_up(b->bytes, 16);
    out->buffer = vkd__program_buffer(p, b->space, b->index, &out->offset);
    if (b->space == VKD__SPACE_DUMMY) out->bytes = VKD__ALIGNMENT;
    const bool texel = out->kind != VKD__SLOT_BUFFER;
    const uint64_t alignment =
        texel ? limits->minTexelBufferOffsetAlignment : limits->minStorageBufferOffsetAlignment;
    const uint64_t most = texel ? (uint64_t)limits->maxTexelBufferElements *
                                      (out->kind == VKD__SLOT_TEXEL_UINT ? 8 : 16)
                                : limits->maxStorageBufferRange;
    if (out->bytes && out->bytes <= most && out->offset % alignment == 0) return VKD_OK;
    return vkd__fail(p->ctx, VKD_E_ARGUMENT,
                     "kernel '%s' for '%s': binding %u has %llu bytes at %llu; '%s' allows 1 to "
                     "%llu bytes at multiples of %llu",
                     l->kernel, l->label, (unsigned)slot, (unsigned long long)out->bytes,
                     (unsigned long long)out->offset, p->device->probe.name,
                     (unsigned long long)most, (unsigned long long)alignment);
}

static vkd_result write_set(vkd_program *p, size_t launch) {
    const vkd__launch *l = &p->launches[launch];
    const vkd__reflection *reflection = &p->pipelines[launch].kernel->reflection;
    VkWriteDescriptorSet writes[VKD__MAX_BINDINGS];
    VkDescriptorBufferInfo buffers[VKD__MAX_BINDINGS];
    VkBufferView views[VKD__MAX_BINDINGS];
    uint32_t count = 0;
    for (uint32_t i = 0; i < reflection->binding_count; i++) {
        vkd__view range = {.kind = reflection->binding[i]};
        if (range.kind == VKD__SLOT_NONE) continue;
        vkd_result r = find_range(p, l, i, &range);
        const bool texel = range.kind != VKD__SLOT_BUFFER;
        if (!r && texel) r = find_view(p, &range, &views[i]);
        if (r) return r;
        buffers[i] = (VkDescriptorBufferInfo){range.buffer, range.offset, range.bytes};
        writes[count++] =
            (VkWriteDescriptorSet){.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                   .dstSet = p->sets[launch],
                                   .dstBinding = i,
                                   .descriptorCount = 1,
                                   .descriptorType = texel ? VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER
                                                           : VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                   .pBufferInfo = texel ? NULL : &buffers[i],
                                   .pTexelBufferView = texel ? &views[i] : NULL};
    }
    p->device->vk.vkUpdateDescriptorSets(p->device->device, count, writes, 0, NULL);
    return VKD_OK;
}

static vkd_result check_grid(const vkd_program *p, const vkd__launch *l) {
    const uint32_t *most = p->device->probe.limits.maxComputeWorkGroupCount;
    for (int i = 0; i < 3; i++) {
        if (l->groups[i] <= most[i]) continue;
        return vkd__fail(
            p->ctx, VKD_E_ARGUMENT,
            "kernel '%s' for '%s': a grid of %u x %u x %u groups is too large for '%s'", l->kernel,
            l->label, (unsigned)l->groups[0], (unsigned)l->groups[1], (unsigned)l->groups[2],
            p->device->probe.name);
    }
    return VKD_OK;
}

static vkd_result make_pool(vkd_program *p) {
    uint32_t buffers = 1, texels = 1; /* a pool size of zero is not allowed */
    for (size_t i = 0; i < p->launch_count; i++) {
        const vkd__reflection *r = &p->pipelines[i].kernel->reflection;
        for (uint32_t b = 0; b < r->binding_count; b++) {
            buffers += r->binding[b] == VKD__SLOT_BUFFER;
            texels += r->binding[b] != VKD__SLOT_BUFFER && r->binding[b] != VKD__SLOT_NONE;
        }
    }
    const VkDescriptorPoolSize sizes[] = {{VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, buffers},
                                          {VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER, texels}};
    return VKD__VK(p->device, vkCreateDescriptorPool(
                                  p->device->device,
                                  &(VkDescriptorPoolCreateInfo){
                                      .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                      .maxSets = (uint32_t)p->launch_count + 1,
                                      .poolSizeCount = VKD_COUNT(sizes),
                                      .pPoolSizes = sizes},
                                  NULL, &p->set_pool));
}

vkd_result vkd__program_bind(vkd_program *p) {
    p->pipelines = VKD_NEW(&p->memory, vkd__pipeline, p->launch_count);
    p->sets = VKD_NEW(&p->memory, VkDescriptorSet, p->launch_count);
    if (!p->pipelines || !p->sets) return VKD_E_MEMORY;
    vkd_result r = VKD_OK;
    for (size_t i = 0; !r && i < p->launch_count; i++) {
        r = check_grid(p, &p->launches[i]);
        if (!r) r = vkd__pipeline_get(p->device, &p->launches[i], &p->pipelines[i]);
    }
    if (!r) r = make_pool(p);
    for (size_t i = 0; !r && i < p->launch_count; i++) {
        const VkDescriptorSetAllocateInfo info = {
            .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
            .descriptorPool = p->set_pool,
            .descriptorSetCount = 1,
            .pSetLayouts = &p->pipelines[i].kernel->set_layout};
        r = VKD__VK(p->device, vkAllocateDescriptorSets(p->device->device, &info, &p->sets[i]));
        if (!r) r = write_set(p, i);
    }
    return r;
}
