// SPDX-License-Identifier: Apache-2.0
/* A program: a plan made ready to be replayed.
 *
 * The host writes inputs into `master`, plain memory that always holds the latest values. A submit
 * copies it into one slot of a ring that the device can read, so that the host never waits for the
 * step before. Small inputs are copied every step; a large one only when the host has asked for it
 * since the last step. Consecutive steps follow each other on one queue, each behind a barrier; the
 * timeline semaphore counts slices. */
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"

#define LARGE_INPUT (16u << 10)

/* ---- Making ---- */

static char *copy_text(vkd_program *p, const char *text) {
    return vkd__arena_format(&p->memory, "%s", text ? text : "");
}

static vkd_result copy_launches(vkd_program *p, const vkd_plan *plan) {
    p->launch_count = plan->launch_count;
    p->launches = VKD_NEW(&p->memory, vkd__launch, p->launch_count);
    if (!p->launches) return VKD_E_MEMORY;
    for (size_t i = 0; i < p->launch_count; i++) {
        p->launches[i] = plan->launches[i];
        p->launches[i].kernel = copy_text(p, plan->launches[i].kernel);
        p->launches[i].label = copy_text(p, plan->launches[i].label);
        if (!p->launches[i].kernel || !p->launches[i].label) return VKD_E_MEMORY;
        if (p->slice_count <= p->launches[i].slice) p->slice_count = p->launches[i].slice + 1;
    }
    return VKD_OK;
}

static vkd_result copy_io(vkd_program *p, const vkd__plan_io *from, uint32_t count, vkd__io **out) {
    vkd__io *to = VKD_NEW(&p->memory, vkd__io, count);
    if (!to) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        to[i] = (vkd__io){.name = copy_text(p, from[i].name),
                          .dtype = from[i].dtype,
                          .bytes = from[i].bytes,
                          .count = vkd_shape_count(from[i].shape),
                          .offset = from[i].block_offset,
                          .source = from[i].source,
                          .constant = from[i].constant,
                          .is_step = from[i].is_step};
        if (!to[i].name) return VKD_E_MEMORY;
    }
    *out = to;
    return VKD_OK;
}

/* The runs of the input block that every step copies; neighbours share one. */
static vkd_result sort_inputs(vkd_program *p, const vkd_plan *plan) {
    p->small = VKD_NEW(&p->memory, vkd__run, p->input_count);
    p->master = VKD_NEW(&p->memory, uint8_t, p->input_bytes);
    if (!p->small || !p->master) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < p->input_count; i++) {
        vkd__io *in = &p->inputs[i];
        in->large = in->bytes > LARGE_INPUT;
        p->large_count += in->large;
        if (plan->inputs[i].value != 0 && in->dtype == VKD_F32)
            memcpy(p->master + in->offset, &plan->inputs[i].value, sizeof(float));
        if (in->large) continue;
        vkd__run *last = p->small_count ? &p->small[p->small_count - 1] : NULL;
        if (last && vkd__align_up(last->offset + last->bytes, VKD__ALIGNMENT) == in->offset)
            last->bytes = in->offset + in->bytes - last->offset;
        else
            p->small[p->small_count++] = (vkd__run){in->offset, in->bytes};
    }
    return VKD_OK;
}

static vkd_result copy_plan(vkd_program *p, const vkd_plan *plan) {
    p->name = copy_text(p, plan->name);
    p->slice_count = plan->slice_count ? plan->slice_count : 1;
    p->input_count = plan->input_count;
    p->output_count = plan->output_count;
    p->input_bytes = vkd__align_up(plan->input_bytes, VKD__ALIGNMENT);
    p->output_bytes = vkd__align_up(plan->output_bytes, VKD__ALIGNMENT);
    p->tensor_count = plan->tensor_count;
    p->places = VKD_NEW(&p->memory, vkd__place, p->tensor_count);
    if (!p->name || !p->places) return VKD_E_MEMORY;
    if (p->tensor_count) memcpy(p->places, plan->places, p->tensor_count * sizeof *p->places);
    vkd_result r = copy_launches(p, plan);
    if (!r) r = copy_io(p, plan->inputs, p->input_count, &p->inputs);
    if (!r) r = copy_io(p, plan->outputs, p->output_count, &p->outputs);
    return r ? r : sort_inputs(p, plan);
}

/* Everything in one sum first: a run that will not fit says so before anything is made. */
static vkd_result require_memory(vkd_program *p, const vkd_plan *plan, const char *what) {
    uint64_t bytes = p->input_bytes;
    for (uint32_t i = 0; i < plan->arena_count; i++)
        bytes += plan->arena_bytes[i];
    for (size_t i = 0; p->store && i < p->store->entry_count; i++) {
        const vkd__entry *e = &p->store->entries[i];
        if (e->kind != VKD__ENTRY_MEMBER && !e->handle) bytes += e->bytes;
    }
    return vkd__memory_require(p->device, bytes, what);
}

static vkd_result make_memory(vkd_program *p, const vkd_plan *plan) {
    vkd_device *d = p->device;
    const char *what = vkd__arena_format(&p->memory, "the program '%s'", p->name);
    p->arenas = VKD_NEW(&p->memory, vkd__buffer, plan->arena_count);
    if (!what || !p->arenas) return VKD_E_MEMORY;
    vkd_result r = require_memory(p, plan, what);
    if (!r) r = vkd__need_zeros(d);
    if (!r && p->store) r = vkd__store_place(d, p->store);
    for (; !r && p->arena_count < plan->arena_count; p->arena_count++) {
        vkd__buffer *arena = &p->arenas[p->arena_count];
        r = vkd__buffer_create(d, plan->arena_bytes[p->arena_count], VKD__MEMORY_DEVICE, what,
                               arena);
        /* Kernels may read a tensor's padding; zeros there make two runs equal in every bit. */
        if (!r) r = vkd__zero(d, arena);
    }
    if (!r) r = vkd__buffer_create(d, p->input_bytes, VKD__MEMORY_DEVICE, what, &p->input_block);
    if (!r) r = vkd__zero(d, &p->input_block);
    if (!r)
        r = vkd__buffer_create(d, VKD_PROGRAM_RING * p->input_bytes, VKD__MEMORY_UPLOAD, what,
                               &p->upload);
    if (!r)
        r = vkd__buffer_create(d, VKD_PROGRAM_RING * p->output_bytes, VKD__MEMORY_READBACK, what,
                               &p->readback);
    return r;
}

/* What a submit hands to the queue, prepared but for the numbers that change. */
vkd_result vkd__program_make_submits(vkd_program *p) {
    const uint32_t most = p->slice_count + p->large_count + 2;
    p->submit_buffers = VKD_NEW(&p->memory, VkCommandBufferSubmitInfo, most);
    p->submit_signals = VKD_NEW(&p->memory, VkSemaphoreSubmitInfo, p->slice_count);
    p->submits = VKD_NEW(&p->memory, VkSubmitInfo2, p->slice_count);
    if (!p->submit_buffers || !p->submit_signals || !p->submits) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < most; i++)
        p->submit_buffers[i].sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_SUBMIT_INFO;
    for (uint32_t i = 0; i < p->slice_count; i++) {
        p->submit_signals[i] =
            (VkSemaphoreSubmitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_SUBMIT_INFO,
                                    .semaphore = p->timeline,
                                    .stageMask = VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT};
        p->submits[i] = (VkSubmitInfo2){.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO_2,
                                        .signalSemaphoreInfoCount = 1,
                                        .pSignalSemaphoreInfos = &p->submit_signals[i]};
    }
    return VKD_OK;
}

static vkd_result make_timeline(vkd_program *p) {
    const VkSemaphoreTypeCreateInfo type = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO,
                                            .semaphoreType = VK_SEMAPHORE_TYPE_TIMELINE};
    const VkSemaphoreCreateInfo info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO,
                                        .pNext = &type};
    return VKD__VK(p->device, vkCreateSemaphore(p->device->device, &info, NULL, &p->timeline));
}

vkd_result vkd_program_create(vkd_device *device, const vkd_plan *plan, vkd_program **out) {
    *out = NULL;
    vkd_program *p = vkd__alloc(device->ctx, 1, sizeof *p);
    if (!p) return VKD_E_MEMORY;
    p->ctx = p->memory.ctx = device->ctx;
    p->device = device;
    p->store = plan->store;
    p->graph = plan->graph;
    if (p->graph) vkd__graph_retain(p->graph);
    const char *check = getenv("VKD_CHECK");
    p->check = p->graph && check && !strcmp(check, "1");
    vkd_result r = copy_plan(p, plan);
    if (!r) r = make_memory(p, plan);
    if (!r) r = vkd__program_bind(p);
    if (!r) r = make_timeline(p);
    if (!r) {
        r = vkd__program_record(p);
        if (r) vkd__fail(p->ctx, r, "the commands of '%s': %s", p->name, p->ctx->error);
    }
    if (r) {
        vkd_program_destroy(p);
        return r;
    }
    *out = p;
    return VKD_OK;
}

void vkd_program_destroy(vkd_program *program) {
    if (!program) return;
    vkd_program *p = program;
    vkd_device *d = p->device;
    if (p->submitted > p->done && !d->lost) vkd_program_wait(p, p->submitted);
    vkd__timing_destroy(p);
    vkd__pace_destroy(p);
    d->vk.vkDestroySemaphore(d->device, p->timeline, NULL);
    d->vk.vkDestroyCommandPool(d->device, p->pool, NULL);
    d->vk.vkDestroyDescriptorPool(d->device, p->set_pool, NULL);
    for (size_t i = 0; i < p->view_count; i++)
        d->vk.vkDestroyBufferView(d->device, p->views[i].view, NULL);
    for (uint32_t i = 0; i < p->arena_count; i++)
        vkd__buffer_destroy(d, &p->arenas[i]);
    vkd__buffer_destroy(d, &p->input_block);
    vkd__buffer_destroy(d, &p->upload);
    vkd__buffer_destroy(d, &p->readback);
    if (p->graph) vkd__graph_release(p->graph);
    vkd__free(p->ctx, p->views);
    vkd__free(p->ctx, p->rows);
    vkd__free(p->ctx, p->nonfinite);
    vkd__arena_term(&p->memory);
    vkd__free(p->ctx, p);
}
