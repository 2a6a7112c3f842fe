// SPDX-License-Identifier: Apache-2.0
#include "train/recipe_read.h"

#include <string.h>

static const vkd__field *field_of(const vkd__field *fields, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++)
        if (!strcmp(fields[i].name, name)) return &fields[i];
    return NULL;
}

vkd_result vkd__read_keys(vkd__reader *r, const vkd__tree *map, const char *what,
                          const char *const *keys, const vkd__field *fields, size_t field_count) {
    enum { MOST = 64 };
    const char *names[MOST];
    size_t count = 0;
    for (; *keys && count < MOST; keys++)
        names[count++] = *keys;
    for (size_t i = 0; i < field_count && count < MOST; i++)
        names[count++] = fields[i].name;
    for (const vkd__tree *child = map->first; child; child = child->next) {
        size_t i = 0;
        while (i < count && strcmp(names[i], child->key) != 0)
            i++;
        if (i < count) continue;
        const char *near = vkd__nearest(child->key, names, count);
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s has no key '%s'%s%s%s", child->where, what,
                         child->key, near ? ", did you mean '" : "", near ? near : "",
                         near ? "'?" : "");
    }
    return VKD_OK;
}

vkd_result vkd__read_fields(vkd__reader *r, const vkd__tree *map, const vkd__field *fields,
                            size_t field_count, void *config) {
    vkd__fields_init(fields, field_count, config);
    vkd_result result = VKD_OK;
    for (const vkd__tree *child = map ? map->first : NULL; child && !result; child = child->next) {
        if (!field_of(fields, field_count, child->key)) continue;
        const char *text = vkd__tree_text(r->arena, child);
        if (!text)
            return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' must be one value or a plain list",
                             child->where, child->key);
        result =
            vkd__fields_set(r->ctx, fields, field_count, config, child->where, child->key, text);
    }
    return result;
}

vkd_result vkd__read_part(vkd__reader *r, const vkd__tree *map, const char *what,
                          const char *const *keys, const char *name, const vkd__field *fields,
                          size_t field_count, size_t config_size, vkd__part *out) {
    *out = (vkd__part){.name = name, .fields = fields, .field_count = field_count};
    out->config = vkd__arena_alloc(r->arena, 1, config_size ? config_size : 1);
    if (!out->config) return VKD_E_MEMORY;
    vkd_result result = map ? vkd__read_keys(r, map, what, keys, fields, field_count) : VKD_OK;
    if (!result) result = vkd__read_fields(r, map, fields, field_count, out->config);
    return result;
}

vkd_result vkd__read_word(vkd__reader *r, const vkd__tree *map, const char *what, const char *key,
                          const char *preset, const char **out) {
    *out = preset;
    const vkd__tree *child = map ? vkd__tree_find(map, key) : NULL;
    if (child && child->kind != VKD__TREE_TEXT)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' must be one word", child->where, key);
    if (child) *out = child->text;
    if (*out) return VKD_OK;
    return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: %s needs '%s'", map ? map->where : "recipe", what,
                     key);
}

vkd_result vkd__read_number(vkd__reader *r, const vkd__tree *map, const char *key, double low,
                            double high, float preset, float *out) {
    *out = preset;
    const vkd__tree *child = vkd__tree_find(map, key);
    if (!child) return VKD_OK;
    const vkd__field field = {
        .name = key, .type = VKD__FIELD_F32, .low = low, .high = high, .preset = "0"};
    const char *text = vkd__tree_text(r->arena, child);
    return vkd__fields_set(r->ctx, &field, 1, out, child->where, key, text ? text : "");
}

vkd_result vkd__read_no_such(vkd__reader *r, const vkd__tree *map, const char *key,
                             const char *what, const char *name, const char *const *names,
                             size_t count) {
    const vkd__tree *at = key ? vkd__tree_find(map, key) : NULL;
    const char *all = "";
    for (size_t i = 0; i < count && all; i++)
        all = vkd__arena_format(r->arena, "%s%s%s", all, i ? ", " : "", names[i]);
    if (!all) return VKD_E_MEMORY;
    const char *near = vkd__nearest(name, names, count);
    return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: there is no %s '%s'%s%s%s (there is: %s)",
                     at ? at->where : map->where, what, name, near ? ", did you mean '" : "",
                     near ? near : "", near ? "'?" : "", count ? all : "none");
}

vkd_result vkd__read_child(vkd__reader *r, const vkd__tree *map, const char *key,
                           vkd__tree_kind kind, bool required, const vkd__tree **out) {
    *out = vkd__tree_find(map, key);
    if (!*out && required)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' is missing", map->where, key);
    if (*out && (*out)->kind != kind)
        return vkd__fail(r->ctx, VKD_E_RECIPE, "%s: '%s' must be a %s", (*out)->where, key,
                         kind == VKD__TREE_MAP ? "map of keys and values" : "list");
    return VKD_OK;
}

uint32_t vkd__tree_count(const vkd__tree *list) {
    uint32_t count = 0;
    for (const vkd__tree *child = list ? list->first : NULL; child; child = child->next)
        count++;
    return count;
}

vkd_result vkd__read_name(vkd__reader *r, const vkd__tree *node, const char *what,
                          const char *name) {
    enum { LONGEST = 48 };
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-";
    if (*name && strlen(name) <= LONGEST && !name[strspn(name, allowed)]) return VKD_OK;
    const vkd__tree *at = vkd__tree_find(node, "name");
    return vkd__fail(r->ctx, VKD_E_RECIPE,
                     "%s: '%s' cannot be the name of a %s: up to %d letters, digits, '_' and '-'",
                     at ? at->where : node->where, name, what, (int)LONGEST);
}
