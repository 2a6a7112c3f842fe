// SPDX-License-Identifier: Apache-2.0
/* max_pool2d: y[n,y,x,c] = the largest of image[n, y stride + r - padding, x stride + s - padding,
 * c] over the kernel's r, s that lie in the image.
 *
 *   dimage[n,h,w,c] = sum over the windows whose first largest pixel is (h, w) of dy[n,y,x,c]
 *
 * The second output, which is there where a gradient asks for it, has the places of these, r S + s:
 * so each pixel gathers its gradient from the few windows that it lies in, and no atomics are
 * needed. A NaN is larger than any number; of several the last one counts, as in PyTorch. */
#include <math.h>
#include <string.h>

#include "ops/pool2d.h"

vkd_tensor vkd_max_pool2d(vkd_graph *g, vkd_tensor x, const vkd_pool2d_desc *desc) {
    const vkd__pool2d p = vkd__pool2d_of(desc, VKD_POOL_MAX);
    return vkd__emit1(g, &vkd_op_max_pool2d, x, &p, sizeof p);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd_shape y;
    if (!vkd__pool2d_infer(g, n, &y)) return false;
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

static vkd_tensor places_of(vkd_graph *g, const vkd__node *n) {
    if (n->out_count > 1) return n->out[1];
    return vkd__node_extend(g, n, 0, n->in[0], VKD_I32, vkd_tensor_shape(g, n->out[0]));
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__pool2d_grad(g, &vkd_op_max_pool2d_grad, n, dout[0], places_of(g, n));
}

static void largest(const vkd__pool2d_at *at) {
    const double *x = at->r->in[0].v;
    double most = -INFINITY;
    int64_t place = -1;
    for (uint32_t h = at->rows.first; h < at->rows.end; h++)
        for (uint32_t w = at->columns.first; w < at->columns.end; w++) {
            const double v = x[at->image + ((uint64_t)h * at->width + w) * at->channels];
            if (place >= 0 && !(v > most) && !isnan(v)) continue;
            most = v;
            place = (h - at->first_row) * at->p->kernel[1] + (w - at->first_column);
        }
    at->r->out[0].v[at->result] = most;
    if (at->r->out[1].v) at->r->out[1].v[at->result] = (double)place;
}

static void reference(const vkd__ref *r) {
    vkd__pool2d_each(r, r->in[0].tensor->shape, r->out[0].tensor->shape, largest);
}

static void build_case(vkd__case *c) {
    const vkd__pool2d_case *k = &vkd__pool2d_cases[c->index];
    c->what = k->what;
    const vkd_tensor x = vkd__case_f32(c, vkd_shape_make(4, k->image), -1, 1);
    vkd__case_output(c, vkd_max_pool2d(c->g, x, &k->desc));
}

const vkd_op_def vkd_op_max_pool2d = {
    .name = "max_pool2d",
    .summary = "the largest pixel of each window of images (N, H, W, C)",
    .infer = infer,
    .backward = backward,
    .lower = vkd__pool2d_lower,
    .reference = reference,
    .case_count = VKD__POOL2D_CASES,
    .build_case = build_case,
};

/* ---- Gradient ---- */

static void give(const vkd__pool2d_at *at) {
    const int64_t place = (int64_t)at->r->in[1].v[at->result];
    const int64_t h = at->first_row + place / at->p->kernel[1];
    const int64_t w = at->first_column + place % at->p->kernel[1];
    at->r->out[0].v[at->image + (uint64_t)(h * at->width + w) * at->channels] +=
        at->r->in[0].v[at->result];
}

static void grad_reference(const vkd__ref *r) {
    const vkd_shape image = r->out[0].tensor->shape;
    memset(r->out[0].v, 0, vkd_shape_count(image) * sizeof(double));
    vkd__pool2d_each(r, image, r->in[0].tensor->shape, give);
}

/* Many pixels share the largest value, and the first one gets all; then windows that hold nothing
 * but -infinity, or several NaN. */
static void build_grad_case(vkd__case *c) {
    static const struct {
        double value;
        uint32_t every;
    } specials[] = {{2, 3}, {-INFINITY, 1}, {NAN, 3}};
    const vkd__pool2d_case *k = &vkd__pool2d_cases[c->index % VKD__POOL2D_CASES];
    c->what = k->what;
    const vkd_tensor x = vkd__case_f32(c, vkd_shape_make(4, k->image), -1, 1);
    const uint32_t which = c->index / VKD__POOL2D_CASES;
    vkd__case_special(c, specials[which].value, specials[which].every);
    const vkd_tensor y = vkd_max_pool2d(c->g, x, &k->desc);
    if (!y.id) return;
    const vkd_tensor dy = vkd__case_fixed(c, vkd_tensor_shape(c->g, y), 0.5, 1);
    const vkd__node n = *vkd__producer(c->g, y);
    const vkd_tensor places = places_of(c->g, &n);
    vkd__case_output(c, vkd__pool2d_grad(c->g, &vkd_op_max_pool2d_grad, &n, dy, places));
    vkd__case_output(c, places);
}

const vkd_op_def vkd_op_max_pool2d_grad = {
    .name = "max_pool2d_grad",
    .summary = "the gradient of max_pool2d: to the first largest pixel",
    .infer = vkd__pool2d_grad_infer,
    .lower = vkd__pool2d_grad_lower,
    .reference = grad_reference,
    .case_count = 3 * VKD__POOL2D_CASES,
    .build_case = build_grad_case,
    .no_difference_test = "it is a gradient itself; max_pool2d's cases check it",
};
