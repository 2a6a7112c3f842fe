// SPDX-License-Identifier: Apache-2.0
/* pad2d: y[n,i,j,c] = x[n, at(i - top), at(j - left), c], where outside the image either there are
 * zeros, or the image is reflected about the centres of its edge pixels:
 *
 *   at(i) = -i for i < 0, 2 (H - 1) - i for i >= H
 *
 *   dx[n,h,w,c] = sum over the i, j that read (h, w) of dy[n,i,j,c]
 *
 * Padding is smaller than the image where it is reflected, so that at(i) is inside. */
#include <string.h>

#include "ops/image.h"

typedef struct pad2d_params {
    uint32_t before[2], after[2]; /* rows, columns */
    uint32_t mode;
} pad2d_params;

vkd_tensor vkd_pad2d(vkd_graph *g, vkd_tensor x, const uint32_t before[2], const uint32_t after[2],
                     vkd_pad_mode mode) {
    const pad2d_params p = {{before[0], before[1]}, {after[0], after[1]}, mode};
    if (!g->status && !(before[0] | before[1] | after[0] | after[1])) return x;
    return vkd__emit1(g, &vkd_op_pad2d, x, &p, sizeof p);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const pad2d_params *p = n->params;
    if (!vkd__image_check(g, n, 0)) return false;
    vkd_shape y = vkd_tensor_shape(g, n->in[0]);
    for (uint32_t i = 0; i < 2; i++) {
        const uint32_t size = y.dim[1 + i];
        const uint64_t padded = (uint64_t)size + p->before[i] + p->after[i];
        if (p->mode == VKD_PAD_REFLECT && (p->before[i] >= size || p->after[i] >= size))
            return vkd__graph_fail(g, n, VKD_E_SHAPE,
                                   "%u pixels cannot be reflected by %u in front and %u behind; "
                                   "each must be less",
                                   size, p->before[i], p->after[i]);
        if (!vkd__image_check_side(g, n, padded)) return false;
        y.dim[1 + i] = (uint32_t)padded;
    }
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const pad2d_params p = *(const pad2d_params *)n->params;
    din[0] = vkd__emit1(g, &vkd_op_pad2d_grad, dout[0], &p, sizeof p);
}

static bool lower_kernel(vkd__lower *l, const vkd__node *n, const char *kernel) {
    const pad2d_params *p = n->params;
    return vkd__image_lower(
        l, &(vkd__image_walk){.kernel = kernel,
                              .from = n->in[0],
                              .to = n->out[0],
                              .spec = {p->mode == VKD_PAD_REFLECT, p->before[0], p->before[1]}});
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    return lower_kernel(l, n, "pad2d");
}

/* ---- References ---- */

/* The image's row (or column) that a padded one reads; -1: none. */
static int64_t source(const pad2d_params *p, uint32_t axis, uint32_t i, uint32_t size) {
    int64_t at = (int64_t)i - p->before[axis];
    if (p->mode == VKD_PAD_REFLECT) {
        if (at < 0) at = -at;
        if (at >= size) at = 2 * ((int64_t)size - 1) - at;
    }
    return at >= 0 && at < size ? at : -1;
}

/* Padded elements from or to those of the image that they are copies of. */
static void move(const pad2d_params *p, const vkd__values *image, const vkd__values *padded,
                 bool gradient) {
    const vkd_shape a = image->tensor->shape, b = padded->tensor->shape;
    const uint32_t C = b.dim[3];
    double *y = padded->v;
    for (uint32_t n = 0; n < b.dim[0]; n++)
        for (uint32_t i = 0; i < b.dim[1]; i++)
            for (uint32_t j = 0; j < b.dim[2]; j++, y += C) {
                const int64_t h = source(p, 0, i, a.dim[1]), w = source(p, 1, j, a.dim[2]);
                const bool inside = h >= 0 && w >= 0;
                double *x =
                    image->v + (((uint64_t)n * a.dim[1] + (uint64_t)(inside ? h : 0)) * a.dim[2] +
                                (uint64_t)(inside ? w : 0)) *
                                   C;
                for (uint32_t c = 0; c < C; c++) {
                    if (!gradient)
                        y[c] = inside ? x[c] : 0;
                    else if (inside)
                        x[c] += y[c];
                }
            }
}

static void reference(const vkd__ref *r) {
    move(r->node->params, &r->in[0], &r->out[0], false);
}

static const struct {
    uint32_t image[4];
    pad2d_params p;
    const char *what;
} cases[] = {
    {{2, 5, 6, 4}, {{1, 1}, {1, 1}, VKD_PAD_ZERO}, "zeros"},
    {{2, 5, 6, 4}, {{1, 1}, {1, 1}, VKD_PAD_REFLECT}, "reflected"},
    {{1, 4, 3, 3}, {{0, 2}, {3, 1}, VKD_PAD_ZERO}, "zeros, uneven, ragged channels"},
    {{2, 4, 3, 3}, {{3, 0}, {1, 2}, VKD_PAD_REFLECT}, "reflected, uneven, ragged channels"},
    {{2, 3, 4, 8}, {{2, 3}, {2, 3}, VKD_PAD_REFLECT}, "all but the edge reflected twice"},
    {{2, 1, 7, 4}, {{0, 4}, {0, 4}, VKD_PAD_REFLECT}, "one row"},
    {{1, 2, 2, 1}, {{7, 0}, {0, 9}, VKD_PAD_ZERO}, "more zeros than image"},
    {{100, 2, 2, 1}, {{1, 0}, {0, 1}, VKD_PAD_REFLECT}, "many images"},
};

static void build_case(vkd__case *c) {
    c->what = cases[c->index].what;
    const pad2d_params *p = &cases[c->index].p;
    const vkd_tensor x = vkd__case_f32(c, vkd_shape_make(4, cases[c->index].image), -1, 1);
    vkd__case_output(c, vkd_pad2d(c->g, x, p->before, p->after, (vkd_pad_mode)p->mode));
}

const vkd_op_def vkd_op_pad2d = {
    .name = "pad2d",
    .summary = "images (N, H, W, C) with zeros or reflections around them",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD_COUNT(cases),
    .build_case = build_case,
};

/* ---- Gradient: the padded image's to the image's ---- */

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    const pad2d_params *p = n->params;
    if (!vkd__image_check(g, n, 0)) return false;
    vkd_shape x = vkd_tensor_shape(g, n->in[0]);
    for (uint32_t i = 0; i < 2; i++)
        x.dim[1 + i] -= p->before[i] + p->after[i];
    vkd__node_out(g, n, 0, VKD_F32, x);
    return true;
}

static bool grad_lower(vkd__lower *l, const vkd__node *n) {
    return lower_kernel(l, n, "pad2d_grad");
}

static void grad_reference(const vkd__ref *r) {
    memset(r->out[0].v, 0, vkd_shape_count(r->out[0].tensor->shape) * sizeof(double));
    move(r->node->params, &r->out[0], &r->in[0], true);
}

static void build_grad_case(vkd__case *c) {
    c->what = cases[c->index].what;
    const pad2d_params *p = &cases[c->index].p;
    vkd_shape padded = vkd_shape_make(4, cases[c->index].image);
    for (uint32_t i = 0; i < 2; i++)
        padded.dim[1 + i] += p->before[i] + p->after[i];
    const vkd_tensor dy = vkd__case_fixed(c, padded, -1, 1);
    vkd__case_output(c, vkd__emit1(c->g, &vkd_op_pad2d_grad, dy, p, sizeof *p));
}

const vkd_op_def vkd_op_pad2d_grad = {
    .name = "pad2d_grad",
    .summary = "the gradient of pad2d: copies of a pixel summed",
    .infer = grad_infer,
    .lower = grad_lower,
    .reference = grad_reference,
    .case_count = VKD_COUNT(cases),
    .build_case = build_grad_case,
    .no_difference_test = "it is a gradient itself; pad2d's cases check it",
};
