// SPDX-License-Identifier: Apache-2.0
/* Times of single launches. The slices are recorded a second time, with a barrier before each
 * launch and a timestamp on both sides, so that a launch's time is its own. Steps run one by one
 * while this is on. */
#include "gpu/gpu.h"

struct vkd__timing {
    VkQueryPool queries; /* two for each launch */
    VkCommandBuffer *slices;
    uint64_t *stamps;
};

const VkCommandBuffer *vkd__timing_slices(const vkd_program *p) {
    return p->timing->slices;
}

void vkd__timing_destroy(vkd_program *p) {
    vkd__timing *t = p->timing;
    if (!t) return;
    vkd_device *d = p->device;
    if (t->slices && t->slices[0])
        d->vk.vkFreeCommandBuffers(d->device, p->pool, p->slice_count, t->slices);
    d->vk.vkDestroyQueryPool(d->device, t->queries, NULL);
    vkd__free(p->ctx, t->slices);
    vkd__free(p->ctx, t->stamps);
    vkd__free(p->ctx, t);
    p->timing = NULL;
}

static vkd_result record_slice(const vkd_program *p, uint32_t slice) {
    vkd_device *d = p->device;
    const VkCommandBuffer cb = p->timing->slices[slice];
    const vkd_result r = vkd__command_begin(d, cb, 0);
    if (r) return r;
    if (!slice) {
        d->vk.vkCmdResetQueryPool(cb, p->timing->queries, 0, (uint32_t)p->launch_count * 2 + 1);
        vkd__record_inputs_ready(d, cb);
    }
    for (uint32_t i = 0; i < p->launch_count; i++) {
        if (p->launches[i].slice != slice) continue;
        vkd__record_inputs_ready(d, cb);
        d->vk.vkCmdWriteTimestamp2(cb, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, p->timing->queries,
                                   i * 2);
        vkd__record_launch(p, cb, i);
        d->vk.vkCmdWriteTimestamp2(cb, VK_PIPELINE_STAGE_2_ALL_COMMANDS_BIT, p->timing->queries,
                                   i * 2 + 1);
    }
    return VKD__VK(d, vkEndCommandBuffer(cb));
}

static vkd_result create(vkd_program *p) {
    vkd_device *d = p->device;
    vkd__timing *t = p->timing = vkd__alloc(p->ctx, 1, sizeof *t);
    if (!t) return VKD_E_MEMORY;
    if (!p->rows) p->rows = vkd__alloc(p->ctx, p->launch_count, sizeof *p->rows);
    t->slices = vkd__alloc(p->ctx, p->slice_count, sizeof(VkCommandBuffer));
    t->stamps = vkd__alloc(p->ctx, p->launch_count * 2, sizeof *t->stamps);
    if (!p->rows || !t->slices || !t->stamps) return VKD_E_MEMORY;
    vkd_result r =
        VKD__VK(d, vkCreateQueryPool(
                       d->device,
                       &(VkQueryPoolCreateInfo){.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                                .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                                .queryCount = (uint32_t)p->launch_count * 2 + 1},
                       NULL, &t->queries));
    if (!r)
        r = VKD__VK(
            d, vkAllocateCommandBuffers(d->device,
                                        &(VkCommandBufferAllocateInfo){
                                            .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                            .commandPool = p->pool,
                                            .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                            .commandBufferCount = p->slice_count},
                                        t->slices));
    for (uint32_t i = 0; !r && i < p->slice_count; i++)
        r = record_slice(p, i);
    return r;
}

vkd_result vkd_program_profile(vkd_program *program, bool on) {
    vkd_program *p = program;
    if (on == (p->timing != NULL)) return VKD_OK;
    if (on && !p->device->features[VKD__FEATURE_TIMESTAMPS].used)
        return vkd__fail(p->ctx, VKD_E_DEVICE, "'%s' cannot time its kernels: %s",
                         p->device->probe.name,
                         p->device->features[VKD__FEATURE_TIMESTAMPS].why_not);
    vkd_result r = vkd_program_wait(p, p->submitted);
    if (!r && on) r = create(p);
    if (r || !on) vkd__timing_destroy(p);
    return r;
}

vkd_result vkd__timing_collect(vkd_program *p) {
    vkd_device *d = p->device;
    vkd__timing *t = p->timing;
    vkd_result r = vkd_program_wait(p, p->submitted);
    if (r || !p->launch_count) return r;
    const uint32_t count = (uint32_t)p->launch_count * 2;
    r = VKD__VK(d, vkGetQueryPoolResults(d->device, t->queries, 0, count, count * sizeof *t->stamps,
                                         t->stamps, sizeof *t->stamps,
                                         VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    if (r) return r;
    const uint32_t bits = d->probe.timestamp_bits;
    const uint64_t mask = bits < 64 ? (1ull << bits) - 1 : UINT64_MAX;
    for (size_t i = 0; i < p->launch_count; i++) {
        const uint64_t ticks = (t->stamps[2 * i + 1] - t->stamps[2 * i]) & mask;
        p->rows[i].calls++;
        p->rows[i].seconds += (double)ticks * (double)d->probe.limits.timestampPeriod * 1e-9;
    }
    return VKD_OK;
}

uint32_t vkd_program_profile_rows(const vkd_program *program, vkd_profile_row *rows,
                                  uint32_t capacity) {
    const vkd_program *p = program;
    if (!p->rows) return 0;
    for (size_t i = 0; i < p->launch_count && i < capacity; i++) {
        const vkd__launch *l = &p->launches[i];
        rows[i] = p->rows[i];
        rows[i].kernel = l->kernel;
        rows[i].label = l->label;
        rows[i].flops = l->flops * (double)rows[i].calls;
        rows[i].bytes = l->traffic * (double)rows[i].calls;
    }
    return (uint32_t)p->launch_count;
}
