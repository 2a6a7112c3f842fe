// SPDX-License-Identifier: Apache-2.0
#include "gpu/report.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/instance.h"

static uint64_t device_memory(const VkPhysicalDeviceMemoryProperties *m) {
    for (uint32_t i = 0; i < m->memoryTypeCount; i++)
        if (m->memoryTypes[i].propertyFlags & VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT)
            return m->memoryHeaps[m->memoryTypes[i].heapIndex].size;
    return 0;
}

static vkd_result describe(vkd_ctx *ctx, const vkd__probe *p, vkd__device_report *r) {
    memcpy(r->name, p->name, sizeof r->name);
    r->type = vkd__device_type_text(p->type);
    snprintf(r->driver, sizeof r->driver, "%s%s%s", p->driver, p->driver_info[0] ? " " : "",
             p->driver_info);
    r->api[0] = VK_API_VERSION_MAJOR(p->api_version);
    r->api[1] = VK_API_VERSION_MINOR(p->api_version);
    r->api[2] = VK_API_VERSION_PATCH(p->api_version);
    r->memory = device_memory(&p->memory);
    r->missing = vkd__probe_missing(p);
    if (r->missing) return VKD_OK;
    bool direct = false;
    const vkd_result result = vkd__probe_features(ctx, p, getenv("VKD_DISABLE"),
                                                  getenv("VKD_KERNELS"), r->features, &direct);
    if (!result) vkd__profile_make(p, r->features, direct, &r->profile);
    return result;
}

static vkd_result describe_all(vkd_ctx *ctx, VkInstance instance, vkd__device_report **out,
                               uint32_t *count) {
    vkd__found found = {0};
    vkd_result r = vkd__devices_find(ctx, instance, &found);
    vkd__device_report *reports = r ? NULL : vkd__alloc(ctx, found.count, sizeof *reports);
    if (!r && !reports) r = VKD_E_MEMORY;
    for (uint32_t i = 0; !r && i < found.count; i++)
        r = describe(ctx, &found.probes[i], &reports[i]);
    if (!r) {
        const uint32_t best = vkd__probe_choose(found.probes, found.count, getenv("VKD_DEVICE"));
        if (best != VKD__NO_ENTRY) reports[best].chosen = true;
        *out = reports;
        *count = found.count;
    } else {
        vkd__free(ctx, reports);
    }
    vkd__free(ctx, found.probes);
    return r;
}

vkd_result vkd__device_reports(vkd_ctx *ctx, vkd__device_report **out, uint32_t *count) {
    *out = NULL;
    *count = 0;
    vkd__messages messages = {.ctx = ctx};
    VkInstance instance = VK_NULL_HANDLE;
    VkDebugUtilsMessengerEXT messenger = VK_NULL_HANDLE;
    vkd_result r = vkd__instance_create(ctx, false, NULL, 0, &messages, &instance, &messenger);
    if (!r) r = describe_all(ctx, instance, out, count);
    vkd__instance_destroy(instance, messenger);
    return r;
}

const char *vkd__device_cache_path(const vkd_device *device) {
    return device->cache_path;
}

const vkd__feature *vkd__device_features(const vkd_device *device) {
    return device->features;
}

uint64_t vkd__device_memory(const vkd_device *device) {
    return device_memory(&device->probe.memory);
}

vkd__identity vkd__device_identity(const vkd_device *device) {
    vkd__identity id = {.driver_version = device->probe.driver_version,
                        .shaders = vkd__shaders_hash()};
    memcpy(id.uuid, device->probe.uuid, sizeof id.uuid);
    return id;
}

vkd_ctx *vkd__device_ctx(const vkd_device *device) {
    return device->ctx;
}

const vkd_profile *vkd__device_table(const vkd_device *device) {
    return &device->table;
}

void vkd__device_set_profile(vkd_device *device, const vkd_profile *p) {
    device->profile = *p;
}

char *vkd_device_sizes(const vkd_device *device) {
    vkd__text t = {.ctx = device->ctx};
    vkd__sizes_text(&device->profile, &t);
    if (!t.failed && t.text) return t.text;
    vkd__text_term(&t);
    return NULL;
}

vkd_result vkd_device_set_sizes(vkd_device *device, const char *sizes) {
    return vkd__sizes_apply(device->ctx, &device->table, sizes ? sizes : "", &device->profile);
}
