// SPDX-License-Identifier: Apache-2.0
/* The driver's pipeline cache on disk. A driver trusts the bytes it gets, so ours carry a header of
 * their own: what does not belong to exactly this device, driver and set of shaders, or is damaged,
 * never reaches it. A cache that cannot be read or written costs time, not the run. */
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "gpu/gpu.h"

typedef struct header {
    char magic[8];
    uint32_t version, driver_version;
    uint8_t uuid[VK_UUID_SIZE];
    uint64_t shaders; /* hash of all kernels of this build */
    uint64_t size;    /* of the payload */
    uint64_t hash;    /* of the payload */
} header;

uint64_t vkd__shaders_hash(void) {
    uint64_t h = VKD__HASH_SEED;
    for (size_t i = 0; i < vkd__kernel_count; i++) {
        h = vkd__hash(h, vkd__kernels[i].name, strlen(vkd__kernels[i].name));
        h = vkd__hash(h, vkd__kernels[i].words, vkd__kernels[i].word_count * sizeof(uint32_t));
    }
    return h;
}

static header make_header(const vkd_device *d, const void *payload, size_t size) {
    header h = {.magic = "vkdcache",
                .version = 1,
                .driver_version = d->probe.driver_version,
                .shaders = vkd__shaders_hash(),
                .size = size,
                .hash = vkd__hash(VKD__HASH_SEED, payload, size)};
    memcpy(h.uuid, d->probe.uuid, sizeof h.uuid);
    return h;
}

/* The path, and the folder made; without one there is no cache, which is no failure. */
static vkd_result make_path(vkd_device *d, const char *dir) {
    char folder[1024];
    if (dir && !dir[0]) return VKD_OK;
    if (!d->features[VKD__FEATURE_CACHE].used) return VKD_OK;
    if (dir)
        snprintf(folder, sizeof folder, "%s", dir);
    else if (!vkd__cache_folder(folder, sizeof folder))
        return VKD_OK;
    if (vkd__make_folder(d->ctx, folder)) {
        vkd__log(d->ctx, VKD_LOG_WARNING, "no pipeline cache: %s", d->ctx->error);
        return VKD_OK;
    }
    char uuid[2 * VK_UUID_SIZE + 1];
    for (size_t i = 0; i < VK_UUID_SIZE; i++)
        snprintf(uuid + 2 * i, 3, "%02x", (unsigned)d->probe.uuid[i]);
    vkd__text path = {.ctx = d->ctx};
    vkd__text_add(&path, "%s/pipelines-%s.bin", folder, uuid);
    d->cache_path = path.failed ? NULL : path.text;
    return d->cache_path ? VKD_OK : VKD_E_MEMORY;
}

/* NULL when it is good. */
static const char *fault(const vkd_device *d, const vkd__mapping *file) {
    header h;
    if (file->size < sizeof h) return "it is too short";
    memcpy(&h, file->bytes, sizeof h);
    const uint8_t *payload = file->bytes + sizeof h;
    const size_t size = file->size - sizeof h;
    const header want = make_header(d, payload, size);
    if (memcmp(h.magic, want.magic, sizeof h.magic) || h.version != want.version)
        return "it is not one of ours";
    if (h.driver_version != want.driver_version || memcmp(h.uuid, want.uuid, sizeof h.uuid))
        return "another driver or device made it";
    if (h.shaders != want.shaders) return "it was made for other kernels";
    if (h.size != want.size || h.hash != want.hash) return "it is damaged";
    return NULL;
}

static vkd_result create(vkd_device *d, const void *payload, size_t size) {
    return VKD__VK(
        d, vkCreatePipelineCache(
               d->device,
               &(VkPipelineCacheCreateInfo){.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO,
                                            .initialDataSize = size,
                                            .pInitialData = payload},
               NULL, &d->cache));
}

vkd_result vkd__cache_open(vkd_device *d, const char *dir) {
    vkd_result r = make_path(d, dir);
    if (r) return r;
    vkd__feature *feature = &d->features[VKD__FEATURE_CACHE];
    if (!d->cache_path && feature->used) {
        feature->used = false;
        feature->why_not = "there is no folder for it";
    }
    vkd__mapping file = {0};
    if (!d->cache_path || !vkd__file_exists(d->cache_path)) return create(d, NULL, 0);
    if (vkd__map_file(d->ctx, d->cache_path, &file)) return create(d, NULL, 0);
    const char *why = fault(d, &file);
    if (why) {
        vkd__log(d->ctx, VKD_LOG_INFO, "pipeline cache '%s' is ignored: %s", d->cache_path, why);
        r = create(d, NULL, 0);
    } else {
        const uint8_t *payload = file.bytes + sizeof(header);
        d->cache_hash = vkd__hash(VKD__HASH_SEED, payload, file.size - sizeof(header));
        r = create(d, payload, file.size - sizeof(header));
    }
    vkd__unmap_file(&file);
    return r;
}

static void save(vkd_device *d) {
    size_t size = 0;
    if (d->vk.vkGetPipelineCacheData(d->device, d->cache, &size, NULL) || !size) return;
    void *payload = vkd__alloc(d->ctx, size, 1);
    if (!payload) return;
    if (!d->vk.vkGetPipelineCacheData(d->device, d->cache, &size, payload)) {
        const header h = make_header(d, payload, size);
        const vkd__bytes parts[] = {{&h, sizeof h}, {payload, size}};
        if (h.hash != d->cache_hash &&
            vkd__write_file(d->ctx, d->cache_path, parts, VKD_COUNT(parts)))
            vkd__log(d->ctx, VKD_LOG_WARNING, "the pipeline cache was not kept: %s", d->ctx->error);
    }
    vkd__free(d->ctx, payload);
}

void vkd__cache_close(vkd_device *d) {
    if (d->cache && d->cache_path && !d->lost) save(d);
    d->vk.vkDestroyPipelineCache(d->device, d->cache, NULL);
    d->cache = VK_NULL_HANDLE;
}
