// SPDX-License-Identifier: Apache-2.0
/* Claims about what goes wrong with programs: each fault has its code and a sentence that names the
 * subject. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support/gpu.h"

#define assert_says(ctx, part)                                                                     \
    do {                                                                                           \
        if (!strstr(vkd_ctx_error(ctx), part))                                                     \
            fail_msg("'%s' does not say '%s'", vkd_ctx_error(ctx), part);                          \
    } while (0)

static vkd_tensor input(gpu_fixture *f) {
    return vkd_input(f->g, "x", VKD_F32, VKD_SHAPE(4));
}

static void expect_refused(gpu_fixture *f, vkd_plan *plan, vkd_result want, const char *part) {
    vkd_program *p = (vkd_program *)f; /* anything: a failed create makes it NULL */
    assert_int_equal(vkd_program_create(f->device, plan, &p), want);
    assert_null(p);
    assert_says(f->ctx, part);
    vkd_plan_destroy(plan);
}

static void a_launch_that_does_not_fit_its_kernel_is_refused(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_name(f.g, vkd_neg(f.g, input(&f)), "negated"));
    vkd_plan *plan = gpu_plan(&f);
    plan->launches[0].binding_count--;
    expect_refused(&f, plan, VKD_E_ARGUMENT, plan->launches[0].kernel);
    assert_says(f.ctx, "'negated' binds 1 tensors");
    plan = gpu_plan(&f);
    plan->launches[0].push_bytes += 4;
    expect_refused(&f, plan, VKD_E_ARGUMENT, "bytes of push constants");
    plan = gpu_plan(&f);
    plan->launches[0].kernel = "nothing";
    expect_refused(&f, plan, VKD_E_ARGUMENT, "there is no kernel 'nothing'");
    plan = gpu_plan(&f);
    plan->launches[0].groups[1] = UINT32_MAX;
    expect_refused(&f, plan, VKD_E_ARGUMENT, "too large");
    plan = gpu_plan(&f);
    plan->launches[0].bindings[0].offset += 4;
    expect_refused(&f, plan, VKD_E_ARGUMENT, "multiples of");
    plan = gpu_plan(&f);
    plan->launches[0].spec[0] = 1u << 20;
    expect_refused(&f, plan, VKD_E_ARGUMENT, "cannot run workgroups of 1048576");
    gpu_teardown(&f);
}

static void a_plan_that_does_not_fit_says_the_arithmetic(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_neg(f.g, vkd_neg(f.g, input(&f))));
    vkd_plan *plan = gpu_plan(&f);
    assert_true(plan->arena_count > 0);
    plan->arena_bytes[0] = 1ull << 50;
    expect_refused(&f, plan, VKD_E_DEVICE_MEMORY, "needs 1073741824");
    assert_says(f.ctx, "the program 'graph'");
    assert_says(f.ctx, "smaller batch");
    /* One block beyond what the device gives at once, in memory that would hold it. */
    vkd__buffer buffer;
    const uint64_t size = vkd_device_profile(f.device)->max_allocation + 1;
    assert_int_equal(vkd__buffer_create(f.device, size, VKD__MEMORY_DEVICE, "a test", &buffer),
                     VKD_E_DEVICE_MEMORY);
    assert_says(f.ctx, "a test needs one block");
    gpu_teardown(&f);
}

static VKAPI_ATTR VkResult VKAPI_CALL no_layout(VkDevice device,
                                                const VkPipelineLayoutCreateInfo *info,
                                                const VkAllocationCallbacks *allocator,
                                                VkPipelineLayout *layout) {
    (void)device, (void)info, (void)allocator;
    *layout = VK_NULL_HANDLE;
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

static void a_kernel_that_could_not_be_made_is_made_at_the_next_attempt(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_neg(f.g, input(&f)));
    const PFN_vkCreatePipelineLayout real = f.device->vk.vkCreatePipelineLayout;
    f.device->vk.vkCreatePipelineLayout = no_layout;
    expect_refused(&f, gpu_plan(&f), VKD_E_MEMORY, "vkCreatePipelineLayout");
    f.device->vk.vkCreatePipelineLayout = real;
    vkd_program *p = gpu_program(&f);
    gpu_step(&f, p);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void waiting_for_a_step_that_was_not_submitted_is_refused(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_neg(f.g, input(&f)));
    vkd_program *p = gpu_program(&f);
    const uint64_t t = gpu_step(&f, p);
    assert_int_equal(vkd_program_wait(p, t + 1), VKD_E_ARGUMENT);
    assert_says(f.ctx, "no step 2");
    assert_int_equal(vkd_program_wait(p, t), VKD_OK);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void a_lost_device_names_the_kernels_of_the_slice(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y",
               vkd_softmax(f.g, vkd_neg(f.g, vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(2, 3)))));
    vkd_plan *plan = gpu_plan(&f);
    assert_int_equal(plan->launch_count, 2);
    plan->launches[1].slice = 1;
    plan->slice_count = 2;
    char first[64], second[64];
    strcpy(first, plan->launches[0].kernel);
    strcpy(second, plan->launches[1].kernel);
    vkd_program *p = gpu_program_of(&f, plan);
    gpu_step(&f, p);
    uint64_t t = 0;
    gpu_submit(&f, p, &t);
    gpu_wait(&f, p, t);
    /* Two steps of two slices: three of them done means the second slice of step 2 was at work. */
    assert_int_equal(vkd__program_lost(p, 3), VKD_E_DEVICE_LOST);
    assert_says(f.ctx, "step 2");
    assert_says(f.ctx, "slice 2 of 2");
    assert_says(f.ctx, second);
    assert_null(strstr(vkd_ctx_error(f.ctx), first));
    assert_int_equal(vkd__program_lost(p, UINT64_MAX), VKD_E_DEVICE_LOST);
    assert_says(f.ctx, first);
    assert_says(f.ctx, second);
    /* From now on every call says so, and none of them touches the device. */
    assert_int_equal(vkd_program_submit(p, &t), VKD_E_DEVICE_LOST);
    float out;
    assert_int_equal(vkd__download(f.device, f.device->zeros.buffer, 0, &out, sizeof out),
                     VKD_E_DEVICE_LOST);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static VKAPI_ATTR VkResult VKAPI_CALL fail_submit(VkQueue queue, uint32_t count,
                                                  const VkSubmitInfo2 *submits, VkFence fence) {
    (void)queue, (void)count, (void)submits, (void)fence;
    return VK_ERROR_OUT_OF_DEVICE_MEMORY;
}

static VKAPI_ATTR VkResult VKAPI_CALL lose_submit(VkQueue queue, uint32_t count,
                                                  const VkSubmitInfo2 *submits, VkFence fence) {
    (void)queue, (void)count, (void)submits, (void)fence;
    return VK_ERROR_DEVICE_LOST;
}

static VKAPI_ATTR VkResult VKAPI_CALL fault_info(VkDevice device, VkDeviceFaultCountsEXT *counts,
                                                 VkDeviceFaultInfoEXT *info) {
    (void)device;
    if (!info) {
        counts->addressInfoCount = 500; /* more than anybody wants to read */
        counts->vendorInfoCount = 1;
        return VK_SUCCESS;
    }
    strcpy(info->description, "page fault");
    for (uint32_t i = 0; i < counts->addressInfoCount; i++)
        info->pAddressInfos[i] = (VkDeviceFaultAddressInfoEXT){
            VK_DEVICE_FAULT_ADDRESS_TYPE_WRITE_INVALID_EXT, 0xabcd000, 4096};
    strcpy(info->pVendorInfos[0].description, "shader engine 3");
    info->pVendorInfos[0].vendorFaultCode = 0x17;
    info->pVendorInfos[0].vendorFaultData = 0x2a;
    return VK_INCOMPLETE;
}

static void a_failed_submit_names_its_kernels_and_the_drivers_words(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_softmax(f.g, input(&f)));
    vkd_plan *plan = gpu_plan(&f);
    const char *kernel = plan->launches[0].kernel;
    vkd_program *p = gpu_program_of(&f, plan);
    const PFN_vkQueueSubmit2 real = f.device->vk.vkQueueSubmit2;
    gpu_step(&f, p); /* the step that follows is the measured one */
    f.device->vk.vkQueueSubmit2 = fail_submit;
    uint64_t t = 0;
    assert_int_equal(vkd_program_submit(p, &t), VKD_E_DEVICE_MEMORY);
    assert_says(f.ctx, "step 2 of 'graph'");
    assert_says(f.ctx, "VK_ERROR_OUT_OF_DEVICE_MEMORY");
    assert_says(f.ctx, kernel);
    /* It can be tried again. */
    f.device->vk.vkQueueSubmit2 = real;
    for (int i = 0; i < 3; i++)
        gpu_step(&f, p);
    f.device->vk.vkQueueSubmit2 = lose_submit;
    f.device->features[VKD__FEATURE_FAULT].used = true;
    f.device->vk.vkGetDeviceFaultInfoEXT = fault_info;
    assert_int_equal(vkd_program_submit(p, &t), VKD_E_DEVICE_LOST);
    assert_says(f.ctx, kernel);
    assert_says(f.ctx, "the driver says: page fault");
    assert_says(f.ctx, "invalid write at 0xabcd000 (to 4096 bytes)");
    assert_says(f.ctx, "shader engine 3 (code 0x17, data 0x2a)");
    f.device->vk.vkQueueSubmit2 = real;
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* ---- Shadow mode ---- */

static void wrong_reference(const vkd__ref *r) {
    const uint64_t count = vkd_shape_count(r->out[0].tensor->shape);
    for (uint64_t i = 0; i < count; i++)
        r->out[0].v[i] = -r->in[0].v[i] + (i == 2 ? 0.5 : 0);
}

static void shadow_mode_catches_a_wrong_reference(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    const vkd_tensor good = vkd_neg(f.g, input(&f));
    const vkd_tensor bad = vkd_name(f.g, vkd_neg(f.g, good), "suspect");
    vkd_output(f.g, "y", bad);
    vkd_op_def liar = *f.g->nodes[f.g->node_count - 1].op;
    liar.reference = wrong_reference;
    f.g->nodes[f.g->node_count - 1].op = &liar;
    setenv("VKD_CHECK", "1", 1);
    vkd_program *p = gpu_program(&f);
    unsetenv("VKD_CHECK");
    uint64_t ticket = 77;
    assert_int_equal(vkd_program_submit(p, &ticket), VKD_E_MISMATCH);
    assert_int_equal(ticket, 77);
    assert_says(f.ctx, "node 1 (");
    assert_says(f.ctx, "tensor 'suspect', element 2 is 0, should be 0.5");
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* ---- Not finite ---- */

static void the_first_tensor_that_is_not_finite_is_named(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    const vkd_tensor fine = vkd_name(f.g, vkd_neg(f.g, input(&f)), "fine");
    const vkd_tensor bad = vkd_name(f.g, vkd_square(f.g, fine), "squared");
    vkd_output(f.g, "y", vkd_name(f.g, vkd_neg(f.g, bad), "victim"));
    vkd_program *p = gpu_program(&f);
    float *x = vkd_program_input(p, "x");
    for (int i = 0; i < 4; i++)
        x[i] = -2;
    const char *name = NULL;
    assert_int_equal(vkd_program_find_nonfinite(p, &name), VKD_OK);
    assert_string_equal(name, "");
    x = vkd_program_input(p, "x");
    x[3] = 1e30f; /* whose square is infinite on every device */
    const uint64_t t = gpu_step(&f, p);
    assert_true(isinf(((const float *)vkd_program_output(p, t, "y", NULL))[3]));
    assert_int_equal(vkd_program_find_nonfinite(p, &name), VKD_OK);
    assert_string_equal(name, "squared");
    ((float *)vkd_program_input(p, "x"))[0] = INFINITY;
    assert_int_equal(vkd_program_find_nonfinite(p, &name), VKD_OK);
    assert_string_equal(name, "x");
    /* The step that was looked at took no ticket. */
    assert_int_equal(gpu_step(&f, p), t + 1);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* ---- The store beside its device ---- */

static void a_store_lies_on_one_device(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    const vkd_tensor s = vkd_state(f.g, "memory", VKD_F32, VKD_SHAPE(4));
    vkd_output(f.g, "y", vkd_neg(f.g, s));
    vkd_program_destroy(gpu_program(&f));
    vkd_device *second = test_device(f.ctx);
    vkd_plan *plan = gpu_plan(&f);
    vkd_program *p = NULL;
    assert_int_equal(vkd_program_create(second, plan, &p), VKD_E_ARGUMENT);
    assert_says(f.ctx, "the store lies on");
    vkd_plan_destroy(plan);
    test_device_close(second);
    /* A device that goes first takes the values along, and says so. */
    test_device_close(f.device);
    float values[4];
    assert_int_equal(vkd_store_read(f.store, "memory", values, sizeof values), VKD_E_ARGUMENT);
    assert_says(f.ctx, "closed before the store");
    vkd_graph_destroy(f.g);
    vkd_store_destroy(f.store);
    vkd_ctx_destroy(f.ctx);
}

static void large_tensors_go_through_the_staging_buffer_in_parts(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    enum { COUNT = (5 << 20) + 3 }; /* 20 MiB: more than the staging buffer holds at once */
    const vkd_tensor s = vkd_state(f.g, "bank", VKD_F32, VKD_SHAPE(COUNT));
    vkd_output(f.g, "y", vkd_slice(f.g, s, 0, COUNT - 4, 4));
    vkd_program *p = gpu_program(&f);
    float *values = vkd__alloc(f.ctx, COUNT, sizeof *values);
    float *back = vkd__alloc(f.ctx, COUNT, sizeof *back);
    for (int i = 0; i < COUNT; i++)
        values[i] = (float)i;
    assert_int_equal(vkd_store_write(f.store, "bank", values, COUNT * sizeof *values), VKD_OK);
    assert_int_equal(vkd_store_read(f.store, "bank", back, COUNT * sizeof *back), VKD_OK);
    assert_memory_equal(values, back, COUNT * sizeof *back);
    const uint64_t t = gpu_step(&f, p);
    assert_memory_equal(vkd_program_output(p, t, "y", NULL), values + COUNT - 4, 16);
    vkd__free(f.ctx, values);
    vkd__free(f.ctx, back);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_launch_that_does_not_fit_its_kernel_is_refused),
        cmocka_unit_test(a_plan_that_does_not_fit_says_the_arithmetic),
        cmocka_unit_test(a_kernel_that_could_not_be_made_is_made_at_the_next_attempt),
        cmocka_unit_test(waiting_for_a_step_that_was_not_submitted_is_refused),
        cmocka_unit_test(a_lost_device_names_the_kernels_of_the_slice),
        cmocka_unit_test(a_failed_submit_names_its_kernels_and_the_drivers_words),
        cmocka_unit_test(shadow_mode_catches_a_wrong_reference),
        cmocka_unit_test(the_first_tensor_that_is_not_finite_is_named),
        cmocka_unit_test(a_store_lies_on_one_device),
        cmocka_unit_test(large_tensors_go_through_the_staging_buffer_in_parts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
