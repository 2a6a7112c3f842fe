// SPDX-License-Identifier: Apache-2.0
/* What is known of devices before one is opened. Machine knowledge stands in this table and nowhere
 * else; limits that a device reports replace the ones here. */
#include "graph/plan.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)

/* The limits that every device of our baseline has (Vulkan 1.3, 32 KiB shared memory, 256
 * invocations, one allocation of 1 GiB). */
#define FLOOR                                                                                      \
    .max_groups = {65535, 65535, 65535}, .max_invocations = 256, .max_shared = 32768,              \
    .max_binding = 128 * MIB, .max_allocation = 1024 * MIB
#define TILE(m, n, k, tm, tn) .tile_m = m, .tile_n = n, .tile_k = k, .tile_tm = tm, .tile_tn = tn

/* Rates are what these kernels may reach, not a data sheet's: they cut submissions into slices. */
static const vkd_profile gpu = {.name = "gpu",
                                FLOOR,
                                .max_texels = 65536,
                                .subgroup = 32,
                                .row_workgroup = 128,
                                .flat_workgroup = 256,
                                TILE(64, 64, 16, 4, 4),
                                .gflops = 1000,
                                .gbytes = 100,
                                .launch_seconds = 10e-6};

/* lavapipe on two cores: a dispatch costs tens of microseconds, element-wise kernels run at 4 to 7
 * GB/s, and 64 invocations of four floats each hide the price of a workgroup. */
static const vkd_profile cpu = {.name = "cpu",
                                FLOOR,
                                .max_texels = 134217728,
                                .direct = true,
                                .subgroup = 8,
                                .row_workgroup = 64,
                                .flat_workgroup = 64,
                                TILE(64, 64, 16, 4, 4),
                                .gflops = 30,
                                .gbytes = 6,
                                .launch_seconds = 25e-6};

static const struct {
    uint32_t vendor_id;
    vkd_profile profile;
} vendors[] = {
    {0x10de,
     {.name = "nvidia",
      FLOOR,
      .max_texels = 65536,
      .subgroup = 32,
      .row_workgroup = 256,
      .flat_workgroup = 256,
      TILE(64, 64, 16, 4, 4),
      .gflops = 4000,
      .gbytes = 250,
      .launch_seconds = 6e-6}},
    {0x1002,
     {.name = "amd",
      FLOOR,
      .max_texels = 65536,
      .subgroup = 64,
      .row_workgroup = 256,
      .flat_workgroup = 256,
      TILE(64, 64, 16, 4, 4),
      .gflops = 3000,
      .gbytes = 200,
      .launch_seconds = 8e-6}},
    {0x8086,
     {.name = "intel",
      FLOOR,
      .max_texels = 65536,
      .subgroup = 16,
      .row_workgroup = 128,
      .flat_workgroup = 128,
      TILE(32, 32, 16, 2, 4),
      .gflops = 400,
      .gbytes = 40,
      .launch_seconds = 12e-6}},
};

const vkd_profile *vkd_profile_find(const char *name) {
    if (!strcmp(name, "gpu")) return &gpu;
    if (!strcmp(name, "cpu")) return &cpu;
    return NULL;
}

const vkd_profile *vkd__profile_for_vendor(uint32_t vendor_id, bool is_cpu) {
    if (is_cpu) return &cpu;
    for (size_t i = 0; i < VKD_COUNT(vendors); i++)
        if (vendors[i].vendor_id == vendor_id) return &vendors[i].profile;
    return &gpu;
}
