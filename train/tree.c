// SPDX-License-Identifier: Apache-2.0
#include "train/tree.h"

#include <stdlib.h>
#include <string.h>

vkd__tree *vkd__tree_find(const vkd__tree *map, const char *key) {
    if (map->kind != VKD__TREE_MAP) return NULL;
    for (vkd__tree *child = map->first; child; child = child->next)
        if (!strcmp(child->key, key)) return child;
    return NULL;
}

const char *vkd__tree_text(vkd__arena *arena, const vkd__tree *node) {
    if (node->kind == VKD__TREE_TEXT) return node->text;
    const bool map = node->kind == VKD__TREE_MAP;
    const char *text = map ? "{" : "[";
    for (const vkd__tree *child = node->first; child && text; child = child->next) {
        if (child->kind != VKD__TREE_TEXT) return NULL;
        text = vkd__arena_format(arena, "%s%s%s%s%s", text, child == node->first ? "" : ", ",
                                 map ? child->key : "", map ? ": " : "", child->text);
    }
    return text ? vkd__arena_format(arena, "%s%s", text, map ? "}" : "]") : NULL;
}

/* ---- --set ---- */

/* Whether a list's item goes by that name. */
static bool answers_to(const vkd__tree *item, const char *name) {
    const vkd__tree *label = vkd__tree_find(item, "name");
    if (!label) label = vkd__tree_find(item, "loss");
    return label && label->kind == VKD__TREE_TEXT && !strcmp(label->text, name);
}

static vkd__tree *item_of(const vkd__tree *list, const char *part) {
    for (vkd__tree *item = list->first; item; item = item->next)
        if (answers_to(item, part)) return item;
    char *end = NULL;
    const unsigned long index = strtoul(part, &end, 10);
    if (*end || end == part) return NULL;
    vkd__tree *item = list->first;
    for (unsigned long i = 0; item && i < index; i++)
        item = item->next;
    return item;
}

static vkd__tree *append(vkd__arena *arena, vkd__tree *map, const char *key, const char *where) {
    vkd__tree *child = VKD_NEW(arena, vkd__tree, 1);
    if (!child) return NULL;
    *child = (vkd__tree){.kind = VKD__TREE_MAP, .key = key, .where = where};
    vkd__tree **end = &map->first;
    while (*end)
        end = &(*end)->next;
    *end = child;
    return child;
}

/* One step down the path. */
static vkd_result descend(vkd__arena *arena, vkd__tree **node, const char *part,
                          const char *where) {
    vkd__tree *child = NULL;
    if ((*node)->kind == VKD__TREE_LIST) {
        child = item_of(*node, part);
        if (!child)
            return vkd__fail(arena->ctx, VKD_E_RECIPE, "%s: the list at %s has no item '%s'", where,
                             (*node)->where, part);
    } else if ((*node)->kind == VKD__TREE_MAP) {
        child = vkd__tree_find(*node, part);
        if (!child) child = append(arena, *node, part, where);
        if (!child) return VKD_E_MEMORY;
    } else {
        return vkd__fail(arena->ctx, VKD_E_RECIPE, "%s: nothing can be below '%s', which is '%s'",
                         where, (*node)->key ? (*node)->key : "an item", (*node)->text);
    }
    *node = child;
    return VKD_OK;
}

vkd_result vkd__tree_set(vkd__arena *arena, vkd__tree *root, const char *assignment) {
    const char *equals = strchr(assignment, '=');
    if (!equals || equals == assignment)
        return vkd__fail(arena->ctx, VKD_E_RECIPE, "--set wants key=value, not '%s'", assignment);
    const char *where = vkd__arena_format(arena, "--set %s", assignment);
    char *path = vkd__arena_format(arena, "%.*s", (int)(equals - assignment), assignment);
    if (!where || !path) return VKD_E_MEMORY;

    vkd__tree *value = NULL;
    vkd_result r = vkd__tree_parse(arena, where, equals + 1, strlen(equals + 1), &value);
    vkd__tree *node = root;
    while (!r && path) {
        char *dot = strchr(path, '.');
        if (dot) *dot++ = 0;
        r = *path ? descend(arena, &node, path, where)
                  : vkd__fail(arena->ctx, VKD_E_RECIPE, "%s: an empty part in the path", where);
        path = dot;
    }
    if (r) return r;
    node->kind = value->kind;
    node->text = value->text;
    node->first = value->first;
    node->where = where;
    return VKD_OK;
}
