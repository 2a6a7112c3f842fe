// SPDX-License-Identifier: Apache-2.0
/* The store's tensors on the device: places in a few large blocks. A handle is the block's number
 * plus one in the upper 16 bits and the offset below. Nothing is freed before the store goes. */
#include "gpu/gpu.h"

#define BLOCK_LEAST (1ull << 20)
#define BLOCK_MOST (64ull << 20)
#define OFFSET_BITS 48

typedef struct block {
    vkd__buffer buffer;
    uint64_t size, used;
} block;

typedef struct vkd__store_side {
    vkd_ctx *ctx;
    vkd_device *device; /* NULL once it was closed */
    struct vkd__store_side *next;
    block *blocks;
    size_t count, capacity;
} vkd__store_side;

static vkd_result gone(const vkd__store_side *s) {
    return vkd__fail(s->ctx, VKD_E_ARGUMENT, "the store's device was closed before the store");
}

/* Blocks double, so that a small model takes little and a large one few allocations. */
static vkd_result add_block(vkd__store_side *s, uint64_t bytes) {
    if (!VKD__RESERVE(s->ctx, s->blocks, s->count, s->capacity)) return VKD_E_MEMORY;
    uint64_t size = s->count ? s->blocks[s->count - 1].size * 2 : BLOCK_LEAST;
    if (size > BLOCK_MOST) size = BLOCK_MOST;
    if (size > s->device->profile.max_allocation) size = s->device->profile.max_allocation;
    if (size < bytes) size = bytes;
    block *b = &s->blocks[s->count];
    *b = (block){.size = size};
    vkd_result r = vkd__buffer_create(s->device, size, VKD__MEMORY_DEVICE, "the store", &b->buffer);
    if (r) return r;
    s->count++;
    return vkd__zero(s->device, &b->buffer);
}

static vkd_result place(void *user, vkd__entry *e) {
    vkd__store_side *s = user;
    if (!s->device) return gone(s);
    const uint64_t bytes = vkd__align_up(e->bytes ? e->bytes : 1, VKD__ALIGNMENT);
    size_t i = 0;
    while (i < s->count && s->blocks[i].size - s->blocks[i].used < bytes)
        i++;
    if (i == s->count) {
        const vkd_result r = add_block(s, bytes);
        if (r) return r;
    }
    e->handle = (uint64_t)(i + 1) << OFFSET_BITS | s->blocks[i].used;
    s->blocks[i].used += bytes;
    return VKD_OK;
}

static VkBuffer locate(const vkd__store_side *s, const vkd__entry *e, uint64_t *offset) {
    *offset += e->handle & ((1ull << OFFSET_BITS) - 1);
    return s->blocks[(e->handle >> OFFSET_BITS) - 1].buffer.buffer;
}

static vkd_result write_values(void *user, const vkd__entry *e, uint64_t offset, const void *data,
                               uint64_t bytes) {
    vkd__store_side *s = user;
    if (!s->device) return gone(s);
    const VkBuffer buffer = locate(s, e, &offset);
    return vkd__upload(s->device, buffer, offset, data, bytes);
}

static vkd_result read_values(void *user, const vkd__entry *e, uint64_t offset, void *data,
                              uint64_t bytes) {
    vkd__store_side *s = user;
    if (!s->device) return gone(s);
    const VkBuffer buffer = locate(s, e, &offset);
    return vkd__download(s->device, buffer, offset, data, bytes);
}

static void free_blocks(vkd__store_side *s) {
    for (size_t i = 0; i < s->count; i++)
        vkd__buffer_destroy(s->device, &s->blocks[i].buffer);
    vkd__free(s->ctx, s->blocks);
    s->blocks = NULL;
    s->count = s->capacity = 0;
}

static void release(void *user) {
    vkd__store_side *s = user;
    if (s->device) {
        vkd__store_side **link = &s->device->stores;
        while (*link != s)
            link = &(*link)->next;
        *link = s->next;
        free_blocks(s);
    }
    vkd__free(s->ctx, s);
}

void vkd__stores_detach(vkd_device *d) {
    for (vkd__store_side *s = d->stores; s; s = s->next) {
        free_blocks(s);
        s->device = NULL;
    }
    d->stores = NULL;
}

/* The bytes that are not on the device yet, before any of them is placed. */
static uint64_t missing_bytes(const vkd_store *store) {
    uint64_t bytes = 0;
    for (size_t i = 0; i < store->entry_count; i++) {
        const vkd__entry *e = &store->entries[i];
        if (e->kind != VKD__ENTRY_MEMBER && !e->handle)
            bytes += vkd__align_up(e->bytes, VKD__ALIGNMENT);
    }
    return bytes;
}

vkd_result vkd__store_place(vkd_device *d, vkd_store *store) {
    vkd__store_side *s = store->backend.user;
    if (s && s->device != d)
        return s->device ? vkd__fail(d->ctx, VKD_E_ARGUMENT,
                                     "the store lies on '%s', it cannot be used on '%s' too",
                                     s->device->probe.name, d->probe.name)
                         : gone(s);
    vkd_result r = vkd__memory_require(d, missing_bytes(store), "the store");
    if (r) return r;
    if (!s) {
        s = vkd__alloc(d->ctx, 1, sizeof *s);
        if (!s) return VKD_E_MEMORY;
        s->ctx = d->ctx;
        s->device = d;
        s->next = d->stores;
        d->stores = s;
    }
    const vkd__store_backend backend = {s, place, write_values, read_values, release};
    return vkd__store_attach(store, &backend);
}

VkBuffer vkd__store_buffer(const vkd_store *store, uint32_t entry, uint64_t *offset) {
    return locate(store->backend.user, &store->entries[entry], offset);
}
