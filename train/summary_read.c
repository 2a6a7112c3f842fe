// SPDX-License-Identifier: Apache-2.0
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "train/summary.h"

static double number_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static uint32_t count_of(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    const json_int_t n = json_is_integer(value) ? json_integer_value(value) : 0;
    return n > 0 && n <= UINT32_MAX ? (uint32_t)n : 0;
}

static const char *text_of(vkd__arena *arena, const json_t *object, const char *key) {
    const char *text = json_string_value(json_object_get(object, key));
    return vkd__arena_format(arena, "%s", text ? text : "");
}

static vkd_result read_row(vkd__arena *arena, const json_t *from, vkd_row *out) {
    const json_t *parameters = json_object_get(from, "parameters");
    *out = (vkd_row){.label = text_of(arena, from, "label"),
                     .model = text_of(arena, from, "model"),
                     .seeds = count_of(from, "seeds"),
                     .tests = count_of(from, "tests"),
                     .parameters = (uint64_t)json_integer_value(parameters)};
    for (size_t f = 0; f < vkd__figure_count; f++) {
        const vkd__figure_place *place = &vkd__figure_places[f];
        const char *key = vkd__arena_format(arena, "%s_deviation", place->name);
        if (!key) return VKD_E_MEMORY;
        vkd_figure figure = {number_of(from, place->name), number_of(from, key)};
        if (!isfinite(figure.deviation)) figure.deviation = 0;
        memcpy((char *)out + place->to, &figure, sizeof figure);
    }
    return out->label && out->model ? VKD_OK : VKD_E_MEMORY;
}

static vkd_result read_rows(vkd__arena *arena, const json_t *list, vkd_row **rows,
                            uint32_t *row_count) {
    const size_t count = json_array_size(list);
    vkd_result r = VKD_OK;
    *rows = VKD_NEW(arena, vkd_row, count + 1);
    if (!*rows) return VKD_E_MEMORY;
    for (size_t i = 0; i < count && !r; i++)
        r = read_row(arena, json_array_get(list, i), &(*rows)[i]);
    *row_count = (uint32_t)count;
    return r;
}

vkd_result vkd__summary_parse(vkd__arena *arena, const char *name, const void *bytes, size_t size,
                              vkd_row **rows, uint32_t *row_count, uint32_t *seeds) {
    json_error_t error;
    json_t *all = json_loadb(bytes, size, 0, &error);
    const json_t *list = json_object_get(all, "rows");
    vkd_result r = VKD_OK;
    *rows = NULL;
    *row_count = 0;
    *seeds = count_of(all, "seeds");
    if (!all)
        r = vkd__fail(arena->ctx, VKD_E_FORMAT, "'%s', line %d: %s", name, error.line, error.text);
    else if (!json_is_array(list) || !*seeds)
        r = vkd__fail(arena->ctx, VKD_E_FORMAT, "'%s' is not the summary of a run", name);
    else
        r = read_rows(arena, list, rows, row_count);
    json_decref(all);
    return r;
}

vkd_result vkd__summary_read(vkd__arena *arena, const char *folder, vkd_row **rows,
                             uint32_t *row_count, uint32_t *seeds) {
    vkd__mapping file = {0};
    const char *path = vkd__arena_format(arena, "%s/summary.json", folder);
    if (!path) return VKD_E_MEMORY;
    vkd_result r = vkd__map_file(arena->ctx, path, &file);
    if (r) return r;
    r = vkd__summary_parse(arena, path, file.bytes, file.size, rows, row_count, seeds);
    vkd__unmap_file(&file);
    return r;
}
