// SPDX-License-Identifier: Apache-2.0
/* Machine knowledge is this one table; everything else follows from the limits that a device
 * reports. The rates are what these kernels may reach, not a data sheet's: they decide where a step
 * is cut into submissions. */
#include <stdio.h>

#include "gpu/gpu.h"

typedef struct row {
    uint32_t vendor; /* 0: any */
    VkPhysicalDeviceType type;
    uint32_t row_workgroup, flat_workgroup;
    uint32_t tile_m, tile_n, tile_k, tile_tm, tile_tn;
    double gflops, gbytes, launch_seconds;
} row;

#define DISCRETE VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
#define INTEGRATED VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU

/* The first row that fits is taken; CPU devices have the planner's own "cpu", all others its "gpu",
 * with these in their place. */
static const row rows[] = {
    {0x10de, DISCRETE, 256, 256, 64, 64, 16, 4, 4, 4000, 250, 6e-6},
    {0x1002, DISCRETE, 256, 256, 64, 64, 16, 4, 4, 3000, 200, 8e-6},
    {0x8086, DISCRETE, 128, 128, 64, 64, 16, 4, 4, 2000, 150, 10e-6},
    {0, INTEGRATED, 128, 128, 32, 32, 16, 4, 4, 300, 30, 12e-6},
};

static void apply_row(const vkd__probe *p, vkd_profile *out) {
    for (size_t i = 0; i < VKD_COUNT(rows); i++) {
        const row *r = &rows[i];
        if (r->type != p->type || (r->vendor && r->vendor != p->vendor)) continue;
        out->row_workgroup = r->row_workgroup;
        out->flat_workgroup = r->flat_workgroup;
        out->tile_m = r->tile_m;
        out->tile_n = r->tile_n;
        out->tile_k = r->tile_k;
        out->tile_tm = r->tile_tm;
        out->tile_tn = r->tile_tn;
        out->gflops = r->gflops;
        out->gbytes = r->gbytes;
        out->launch_seconds = r->launch_seconds;
        return;
    }
}

void vkd__profile_make(const vkd__probe *p, bool direct, vkd_profile *out) {
    const bool cpu = p->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    *out = *vkd_profile_find(cpu ? "cpu" : "gpu");
    apply_row(p, out);
    snprintf(out->name, sizeof out->name, "%.*s", (int)sizeof out->name - 1, p->name);
    out->direct = direct;
    out->subgroup = p->subgroup;
    out->max_invocations = p->limits.maxComputeWorkGroupInvocations;
    out->max_shared = p->limits.maxComputeSharedMemorySize;
    out->max_binding = p->limits.maxStorageBufferRange;
    out->max_texels = p->limits.maxTexelBufferElements;
    out->max_allocation = p->max_allocation < p->max_buffer ? p->max_allocation : p->max_buffer;
    for (int i = 0; i < 3; i++)
        out->max_groups[i] = p->limits.maxComputeWorkGroupCount[i];
}
