// SPDX-License-Identifier: Apache-2.0
#include "cli/sweep_grid.h"

#include <string.h>

enum { LONGEST_NAME = 200 };

/* Where the value that starts at `text` ends. */
static const char *end_of(const char *text) {
    int depth = 0;
    char quote = 0;
    for (; *text; text++) {
        if (quote) {
            if (*text == quote) quote = 0;
            continue;
        }
        if (*text == '\'' || *text == '"') quote = *text;
        if (*text == '[' || *text == '{') depth++;
        if (*text == ']' || *text == '}') depth--;
        if (*text == ',' && depth <= 0) break;
    }
    return text;
}

static vkd_result read_axis(vkd__arena *arena, const char *word, sweep_axis *a) {
    vkd_ctx *ctx = arena->ctx;
    const char *equals = strchr(word, '=');
    if (!equals || equals == word || !equals[1])
        return vkd__fail(ctx, VKD_E_ARGUMENT, "--grid wants key=value,value,..., not '%s'", word);
    uint32_t most = 1;
    for (const char *c = equals; *c; c++)
        most += *c == ',';
    a->key = vkd__arena_format(arena, "%.*s", (int)(equals - word), word);
    a->values = VKD_NEW(arena, const char *, most);
    if (!a->key || !a->values) return VKD_E_MEMORY;
    for (const char *at = equals + 1;; at++) {
        const char *end = end_of(at);
        const char *value = vkd__arena_format(arena, "%.*s", (int)(end - at), at);
        if (!value) return VKD_E_MEMORY;
        if (!*value) return vkd__fail(ctx, VKD_E_ARGUMENT, "--grid %s: a value is empty", word);
        for (uint32_t i = 0; i < a->count; i++)
            if (!strcmp(a->values[i], value))
                return vkd__fail(ctx, VKD_E_ARGUMENT, "--grid %s: '%s' is there twice", word,
                                 value);
        a->values[a->count++] = value;
        at = end;
        if (!*end) return VKD_OK;
    }
}

vkd_result sweep_grid_read(vkd__arena *arena, const cli_words *words, sweep_grid *out) {
    *out = (sweep_grid){.arena = arena, .point_count = 1};
    if (!words->count || words->count > SWEEP_KEYS)
        return vkd__fail(arena->ctx, VKD_E_ARGUMENT,
                         "a sweep wants 1 to %d --grid, such as "
                         "--grid stages.distil.losses.kd_kl.tau=1,2,4",
                         SWEEP_KEYS);
    for (size_t i = 0; i < words->count; i++) {
        sweep_axis *a = &out->axes[i];
        const vkd_result r = read_axis(arena, words->v[i], a);
        if (r) return r;
        for (size_t k = 0; k < i; k++)
            if (!strcmp(out->axes[k].key, a->key))
                return vkd__fail(arena->ctx, VKD_E_ARGUMENT, "--grid %s is there twice", a->key);
        if (a->count > SWEEP_POINTS / out->point_count)
            return vkd__fail(arena->ctx, VKD_E_ARGUMENT, "the grid has more than %d points",
                             SWEEP_POINTS);
        out->point_count *= a->count;
        out->axis_count++;
    }
    return VKD_OK;
}

uint32_t sweep_grid_value(const sweep_grid *g, uint32_t point, uint32_t axis) {
    for (uint32_t i = g->axis_count - 1; i > axis; i--)
        point /= g->axes[i].count;
    return point % g->axes[axis].count;
}

const char *sweep_grid_set(const sweep_grid *g, uint32_t point, uint32_t axis) {
    const sweep_axis *a = &g->axes[axis];
    return vkd__arena_format(g->arena, "%s=%s", a->key,
                             a->values[sweep_grid_value(g, point, axis)]);
}

const char *sweep_grid_folder(const sweep_grid *g, uint32_t point) {
    static const char plain[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._=-";
    const char *text = "";
    bool changed = false;
    for (uint32_t i = 0; i < g->axis_count && text; i++) {
        const char *set = sweep_grid_set(g, point, i);
        text = set ? vkd__arena_format(g->arena, "%s%s%s", text, i ? "," : "", set) : NULL;
    }
    char *name = text ? vkd__arena_format(g->arena, "%.*s", LONGEST_NAME, text) : NULL;
    if (!name) return NULL;
    changed = strlen(text) > LONGEST_NAME;
    for (char *c = name; *c; c++) {
        if (strchr(plain, *c) || *c == ',') continue;
        *c = '_';
        changed = true;
    }
    if (!changed) return name;
    const uint64_t hash = vkd__hash(VKD__HASH_SEED, text, strlen(text));
    return vkd__arena_format(g->arena, "%s-%08x", name, (unsigned)(hash & 0xffffffffu));
}

/* Whether another axis's key ends so too, after a dot. */
static bool ends_another(const sweep_grid *g, uint32_t axis, const char *end) {
    const size_t length = strlen(end);
    for (uint32_t i = 0; i < g->axis_count; i++) {
        const size_t n = strlen(g->axes[i].key);
        if (i == axis || n < length || strcmp(g->axes[i].key + n - length, end) != 0) continue;
        if (n == length || g->axes[i].key[n - length - 1] == '.') return true;
    }
    return false;
}

const char *sweep_grid_heading(const sweep_grid *g, uint32_t axis) {
    const char *key = g->axes[axis].key;
    for (const char *at = key + strlen(key); at > key; at--)
        if (at[-1] == '.' && !ends_another(g, axis, at)) return at;
    return key;
}
