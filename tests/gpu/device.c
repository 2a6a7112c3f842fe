// SPDX-License-Identifier: Apache-2.0
/* Claims about choosing and opening devices: the rules on made-up reports, the rest on the real
 * one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/gpu.h"

#define assert_says(ctx, part)                                                                     \
    do {                                                                                           \
        if (!strstr(vkd_ctx_error(ctx), part))                                                     \
            fail_msg("'%s' does not say '%s'", vkd_ctx_error(ctx), part);                          \
    } while (0)

static void the_best_kind_of_device_comes_first(void **state) {
    (void)state;
    const vkd__probe all[] = {
        test_probe("Software", VK_PHYSICAL_DEVICE_TYPE_CPU, 0x10005),
        test_probe("Virtual", VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU, 0x1),
        test_probe("Graphics 770", VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU, 0x8086),
        test_probe("Radeon RX", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 0x1002)};
    for (uint32_t count = 1; count <= 4; count++)
        assert_int_equal(vkd__probe_choose(all, count, NULL), count - 1);
    assert_int_equal(vkd__probe_choose(all, 4, ""), 3);
    vkd__probe weak[] = {all[3], all[0]};
    weak[0].timeline = false; /* better, but cannot run us */
    assert_int_equal(vkd__probe_choose(weak, 2, NULL), 1);
    assert_int_equal(vkd__probe_choose(weak, 2, "amd"), 0);
}

static void a_device_is_chosen_by_index_name_or_maker(void **state) {
    (void)state;
    const vkd__probe all[] = {
        test_probe("Radeon RX 7600", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 0x1002),
        test_probe("GeForce RTX", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 0x10de),
        test_probe("Arc A770", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 0x8086),
        test_probe("llvmpipe", VK_PHYSICAL_DEVICE_TYPE_CPU, 0x10005)};
    assert_int_equal(vkd__probe_choose(all, 4, "2"), 2);
    assert_int_equal(vkd__probe_choose(all, 4, "4"), VKD__NO_ENTRY);
    assert_int_equal(vkd__probe_choose(all, 4, "99999999999999999999"), VKD__NO_ENTRY);
    assert_int_equal(vkd__probe_choose(all, 4, "amd"), 0);
    assert_int_equal(vkd__probe_choose(all, 4, "nvidia"), 1);
    assert_int_equal(vkd__probe_choose(all, 4, "intel"), 2);
    assert_int_equal(vkd__probe_choose(all, 4, "cpu"), 3);
    assert_int_equal(vkd__probe_choose(all, 4, "gpu"), 0);
    assert_int_equal(vkd__probe_choose(all + 3, 1, "gpu"), VKD__NO_ENTRY);
    assert_int_equal(vkd__probe_choose(all, 4, "rtx"), 1);
    assert_int_equal(vkd__probe_choose(all, 4, "ARC a"), 2);
    assert_int_equal(vkd__probe_choose(all, 4, "voodoo"), VKD__NO_ENTRY);
    assert_int_equal(vkd__probe_choose(all, 3, "cpu"), VKD__NO_ENTRY);
}

static void what_is_missing_of_the_baseline_is_named(void **state) {
    (void)state;
    const vkd__probe good = test_probe("good", VK_PHYSICAL_DEVICE_TYPE_OTHER, 0);
    assert_null(vkd__probe_missing(&good));
    vkd__probe p = good;
    p.api_version = VK_API_VERSION_1_2;
    assert_string_equal(vkd__probe_missing(&p), "Vulkan 1.3");
    p = good;
    p.limits.maxComputeSharedMemorySize = 16384;
    assert_non_null(strstr(vkd__probe_missing(&p), "shared memory"));
    p = good;
    p.limits.maxComputeWorkGroupInvocations = 128;
    assert_non_null(strstr(vkd__probe_missing(&p), "256 invocations"));
    p = good;
    p.limits.maxPerStageDescriptorStorageBuffers = 4;
    assert_non_null(strstr(vkd__probe_missing(&p), "storage buffers"));
    p = good;
    p.synchronization2 = false;
    assert_non_null(strstr(vkd__probe_missing(&p), "synchronization2"));
    p = good;
    p.timeline = false;
    assert_non_null(strstr(vkd__probe_missing(&p), "timelineSemaphore"));
    p = good;
    p.limits.minTexelBufferOffsetAlignment = 512;
    assert_non_null(strstr(vkd__probe_missing(&p), "offsets"));
    p = good;
    p.compute_queue = false;
    assert_non_null(strstr(vkd__probe_missing(&p), "queue"));
}

static void features_can_be_switched_off_and_say_why_they_are_unused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__probe p = test_probe("soft", VK_PHYSICAL_DEVICE_TYPE_CPU, 0);
    p.bda = true;
    vkd__feature f[VKD__FEATURE_COUNT];
    bool direct = false;
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, NULL, f, &direct), VKD_OK);
    assert_true(direct);
    assert_true(f[VKD__FEATURE_SUBGROUP].used);
    assert_string_equal(f[VKD__FEATURE_SUBGROUP].why_not, "");
    assert_true(f[VKD__FEATURE_F16].supported);
    assert_false(f[VKD__FEATURE_F16].used);
    assert_string_equal(f[VKD__FEATURE_F16].why_not,
                        "16-bit tensors are computed with in 32-bit registers");
    assert_string_equal(f[VKD__FEATURE_BDA].why_not, "no kernel uses it yet");
    assert_false(f[VKD__FEATURE_COOPMAT].supported);
    assert_non_null(strstr(f[VKD__FEATURE_COOPMAT].why_not, "driver"));
    assert_int_equal(vkd__probe_features(ctx, &p, "cache,subgroup", NULL, f, &direct), VKD_OK);
    assert_false(direct);
    assert_false(f[VKD__FEATURE_CACHE].used);
    assert_true(f[VKD__FEATURE_CACHE].supported);
    assert_non_null(strstr(f[VKD__FEATURE_CACHE].why_not, "VKD_DISABLE"));
    assert_false(f[VKD__FEATURE_TEXEL].used);
    assert_non_null(strstr(f[VKD__FEATURE_TEXEL].why_not, "direct"));
    assert_int_equal(vkd__probe_features(ctx, &p, "texl", NULL, f, &direct), VKD_E_ARGUMENT);
    assert_says(ctx, "did you mean 'texel'?");
    vkd_ctx_destroy(ctx);
}

static void kernels_follow_the_kind_of_device_unless_told(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__feature f[VKD__FEATURE_COUNT];
    bool direct = true;
    vkd__probe p = test_probe("card", VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, 0x1002);
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, NULL, f, &direct), VKD_OK);
    assert_false(direct);
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, "direct", f, &direct), VKD_OK);
    assert_true(direct);
    assert_int_equal(vkd__probe_features(ctx, &p, "texel", "direct", f, &direct), VKD_E_ARGUMENT);
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, "fast", f, &direct), VKD_E_ARGUMENT);
    assert_says(ctx, "'tile' or 'direct'");
    /* Several subgroup sizes and no way to ask for one: the plan could not know it. */
    p.type = VK_PHYSICAL_DEVICE_TYPE_CPU;
    p.subgroup_max = 64;
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, NULL, f, &direct), VKD_OK);
    assert_true(direct);
    p.subgroup_pin = false;
    assert_int_equal(vkd__probe_features(ctx, &p, NULL, NULL, f, &direct), VKD_OK);
    assert_false(direct);
    vkd_ctx_destroy(ctx);
}

/* ---- The real device ---- */

static void an_unknown_name_lists_the_devices(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_device *none = device;
    const vkd_device_desc desc = {.choice = "voodoo 3"};
    assert_int_equal(vkd_device_open(ctx, &desc, &none), VKD_E_NO_DEVICE);
    assert_null(none);
    assert_says(ctx, "no device is called 'voodoo 3'");
    assert_says(ctx, vkd_device_name(device));
    setenv("VKD_DEVICE", "voodoo 5", 1);
    assert_int_equal(vkd_device_open(ctx, NULL, &none), VKD_E_NO_DEVICE);
    assert_says(ctx, "'voodoo 5'");
    /* What the caller asks for comes before the variable. */
    const vkd_device_desc named = {.choice = vkd_device_name(device)};
    assert_int_equal(vkd_device_open(ctx, &named, &none), VKD_OK);
    assert_string_equal(vkd_device_name(none), vkd_device_name(device));
    unsetenv("VKD_DEVICE");
    test_device_close(none);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void every_switch_still_opens_a_device(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    const char *const names[] = {device->features[0].name, device->features[1].name,
                                 device->features[2].name, device->features[3].name,
                                 device->features[4].name, device->features[5].name,
                                 device->features[6].name};
    test_device_close(device);
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        setenv("VKD_DISABLE", names[i], 1);
        device = test_device(ctx);
        assert_false(device->features[i].used);
        assert_string_not_equal(device->features[i].why_not, "");
        test_device_close(device);
    }
    setenv("VKD_DISABLE", "everything", 1);
    assert_int_equal(vkd_device_open(ctx, NULL, &device), VKD_E_ARGUMENT);
    assert_null(device);
    unsetenv("VKD_DISABLE");
    vkd_ctx_destroy(ctx);
}

static void without_a_driver_the_message_says_what_to_install(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    test_device_close(test_device(ctx));
    /* Either variable names the drivers; the newer one is stronger where both are set. */
    static const char *const names[] = {"VK_ICD_FILENAMES", "VK_DRIVER_FILES"};
    char old[VKD_COUNT(names)][1024];
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        snprintf(old[i], sizeof old[i], "%s", value ? value : "");
        setenv(names[i], "/nowhere.json", 1);
    }
    vkd_device *device = NULL;
    const vkd_result r = vkd_device_open(ctx, NULL, &device);
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        if (old[i][0])
            setenv(names[i], old[i], 1);
        else
            unsetenv(names[i]);
    }
    assert_int_equal(r, VKD_E_NO_DEVICE);
    assert_says(ctx, "install");
    vkd_ctx_destroy(ctx);
}

static void the_validation_layers_are_heard(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    assert_int_equal(vkd_device_validation_messages(device), 0);
    VkBuffer buffer = VK_NULL_HANDLE; /* of no bytes, for nothing: both are forbidden */
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO};
    if (device->vk.vkCreateBuffer(device->device, &info, NULL, &buffer) == VK_SUCCESS)
        device->vk.vkDestroyBuffer(device->device, buffer, NULL);
    assert_true(vkd_device_validation_messages(device) > 0);
    vkd_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void devices_are_reported_without_opening_one(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd__device_report *reports = NULL;
    uint32_t count = 0, chosen = 0;
    assert_int_equal(vkd__device_reports(ctx, &reports, &count), VKD_OK);
    for (uint32_t i = 0; i < count; i++) {
        if (!reports[i].chosen) continue;
        chosen++;
        assert_string_equal(reports[i].name, vkd_device_name(device));
        assert_null(reports[i].missing);
        assert_memory_equal(&reports[i].profile, vkd_device_profile(device),
                            sizeof reports[i].profile);
        for (size_t k = 0; k < VKD__FEATURE_COUNT; k++)
            assert_string_equal(reports[i].features[k].name, vkd__device_features(device)[k].name);
        assert_true(reports[i].memory > 0 && reports[i].api[0] >= 1);
    }
    assert_int_equal(chosen, 1);
    vkd__free(ctx, reports);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_kind_of_device_comes_first),
        cmocka_unit_test(a_device_is_chosen_by_index_name_or_maker),
        cmocka_unit_test(what_is_missing_of_the_baseline_is_named),
        cmocka_unit_test(features_can_be_switched_off_and_say_why_they_are_unused),
        cmocka_unit_test(kernels_follow_the_kind_of_device_unless_told),
        cmocka_unit_test(an_unknown_name_lists_the_devices),
        cmocka_unit_test(every_switch_still_opens_a_device),
        cmocka_unit_test(without_a_driver_the_message_says_what_to_install),
        cmocka_unit_test(the_validation_layers_are_heard),
        cmocka_unit_test(devices_are_reported_without_opening_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
