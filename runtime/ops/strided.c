// SPDX-License-Identifier: Apache-2.0
#include "ops/strided.h"

#include <string.h>

vkd__strided vkd__strided_over(vkd_shape shape, uint32_t operands) {
    vkd__strided s = {.axes = shape.axes ? shape.axes : 1, .operands = operands, .dim = {1}};
    for (uint32_t k = 0; k < shape.axes; k++)
        s.dim[k] = shape.dim[shape.axes - 1 - k];
    return s;
}

void vkd__strided_broadcast(vkd__strided *s, uint32_t i, vkd_shape shape) {
    uint64_t step = 1;
    for (uint32_t k = 0; k < shape.axes; k++) {
        const uint32_t size = shape.dim[shape.axes - 1 - k];
        s->stride[i][k] = size == 1 ? 0 : step;
        step *= size;
    }
}

void vkd__strided_part(vkd__strided *s, uint32_t i, vkd_shape whole, const uint32_t *order,
                       uint64_t offset) {
    uint64_t step[VKD_MAX_AXES] = {0}, next = 1;
    for (uint32_t axis = whole.axes; axis-- > 0;) {
        step[axis] = next;
        next *= whole.dim[axis];
    }
    for (uint32_t axis = 0; axis < whole.axes; axis++)
        s->stride[i][whole.axes - 1 - axis] = step[order ? order[axis] : axis];
    s->offset[i] = offset;
}

static bool walks_as_one(const vkd__strided *s, uint32_t inner, uint32_t outer) {
    for (uint32_t i = 0; i < s->operands; i++)
        if (s->stride[i][outer] != s->stride[i][inner] * s->dim[inner]) return false;
    return true;
}

void vkd__strided_merge(vkd__strided *s) {
    uint32_t last = 0; /* the axis that grows */
    for (uint32_t k = 1; k < s->axes; k++) {
        if (s->dim[k] == 1) continue;
        if (s->dim[last] == 1 || walks_as_one(s, last, k)) {
            const bool take = s->dim[last] == 1;
            s->dim[last] *= s->dim[k];
            for (uint32_t i = 0; take && i < s->operands; i++)
                s->stride[i][last] = s->stride[i][k];
            continue;
        }
        last++;
        s->dim[last] = s->dim[k];
        for (uint32_t i = 0; i < s->operands; i++)
            s->stride[i][last] = s->stride[i][k];
    }
    s->axes = last + 1;
}

uint64_t vkd__strided_count(const vkd__strided *s) {
    uint64_t count = 1;
    for (uint32_t k = 0; k < s->axes; k++)
        count *= s->dim[k];
    return count;
}

/* Elements from an operand's first to its last, both included. */
static uint64_t span(const vkd__strided *s, uint32_t i, uint32_t axes) {
    uint64_t total = 1;
    for (uint32_t k = 0; k < axes; k++)
        total += (s->dim[k] - 1) * s->stride[i][k];
    return total;
}

/* A binding may begin up to 63 elements before what it is for: offsets are multiples of 256 bytes.
 */
#define SLACK 64u

/* How many rows of axis `outer` fit, with all axes inside of it. */
static uint64_t rows_that_fit(const vkd__strided *s, const vkd_profile *p, uint32_t outer) {
    const uint64_t limit = p->max_binding / sizeof(float);
    uint64_t rows = s->dim[outer];
    for (uint32_t i = 0; i < s->operands; i++) {
        const uint64_t one = span(s, i, outer) + SLACK, step = s->stride[i][outer];
        if (one > limit) return 0;
        const uint64_t most = step ? (limit - one) / step + 1 : rows;
        if (most < rows) rows = most;
    }
    return rows;
}

#define MOST_WINDOWS 4096u

bool vkd__strided_walk_init(vkd__strided_walk *w, vkd__lower *l, const vkd__strided *s) {
    *w = (vkd__strided_walk){.s = s, .axes = s->axes};
    while (!(w->rows = rows_that_fit(s, l->profile, w->axes - 1)) && w->axes > 1)
        w->axes--;
    const uint64_t rows = s->dim[w->axes - 1];
    /* Windows that begin at a multiple of four rows keep every quad whole. */
    if (w->rows < rows && w->rows >= 4)
        w->rows = w->rows / (w->rows < SLACK ? 4 : SLACK) * (w->rows < SLACK ? 4 : SLACK);
    w->quads = w->axes == s->axes && (w->rows == rows || w->rows % 4 == 0);
    uint64_t windows = w->rows ? vkd__div_up(rows, w->rows) : MOST_WINDOWS + 1;
    for (uint32_t k = w->axes; k < s->axes && windows <= MOST_WINDOWS; k++)
        windows *= s->dim[k];
    if (windows <= MOST_WINDOWS) return true;
    return vkd__lower_fail(l, VKD_E_SHAPE,
                           "one binding of this device is too small for it, in this order of axes; "
                           "it would take more than %u launches",
                           MOST_WINDOWS);
}

bool vkd__strided_walk_next(vkd__strided_walk *w, vkd__strided *part) {
    if (w->done) return false;
    const uint32_t outer = w->axes - 1;
    const uint64_t left = w->s->dim[outer] - w->at[outer];
    *part = *w->s;
    part->axes = w->axes;
    part->dim[outer] = left < w->rows ? left : w->rows;
    for (uint32_t i = 0; i < part->operands; i++)
        for (uint32_t k = outer; k < w->s->axes; k++)
            part->offset[i] += w->at[k] * part->stride[i][k];
    w->at[outer] += part->dim[outer];
    for (uint32_t k = outer; w->at[k] == w->s->dim[k]; k++) {
        if (k + 1 == w->s->axes) {
            w->done = true;
            break;
        }
        w->at[k] = 0;
        w->at[k + 1]++;
    }
    return true;
}

void vkd__strided_bind(vkd__lower *l, vkd__launch *launch, vkd_tensor t, vkd__access access,
                       vkd__strided *part, uint32_t i) {
    const uint64_t bytes = vkd_shape_count(vkd_tensor_shape(l->g, t)) * sizeof(float);
    if (bytes <= l->profile->max_binding) {
        vkd__bind(launch, t, access);
        return;
    }
    const uint64_t first = part->offset[i] / SLACK * SLACK;
    part->offset[i] -= first;
    const uint64_t length = part->offset[i] + span(part, i, part->axes);
    vkd__bind_window(launch, t, access, first * sizeof(float), length * sizeof(float));
}

struct vkd_strided_params vkd__strided_push(const vkd__strided *s) {
    struct vkd_strided_params p = {.count = (vkd_u32)vkd__strided_count(s),
                                   .offset_a = (vkd_u32)s->offset[0],
                                   .offset_b = (vkd_u32)s->offset[1],
                                   .offset_y = (vkd_u32)s->offset[2]};
    for (uint32_t k = 0; k < VKD_STRIDED_AXES; k++) {
        const bool there = k < s->axes;
        p.dim[k] = there ? (vkd_u32)s->dim[k] : 1;
        p.stride_a[k] = there ? (vkd_u32)s->stride[0][k] : 0;
        p.stride_b[k] = there ? (vkd_u32)s->stride[1][k] : 0;
    }
    return p;
}

/* ---- The copy kernel ---- */

static bool quads_lie_together(const vkd__strided *s, uint32_t i) {
    bool together = s->stride[i][0] == 1 && s->offset[i] % 4 == 0;
    for (uint32_t k = 1; k < s->axes; k++)
        together = together && s->stride[i][k] % 4 == 0;
    return together;
}

static bool is_contiguous(const vkd__strided *s, uint32_t i) {
    uint64_t step = 1;
    for (uint32_t k = 0; k < s->axes; k++) {
        if (s->stride[i][k] != step) return false;
        step *= s->dim[k];
    }
    return s->offset[i] % 4 == 0;
}

/* How the kernel may go about it, from the window's offsets in its bindings. A y that is only part
 * of a tensor is never written beyond its elements: whole quads there need a row of whole quads. */
static void choose(vkd__launch *launch, const vkd__strided *part, bool whole) {
    const bool rows = part->dim[0] % 4 == 0 || (part->axes == 1 && whole);
    const bool y = rows && quads_lie_together(part, 1);
    uint32_t vector = 0;
    if (y && quads_lie_together(part, 0)) vector = 1;
    if (y && part->stride[0][0] == 0) vector = 2;
    vkd__spec(launch, 10, part->axes);
    vkd__spec(launch, 11, vector);
    vkd__spec(launch, 12, whole && is_contiguous(part, 1));
}

bool vkd__copy_lower(vkd__lower *l, vkd_tensor x, vkd_tensor y, const vkd__strided *s) {
    const bool integer = vkd_tensor_dtype(l->g, x) == VKD_I32;
    const char *kernel = integer ? "copy.int" : vkd__variant(l, "copy");
    const bool whole = vkd__strided_count(s) == vkd_shape_count(vkd_tensor_shape(l->g, y));
    vkd__strided_walk walk;
    if (!vkd__strided_walk_init(&walk, l, s)) return false;
    for (vkd__strided part; vkd__strided_walk_next(&walk, &part);) {
        vkd__launch *launch = vkd__launch_add(l, kernel);
        if (!launch) return false;
        vkd__strided_bind(l, launch, x, VKD__READ, &part, 0);
        vkd__strided_bind(l, launch, y, VKD__WRITE, &part, 1);
        choose(launch, &part, whole && walk.quads);
        const struct vkd_strided_params push = vkd__strided_push(&part);
        vkd__push(launch, &push, sizeof push);
        vkd__grid(l, launch, vkd__div_up(vkd__div_up(push.count, 4), l->profile->flat_workgroup));
        vkd__cost(launch, 0, 8.0 * (double)push.count);
    }
    return true;
}
