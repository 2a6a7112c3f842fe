// SPDX-License-Identifier: Apache-2.0
/* Any bytes are a tree or are refused, and trees stay within their limits. */
#include <stdlib.h>

#include "train/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

static size_t walk(vkd__arena *arena, const vkd__tree *node, int depth) {
    if (depth > VKD__TREE_DEPTH || !node->where) abort();
    if (node->kind == VKD__TREE_TEXT && !node->text) abort();
    size_t count = 1;
    for (const vkd__tree *child = node->first; child; child = child->next) {
        if ((node->kind == VKD__TREE_MAP) != (child->key != NULL)) abort();
        if (child->key && vkd__tree_find(node, child->key) != child) abort();
        count += walk(arena, child, depth + 1);
    }
    return count;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
    vkd_ctx *ctx;
    vkd__tree *root;
    if (vkd_ctx_create(NULL, &ctx)) return 0;
    vkd__arena arena = {.ctx = ctx};
    if (vkd__tree_parse(&arena, "fuzz", (const char *)bytes, size, &root)) {
        if (root || !*vkd_ctx_error(ctx)) abort();
    } else {
        if (walk(&arena, root, 0) > VKD__TREE_NODES) abort();
        vkd__tree_text(&arena, root);
    }
    vkd__arena_term(&arena);
    vkd_ctx_destroy(ctx);
    return 0;
}
