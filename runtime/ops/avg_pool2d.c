// SPDX-License-Identifier: Apache-2.0
/* avg_pool2d: y[n,y,x,c] = sum of image[n,h,w,c] over the window's pixels in the image / count
 *
 *   dimage[n,h,w,c] = sum over the windows with (h, w) of dy[n,y,x,c] / count
 *
 * A window is the kernel's R S pixels, and count is R S or those of them that lie in the image. Or
 * windows are the bins of adaptive pooling, which cover the image and may overlap by a pixel: rows
 * floor(y H / Y) to ceil((y + 1) H / Y) - 1, columns alike, as PyTorch has them. The bins with
 * pixel h are then those of the same formula with H and Y exchanged: floor(y H / Y) <= h  <=>  y H
 * / Y < h + 1  <=>  y < (h + 1) Y / H  <=>  y <= ceil((h + 1) Y / H) - 1 h < ceil((y + 1) H / Y)
 * <=>  h < (y + 1) H / Y  <=>  h Y / H < y + 1  <=>  floor(h Y / H) <= y */
#include <string.h>

#include "ops/pool2d.h"

static vkd_tensor emit(vkd_graph *g, vkd_tensor x, const vkd__pool2d *p) {
    return vkd__emit1(g, &vkd_op_avg_pool2d, x, p, sizeof *p);
}

vkd_tensor vkd_avg_pool2d(vkd_graph *g, vkd_tensor x, const vkd_pool2d_desc *desc) {
    const bool all = !desc || desc->divisor == VKD_POOL_COUNT_INCLUDE_PAD;
    const vkd__pool2d p = vkd__pool2d_of(desc, all ? VKD_POOL_INCLUDE : VKD_POOL_EXCLUDE);
    return emit(g, x, &p);
}

vkd_tensor vkd_adaptive_avg_pool2d(vkd_graph *g, vkd_tensor x, uint32_t height, uint32_t width) {
    const vkd__pool2d bins = {
        .kind = VKD_POOL_BINS, .kernel = {1, 1}, .stride = {1, 1}, .size = {height, width}};
    const vkd_shape s = vkd_tensor_shape(g, x);
    if (g->status || !x.id || s.axes != 4 || !height || !width) return emit(g, x, &bins);
    if (height == 1 && width == 1) return vkd_mean(g, x, 1u << 1 | 1u << 2, true);
    if (height == s.dim[1] && width == s.dim[2]) return x;
    if (s.dim[1] % height || s.dim[2] % width) return emit(g, x, &bins);
    /* Equal bins are windows side by side. */
    return vkd_avg_pool2d(g, x,
                          &(vkd_pool2d_desc){.kernel = {s.dim[1] / height, s.dim[2] / width}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd_shape y;
    if (!vkd__pool2d_infer(g, n, &y)) return false;
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__pool2d_grad(g, &vkd_op_avg_pool2d_grad, n, dout[0], (vkd_tensor){0});
}

static double count_of(const vkd__pool2d_at *at) {
    if (at->p->kind == VKD_POOL_INCLUDE) return (double)at->p->kernel[0] * at->p->kernel[1];
    return (double)(at->rows.end - at->rows.first) * (at->columns.end - at->columns.first);
}

static void average(const vkd__pool2d_at *at) {
    double sum = 0;
    for (uint32_t h = at->rows.first; h < at->rows.end; h++)
        for (uint32_t w = at->columns.first; w < at->columns.end; w++)
            sum += at->r->in[0].v[at->image + ((uint64_t)h * at->width + w) * at->channels];
    at->r->out[0].v[at->result] = sum / count_of(at);
}

static void reference(const vkd__ref *r) {
    vkd__pool2d_each(r, r->in[0].tensor->shape, r->out[0].tensor->shape, average);
}

/* ---- Gradient ---- */

static void spread(const vkd__pool2d_at *at) {
    const double share = at->r->in[0].v[at->result] / count_of(at);
    for (uint32_t h = at->rows.first; h < at->rows.end; h++)
        for (uint32_t w = at->columns.first; w < at->columns.end; w++)
            at->r->out[0].v[at->image + ((uint64_t)h * at->width + w) * at->channels] += share;
}

static void grad_reference(const vkd__ref *r) {
    const vkd_shape image = r->out[0].tensor->shape;
    memset(r->out[0].v, 0, vkd_shape_count(image) * sizeof(double));
    vkd__pool2d_each(r, image, r->in[0].tensor->shape, spread);
}

/* ---- Cases: windows with either divisor, then bins ---- */

static const struct {
    uint32_t image[4], size[2];
    const char *what;
} bins[] = {
    {{2, 7, 5, 4}, {3, 2}, "bins overlap"},
    {{2, 8, 6, 8}, {4, 3}, "equal bins"},
    {{1, 3, 4, 4}, {7, 9}, "more bins than pixels"},
    {{3, 9, 7, 3}, {2, 5}, "ragged channels"},
    {{2, 7, 6, 4}, {1, 4}, "one row"},
    {{130, 3, 2, 1}, {2, 2}, "many images"},
    /* No op of its own, and none for the gradient. */
    {{2, 7, 7, 12}, {1, 1}, "a mean"},
    {{2, 4, 4, 1}, {4, 4}, "nothing to do"},
};

static vkd_tensor build(vkd__case *c) {
    const uint32_t which = c->index / 2;
    if (which >= VKD__POOL2D_CASES) {
        const uint32_t b = c->index - 2 * VKD__POOL2D_CASES;
        c->what = bins[b].what;
        const vkd_tensor x = vkd__case_f32(c, vkd_shape_make(4, bins[b].image), -1, 1);
        return vkd_adaptive_avg_pool2d(c->g, x, bins[b].size[0], bins[b].size[1]);
    }
    vkd_pool2d_desc d = vkd__pool2d_cases[which].desc;
    d.divisor = c->index % 2 ? VKD_POOL_COUNT_EXCLUDE_PAD : VKD_POOL_COUNT_INCLUDE_PAD;
    c->what = vkd__pool2d_cases[which].what;
    const vkd_shape shape = vkd_shape_make(4, vkd__pool2d_cases[which].image);
    return vkd_avg_pool2d(c->g, vkd__case_f32(c, shape, -1, 1), &d);
}

static void build_case(vkd__case *c) {
    vkd__case_output(c, build(c));
}

static void build_grad_case(vkd__case *c) {
    const vkd_tensor y = build(c);
    if (!y.id) return;
    const vkd_tensor dy = vkd__case_fixed(c, vkd_tensor_shape(c->g, y), 0.5, 1);
    const vkd__node n = *vkd__producer(c->g, y);
    vkd__case_output(c, vkd__pool2d_grad(c->g, &vkd_op_avg_pool2d_grad, &n, dy, (vkd_tensor){0}));
}

const vkd_op_def vkd_op_avg_pool2d = {
    .name = "avg_pool2d",
    .summary = "the average of each window, or bin, of images (N, H, W, C)",
    .infer = infer,
    .backward = backward,
    .lower = vkd__pool2d_lower,
    .reference = reference,
    .case_count = 2 * VKD__POOL2D_CASES + VKD_COUNT(bins),
    .build_case = build_case,
};

const vkd_op_def vkd_op_avg_pool2d_grad = {
    .name = "avg_pool2d_grad",
    .summary = "the gradient of avg_pool2d: a share to each pixel of the window",
    .infer = vkd__pool2d_grad_infer,
    .lower = vkd__pool2d_grad_lower,
    .reference = grad_reference,
    .case_count = 2 * VKD__POOL2D_CASES + VKD_COUNT(bins) - 2,
    .build_case = build_grad_case,
    .no_difference_test = "it is a gradient itself; avg_pool2d's cases check it",
};
