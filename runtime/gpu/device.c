// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "gpu/instance.h"

const char *vkd__vk_text(VkResult r) {
#define X(name)                                                                                    \
    case name:                                                                                     \
        return #name;
    switch (r) {
        X(VK_SUCCESS)
        X(VK_NOT_READY)
        X(VK_TIMEOUT)
        X(VK_INCOMPLETE)
        X(VK_ERROR_OUT_OF_HOST_MEMORY)
        X(VK_ERROR_OUT_OF_DEVICE_MEMORY)
        X(VK_ERROR_INITIALIZATION_FAILED)
        X(VK_ERROR_DEVICE_LOST)
        X(VK_ERROR_MEMORY_MAP_FAILED)
        X(VK_ERROR_LAYER_NOT_PRESENT)
        X(VK_ERROR_EXTENSION_NOT_PRESENT)
        X(VK_ERROR_FEATURE_NOT_PRESENT)
        X(VK_ERROR_INCOMPATIBLE_DRIVER)
        X(VK_ERROR_TOO_MANY_OBJECTS)
        X(VK_ERROR_FRAGMENTED_POOL)
        X(VK_ERROR_OUT_OF_POOL_MEMORY)
        X(VK_ERROR_FRAGMENTATION)
        X(VK_ERROR_UNKNOWN)
    default:
        return "an unknown result";
    }
#undef X
}

vkd_result vkd__vk(vkd_device *d, VkResult r, const char *call) {
    if (r >= 0) return VKD_OK;
    const int length = (int)strcspn(call, "(");
    vkd_result kind = VKD_E_DEVICE;
    if (r == VK_ERROR_OUT_OF_HOST_MEMORY) kind = VKD_E_MEMORY;
    if (r == VK_ERROR_OUT_OF_DEVICE_MEMORY) kind = VKD_E_DEVICE_MEMORY;
    if (r == VK_ERROR_DEVICE_LOST) kind = VKD_E_DEVICE_LOST;
    d->lost |= r == VK_ERROR_DEVICE_LOST;
    return vkd__fail(d->ctx, kind, "%.*s gave %s on '%s'", length, call, vkd__vk_text(r),
                     d->probe.name);
}

/* ---- Choice ---- */

static vkd_result no_match(vkd_ctx *ctx, const vkd__found *f, const char *choice) {
    vkd__text list = {.ctx = ctx};
    for (uint32_t i = 0; i < f->count; i++)
        vkd__text_add(&list, "%s%u '%s' (%s)", i ? ", " : "", (unsigned)i, f->probes[i].name,
                      vkd__device_type_text(f->probes[i].type));
    const vkd_result r =
        vkd__fail(ctx, VKD_E_NO_DEVICE, "no device is called '%s'; there %s %s", choice,
                  f->count == 1 ? "is" : "are", list.text ? list.text : "no memory to list them");
    vkd__text_term(&list);
    return r;
}

static vkd_result choose(vkd_device *d, const char *choice) {
    vkd__found f = {0};
    vkd_result r = vkd__devices_find(d->ctx, d->instance, &f);
    if (!r) {
        if (!choice || !choice[0]) choice = getenv("VKD_DEVICE");
        const uint32_t i = vkd__probe_choose(f.probes, f.count, choice);
        if (i == VKD__NO_ENTRY) {
            r = no_match(d->ctx, &f, choice);
        } else {
            d->physical = f.physical[i];
            d->probe = f.probes[i];
            const char *missing = vkd__probe_missing(&d->probe);
            if (missing)
                r = vkd__fail(d->ctx, VKD_E_NO_DEVICE, "the device '%s' lacks %s", d->probe.name,
                              missing);
        }
    }
    vkd__free(d->ctx, f.probes);
    return r;
}

/* ---- The logical device ---- */

typedef struct extension_list {
    const char *name[6];
    uint32_t count;
} extension_list;

static extension_list wanted_extensions(const vkd_device *d) {
    extension_list e = {0};
    if (d->features[VKD__FEATURE_MEMORY_BUDGET].used)
        e.name[e.count++] = VK_EXT_MEMORY_BUDGET_EXTENSION_NAME;
    if (d->features[VKD__FEATURE_FAULT].used)
        e.name[e.count++] = VK_EXT_DEVICE_FAULT_EXTENSION_NAME;
    if (d->statistics) e.name[e.count++] = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
    return e;
}

static vkd_result create_device(vkd_device *d) {
    const float priority = 1.0f;
    extension_list extensions = wanted_extensions(d);
    vkd__coopmat_features matrices;
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueFamilyIndex = d->probe.family,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    const VkBool32 control = d->features[VKD__FEATURE_SIZE_CONTROL].used;
    VkPhysicalDeviceFaultFeaturesEXT fault = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT, .deviceFault = VK_TRUE};
    /* maintenance4 allows workgroup sizes that are specialization constants. */
    VkPhysicalDeviceVulkan13Features features13 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .pNext = d->features[VKD__FEATURE_FAULT].used ? &fault : NULL,
        .synchronization2 = VK_TRUE,
        .maintenance4 = VK_TRUE,
        .subgroupSizeControl = control,
        .computeFullSubgroups = control};
    VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR statistics = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR,
        .pNext = features13.pNext,
        .pipelineExecutableInfo = VK_TRUE};
    if (d->statistics) features13.pNext = &statistics;
    /* Cooperative matrices come with the memory model of Vulkan. */
    const VkPhysicalDeviceVulkan12Features features12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES,
        .pNext = (void *)vkd__coopmat_enable(d, &matrices, &features13, extensions.name,
                                             &extensions.count),
        .shaderFloat16 = d->features[VKD__FEATURE_F16].used,
        .vulkanMemoryModel = d->features[VKD__FEATURE_COOPMAT].used,
        .timelineSemaphore = VK_TRUE};
    const VkResult result =
        vkCreateDevice(d->physical,
                       &(VkDeviceCreateInfo){.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                             .pNext = &features12,
                                             .queueCreateInfoCount = 1,
                                             .pQueueCreateInfos = &queue,
                                             .enabledExtensionCount = extensions.count,
                                             .ppEnabledExtensionNames = extensions.name},
                       NULL, &d->device);
    if (result)
        return vkd__fail(d->ctx, VKD_E_NO_DEVICE, "the device '%s' cannot be opened: %s",
                         d->probe.name, vkd__vk_text(result));
    volkLoadDeviceTable(&d->vk, d->device);
    d->vk.vkGetDeviceQueue(d->device, d->probe.family, 0, &d->queue);
    return VKD_OK;
}

static vkd_result create_commands(vkd_device *d) {
    vkd_result r =
        VKD__VK(d, vkCreateCommandPool(d->device,
                                       &(VkCommandPoolCreateInfo){
                                           .sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                           .flags = VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT,
                                           .queueFamilyIndex = d->probe.family},
                                       NULL, &d->pool));
    if (r) return r;
    r = VKD__VK(
        d, vkAllocateCommandBuffers(d->device,
                                    &(VkCommandBufferAllocateInfo){
                                        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = d->pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 1},
                                    &d->once));
    return r;
}

static vkd_result open_device(vkd_device *d, const vkd_device_desc *desc) {
    d->validated = desc->validate;
    vkd_result r = vkd__instance_create(d->ctx, desc->validate, NULL, 0, &d->messages, &d->instance,
                                        &d->messenger);
    if (!r) r = choose(d, desc->choice);
    if (!r && d->statistics && !d->probe.statistics)
        r = vkd__fail(d->ctx, VKD_E_NO_DEVICE,
                      "the driver of '%s' does not say what it makes of a kernel", d->probe.name);
    bool direct = false;
    if (!r)
        r = vkd__probe_features(d->ctx, &d->probe, getenv("VKD_DISABLE"), getenv("VKD_KERNELS"),
                                d->features, &direct);
    if (r) return r;
    vkd__profile_make(&d->probe, d->features, direct, &d->table);
    d->profile = d->table;
    r = create_device(d);
    if (!r) r = create_commands(d);
    if (!r) r = vkd__cache_open(d, desc->cache_dir);
    if (r) return r;
    d->kernels = vkd__alloc(d->ctx, vkd__kernel_count, sizeof *d->kernels);
    if (!d->kernels) return VKD_E_MEMORY;
    vkd__log(d->ctx, VKD_LOG_INFO, "device '%s' (%s, %s %s), %s kernels, subgroups of %u",
             d->probe.name, vkd__device_type_text(d->probe.type), d->probe.driver,
             d->probe.driver_info, direct ? "direct" : "tile", (unsigned)d->probe.subgroup);
    return VKD_OK;
}

static vkd_result open_new(vkd_ctx *ctx, const vkd_device_desc *desc, bool statistics, bool code,
                           vkd_device **out) {
    *out = NULL;
    vkd_device *d = vkd__alloc(ctx, 1, sizeof *d);
    if (!d) return VKD_E_MEMORY;
    d->ctx = ctx;
    d->statistics = statistics;
    d->code = code;
    d->messages.ctx = ctx;
    const vkd_result r = open_device(d, desc ? desc : &(vkd_device_desc){0});
    if (r) {
        vkd_device_close(d);
        return r;
    }
    *out = d;
    return VKD_OK;
}

vkd_result vkd_device_open(vkd_ctx *ctx, const vkd_device_desc *desc, vkd_device **out) {
    return open_new(ctx, desc, false, false, out);
}

vkd_result vkd__device_open_for_statistics(vkd_ctx *ctx, const vkd_device_desc *desc, bool code,
                                           vkd_device **out) {
    return open_new(ctx, desc, true, code, out);
}

void vkd_device_close(vkd_device *device) {
    if (!device) return;
    vkd_device *d = device;
    if (d->device) {
        vkd__stores_detach(d);
        vkd__pipelines_destroy(d);
        vkd__cache_close(d);
        vkd__buffer_destroy(d, &d->staging);
        vkd__buffer_destroy(d, &d->zeros);
        d->vk.vkDestroyFence(d->device, d->fence, NULL);
        d->vk.vkDestroyCommandPool(d->device, d->pool, NULL);
        d->vk.vkDestroyDevice(d->device, NULL);
    }
    vkd__instance_destroy(d->instance, d->messenger);
    vkd__free(d->ctx, d->kernels);
    vkd__free(d->ctx, d->cache_path);
    vkd__free(d->ctx, d);
}

const char *vkd_device_name(const vkd_device *device) {
    return device->probe.name;
}

uint32_t vkd_device_validation_messages(const vkd_device *device) {
    return device->messages.count;
}

const vkd_profile *vkd_device_profile(const vkd_device *device) {
    return &device->profile;
}

vkd_result vkd__device_idle(vkd_device *d) {
    return VKD__VK(d, vkDeviceWaitIdle(d->device));
}
