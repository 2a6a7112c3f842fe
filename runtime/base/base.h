// SPDX-License-Identifier: Apache-2.0
/* What every floor stands on: results, allocation, arenas, strings. Knows no graph and no Vulkan.
 *
 * All allocation goes through the context, so that a test can let the n-th one fail. */
#ifndef VKD_BASE_H
#define VKD_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vkdistill/vkdistill.h"

#define VKD_COUNT(array) (sizeof(array) / sizeof(array)[0])

#if defined(__GNUC__)
#define VKD__PRINTF(text, first) __attribute__((format(printf, text, first)))
#else
#define VKD__PRINTF(text, first)
#endif

/* For our own mistakes only; a caller's or a file's mistake is a vkd_result. On in all builds. */
#define VKD_ASSERT(condition)                                                                      \
    ((condition) ? (void)0 : vkd__assert_failed(#condition, __FILE__, __LINE__))
void vkd__assert_failed(const char *condition, const char *file, int line);

struct vkd_ctx {
    vkd_ctx_desc desc;
    char error[1024]; /* the last message given to vkd__fail; empty when none */
};

/* Reports once, where it happened, and returns r: `return vkd__fail(ctx, VKD_E_SHAPE, ...)`.
 * The text follows git: lower case, the failure first, the subject in quotes, no full stop. */
vkd_result vkd__fail(vkd_ctx *ctx, vkd_result r, const char *format, ...) VKD__PRINTF(3, 4);
void vkd__log(vkd_ctx *ctx, vkd_log_level level, const char *format, ...) VKD__PRINTF(3, 4);

/* Zeroed memory, NULL when there is none (and the context's error says so). free(NULL) is allowed.
 */
void *vkd__alloc(vkd_ctx *ctx, size_t count, size_t size);
/* Grows an array; the new part is zeroed. NULL leaves the old block as it was. */
void *vkd__grow(vkd_ctx *ctx, void *old, size_t old_count, size_t new_count, size_t size);
void vkd__free(vkd_ctx *ctx, void *memory);
char *vkd__strdup(vkd_ctx *ctx, const char *text);

/* Ensures room for one more element of a growing array (`items`, `count`, `capacity` are fields).
 */
#define VKD__RESERVE(ctx, items, count, capacity)                                                  \
    vkd__reserve((ctx), (void **)&(items), (count), &(capacity), sizeof *(items))
bool vkd__reserve(vkd_ctx *ctx, void **items, size_t count, size_t *capacity, size_t size);

/* Memory that is released as a whole. Everything from it is zeroed and aligned to 16 bytes. */
typedef struct vkd__arena {
    vkd_ctx *ctx;
    struct vkd__arena_block *blocks;
} vkd__arena;
#define VKD_NEW(arena, type, count) ((type *)vkd__arena_alloc((arena), (count), sizeof(type)))
void *vkd__arena_alloc(vkd__arena *arena, size_t count, size_t size);
char *vkd__arena_format(vkd__arena *arena, const char *format, ...) VKD__PRINTF(2, 3);
void vkd__arena_term(vkd__arena *arena);

/* Text that grows; `ok` turns false when memory ran out. `text` is NULL while empty. */
typedef struct vkd__text {
    vkd_ctx *ctx;
    char *text;
    size_t length, capacity;
    bool failed;
} vkd__text;
void vkd__text_add(vkd__text *t, const char *format, ...) VKD__PRINTF(2, 3);
void vkd__text_term(vkd__text *t);

/* FNV-1a, 64 bits; start with VKD__HASH_SEED. */
#define VKD__HASH_SEED 0xcbf29ce484222325ull
uint64_t vkd__hash(uint64_t seed, const void *bytes, size_t size);

/* The name among `names` that needs the fewest edits, NULL when none is near: "did you mean". */
const char *vkd__nearest(const char *name, const char *const *names, size_t count);

static inline uint64_t vkd__align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}
static inline uint64_t vkd__div_up(uint64_t value, uint64_t divisor) {
    return (value + divisor - 1) / divisor;
}

#endif
