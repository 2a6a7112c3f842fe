// SPDX-License-Identifier: Apache-2.0
#include "gpu/gpu.h"

#define MIB(bytes) ((double)(bytes) / (1 << 20))

/* The first memory type with all the properties, among those the buffer allows. Drivers list the
 * better ones first. */
static uint32_t find_type(const vkd_device *d, uint32_t allowed, VkMemoryPropertyFlags wanted) {
    const VkPhysicalDeviceMemoryProperties *m = &d->probe.memory;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++)
        if ((allowed >> i & 1) && (m->memoryTypes[i].propertyFlags & wanted) == wanted) return i;
    return VKD__NO_ENTRY;
}

static uint32_t choose_type(const vkd_device *d, uint32_t allowed, vkd__memory_kind kind) {
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    /* The second choice always exists: the specification promises it for buffers. */
    const VkMemoryPropertyFlags wanted[][2] = {
        [VKD__MEMORY_DEVICE] = {VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, 0},
        [VKD__MEMORY_UPLOAD] = {host, host},
        [VKD__MEMORY_READBACK] = {host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT, host},
    };
    const uint32_t type = find_type(d, allowed, wanted[kind][0]);
    return type != VKD__NO_ENTRY ? type : find_type(d, allowed, wanted[kind][1]);
}

/* What the driver would still give, where it says so; else the heap less what we took of it. */
static uint64_t available(const vkd_device *d, uint32_t heap) {
    uint64_t size = d->probe.memory.memoryHeaps[heap].size, used = d->allocated[heap];
    if (d->features[VKD__FEATURE_MEMORY_BUDGET].used) {
        VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
        VkPhysicalDeviceMemoryProperties2 properties = {
            .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
        vkGetPhysicalDeviceMemoryProperties2(d->physical, &properties);
        size = budget.heapBudget[heap];
        used = budget.heapUsage[heap];
    }
    return used < size ? size - used : 0;
}

static vkd_result too_little(vkd_device *d, uint64_t bytes, uint32_t heap, const char *what) {
    return vkd__fail(d->ctx, VKD_E_DEVICE_MEMORY,
                     "not enough memory on '%s': %s needs %.1f MiB, %.1f of %.1f MiB are free and "
                     "%.1f are ours already; use a smaller batch or model, or close other programs "
                     "that use the device",
                     d->probe.name, what, MIB(bytes), MIB(available(d, heap)),
                     MIB(d->probe.memory.memoryHeaps[heap].size), MIB(d->allocated[heap]));
}

vkd_result vkd__memory_require(vkd_device *d, uint64_t bytes, const char *what) {
    const uint32_t type = choose_type(d, UINT32_MAX, VKD__MEMORY_DEVICE);
    const uint32_t heap = d->probe.memory.memoryTypes[type].heapIndex;
    return bytes > available(d, heap) ? too_little(d, bytes, heap, what) : VKD_OK;
}

static vkd_result allocate(vkd_device *d, vkd__memory_kind kind, const char *what, vkd__buffer *b) {
    VkMemoryRequirements needs;
    d->vk.vkGetBufferMemoryRequirements(d->device, b->buffer, &needs);
    const uint32_t type = choose_type(d, needs.memoryTypeBits, kind);
    if (type == VKD__NO_ENTRY)
        return vkd__fail(d->ctx, VKD_E_DEVICE, "'%s' has no memory of the kind that %s needs",
                         d->probe.name, what);
    b->heap = d->probe.memory.memoryTypes[type].heapIndex;
    const VkResult result = d->vk.vkAllocateMemory(
        d->device,
        &(VkMemoryAllocateInfo){.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                .allocationSize = needs.size,
                                .memoryTypeIndex = type},
        NULL, &b->memory);
    if (result == VK_ERROR_OUT_OF_DEVICE_MEMORY) return too_little(d, needs.size, b->heap, what);
    const vkd_result r = vkd__vk(d, result, "vkAllocateMemory");
    if (r) return r;
    b->size = needs.size;
    d->allocated[b->heap] += needs.size;
    return VKD__VK(d, vkBindBufferMemory(d->device, b->buffer, b->memory, 0));
}

vkd_result vkd__buffer_create(vkd_device *d, uint64_t size, vkd__memory_kind kind, const char *what,
                              vkd__buffer *out) {
    *out = (vkd__buffer){0};
    if (size > d->probe.max_buffer || size > d->probe.max_allocation)
        return vkd__fail(d->ctx, VKD_E_DEVICE_MEMORY,
                         "%s needs one block of %.1f MiB, and '%s' gives at most %.1f; use a "
                         "smaller batch or model",
                         what, MIB(size), d->probe.name, MIB(d->profile.max_allocation));
    const VkBufferUsageFlags transfer =
        VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    const VkBufferUsageFlags kernels =
        VK_BUFFER_USAGE_STORAGE_BUFFER_BIT | VK_BUFFER_USAGE_UNIFORM_TEXEL_BUFFER_BIT;
    vkd_result r = VKD__VK(
        d, vkCreateBuffer(d->device,
                          &(VkBufferCreateInfo){
                              .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                              .size = size ? vkd__align_up(size, VKD__ALIGNMENT) : VKD__ALIGNMENT,
                              .usage = kind == VKD__MEMORY_DEVICE ? transfer | kernels : transfer},
                          NULL, &out->buffer));
    if (!r) r = allocate(d, kind, what, out);
    if (!r && kind != VKD__MEMORY_DEVICE) {
        void *mapped = NULL;
        r = VKD__VK(d, vkMapMemory(d->device, out->memory, 0, VK_WHOLE_SIZE, 0, &mapped));
        out->mapped = mapped;
    }
    if (r) vkd__buffer_destroy(d, out);
    return r;
}

void vkd__buffer_destroy(vkd_device *d, vkd__buffer *b) {
    d->vk.vkDestroyBuffer(d->device, b->buffer, NULL);
    d->vk.vkFreeMemory(d->device, b->memory, NULL);
    if (b->memory) d->allocated[b->heap] -= b->size;
    *b = (vkd__buffer){0};
}
