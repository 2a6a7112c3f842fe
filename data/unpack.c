// SPDX-License-Identifier: Apache-2.0
#include "data/unpack.h"

#include <limits.h>
#include <string.h>
#include <zlib.h>

struct vkd__unpack {
    vkd_ctx *ctx;
    const char *name;
    const uint8_t *at;
    size_t left; /* bytes from `at` on, not yet given to zlib */
    bool packed;
    bool ended; /* the last member's checksum has been compared */
    z_stream stream;
    uint8_t nowhere[16384];
};

static void *zlib_alloc(void *ctx, unsigned items, unsigned size) {
    return vkd__alloc(ctx, items, size);
}

static void zlib_free(void *ctx, void *memory) {
    vkd__free(ctx, memory);
}

vkd_result vkd__unpack_open(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                            vkd__unpack **out) {
    *out = NULL;
    vkd__unpack *u = vkd__alloc(ctx, 1, sizeof *u);
    if (!u) return VKD_E_MEMORY;
    u->ctx = ctx;
    u->name = name;
    u->at = bytes;
    u->left = size;
    u->stream = (z_stream){.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = ctx};
    const int gzip_only = 16 + MAX_WBITS;
    if (size >= 2 && u->at[0] == 0x1f && u->at[1] == 0x8b) {
        if (inflateInit2(&u->stream, gzip_only) != Z_OK) {
            vkd__free(ctx, u);
            return vkd__fail(ctx, VKD_E_MEMORY, "no memory to unpack '%s'", name);
        }
        u->packed = true;
    }
    *out = u;
    return VKD_OK;
}

void vkd__unpack_close(vkd__unpack *u) {
    if (!u) return;
    if (u->packed) inflateEnd(&u->stream);
    vkd__free(u->ctx, u);
}

uint64_t vkd__unpack_left(const vkd__unpack *u) {
    if (!u->packed) return u->left;
    /* Deflate makes at most 258 bytes of 2 bits, and zlib may hold back one window's worth. */
    const uint64_t ratio = 1032, held = (1 << MAX_WBITS) + 258;
    return ((uint64_t)u->left + u->stream.avail_in) * ratio + held;
}

/* After a member's end: another member, or the end of all. */
static vkd_result next_member(vkd__unpack *u) {
    const uint8_t *rest = u->stream.next_in;
    const size_t size = u->stream.avail_in + u->left;
    if (!size) {
        u->ended = true;
        return VKD_OK;
    }
    if (size < 2 || rest[0] != 0x1f || rest[1] != 0x8b)
        return vkd__fail(u->ctx, VKD_E_DATA, "'%s' has %zu bytes after its packed data", u->name,
                         size);
    inflateReset(&u->stream);
    return VKD_OK;
}

static vkd_result inflate_some(vkd__unpack *u) {
    if (!u->stream.avail_in && u->left) {
        const uInt part = u->left < UINT_MAX ? (uInt)u->left : UINT_MAX;
        u->stream.next_in = (uint8_t *)(uintptr_t)u->at; /* zlib only reads it */
        u->stream.avail_in = part;
        u->at += part;
        u->left -= part;
    }
    const int code = inflate(&u->stream, Z_NO_FLUSH);
    if (code == Z_OK) return VKD_OK;
    if (code == Z_STREAM_END) return next_member(u);
    if (code == Z_MEM_ERROR)
        return vkd__fail(u->ctx, VKD_E_MEMORY, "no memory to unpack '%s'", u->name);
    if (code == Z_BUF_ERROR)
        return vkd__fail(u->ctx, VKD_E_DATA, "'%s' is cut short within its packed data", u->name);
    return vkd__fail(u->ctx, VKD_E_DATA, "'%s' is damaged, its packed data is wrong: %s", u->name,
                     u->stream.msg ? u->stream.msg : "unknown form");
}

vkd_result vkd__unpack_read(vkd__unpack *u, void *to, size_t wanted, size_t *got) {
    *got = 0;
    if (!u->packed) {
        *got = wanted < u->left ? wanted : u->left;
        if (to && *got) memcpy(to, u->at, *got);
        if (*got) u->at += *got;
        u->left -= *got;
        return VKD_OK;
    }
    while (*got < wanted && !u->ended) {
        const size_t room = to ? wanted - *got : sizeof u->nowhere;
        const size_t most = wanted - *got < room ? wanted - *got : room;
        const uInt part = most < UINT_MAX ? (uInt)most : UINT_MAX;
        u->stream.next_out = to ? (uint8_t *)to + *got : u->nowhere;
        u->stream.avail_out = part;
        const vkd_result r = inflate_some(u);
        if (r) return r;
        *got += part - u->stream.avail_out;
    }
    return VKD_OK;
}
