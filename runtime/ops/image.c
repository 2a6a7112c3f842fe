// SPDX-License-Identifier: Apache-2.0
#include "ops/image.h"

#include "ops/row.h"

enum { LARGEST_SIDE = 65535 };

bool vkd__image_check_side(vkd_graph *g, const vkd__node *n, uint64_t side) {
    if (side >= 1 && side <= LARGEST_SIDE) return true;
    return vkd__graph_fail(g, n, VKD_E_SHAPE, "images have 1 to %d rows and columns, not %llu",
                           (int)LARGEST_SIDE, (unsigned long long)side);
}

bool vkd__image_check(vkd_graph *g, const vkd__node *n, uint32_t i) {
    const vkd__tensor *t = vkd__tensor_get(g, n->in[i]);
    if (!vkd__need_f32(g, n, i)) return false;
    if (t->shape.axes != 4)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "images (N, H, W, C) are wanted, '%s' is %s",
                               t->name, vkd__shape_text(g, t->shape));
    return vkd__image_check_side(g, n, t->shape.dim[1]) &&
           vkd__image_check_side(g, n, t->shape.dim[2]);
}

/* Images that both tensors have in a window: all, or a multiple of 64, which begins at a multiple
 * of 256 bytes in each. 0: the plan has failed. */
static uint32_t window_of(vkd__lower *l, vkd_shape from, vkd_shape to) {
    const uint64_t a = 4 * vkd_shape_count(from) / from.dim[0];
    const uint64_t b = 4 * vkd_shape_count(to) / to.dim[0];
    uint64_t window = vkd__window_rows(l->profile, a > b ? a : b, to.dim[0]);
    if (window < to.dim[0]) window = window / 64 * 64;
    if (!window)
        vkd__lower_fail(l, VKD_E_SHAPE,
                        "64 images of %llu bytes do not fit into a binding of %llu bytes, the most "
                        "on this device; use smaller images or batches",
                        (unsigned long long)(a > b ? a : b),
                        (unsigned long long)l->profile->max_binding);
    return (uint32_t)window;
}

static void bind(vkd__lower *l, vkd__launch *launch, vkd_tensor t, vkd__access access,
                 uint32_t first, uint32_t images) {
    const vkd_shape shape = vkd_tensor_shape(l->g, t);
    const uint32_t image = (uint32_t)(vkd_shape_count(shape) / shape.dim[0]);
    vkd__row_bind(launch, t, access, first, images, image);
}

static void bind_places(vkd__lower *l, vkd__launch *launch, const vkd__image_walk *w,
                        uint32_t first, uint32_t images) {
    if (w->places.id)
        bind(l, launch, w->places, w->places_access, first, images);
    else if (w->places_access == VKD__READ)
        vkd__bind(launch, w->places, VKD__READ);
    else if (w->places_access == VKD__WRITE)
        vkd__bind_scratch(launch, vkd__scratch_add(l, 16), VKD__WRITE);
}

static bool launch_images(vkd__lower *l, const vkd__image_walk *w, uint32_t first,
                          uint32_t images) {
    const vkd_shape from = vkd_tensor_shape(l->g, w->from), to = vkd_tensor_shape(l->g, w->to);
    const bool aligned = to.dim[3] % 4 == 0;
    const uint64_t elements = vkd_shape_count(to) / to.dim[0] * images;
    const uint64_t items = aligned ? elements / 4 : elements;
    vkd__launch *launch = vkd__item_launch(l, w->kernel, items);
    if (!launch) return false;
    bind(l, launch, w->from, VKD__READ, first, images);
    bind(l, launch, w->to, VKD__WRITE, first, images);
    bind_places(l, launch, w, first, images);
    const uint32_t sizes[] = {aligned, to.dim[3], from.dim[1], from.dim[2], to.dim[1], to.dim[2]};
    for (uint32_t i = 0; i < VKD_COUNT(sizes); i++)
        vkd__spec(launch, 10 + i, sizes[i]);
    for (uint32_t i = 0; i < VKD_COUNT(w->spec); i++)
        vkd__spec(launch, 16 + i, w->spec[i]);
    const struct vkd_image_params push = {.items = (vkd_u32)items};
    vkd__push(launch, &push, sizeof push);
    const uint64_t gathered = vkd_shape_count(from) / from.dim[0] * images;
    const double read = (double)gathered, made = (double)elements;
    const double places = !w->places.id ? 0 : w->places_access == VKD__READ ? read : made;
    vkd__cost(launch, w->flops * made, 4 * (read + made + places));
    return true;
}

bool vkd__image_lower(vkd__lower *l, const vkd__image_walk *w) {
    const vkd_shape from = vkd_tensor_shape(l->g, w->from), to = vkd_tensor_shape(l->g, w->to);
    const uint32_t window = window_of(l, from, to), count = to.dim[0];
    for (uint32_t at = 0; window && at < count; at += window)
        if (!launch_images(l, w, at, count - at < window ? count - at : window)) return false;
    return window != 0;
}
