// SPDX-License-Identifier: Apache-2.0
/* The profiles to plan with where no device is opened, and what gpu/profile.c starts from: it puts
 * a device's own limits, and what it knows of kinds of devices, in their place. */
#include "graph/plan.h"

#include <string.h>

#define MIB ((uint64_t)1 << 20)

/* The limits that every device of our baseline has (Vulkan 1.3, 32 KiB shared memory, 256
 * invocations, one allocation of 1 GiB). */
#define FLOOR                                                                                      \
    .max_groups = {65535, 65535, 65535}, .max_invocations = 256, .max_shared = 32768,              \
    .max_binding = 128 * MIB, .max_allocation = 1024 * MIB
#define TILES                                                                                      \
    .tile = {[VKD__MATMUL_LARGE] = {64, 64, 16, 4, 4},                                             \
             [VKD__MATMUL_SMALL] = {32, 32, 16, 4, 4},                                             \
             [VKD__MATMUL_NARROW] = {32, 32, 16, 4, 4}},                                           \
    .max_elements = 64, .max_shared_each = 1024, .direct_tile = {{32, 8}, {32, 8}, {16, 16}}
#define LARGE_PRODUCT (128 * 64 * 64) /* a layer of a thousand for a batch of a few hundred */

/* Rates are what these kernels may reach, not a data sheet's: they cut submissions into slices. */
static const vkd_profile gpu = {.name = "gpu",
                                FLOOR,
                                .max_texels = 65536,
                                .subgroup = 32,
                                .row_workgroup = 128,
                                .short_workgroup = 128,
                                .reduce_workgroup = 128,
                                .flat_workgroup = 256,
                                .column_workgroup = 256,
                                TILES,
                                .fill_groups = 128,
                                .large_product = LARGE_PRODUCT,
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
                                .short_workgroup = 64,
                                .reduce_workgroup = 64,
                                .flat_workgroup = 64,
                                .column_workgroup = 64,
                                TILES,
                                .fill_groups = 1, /* never split K */
                                .large_product = LARGE_PRODUCT,
                                .gflops = 30,
                                .gbytes = 6,
                                .launch_seconds = 25e-6};

const vkd_profile *vkd_profile_find(const char *name) {
    if (!strcmp(name, "gpu")) return &gpu;
    if (!strcmp(name, "cpu")) return &cpu;
    return NULL;
}
