// SPDX-License-Identifier: Apache-2.0
/* The one file that holds stb_image, the decoder of PNG and JPEG: everything else of it is switched
 * off. So are its vector instructions, which round a JPEG's colours otherwise than its plain code
 * does: the same file gives the same bytes on every machine. */
#include <stdio.h>

#include "data/image.h"

/* stb_image hands nothing through to what it allocates with, so the decoding under way is kept
 * here; each thread has its own. */
typedef struct decoding {
    vkd_ctx *ctx;
    size_t most; /* bytes that one allocation may have */
    bool no_memory, too_much;
} decoding;
static _Thread_local decoding *current;

static void *regrow(void *old, size_t old_size, size_t size) {
    if (size > current->most) {
        current->too_much = true;
        return NULL;
    }
    void *block = old ? vkd__grow(current->ctx, old, old_size, size, 1)
                      : vkd__alloc(current->ctx, size ? size : 1, 1);
    current->no_memory = current->no_memory || !block;
    return block;
}

static void release(void *block) {
    vkd__free(current->ctx, block);
}

#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_NO_SIMD
#define STBI_NO_LINEAR
#define STBI_NO_HDR
#define STBI_ASSERT(condition) VKD_ASSERT(condition)
#define STBI_MALLOC(size) regrow(NULL, 0, size)
#define STBI_REALLOC_SIZED(block, old, size) regrow(block, old, size)
#define STBI_FREE(block) release(block)
/* It declares what is switched off, which gcc says at the end of the file: there is no popping
 * this. From its other warnings CMake keeps us. */
#if defined(__GNUC__)
#pragma GCC diagnostic ignored "-Wunused-function"
#endif
#include <stb/stb_image.h>

static const char *measure(const uint8_t *bytes, size_t size, uint32_t most, vkd__image *out) {
    int width = 0, height = 0, channels = 0;
    if (size > INT32_MAX) return "it is too large a file";
    /* What exactly is wrong it does not keep: it tries one format after the other. */
    if (!stbi_info_from_memory(bytes, (int)size, &width, &height, &channels))
        return "its header is damaged or says an impossible size";
    out->width = (uint32_t)width;
    out->height = (uint32_t)height;
    if (width < 1 || height < 1) return "it has no pixels";
    if (out->width > VKD__IMAGE_SIDE || out->height > VKD__IMAGE_SIDE ||
        (uint64_t)out->width * out->height > most)
        return "it has more than 16384 pixels a side, or more in all than are read";
    return NULL;
}

/* Of each pixel at most four channels of 16 bits, twice: the memory that a PNG unpacks into grows
 * by doubling, and an interlaced one needs a little more than it is begun with. Blocks of a JPEG
 * may reach over the edges. The file itself, which grows so too; and tables. Packed data that wants
 * more holds more than its image. */
static size_t allowance(const vkd__image *image, size_t size) {
    const size_t padded = ((size_t)image->width + 64) * ((size_t)image->height + 64);
    return 16 * padded + 2 * size + (1u << 20);
}
_Static_assert(VKD__IMAGE_SIDE == 16384, "the message says so");

static const char *decode(const uint8_t *bytes, size_t size, vkd__image *out) {
    int width = 0, height = 0, channels = 0;
    current->most = allowance(out, size);
    out->pixels =
        stbi_load_from_memory(bytes, (int)size, &width, &height, &channels, (int)out->channels);
    if (!out->pixels && current->too_much) return "it unpacks to more than its image";
    if (!out->pixels) return stbi_failure_reason() ? stbi_failure_reason() : "it is damaged";
    if ((uint32_t)width == out->width && (uint32_t)height == out->height) return NULL;
    release(out->pixels);
    return "it says two different sizes";
}

vkd_result vkd__image_decode(vkd_ctx *ctx, const void *bytes, size_t size, uint32_t channels,
                             uint32_t most, vkd__image *out, const char **why) {
    VKD_ASSERT(channels == 1 || channels == 3);
    decoding state = {.ctx = ctx, .most = 1u << 20};
    *out = (vkd__image){.channels = channels};
    *why = NULL;
    current = &state;
    /* A PNG it reads without harm; one that is damaged is the caller's affair. */
    const bool png = size && *(const uint8_t *)bytes == 0x89;
    const char *wrong = png ? NULL : vkd__image_fault(bytes, size);
    if (!wrong) wrong = measure(bytes, size, most, out);
    if (!wrong) wrong = decode(bytes, size, out);
    /* Without the memory to see that a file is no JPEG, it goes on to PNG. */
    if (!wrong && state.no_memory) {
        wrong = "there is no memory for it";
        release(out->pixels);
    }
    current = NULL;
    if (!wrong) return VKD_OK;
    *out = (vkd__image){0};
    *why = wrong;
    return state.no_memory ? VKD_E_MEMORY : VKD_E_DATA;
}
