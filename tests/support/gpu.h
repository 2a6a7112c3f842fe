// SPDX-License-Identifier: Apache-2.0
/* A device, a store and a graph for tests of the gpu floor, and the steps that all of them take. A
 * failure fails the test with the context's message. */
#ifndef VKD_TEST_GPU_H
#define VKD_TEST_GPU_H

#include "support/support.h"

#include "gpu/gpu.h"

typedef struct gpu_fixture {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_store *store;
    vkd_graph *g;
} gpu_fixture;

gpu_fixture gpu_setup(void);
/* Fails the test when the validation layers said anything. */
void gpu_teardown(gpu_fixture *f);

vkd_plan *gpu_plan(gpu_fixture *f);
vkd_program *gpu_program(gpu_fixture *f);
/* Takes the plan over. */
vkd_program *gpu_program_of(gpu_fixture *f, vkd_plan *plan);
void gpu_submit(gpu_fixture *f, vkd_program *p, uint64_t *ticket);
void gpu_wait(gpu_fixture *f, vkd_program *p, uint64_t ticket);
uint64_t gpu_step(gpu_fixture *f, vkd_program *p); /* submits and waits */

/* The example of the public header: inputs "x" (8, 4) and "labels" (8), parameter "net.weight"
 * (3, 4), output "loss", gradient descent with momentum. */
void gpu_linear(gpu_fixture *f);

/* What a driver may report of a device that passes the baseline, and of nothing more. */
vkd__probe test_probe(const char *name, VkPhysicalDeviceType type, uint32_t vendor);

#endif
