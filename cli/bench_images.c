// SPDX-License-Identifier: Apache-2.0
/* What the rows on images build, convolutions apart: m images, size x size pixels, k channels. */
#include "cli/bench.h"

static vkd_tensor image(vkd_graph *g, const bench_row *r) {
    return vkd_param(g, "b.x", VKD_SHAPE(r->m, r->size, r->size, r->k),
                     &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
}

/* n x n windows. */
static vkd_tensor max_pool(vkd_graph *g, const bench_row *r, vkd_tensor x) {
    const uint32_t padding = (r->n - 1) / 2;
    return vkd_max_pool2d(g, x,
                          &(vkd_pool2d_desc){.kernel = {r->n, r->n},
                                             .stride = {r->stride, r->stride},
                                             .padding = {padding, padding}});
}

/* y, and its gradient for a dy of its own. */
static void both_ways(vkd_graph *g, vkd_tensor x, vkd_tensor y) {
    const vkd_shape shape = vkd_tensor_shape(g, y);
    const uint32_t channels = shape.dim[shape.axes - 1];
    const uint32_t rows = (uint32_t)(vkd_shape_count(shape) / channels);
    const vkd_tensor dy = vkd_stop_gradient(g, bench_data(g, "t.dy", rows, channels));
    const vkd_tensor product = vkd_mul(g, y, vkd_reshape(g, dy, shape));
    vkd_tensor dx;
    vkd_backward(g, vkd_sum(g, product, VKD_ALL_AXES, false), &x, 1, &dx);
    bench_keep(g, "y", y);
    bench_keep(g, "dx", dx);
}

void bench_build_max_pool(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", max_pool(g, r, image(g, r)));
}

void bench_build_max_pool_backward(vkd_graph *g, const bench_row *r) {
    const vkd_tensor x = image(g, r);
    both_ways(g, x, max_pool(g, r, x));
}

void bench_build_global_average(vkd_graph *g, const bench_row *r) {
    bench_keep(g, "y", vkd_mean(g, image(g, r), 1u << 1 | 1u << 2, false));
}

void bench_build_global_average_backward(vkd_graph *g, const bench_row *r) {
    const vkd_tensor x = image(g, r);
    both_ways(g, x, vkd_mean(g, x, 1u << 1 | 1u << 2, false));
}

void bench_build_crop(vkd_graph *g, const bench_row *r) {
    const vkd_augment_desc d = {.crop = 4, .pad_mode = VKD_PAD_REFLECT, .flip = 0.5f};
    bench_keep(g, "y", vkd_augment(g, image(g, r), &d, "bench"));
}

void bench_build_affine(vkd_graph *g, const bench_row *r) {
    const vkd_augment_desc d = {
        .flip = 0.5f, .scale = 0.1f, .shear = 0.1f, .rotate = 15, .shift = 2, .cutout = 8};
    bench_keep(g, "y", vkd_augment(g, image(g, r), &d, "bench"));
}
