// SPDX-License-Identifier: Apache-2.0
/* Replaying a program: inputs, submit, wait, outputs. A submit allocates nothing and writes no
 * descriptor; it copies the small inputs and hands prepared structures to the queue. */
#include <string.h>

#include "gpu/gpu.h"

static vkd__io *find(vkd__io *list, uint32_t count, const char *name) {
    for (uint32_t i = 0; i < count; i++)
        if (!list[i].constant && !list[i].is_step && !strcmp(list[i].name, name)) return &list[i];
    return NULL;
}

void *vkd_program_input(vkd_program *program, const char *name) {
    vkd__io *in = find(program->inputs, program->input_count, name);
    if (!in) return NULL;
    in->changed = true;
    return program->master + in->offset;
}

void vkd_program_set_step(vkd_program *program, int32_t step) {
    program->step = step;
}

uint64_t vkd__program_value(const vkd_program *p, uint64_t ticket) {
    return p->value_base + (ticket - p->ticket_base) * p->slice_count;
}

/* Those of one slice, or of all with UINT32_MAX. */
static void kernel_names(const vkd_program *p, uint32_t slice, vkd__text *out) {
    const char *last = "";
    for (size_t i = 0; i < p->launch_count && out->length < 700; i++) {
        const vkd__launch *l = &p->launches[i];
        if ((slice != UINT32_MAX && l->slice != slice) || !strcmp(l->kernel, last)) continue;
        vkd__text_add(out, "%s%s", out->length ? ", " : "", l->kernel);
        last = l->kernel;
    }
}

vkd_result vkd__program_lost(vkd_program *p, uint64_t reached) {
    p->device->lost = true;
    const bool known = reached >= p->value_base && reached < vkd__program_value(p, p->submitted);
    const uint64_t since = known ? reached - p->value_base : 0;
    const uint32_t slice = (uint32_t)(since % p->slice_count);
    vkd__text kernels = {.ctx = p->ctx};
    kernel_names(p, known ? slice : UINT32_MAX, &kernels);
    vkd__fault_words(p->device, &kernels);
    const char *names = kernels.text ? kernels.text : "none";
    const vkd_result r =
        known ? vkd__fail(p->ctx, VKD_E_DEVICE_LOST,
                          "'%s' was lost in step %llu of '%s', slice %u of %u; kernels: %s",
                          p->device->probe.name,
                          (unsigned long long)(p->ticket_base + since / p->slice_count + 1),
                          p->name, (unsigned)slice + 1, (unsigned)p->slice_count, names)
              : vkd__fail(p->ctx, VKD_E_DEVICE_LOST,
                          "'%s' was lost while '%s' ran, the driver cannot say where; kernels: %s",
                          p->device->probe.name, p->name, names);
    vkd__text_term(&kernels);
    return r;
}

/* A lost device gets its own message; the counter says how far it came, where the driver knows. */
static vkd_result report(vkd_program *p, VkResult result, const char *call) {
    if (result != VK_ERROR_DEVICE_LOST) {
        const vkd_result r = vkd__vk(p->device, result, call);
        vkd__text kernels = {.ctx = p->ctx};
        kernel_names(p, UINT32_MAX, &kernels);
        vkd__fail(p->ctx, r, "step %llu of '%s': %s; kernels: %s",
                  (unsigned long long)p->submitted + 1, p->name, p->ctx->error,
                  kernels.text ? kernels.text : "none");
        vkd__text_term(&kernels);
        return r;
    }
    uint64_t reached = UINT64_MAX;
    if (p->device->vk.vkGetSemaphoreCounterValue(p->device->device, p->timeline, &reached))
        reached = UINT64_MAX;
    return vkd__program_lost(p, reached);
}

vkd_result vkd__program_wait_value(vkd_program *p, uint64_t value) {
    const VkResult result = p->device->vk.vkWaitSemaphores(
        p->device->device,
        &(VkSemaphoreWaitInfo){.sType = VK_STRUCTURE_TYPE_SEMAPHORE_WAIT_INFO,
                               .semaphoreCount = 1,
                               .pSemaphores = &p->timeline,
                               .pValues = &value},
        UINT64_MAX);
    return result ? report(p, result, "vkWaitSemaphores") : VKD_OK;
}

vkd_result vkd_program_wait(vkd_program *program, uint64_t ticket) {
    vkd_program *p = program;
    if (ticket <= p->done) return VKD_OK;
    if (ticket > p->submitted)
        return vkd__fail(p->ctx, VKD_E_ARGUMENT, "'%s' has no step %llu yet, the last is %llu",
                         p->name, (unsigned long long)ticket, (unsigned long long)p->submitted);
    if (p->device->lost) return vkd__program_lost(p, UINT64_MAX);
    const vkd_result r = vkd__program_wait_value(p, vkd__program_value(p, ticket));
    if (r) return r;
    p->done = ticket;
    return VKD_OK;
}

vkd_result vkd__program_stage(vkd_program *p, uint64_t ticket, int32_t step) {
    if (ticket > VKD_PROGRAM_RING) {
        const vkd_result r = vkd_program_wait(p, ticket - VKD_PROGRAM_RING);
        if (r) return r;
    }
    uint8_t *slot = p->upload.mapped + ticket % VKD_PROGRAM_RING * p->input_bytes;
    for (uint32_t i = 0; i < p->input_count; i++) {
        const vkd__io *in = &p->inputs[i];
        if (in->is_step) memcpy(p->master + in->offset, &step, sizeof step);
        if (in->large && in->changed) memcpy(slot + in->offset, p->master + in->offset, in->bytes);
    }
    for (uint32_t i = 0; i < p->small_count; i++)
        memcpy(slot + p->small[i].offset, p->master + p->small[i].offset, p->small[i].bytes);
    return VKD_OK;
}

vkd_result vkd__program_send(vkd_program *p, uint64_t ticket, const VkCommandBuffer *slices) {
    const uint32_t slot = (uint32_t)(ticket % VKD_PROGRAM_RING);
    VkCommandBufferSubmitInfo *at = p->submit_buffers;
    p->submits[0].pCommandBufferInfos = at;
    (at++)->commandBuffer = p->prologue[slot];
    uint32_t large = slot * p->large_count;
    for (uint32_t i = 0; i < p->input_count && p->large_count; i++) {
        if (!p->inputs[i].large) continue;
        if (p->inputs[i].changed) (at++)->commandBuffer = p->large[large];
        large++;
    }
    for (uint32_t i = 0; i < p->slice_count; i++) {
        if (i) p->submits[i].pCommandBufferInfos = at;
        (at++)->commandBuffer = slices[i];
        if (i + 1 == p->slice_count) (at++)->commandBuffer = p->epilogue[slot];
        p->submits[i].commandBufferInfoCount = (uint32_t)(at - p->submits[i].pCommandBufferInfos);
        p->submit_signals[i].value = vkd__program_value(p, ticket - 1) + i + 1;
    }
    const VkResult result =
        p->device->vk.vkQueueSubmit2(p->device->queue, p->slice_count, p->submits, VK_NULL_HANDLE);
    if (result) return report(p, result, "vkQueueSubmit2");
    for (uint32_t i = 0; i < p->input_count; i++)
        p->inputs[i].changed = false;
    return VKD_OK;
}

vkd_result vkd_program_submit(vkd_program *program, uint64_t *ticket) {
    vkd_program *p = program;
    if (p->device->lost) return vkd__program_lost(p, UINT64_MAX);
    if (!p->slice_count)
        return vkd__fail(p->ctx, VKD_E_DEVICE,
                         "'%s' could not be recorded again and must be made anew", p->name);
    const uint64_t t = p->submitted + 1;
    vkd_result r = VKD_OK;
    if (p->check) {
        r = vkd__shadow_step(p, t);
    } else {
        const VkCommandBuffer *slices = p->timing ? vkd__timing_slices(p) : NULL;
        r = vkd__program_stage(p, t, p->step);
        if (!r && !p->timing) r = vkd__pace_before(p, t, &slices);
        if (!r) r = vkd__program_send(p, t, slices);
        if (r && p->pace && p->pace_ticket == t) vkd__pace_destroy(p); /* it never ran */
    }
    if (r) return r;
    p->submitted = t;
    p->step = (int32_t)((uint32_t)p->step + 1);
    if (ticket) *ticket = t;
    if (p->check) return VKD_OK;
    return p->timing ? vkd__timing_collect(p) : vkd__pace_after(p);
}

const void *vkd_program_output(vkd_program *program, uint64_t ticket, const char *name,
                               size_t *count) {
    vkd_program *p = program;
    const vkd__io *out = find(p->outputs, p->output_count, name);
    if (!out || !ticket || ticket > p->done || p->submitted - ticket >= VKD_PROGRAM_RING)
        return NULL;
    if (count) *count = out->count;
    return p->readback.mapped + ticket % VKD_PROGRAM_RING * p->output_bytes + out->offset;
}
