// SPDX-License-Identifier: Apache-2.0
/* What the rows on convolutions build: m images, size x size pixels, k channels to n, in
 * groups of both; their gradients for a dy of its own. */
#include "cli/bench.h"
#include "ops/conv2d.h"

static vkd_tensor image(vkd_graph *g, const bench_row *r) {
    return bench_normal(g, "b.x", VKD_SHAPE(r->m, r->size, r->size, r->k));
}

static vkd_tensor weight(vkd_graph *g, const bench_row *r) {
    return bench_normal(g, "b.weight", VKD_SHAPE(r->n, r->kernel, r->kernel, r->k / r->groups));
}

static vkd__conv2d params(const bench_row *r) {
    const uint32_t padding = r->kernel / 2 * r->dilation;
    return (vkd__conv2d){.stride = {r->stride, r->stride},
                         .padding = {padding, padding},
                         .dilation = {r->dilation, r->dilation},
                         .groups = r->groups,
                         .image = {r->size, r->size, r->k},
                         .kernel = {r->kernel, r->kernel}};
}

static vkd_tensor slope(vkd_graph *g, const bench_row *r) {
    const uint32_t to = (r->size - 1) / r->stride + 1;
    return bench_normal(g, "b.dy", VKD_SHAPE(r->m, to, to, r->n));
}

void bench_build_conv(vkd_graph *g, const bench_row *r) {
    const vkd__conv2d p = params(r);
    bench_keep(g, "y", vkd__conv2d_of(g, image(g, r), weight(g, r), &p));
}

void bench_build_conv_image(vkd_graph *g, const bench_row *r) {
    const vkd__conv2d p = params(r);
    bench_keep(g, "dx", vkd__conv2d_transpose_of(g, slope(g, r), weight(g, r), &p));
}

void bench_build_conv_weight(vkd_graph *g, const bench_row *r) {
    const vkd__conv2d p = params(r);
    bench_keep(g, "dw", vkd__conv2d_weight_of(g, image(g, r), slope(g, r), &p));
}
