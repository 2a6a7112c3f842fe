// SPDX-License-Identifier: Apache-2.0
/* A recipe's text as a tree that `--set` can change before it is checked. Every node knows where it
 * came from, so that a message about it can say so. */
#ifndef VKD_TREE_H
#define VKD_TREE_H

#include "base/base.h"

/* What a text may hold; recipes are not trusted. */
#define VKD__TREE_BYTES (1u << 20)
#define VKD__TREE_DEPTH 32
#define VKD__TREE_NODES 10000

typedef enum vkd__tree_kind { VKD__TREE_TEXT, VKD__TREE_LIST, VKD__TREE_MAP } vkd__tree_kind;

typedef struct vkd__tree {
    vkd__tree_kind kind;
    const char *key;   /* in a map; else NULL */
    const char *text;  /* of a TEXT node */
    const char *where; /* "recipes/hinton.yaml:12" or "--set a.b=c" */
    struct vkd__tree *first, *next;
} vkd__tree;

/* Reads YAML (train/yaml.c): block and flow maps, lists and texts. Anchors, aliases, tags, a second
 * document, keys that are not texts, keys that come twice and zero bytes are errors, so that a
 * recipe means what it shows. Every `where` is "name:line", with the line of the key where there is
 * one, and "name" alone for a text of one line. Nodes live in the arena, after a failure too; name
 * and text may go. Errors: VKD_E_RECIPE with file and line, VKD_E_MEMORY. */
vkd_result vkd__tree_parse(vkd__arena *arena, const char *name, const char *text, size_t size,
                           vkd__tree **out);
/* Applies "a.b.c=value". Missing maps on the way are made; a list's item must exist and is named by
 * its "name" (a loss also by "loss") or by its index. Errors: VKD_E_RECIPE. */
vkd_result vkd__tree_set(vkd__arena *arena, vkd__tree *root, const char *assignment);
/* A map's child, NULL when it has none of that key. */
vkd__tree *vkd__tree_find(const vkd__tree *map, const char *key);
/* The text of a scalar, or of a list or map of scalars as "[a, b]" or "{a: b}"; NULL for anything
 * deeper, and when memory is out. */
const char *vkd__tree_text(vkd__arena *arena, const vkd__tree *node);

#endif
