// SPDX-License-Identifier: Apache-2.0
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"

/* Everything that is asked of a driver, in one chain. */
typedef struct query {
    VkPhysicalDeviceProperties2 properties;
    VkPhysicalDeviceVulkan11Properties properties11;
    VkPhysicalDeviceVulkan12Properties properties12;
    VkPhysicalDeviceVulkan13Properties properties13;
    VkPhysicalDeviceFeatures2 features;
    VkPhysicalDeviceVulkan12Features features12;
    VkPhysicalDeviceVulkan13Features features13;
} query;

static void ask(VkPhysicalDevice physical, query *q) {
    *q = (query){.properties = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2},
                 .properties11 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES},
                 .properties12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_PROPERTIES},
                 .properties13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_PROPERTIES},
                 .features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2},
                 .features12 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES},
                 .features13 = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES}};
    q->properties.pNext = &q->properties11;
    q->properties11.pNext = &q->properties12;
    q->properties12.pNext = &q->properties13;
    q->features.pNext = &q->features12;
    q->features12.pNext = &q->features13;
    vkGetPhysicalDeviceProperties2(physical, &q->properties);
    vkGetPhysicalDeviceFeatures2(physical, &q->features);
}

static void copy_reports(const query *q, vkd__probe *out) {
    memcpy(out->driver, q->properties12.driverName, sizeof out->driver);
    memcpy(out->driver_info, q->properties12.driverInfo, sizeof out->driver_info);
    memcpy(out->uuid, q->properties11.deviceUUID, sizeof out->uuid);
    out->max_allocation = q->properties11.maxMemoryAllocationSize;
    out->max_buffer = q->properties13.maxBufferSize;
    if (!out->max_buffer) out->max_buffer = out->max_allocation;
    out->subgroup = q->properties11.subgroupSize;
    out->subgroup_min = q->properties13.minSubgroupSize;
    out->subgroup_max = q->properties13.maxSubgroupSize;
    out->subgroup_pin =
        (q->properties13.requiredSubgroupSizeStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0;
    out->shuffle =
        (q->properties11.subgroupSupportedStages & VK_SHADER_STAGE_COMPUTE_BIT) != 0 &&
        (q->properties11.subgroupSupportedOperations & VK_SUBGROUP_FEATURE_SHUFFLE_BIT) != 0;
    out->synchronization2 = q->features13.synchronization2;
    out->maintenance4 = q->features13.maintenance4;
    out->size_control = q->features13.subgroupSizeControl;
    out->full_subgroups = q->features13.computeFullSubgroups;
    out->timeline = q->features12.timelineSemaphore;
    out->query_reset = q->features12.hostQueryReset;
    out->f16 = q->features12.shaderFloat16;
    out->memory_model = q->features12.vulkanMemoryModel;
    out->bda = q->features12.bufferDeviceAddress;
}

/* A family that computes and does not draw is often a queue of its own that the desktop leaves
 * alone; else any that computes. */
static void choose_family(VkPhysicalDevice physical, vkd__probe *out) {
    VkQueueFamilyProperties families[16];
    uint32_t count = VKD_COUNT(families);
    vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
    for (uint32_t i = 0; i < count; i++) {
        const bool computes = families[i].queueFlags & VK_QUEUE_COMPUTE_BIT;
        const bool draws = families[i].queueFlags & VK_QUEUE_GRAPHICS_BIT;
        if (!computes || (out->compute_queue && draws)) continue;
        const bool better = !out->compute_queue || !draws;
        if (!better) continue;
        out->compute_queue = true;
        out->family = i;
        out->timestamp_bits = families[i].timestampValidBits;
        if (!draws) return;
    }
}

static vkd_result find_extensions(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out) {
    uint32_t count = 0;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &count, NULL)) return VKD_OK;
    VkExtensionProperties *list = vkd__alloc(ctx, count, sizeof *list);
    if (!list) return VKD_E_MEMORY;
    if (vkEnumerateDeviceExtensionProperties(physical, NULL, &count, list) >= 0) {
        for (uint32_t i = 0; i < count; i++) {
            out->memory_budget |= !strcmp(list[i].extensionName, "VK_EXT_memory_budget");
            out->device_fault |= !strcmp(list[i].extensionName, VK_EXT_DEVICE_FAULT_EXTENSION_NAME);
            out->statistics |=
                !strcmp(list[i].extensionName, "VK_KHR_pipeline_executable_properties");
            out->coopmat |= !strcmp(list[i].extensionName, "VK_KHR_cooperative_matrix");
            out->coopmat_bf16 |= !strcmp(list[i].extensionName, "VK_KHR_shader_bfloat16");
        }
    }
    vkd__free(ctx, list);
    return VKD_OK;
}

static bool has_fault_feature(VkPhysicalDevice physical) {
    VkPhysicalDeviceFaultFeaturesEXT fault = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FAULT_FEATURES_EXT};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &fault};
    vkGetPhysicalDeviceFeatures2(physical, &features);
    return fault.deviceFault;
}

vkd_result vkd__probe_device(vkd_ctx *ctx, VkPhysicalDevice physical, vkd__probe *out) {
    *out = (vkd__probe){0};
    VkPhysicalDeviceProperties basic;
    vkGetPhysicalDeviceProperties(physical, &basic);
    memcpy(out->name, basic.deviceName, sizeof out->name);
    out->vendor = basic.vendorID;
    out->api_version = basic.apiVersion;
    out->driver_version = basic.driverVersion;
    out->type = basic.deviceType;
    out->limits = basic.limits;
    vkGetPhysicalDeviceMemoryProperties(physical, &out->memory);
    choose_family(physical, out);
    /* The structures of Vulkan 1.3 may only be given to a device that knows them. */
    if (out->api_version >= VK_API_VERSION_1_3) {
        query q;
        ask(physical, &q);
        copy_reports(&q, out);
    }
    const vkd_result r = find_extensions(ctx, physical, out);
    if (out->device_fault) out->device_fault = has_fault_feature(physical);
    return r ? r : vkd__probe_coopmat(ctx, physical, out);
}

const char *vkd__probe_missing(const vkd__probe *p) {
    if (p->api_version < VK_API_VERSION_1_3) return "Vulkan 1.3";
    if (p->limits.maxComputeSharedMemorySize < 32768) return "32 KiB of shared memory";
    if (p->limits.maxComputeWorkGroupInvocations < 256) return "256 invocations in a workgroup";
    if (p->limits.maxComputeWorkGroupSize[0] < 256) return "workgroups 256 invocations wide";
    if (p->limits.minStorageBufferOffsetAlignment > VKD__ALIGNMENT ||
        p->limits.minTexelBufferOffsetAlignment > VKD__ALIGNMENT)
        return "buffer offsets that are multiples of 256 bytes";
    if (p->limits.maxPerStageDescriptorStorageBuffers < VKD__MAX_BINDINGS)
        return "ten storage buffers in one kernel";
    if (!p->synchronization2) return "the feature synchronization2";
    if (!p->timeline) return "the feature timelineSemaphore";
    if (!p->maintenance4) return "the feature maintenance4";
    if (!p->compute_queue) return "a queue that computes";
    return NULL;
}

/* ---- Choice ---- */

const char *vkd__device_type_text(VkPhysicalDeviceType type) {
    switch (type) {
    case VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU:
        return "discrete";
    case VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU:
        return "integrated";
    case VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU:
        return "virtual";
    case VK_PHYSICAL_DEVICE_TYPE_CPU:
        return "CPU";
    default:
        return "other";
    }
}

static int rank(const vkd__probe *p) {
    static const VkPhysicalDeviceType best_first[] = {
        VK_PHYSICAL_DEVICE_TYPE_DISCRETE_GPU, VK_PHYSICAL_DEVICE_TYPE_INTEGRATED_GPU,
        VK_PHYSICAL_DEVICE_TYPE_VIRTUAL_GPU, VK_PHYSICAL_DEVICE_TYPE_CPU};
    int place = 0;
    while (place < (int)VKD_COUNT(best_first) && best_first[place] != p->type)
        place++;
    /* One that cannot run us comes after all that can, so that its fault is named only when there
     * is no other. */
    return place + (vkd__probe_missing(p) ? 100 : 0);
}

static bool contains(const char *text, const char *part) {
    for (; *text; text++) {
        size_t i = 0;
        while (part[i] && tolower((unsigned char)text[i]) == tolower((unsigned char)part[i]))
            i++;
        if (!part[i]) return true;
    }
    return false;
}

static bool matches(const vkd__probe *p, const char *choice) {
    static const struct {
        const char *word;
        uint32_t vendor;
    } vendors[] = {{"amd", 0x1002}, {"intel", 0x8086}, {"nvidia", 0x10de}};
    for (size_t i = 0; i < VKD_COUNT(vendors); i++)
        if (!strcmp(choice, vendors[i].word)) return p->vendor == vendors[i].vendor;
    if (!strcmp(choice, "gpu")) return p->type != VK_PHYSICAL_DEVICE_TYPE_CPU;
    if (!strcmp(choice, "cpu")) return p->type == VK_PHYSICAL_DEVICE_TYPE_CPU;
    return contains(p->name, choice);
}

uint32_t vkd__probe_choose(const vkd__probe *probes, uint32_t count, const char *choice) {
    if (choice && choice[0] && strspn(choice, "0123456789") == strlen(choice)) {
        const unsigned long index = strtoul(choice, NULL, 10);
        return index < count ? (uint32_t)index : VKD__NO_ENTRY;
    }
    uint32_t best = VKD__NO_ENTRY;
    for (uint32_t i = 0; i < count; i++) {
        if (choice && choice[0] && !matches(&probes[i], choice)) continue;
        if (best == VKD__NO_ENTRY || rank(&probes[i]) < rank(&probes[best])) best = i;
    }
    return best;
}
