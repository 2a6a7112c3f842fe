// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "gpu/gpu.h"

static vkd_result refuse(vkd_device *d) {
    return vkd__fail(d->ctx, VKD_E_ARGUMENT,
                     "the device '%s' was not opened to say what its compiler makes of a kernel",
                     d->probe.name);
}

/* A compute pipeline is one executable wherever we have seen it; the first is taken. */
static VkPipelineExecutableInfoKHR first(const vkd__pipeline *p) {
    return (VkPipelineExecutableInfoKHR){.sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR,
                                         .pipeline = p->pipeline};
}

static double value_of(const VkPipelineExecutableStatisticKHR *s) {
    switch (s->format) {
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR:
        return s->value.b32 ? 1 : 0;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR:
        return (double)s->value.i64;
    case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR:
        return (double)s->value.u64;
    default:
        return s->value.f64;
    }
}

vkd_result vkd__pipeline_statistics(vkd_device *d, const vkd__pipeline *p, vkd__statistic *out,
                                    uint32_t *count) {
    if (!d->statistics) return refuse(d);
    VkPipelineExecutableStatisticKHR list[64];
    for (size_t i = 0; i < VKD_COUNT(list); i++)
        list[i] = (VkPipelineExecutableStatisticKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR};
    const VkPipelineExecutableInfoKHR info = first(p);
    uint32_t found = VKD_COUNT(list);
    const vkd_result r =
        VKD__VK(d, vkGetPipelineExecutableStatisticsKHR(d->device, &info, &found, list));
    if (r) return r;
    if (found > *count)
        return vkd__fail(d->ctx, VKD_E_ARGUMENT, "'%s' has %u statistics of a kernel, not %u",
                         d->probe.name, (unsigned)found, (unsigned)*count);
    for (uint32_t i = 0; i < found; i++) {
        memcpy(out[i].name, list[i].name, sizeof out[i].name);
        out[i].value = value_of(&list[i]);
    }
    *count = found;
    return VKD_OK;
}

vkd_result vkd__pipeline_code(vkd_device *d, const vkd__pipeline *p, char **text) {
    *text = NULL;
    if (!d->code) return refuse(d);
    VkPipelineExecutableInternalRepresentationKHR list[16];
    for (size_t i = 0; i < VKD_COUNT(list); i++)
        list[i] = (VkPipelineExecutableInternalRepresentationKHR){
            .sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR};
    const VkPipelineExecutableInfoKHR info = first(p);
    uint32_t count = VKD_COUNT(list);
    vkd_result r = VKD__VK(
        d, vkGetPipelineExecutableInternalRepresentationsKHR(d->device, &info, &count, list));
    uint32_t last = count;
    for (uint32_t i = 0; !r && i < count; i++)
        if (list[i].isText && list[i].dataSize) last = i;
    if (r) return r;
    if (last == count)
        return vkd__fail(d->ctx, VKD_E_ARGUMENT, "'%s' has no text form of a kernel",
                         d->probe.name);
    char *copy = vkd__alloc(d->ctx, list[last].dataSize + 1, 1);
    if (!copy) return VKD_E_MEMORY;
    list[last].pData = copy; /* of the others the driver gives the size again */
    r = VKD__VK(d,
                vkGetPipelineExecutableInternalRepresentationsKHR(d->device, &info, &count, list));
    if (r) {
        vkd__free(d->ctx, copy);
        return r;
    }
    *text = copy;
    return VKD_OK;
}
