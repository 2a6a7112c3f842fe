// SPDX-License-Identifier: Apache-2.0
#include "train/model_order.h"

#include <string.h>

bool vkd__is_adapter(const char *rest) {
    return !strncmp(rest, "adapter.", sizeof "adapter." - 1);
}

bool vkd__model_holds(const vkd_store_info *info, const char *group, const char **rest) {
    const size_t length = strlen(group);
    if (!info->parameter && !info->buffer) return false;
    if (strncmp(info->name, group, length) != 0 || info->name[length] != '.') return false;
    *rest = info->name + length + 1;
    return !vkd__is_adapter(*rest);
}

static bool is_convolution(vkd_shape s) {
    return s.axes == 4;
}

vkd_shape vkd__model_file_shape(vkd_shape s) {
    return is_convolution(s) ? VKD_SHAPE(s.dim[0], s.dim[3], s.dim[1], s.dim[2]) : s;
}

/* Where element i of the store's order is in the file. */
static size_t place_of(vkd_shape s, size_t i) {
    if (!is_convolution(s)) return i;
    const size_t taps = (size_t)s.dim[1] * s.dim[2], c = i % s.dim[3];
    const size_t tap = i / s.dim[3] % taps, o = i / s.dim[3] / taps;
    return (o * s.dim[3] + c) * taps + tap;
}

void vkd__model_to_file(vkd_shape shape, const float *stored, float *file) {
    const size_t count = (size_t)vkd_shape_count(shape);
    for (size_t i = 0; i < count; i++)
        file[place_of(shape, i)] = stored[i];
}

void vkd__model_from_file(vkd_shape shape, const void *file, float *stored) {
    const size_t count = (size_t)vkd_shape_count(shape);
    for (size_t i = 0; i < count; i++)
        memcpy(&stored[i], (const char *)file + place_of(shape, i) * sizeof(float), sizeof(float));
}
