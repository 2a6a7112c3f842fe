// SPDX-License-Identifier: Apache-2.0
#include "base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void vkd__assert_failed(const char *condition, const char *file, int line) {
    fprintf(stderr, "vkdistill: internal error: %s does not hold (%s:%d); please report it\n",
            condition, file, line);
    abort();
}

const char *vkd_result_text(vkd_result r) {
    switch (r) {
#define X(name, value, exit_code, text)                                                            \
    case name:                                                                                     \
        return text;
        VKD_RESULTS(X)
#undef X
    }
    return "unknown result";
}

int vkd_result_exit_code(vkd_result r) {
    switch (r) {
#define X(name, value, exit_code, text)                                                            \
    case name:                                                                                     \
        return exit_code;
        VKD_RESULTS(X)
#undef X
    }
    return 1;
}

vkd_result vkd_ctx_create(const vkd_ctx_desc *desc, vkd_ctx **out) {
    *out = NULL;
    const vkd_ctx_desc none = {0};
    if (!desc) desc = &none;
    const size_t size = sizeof(vkd_ctx);
    vkd_ctx *ctx = desc->alloc ? desc->alloc(desc->user, size) : malloc(size);
    if (!ctx) return VKD_E_MEMORY;
    memset(ctx, 0, size);
    ctx->desc = *desc;
    *out = ctx;
    return VKD_OK;
}

void vkd_ctx_destroy(vkd_ctx *ctx) {
    if (!ctx) return;
    if (ctx->desc.free)
        ctx->desc.free(ctx->desc.user, ctx);
    else
        free(ctx);
}

const char *vkd_ctx_error(const vkd_ctx *ctx) {
    return ctx->error;
}

void vkd_free_text(vkd_ctx *ctx, char *text) {
    vkd__free(ctx, text);
}

vkd_result vkd__fail(vkd_ctx *ctx, vkd_result r, const char *format, ...) {
    char text[sizeof ctx->error]; /* an argument may be the old error itself */
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    memcpy(ctx->error, text, sizeof text);
    if (ctx->desc.log) ctx->desc.log(ctx->desc.user, VKD_LOG_ERROR, ctx->error);
    return r;
}

void vkd__log(vkd_ctx *ctx, vkd_log_level level, const char *format, ...) {
    if (!ctx->desc.log) return;
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    ctx->desc.log(ctx->desc.user, level, text);
}

void *vkd__alloc(vkd_ctx *ctx, size_t count, size_t size) {
    void *memory = NULL;
    if (!size || count <= SIZE_MAX / size) {
        size_t bytes = count * size;
        if (!bytes) bytes = 1; /* so that NULL always means failure */
        memory = ctx->desc.alloc ? ctx->desc.alloc(ctx->desc.user, bytes) : malloc(bytes);
        if (memory) memset(memory, 0, bytes);
    }
    if (!memory) vkd__fail(ctx, VKD_E_MEMORY, "no memory for %zu times %zu bytes", count, size);
    return memory;
}

void vkd__free(vkd_ctx *ctx, void *memory) {
    if (!memory) return;
    if (ctx->desc.free)
        ctx->desc.free(ctx->desc.user, memory);
    else
        free(memory);
}

void *vkd__grow(vkd_ctx *ctx, void *old, size_t old_count, size_t new_count, size_t size) {
    void *grown = vkd__alloc(ctx, new_count, size);
    if (!grown) return NULL;
    if (old) memcpy(grown, old, old_count * size);
    vkd__free(ctx, old);
    return grown;
}

bool vkd__reserve(vkd_ctx *ctx, void **items, size_t count, size_t *capacity, size_t size) {
    if (count < *capacity) return true;
    const size_t wanted = *capacity ? *capacity * 2 : 16;
    void *grown = vkd__grow(ctx, *items, count, wanted, size);
    if (!grown) return false;
    *items = grown;
    *capacity = wanted;
    return true;
}

char *vkd__strdup(vkd_ctx *ctx, const char *text) {
    const size_t size = strlen(text) + 1;
    char *copy = vkd__alloc(ctx, size, 1);
    if (copy) memcpy(copy, text, size);
    return copy;
}

uint64_t vkd__hash(uint64_t seed, const void *bytes, size_t size) {
    const uint8_t *b = bytes;
    for (size_t i = 0; i < size; i++)
        seed = (seed ^ b[i]) * 0x100000001b3ull;
    return seed;
}

/* Levenshtein distance, two rows; names longer than the row are never near. */
static size_t edits(const char *a, const char *b) {
    enum { LONGEST = 64 };
    const size_t n = strlen(a), m = strlen(b);
    if (n >= LONGEST || m >= LONGEST) return LONGEST;
    size_t row[LONGEST];
    for (size_t j = 0; j <= m; j++)
        row[j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            const size_t change = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            const size_t remove = row[j] + 1, insert = row[j - 1] + 1;
            row[j] = change < remove ? change : remove;
            if (insert < row[j]) row[j] = insert;
        }
    }
    return row[m];
}

const char *vkd__nearest(const char *name, const char *const *names, size_t count) {
    const char *best = NULL;
    size_t fewest = strlen(name) / 2 + 1; /* further away is another word, not a slip */
    for (size_t i = 0; i < count; i++) {
        const size_t e = edits(name, names[i]);
        if (e <= fewest && (!best || e < fewest)) {
            best = names[i];
            fewest = e;
        }
    }
    return best;
}
