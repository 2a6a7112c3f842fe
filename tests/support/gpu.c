// SPDX-License-Identifier: Apache-2.0
#include "support/gpu.h"

#include <string.h>

gpu_fixture gpu_setup(void) {
    gpu_fixture f = {.ctx = test_ctx()};
    f.device = test_device(f.ctx);
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

void gpu_teardown(gpu_fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    test_device_close(f->device);
    vkd_ctx_destroy(f->ctx);
}

vkd_plan *gpu_plan(gpu_fixture *f) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(f->g, vkd_device_profile(f->device), &plan))
        fail_msg("%s", vkd_ctx_error(f->ctx));
    return plan;
}

vkd_program *gpu_program_of(gpu_fixture *f, vkd_plan *plan) {
    vkd_program *p = NULL;
    if (vkd_program_create(f->device, plan, &p)) fail_msg("%s", vkd_ctx_error(f->ctx));
    vkd_plan_destroy(plan);
    return p;
}

vkd_program *gpu_program(gpu_fixture *f) {
    return gpu_program_of(f, gpu_plan(f));
}

void gpu_submit(gpu_fixture *f, vkd_program *p, uint64_t *ticket) {
    if (vkd_program_submit(p, ticket)) fail_msg("%s", vkd_ctx_error(f->ctx));
}

void gpu_wait(gpu_fixture *f, vkd_program *p, uint64_t ticket) {
    if (vkd_program_wait(p, ticket)) fail_msg("%s", vkd_ctx_error(f->ctx));
}

uint64_t gpu_step(gpu_fixture *f, vkd_program *p) {
    uint64_t ticket = 0;
    gpu_submit(f, p, &ticket);
    gpu_wait(f, p, ticket);
    return ticket;
}

void gpu_linear(gpu_fixture *f) {
    vkd_graph *g = f->g;
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(8, 4));
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(8));
    const vkd_init init = {.kind = VKD_INIT_XAVIER_UNIFORM};
    const vkd_tensor w = vkd_param(g, "net.weight", VKD_SHAPE(3, 4), &init);
    const vkd_tensor logits = vkd_matmul(g, x, w, &(vkd_matmul_desc){.transpose_b = true});
    const vkd_tensor loss = vkd_ce(g, logits, labels, 0.0f);
    const vkd_tensor grad = vkd_gradient(g, loss, "net");
    vkd_sgd(g, "net", grad, vkd_guard(g, "net", grad, loss, 0.0f), vkd_constant(g, 0.1f),
            &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_output(g, "loss", loss);
}

vkd__probe test_probe(const char *name, VkPhysicalDeviceType type, uint32_t vendor) {
    vkd__probe p = {.type = type,
                    .vendor = vendor,
                    .api_version = VK_API_VERSION_1_3,
                    .max_allocation = 1u << 30,
                    .max_buffer = 1u << 31,
                    .subgroup = 32,
                    .subgroup_min = 32,
                    .subgroup_max = 32,
                    .subgroup_pin = true,
                    .shuffle = true,
                    .synchronization2 = true,
                    .timeline = true,
                    .maintenance4 = true,
                    .size_control = true,
                    .full_subgroups = true,
                    .f16 = true,
                    .compute_queue = true,
                    .timestamp_bits = 64};
    strcpy(p.name, name);
    p.limits.maxComputeSharedMemorySize = 32768;
    p.limits.maxComputeWorkGroupInvocations = 256;
    p.limits.maxComputeWorkGroupSize[0] = 256;
    p.limits.minStorageBufferOffsetAlignment = 64;
    p.limits.minTexelBufferOffsetAlignment = 16;
    p.limits.maxStorageBufferRange = 1u << 27;
    p.limits.maxPerStageDescriptorStorageBuffers = 16;
    p.limits.maxTexelBufferElements = 1u << 16;
    return p;
}
