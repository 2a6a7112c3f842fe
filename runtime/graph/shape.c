// SPDX-License-Identifier: Apache-2.0
#include "graph/graph.h"

#include "base/half.h"

vkd_shape vkd_shape_make(uint32_t axes, const uint32_t *dims) {
    vkd_shape s = {.axes = axes};
    /* Too many axes is kept in `axes`, so that the op that sees it can refuse it by name. */
    for (uint32_t i = 0; i < axes && i < VKD_MAX_AXES; i++)
        s.dim[i] = dims[i];
    return s;
}

uint64_t vkd_shape_count(vkd_shape shape) {
    uint64_t count = 1;
    for (uint32_t i = 0; i < shape.axes && i < VKD_MAX_AXES; i++)
        count *= shape.dim[i];
    return count;
}

const char *vkd__shape_fault(vkd_shape shape, vkd_dtype dtype) {
    /* A data set of bytes may be large: its rows are counted, not its elements. */
    const uint64_t most = dtype == VKD_U8 ? (uint64_t)1 << 40 : UINT32_MAX;
    if (shape.axes > VKD_MAX_AXES) return "more than 5 axes";
    uint64_t left = most;
    for (uint32_t i = 0; i < shape.axes; i++) {
        if (!shape.dim[i]) return "no elements";
        left /= shape.dim[i];
    }
    if (left) return NULL;
    return dtype == VKD_U8 ? "more than 2^40 elements" : "more than 2^32 - 1 elements";
}

size_t vkd_dtype_size(vkd_dtype dtype) {
    return dtype == VKD_U8 ? 1 : vkd__is_half(dtype) ? 2 : 4;
}

double vkd__rounded(vkd_dtype dtype, double v) {
    if (dtype == VKD_F16) return (double)vkd__f16_to(vkd__f16_from((float)v));
    if (dtype == VKD_BF16) return (double)vkd__bf16_to(vkd__bf16_from((float)v));
    return v;
}

bool vkd__shape_equal(vkd_shape a, vkd_shape b) {
    if (a.axes != b.axes) return false;
    for (uint32_t i = 0; i < a.axes; i++)
        if (a.dim[i] != b.dim[i]) return false;
    return true;
}

bool vkd__shape_broadcast(vkd_shape a, vkd_shape b, vkd_shape *out) {
    vkd_shape s = {.axes = a.axes > b.axes ? a.axes : b.axes};
    for (uint32_t i = 0; i < s.axes; i++) {
        /* Axes are matched from the last one. */
        const uint32_t da = i < a.axes ? a.dim[a.axes - 1 - i] : 1;
        const uint32_t db = i < b.axes ? b.dim[b.axes - 1 - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        s.dim[s.axes - 1 - i] = da == 1 ? db : da;
    }
    *out = s;
    return true;
}

uint32_t vkd__shape_last(vkd_shape shape) {
    return shape.axes ? shape.dim[shape.axes - 1] : 1;
}

uint64_t vkd__shape_rows(vkd_shape shape) {
    const uint32_t last = vkd__shape_last(shape);
    return last ? vkd_shape_count(shape) / last : 0;
}

const char *vkd__shape_text(vkd_graph *g, vkd_shape shape) {
    vkd__text t = {.ctx = g->ctx};
    vkd__text_add(&t, "(");
    for (uint32_t i = 0; i < shape.axes && i < VKD_MAX_AXES; i++)
        vkd__text_add(&t, "%s%u", i ? ", " : "", shape.dim[i]);
    if (shape.axes > VKD_MAX_AXES) vkd__text_add(&t, ", and %u more", shape.axes - VKD_MAX_AXES);
    vkd__text_add(&t, ")");
    const char *text = t.failed ? "(?)" : vkd__arena_format(&g->arena, "%s", t.text);
    vkd__text_term(&t);
    return text ? text : "(?)";
}
