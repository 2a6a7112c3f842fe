// SPDX-License-Identifier: Apache-2.0
/* Machine knowledge is this one table; everything else follows from the limits that a device
 * reports. The rates are what these kernels may reach, not a data sheet's: they decide where a step
 * is cut into submissions. */
#include <stdio.h>

#include "gpu/gpu.h"

typedef struct row {
    uint32_t vendor; /* 0: any */
    VkPhysicalDeviceType type;
    uint32_t wide; /* only devices whose smallest subgroup is at least this */
    uint32_t row_workgroup, flat_workgroup;
    vkd__tile large, small; /* of the matmul; narrow ones stay as they are */
    uint32_t fill_groups;
    double gflops, gbytes, launch_seconds;
} row;

#define DISCRETE VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU
#define INTEGRATED VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU

/* The first row that fits is taken; CPU devices have the planner's own "cpu", all others its "gpu",
 * with these in their place. */
static const row rows[] = {
    /* NVIDIA, 32 lanes: 8x8 take half of the 255 registers that an invocation may have, and a
     * tile's two workgroups fill a multiprocessor. */
    {0x10de, DISCRETE, 0, 256, 256, {128, 128, 16, 8, 8}, {64, 64, 16, 4, 4}, 128, 4000, 250, 6e-6},
    /* AMD GCN, always 64 lanes: see apply_gcn. */
    {0x1002, DISCRETE, 64, 256, 256, {64, 64, 16, 4, 4}, {64, 64, 16, 4, 4}, 128, 3000, 200, 8e-6},
    /* AMD RDNA, 32 or 64 lanes: at least twice the registers, so 8x8 run eight. */
    {0x1002, DISCRETE, 0, 256, 256, {128, 128, 8, 8, 8}, {64, 64, 16, 4, 4}, 128, 3000, 200, 8e-6},
    /* Intel Arc: the driver chooses 8 to 32 lanes, by registers: 128 of 32 bytes for all lanes of a
     * subgroup, so that 4x4 leave it 16 or 32. */
    {0x8086, DISCRETE, 0, 128, 128, {64, 64, 16, 4, 4}, {32, 32, 16, 4, 4}, 64, 2000, 150, 10e-6},
    /* AMD's APUs are RDNA's or GCN's with few units. */
    {0x1002, INTEGRATED, 0, 128, 128, {64, 64, 16, 4, 4}, {32, 32, 16, 4, 4}, 16, 1000, 50, 10e-6},
    /* Apple through MoltenVK, 32 lanes: other Vulkan kernels found tiles of 64 the best. */
    {0x106b, INTEGRATED, 0, 128, 128, {64, 64, 16, 4, 4}, {32, 32, 16, 4, 4}, 32, 1500, 80, 10e-6},
    /* Intel's as Arc, with fewer threads for a workgroup to wait for. */
    {0x8086, INTEGRATED, 0, 128, 128, {64, 32, 16, 4, 4}, {32, 32, 16, 4, 4}, 16, 300, 30, 12e-6},
    /* Mali, Adreno and others: few registers. */
    {0, INTEGRATED, 0, 128, 128, {32, 32, 16, 4, 4}, {32, 32, 16, 4, 4}, 16, 300, 30, 12e-6},
};

/* GCN has 256 registers for all waves of a SIMD, and 64 KiB of shared memory for its four SIMDs.
 * Four waves each may have 64 registers and 4 KiB: 4x4 of C take no more, where 8x4 took 84 in
 * ragged rows (tests/drivers/compile.c measures that). */
static void apply_gcn(const vkd__probe *p, vkd_profile *out) {
    if (p->vendor != 0x1002 || p->subgroup_min != 64) return;
    out->max_elements = 16;
    out->max_shared_each = 64;
    for (int c = 0; c < VKD__MATMUL_CLASSES; c++)
        if (!vkd__tile_suits(out, &out->tile[c])) out->tile[c] = (vkd__tile){32, 32, 8, 4, 4};
}

static void apply_row(const vkd__probe *p, vkd_profile *out) {
    for (size_t i = 0; i < VKD_COUNT(rows); i++) {
        const row *r = &rows[i];
        if (r->type != p->type || (r->vendor && r->vendor != p->vendor)) continue;
        if (p->subgroup_min < r->wide) continue;
        out->row_workgroup = out->short_workgroup = out->reduce_workgroup = r->row_workgroup;
        out->flat_workgroup = out->column_workgroup = r->flat_workgroup;
        out->tile[VKD__MATMUL_LARGE] = r->large;
        out->tile[VKD__MATMUL_SMALL] = r->small;
        out->fill_groups = r->fill_groups;
        out->gflops = r->gflops;
        out->gbytes = r->gbytes;
        out->launch_seconds = r->launch_seconds;
        return;
    }
}

bool vkd__profile_coopmat(const vkd__probe *p, bool f16, bool bf16, vkd_profile *out) {
    vkd__coop c = p->coop;
    const bool wide = p->type == VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU;
    c.f16 &= f16;
    c.bf16 &= bf16;
    if (!c.m || (!c.f16 && !c.bf16)) return false;
    /* Where a device can run subgroups of several sizes, 32 lanes: RDNA 3 then spends no register
     * twice on an operand. */
    c.subgroup = p->subgroup_min <= 32 && p->subgroup_max >= 32 ? 32 : p->subgroup;
    c.whole = p->subgroup;
    if (!vkd__coop_choose(&c, wide, out->max_invocations, out->max_shared)) return false;
    out->coop = c;
    return true;
}

void vkd__profile_make(const vkd__probe *p, const vkd__feature *features, bool direct,
                       vkd_profile *out) {
    const bool cpu = p->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    *out = *vkd_profile_find(cpu ? "cpu" : "gpu");
    apply_row(p, out);
    apply_gcn(p, out);
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
    /* The table is about kinds of devices, of which one may be smaller than the rest. */
    for (int c = 0; c < VKD__MATMUL_CLASSES; c++)
        if (!vkd__tile_fits(&out->tile[c], out->max_invocations, out->max_shared))
            out->tile[c] = vkd_profile_find("gpu")->tile[VKD__MATMUL_NARROW];
    /* Products that leave a device of many large tiles idle are not large there. A device of few
     * keeps the size, so that what training does with a batch of 128 has a class of its own. */
    const vkd__tile *large = &out->tile[VKD__MATMUL_LARGE];
    const uint64_t filled = (uint64_t)out->fill_groups * large->m * large->n;
    if (!direct && filled > out->large_product) out->large_product = filled;
    if (features && features[VKD__FEATURE_COOPMAT].used)
        vkd__profile_coopmat(p, features[VKD__FEATURE_F16].used, features[VKD__FEATURE_BF16].used,
                             out);
}
