// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "gpu/gpu.h"

static uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

/* The planner's row for the vendor, under the limits that the device reports. */
void vkd__profile_make(const vkd__probe *p, bool direct, vkd_profile *out) {
    *out = *vkd__profile_for_vendor(p->vendor, p->type == VK_PHYSICAL_DEVICE_TYPE_CPU);
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p->name);
    out->direct = direct;
    out->subgroup = p->subgroup;
    out->max_invocations = p->limits.maxComputeWorkGroupInvocations;
    out->max_shared = p->limits.maxComputeSharedMemorySize;
    out->max_binding = p->limits.maxStorageBufferRange;
    out->max_texels = p->limits.maxTexelBufferElements;
    out->max_allocation = smaller(p->max_allocation, p->max_buffer);
    for (int i = 0; i < 3; i++)
        out->max_groups[i] = p->limits.maxComputeWorkGroupCount[i];
    /* The rows speak of cards; a part of the processor has the host's memory and less power. */
    if (p->type != VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU) return;
    out->gflops /= 8;
    out->gbytes = out->gbytes < 40 ? out->gbytes : 40;
}
