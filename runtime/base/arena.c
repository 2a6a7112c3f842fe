// SPDX-License-Identifier: Apache-2.0
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Blocks form a list; only the newest has room. */
struct vkd__arena_block {
    struct vkd__arena_block *older;
    size_t used, size;
    max_align_t bytes[];
};

void *vkd__arena_alloc(vkd__arena *arena, size_t count, size_t size) {
    if (size && count > (SIZE_MAX - 64) / size) {
        vkd__fail(arena->ctx, VKD_E_MEMORY, "no memory for %zu times %zu bytes", count, size);
        return NULL;
    }
    const size_t bytes = (size_t)vkd__align_up(count * size, 16);
    struct vkd__arena_block *block = arena->blocks;
    if (!block || block->size - block->used < bytes) {
        const size_t wanted = bytes > 16384 ? bytes : 16384;
        block = vkd__alloc(arena->ctx, 1, sizeof *block + wanted);
        if (!block) return NULL;
        block->size = wanted;
        block->older = arena->blocks;
        arena->blocks = block;
    }
    void *memory = (uint8_t *)block->bytes + block->used; /* zeroed when the block was made */
    block->used += bytes;
    return memory;
}

char *vkd__arena_format(vkd__arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (length < 0) return NULL;
    char *text = VKD_NEW(arena, char, (size_t)length + 1);
    if (!text) return NULL;
    va_start(args, format);
    vsnprintf(text, (size_t)length + 1, format, args);
    va_end(args);
    return text;
}

void vkd__arena_term(vkd__arena *arena) {
    while (arena->blocks) {
        struct vkd__arena_block *older = arena->blocks->older;
        vkd__free(arena->ctx, arena->blocks);
        arena->blocks = older;
    }
}

void vkd__text_add(vkd__text *t, const char *format, ...) {
    if (t->failed) return;
    va_list args;
    va_start(args, format);
    const int added = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (added < 0) {
        t->failed = true;
        return;
    }
    const size_t needed = t->length + (size_t)added + 1;
    if (needed > t->capacity) {
        const size_t capacity = needed * 2 < 256 ? 256 : needed * 2;
        char *grown = vkd__grow(t->ctx, t->text, t->length, capacity, 1);
        if (!grown) {
            t->failed = true;
            return;
        }
        t->text = grown;
        t->capacity = capacity;
    }
    va_start(args, format);
    vsnprintf(t->text + t->length, (size_t)added + 1, format, args);
    va_end(args);
    t->length += (size_t)added;
}

void vkd__text_term(vkd__text *t) {
    vkd__free(t->ctx, t->text);
    *t = (vkd__text){.ctx = t->ctx};
}
