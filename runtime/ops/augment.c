// SPDX-License-Identifier: Apache-2.0
/* augment: with the numbers that augment_draw drew for image n,
 *
 *   y[n,i,j,c] = gain x(n, at_y, at_x, c) + offset, or 0 inside the square that is cut out
 *   at_y = (y_first + yy i + yx j) / 2^16, at_x = (x_first + xy i + xx j) / 2^16
 *
 * where x at a place between pixels is interpolated linearly from the four around it; outside the
 * image there are zeros, or its reflections about the centres of its edge pixels, over and over. */
#include <math.h>

#include "ops/augment.h"

#include "base/philox.h"
#include "ops/row.h"

typedef struct augment_params {
    uint32_t between; /* places may lie between pixels */
    uint32_t reflect, colour, cut;
} augment_params;

vkd_tensor vkd__augment_apply(vkd_graph *g, vkd_tensor x, vkd_tensor numbers,
                              const vkd_augment_desc *d) {
    const augment_params p = {
        .between = d->shift > 0 || d->rotate > 0 || d->scale > 0 || d->shear > 0 ||
                   (d->randaugment_ops && d->randaugment_magnitude),
        .reflect = d->pad_mode == VKD_PAD_REFLECT,
        .colour = d->brightness > 0 || d->contrast > 0 ||
                  (d->randaugment_ops && d->randaugment_magnitude),
        .cut = d->cutout > 0,
    };
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_augment,
                                          .in_count = 2,
                                          .in = {x, numbers},
                                          .params = &p,
                                          .params_size = sizeof p});
}

/* Also refuses a NaN. */
static bool check(vkd_graph *g, const char *what, double value, double most) {
    if (value >= 0 && value <= most) return true;
    return vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "augment: %s is %g, and should be 0 to %g",
                           what, value, most);
}

static bool check_all(vkd_graph *g, vkd_tensor x, const vkd_augment_desc *d) {
    const vkd__tensor *t = vkd__tensor_get(g, x);
    if (t->shape.axes != 4)
        return vkd__graph_fail(g, NULL, VKD_E_SHAPE,
                               "augment('%s'): images (N, H, W, C) are wanted, not %s", t->name,
                               vkd__shape_text(g, t->shape));
    if (t->shape.dim[1] > VKD__AUGMENT_SIDE || t->shape.dim[2] > VKD__AUGMENT_SIDE)
        return vkd__graph_fail(g, NULL, VKD_E_SHAPE,
                               "augment('%s'): images of %u x %u pixels, more than %u to a side",
                               t->name, t->shape.dim[1], t->shape.dim[2], VKD__AUGMENT_SIDE);
    return check(g, "crop", d->crop, VKD__AUGMENT_SIDE - 1) &&
           check(g, "flip", (double)d->flip, 1) && check(g, "scale", (double)d->scale, 0.5) &&
           check(g, "shear", (double)d->shear, 1) && check(g, "rotate", (double)d->rotate, 180) &&
           check(g, "shift", (double)d->shift, VKD__AUGMENT_SIDE / 2.0) &&
           check(g, "randaugment_ops", d->randaugment_ops, VKD_AUGMENT_OPS) &&
           check(g, "randaugment_magnitude", d->randaugment_magnitude, 30) &&
           check(g, "contrast", (double)d->contrast, 1) &&
           check(g, "brightness", (double)d->brightness, 16) &&
           check(g, "cutout", d->cutout, 2 * VKD__AUGMENT_SIDE);
}

vkd_tensor vkd_augment(vkd_graph *g, vkd_tensor x, const vkd_augment_desc *desc, const char *name) {
    if (g->status || !x.id) return vkd__emit1(g, &vkd_op_augment, x, NULL, 0);
    if (!check_all(g, x, desc)) return (vkd_tensor){0};
    const bool any = desc->crop || desc->flip > 0 || desc->scale > 0 || desc->shear > 0 ||
                     desc->rotate > 0 || desc->shift > 0 || desc->contrast > 0 ||
                     desc->brightness > 0 || desc->cutout ||
                     (desc->randaugment_ops && desc->randaugment_magnitude);
    if (!any) return x;
    struct vkd_augment_draw_params p = vkd__augment_most(desc, vkd_tensor_shape(g, x));
    p.seed = g->seed;
    p.stream = vkd__philox_stream(name);
    return vkd__augment_apply(g, x, vkd__augment_draw(g, &p), desc);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__need_f32(g, n, 0)) return false;
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

/* ---- Lowering ---- */

static bool lower_window(vkd__lower *l, const vkd__node *n, uint64_t first, uint64_t images) {
    const augment_params *p = n->params;
    const vkd_shape x = vkd_tensor_shape(l->g, n->in[0]);
    const uint32_t image = x.dim[1] * x.dim[2] * x.dim[3];
    const char *kernel = vkd__variant(l, "augment");
    vkd__launch *launch = vkd__launch_add(l, kernel);
    if (!launch) return false;
    vkd__row_bind(launch, n->in[0], VKD__READ, first, images, image);
    vkd__row_bind(launch, n->in[1], VKD__READ, first, images, VKD_AUGMENT_NUMBERS);
    vkd__row_bind(launch, n->out[0], VKD__WRITE, first, images, image);
    const uint32_t spec[] = {image % 4 == 0, x.dim[1],   x.dim[2],  x.dim[3],
                             p->between,     p->reflect, p->colour, p->cut};
    for (uint32_t i = 0; i < VKD_COUNT(spec); i++)
        vkd__spec(launch, 10 + i, spec[i]);
    /* A workgroup works on one image, at four quads an invocation or so. */
    const uint64_t quads = vkd__div_up(image, 4);
    const uint64_t chunks = vkd__div_up(quads, 4ull * l->profile->flat_workgroup);
    const struct vkd_augment_params push = {.images = (vkd_u32)images,
                                            .chunks = (vkd_u32)chunks,
                                            .span = (vkd_u32)vkd__div_up(quads, chunks)};
    vkd__push(launch, &push, sizeof push);
    vkd__grid(l, launch, images * chunks);
    const double elements = (double)images * image;
    vkd__cost(launch, (p->between ? 40 : 10) * elements, 8 * elements);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const vkd_shape x = vkd_tensor_shape(l->g, n->in[0]);
    const uint64_t image = 4ull * vkd_shape_count(x) / x.dim[0];
    uint64_t window = vkd__window_rows(l->profile, image, x.dim[0]);
    if (window < x.dim[0]) window = window / 64 * 64;
    if (!window)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "64 images of %llu bytes do not fit into a binding of %llu bytes, "
                               "the most on this device; use smaller images or batches",
                               (unsigned long long)image,
                               (unsigned long long)l->profile->max_binding);
    for (uint64_t at = 0; at < x.dim[0]; at += window)
        if (!lower_window(l, n, at, x.dim[0] - at < window ? x.dim[0] - at : window)) return false;
    return true;
}

/* ---- Reference ---- */

/* Pixel i of a side, or the one that it is a reflection of; -1: none. */
static int64_t pixel_of(int64_t i, uint32_t side, bool reflect) {
    if (!reflect) return i >= 0 && i < side ? i : -1;
    const int64_t last = (int64_t)side - 1;
    while (last && (i < 0 || i > last))
        i = i < 0 ? -i : 2 * last - i;
    return last ? i : 0;
}

/* Of channel c of one image. */
static double sampled(const double *x, vkd_shape s, bool reflect, double at_y, double at_x,
                      uint32_t c) {
    const double y0 = floor(at_y), x0 = floor(at_x);
    double sum = 0;
    for (int i = 0; i < 4; i++) {
        const double wy = i / 2 ? at_y - y0 : 1 - (at_y - y0);
        const double wx = i % 2 ? at_x - x0 : 1 - (at_x - x0);
        const int64_t h = pixel_of((int64_t)y0 + i / 2, s.dim[1], reflect);
        const int64_t w = pixel_of((int64_t)x0 + i % 2, s.dim[2], reflect);
        if (h >= 0 && w >= 0 && wy * wx > 0)
            sum += wy * wx * x[((uint64_t)h * s.dim[2] + (uint64_t)w) * s.dim[3] + c];
    }
    return sum;
}

static bool is_cut(const double *number, uint32_t y, uint32_t x) {
    return y >= number[VKD__AUGMENT_CUT_TOP] && y < number[VKD__AUGMENT_CUT_BOTTOM] &&
           x >= number[VKD__AUGMENT_CUT_LEFT] && x < number[VKD__AUGMENT_CUT_RIGHT];
}

static void apply(const double *x, const double *number, vkd_shape s, bool reflect, double *y) {
    for (uint32_t i = 0; i < s.dim[1]; i++)
        for (uint32_t j = 0; j < s.dim[2]; j++)
            for (uint32_t c = 0; c < s.dim[3]; c++, y++) {
                const double at_y = (number[VKD__AUGMENT_Y_FIRST] + number[VKD__AUGMENT_YY] * i +
                                     number[VKD__AUGMENT_YX] * j) /
                                    65536;
                const double at_x = (number[VKD__AUGMENT_X_FIRST] + number[VKD__AUGMENT_XY] * i +
                                     number[VKD__AUGMENT_XX] * j) /
                                    65536;
                *y = sampled(x, s, reflect, at_y, at_x, c) * number[VKD__AUGMENT_GAIN] / 65536 +
                     number[VKD__AUGMENT_OFFSET] / 65536;
                if (is_cut(number, i, j)) *y = 0;
            }
}

static void reference(const vkd__ref *r) {
    const augment_params *p = r->node->params;
    const vkd_shape s = r->in[0].tensor->shape;
    const uint64_t image = vkd_shape_count(s) / s.dim[0];
    for (uint32_t n = 0; n < s.dim[0]; n++)
        apply(r->in[0].v + n * image, r->in[1].v + (uint64_t)n * VKD_AUGMENT_NUMBERS, s, p->reflect,
              r->out[0].v + n * image);
}

/* ---- Cases ---- */

static void build_case(vkd__case *c) {
    static const struct {
        const char *what;
        uint32_t image[4];
        vkd_augment_desc d;
    } cases[] = {
        {"crop, flip", {9, 6, 6, 1}, {.crop = 2, .flip = 0.5f}},
        {"crop, reflected", {7, 5, 7, 3}, {.crop = 4, .flip = 1, .pad_mode = VKD_PAD_REFLECT}},
        {"fractions of a pixel", {5, 8, 6, 4}, {.shift = 2.5f}},
        {"affine", {6, 9, 8, 3}, {.rotate = 180, .scale = 0.5f, .shear = 1}},
        {"affine, reflected",
         {6, 5, 8, 1},
         {.rotate = 60, .scale = 0.5f, .shear = 1, .pad_mode = VKD_PAD_REFLECT}},
        {"cutout", {8, 7, 6, 2}, {.cutout = 3}},
        {"colour", {4, 5, 5, 3}, {.brightness = 0.5f, .contrast = 0.5f}},
        {"randaugment", {16, 8, 8, 3}, {.randaugment_ops = 2, .randaugment_magnitude = 20}},
        {"everything",
         {12, 12, 10, 3},
         {.crop = 1,
          .pad_mode = VKD_PAD_REFLECT,
          .flip = 0.5f,
          .shift = 0.5f,
          .rotate = 20,
          .scale = 0.2f,
          .shear = 0.2f,
          .cutout = 4,
          .brightness = 0.1f,
          .contrast = 0.2f,
          .randaugment_ops = 3,
          .randaugment_magnitude = 9}},
        {"one pixel", {3, 1, 1, 1}, {.shift = 0.5f, .pad_mode = VKD_PAD_REFLECT}},
        {"rows of one pixel", {3, 5, 1, 5}, {.rotate = 30, .pad_mode = VKD_PAD_REFLECT}},
        {"many images", {200, 2, 3, 1}, {.crop = 1, .cutout = 1}},
        {"larger images", {2, 40, 40, 3}, {.flip = 0.5f, .rotate = 10}},
    };
    _Static_assert(VKD_COUNT(cases) == 13, "as vkd_op_augment says");
    c->what = cases[c->index].what;
    const vkd_tensor x = vkd__case_fixed(c, vkd_shape_make(4, cases[c->index].image), -2, 2);
    vkd__case_output(c, vkd_augment(c->g, x, &cases[c->index].d, "case"));
}

const vkd_op_def vkd_op_augment = {
    .name = "augment",
    .summary = "images moved, turned, recoloured and cut at random",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 13,
    .build_case = build_case,
    .no_difference_test = "it has no gradient",
};
