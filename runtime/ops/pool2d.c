// SPDX-License-Identifier: Apache-2.0
#include "ops/pool2d.h"

/* ---- Building ---- */

vkd__pool2d vkd__pool2d_of(const vkd_pool2d_desc *desc, uint32_t kind) {
    vkd__pool2d p = {.kind = kind};
    for (int i = 0; desc && i < 2; i++) {
        p.kernel[i] = desc->kernel[i];
        p.stride[i] = desc->stride[i] ? desc->stride[i] : desc->kernel[i];
        p.padding[i] = desc->padding[i];
    }
    return p;
}

static bool check_window(vkd_graph *g, const vkd__node *n, uint32_t axis, uint32_t size) {
    const vkd__pool2d *p = n->params;
    const uint32_t kernel = p->kernel[axis], padding = p->padding[axis];
    if (!kernel || kernel > 65535)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "a kernel has 1 to 65535 pixels, not %u",
                               kernel);
    /* So that each window has a pixel of the image, and sums of these stay small. */
    if (padding > kernel / 2)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "a padding of %u is more than half of the kernel, %u", padding,
                               kernel);
    if (kernel > size + 2ull * padding)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "a kernel of %u does not fit into %u pixels with a padding of %u",
                               kernel, size, padding);
    return true;
}

bool vkd__pool2d_infer(vkd_graph *g, const vkd__node *n, vkd_shape *result) {
    const vkd__pool2d *p = n->params;
    if (!vkd__image_check(g, n, 0)) return false;
    *result = vkd_tensor_shape(g, n->in[0]);
    for (uint32_t i = 0; i < 2; i++) {
        uint32_t *size = &result->dim[1 + i];
        if (p->kind == VKD_POOL_BINS) {
            *size = p->size[i];
        } else {
            if (!check_window(g, n, i, *size)) return false;
            *size = (*size + 2 * p->padding[i] - p->kernel[i]) / p->stride[i] + 1;
        }
        if (!vkd__image_check_side(g, n, *size)) return false;
    }
    return true;
}

vkd_tensor vkd__pool2d_grad(vkd_graph *g, const vkd_op_def *op, const vkd__node *n, vkd_tensor dy,
                            vkd_tensor places) {
    vkd__pool2d p = *(const vkd__pool2d *)n->params;
    const vkd_shape image = vkd_tensor_shape(g, n->in[0]);
    for (int i = 0; i < 2; i++)
        p.size[i] = image.dim[1 + i];
    return vkd__emit(g, &(vkd__emit_desc){.op = op,
                                          .in_count = places.id ? 2u : 1u,
                                          .in = {dy, places},
                                          .params = &p,
                                          .params_size = sizeof p});
}

bool vkd__pool2d_grad_infer(vkd_graph *g, vkd__node *n) {
    const vkd__pool2d *p = n->params;
    if (!vkd__image_check(g, n, 0)) return false;
    vkd_shape image = vkd_tensor_shape(g, n->in[0]);
    for (int i = 0; i < 2; i++)
        image.dim[1 + i] = p->size[i];
    vkd__node_out(g, n, 0, VKD_F32, image);
    return true;
}

/* ---- Lowering ---- */

static double window_size(const vkd__pool2d *p, vkd_shape image, vkd_shape result) {
    if (p->kind != VKD_POOL_BINS) return (double)p->kernel[0] * p->kernel[1];
    return (double)vkd__div_up(image.dim[1], result.dim[1]) *
           (double)vkd__div_up(image.dim[2], result.dim[2]);
}

static bool lower(vkd__lower *l, const vkd__pool2d *p, vkd__image_walk *w) {
    const uint32_t spec[] = {p->kind,      p->kernel[0],  p->kernel[1], p->stride[0],
                             p->stride[1], p->padding[0], p->padding[1]};
    for (uint32_t i = 0; i < VKD_COUNT(spec); i++)
        w->spec[i] = spec[i];
    return vkd__image_lower(l, w);
}

bool vkd__pool2d_lower(vkd__lower *l, const vkd__node *n) {
    vkd__pool2d p = *(const vkd__pool2d *)n->params;
    if (n->out_count > 1) p.kind = VKD_POOL_MAX_PLACES;
    const vkd_shape x = vkd_tensor_shape(l->g, n->in[0]), y = vkd_tensor_shape(l->g, n->out[0]);
    vkd__image_walk w = {.kernel = "pool2d",
                         .from = n->in[0],
                         .to = n->out[0],
                         .places_access = VKD__WRITE,
                         .places = n->out[1],
                         .flops = window_size(&p, x, y)};
    return lower(l, &p, &w);
}

bool vkd__pool2d_grad_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__pool2d *p = n->params;
    const vkd_shape dy = vkd_tensor_shape(l->g, n->in[0]), dx = vkd_tensor_shape(l->g, n->out[0]);
    vkd__image_walk w = {.kernel = "pool2d_grad",
                         .from = n->in[0],
                         .to = n->out[0],
                         .places_access = VKD__READ,
                         .places = n->in[1]};
    w.flops = window_size(p, dx, dy) * (double)vkd_shape_count(dy) / (double)vkd_shape_count(dx);
    return lower(l, p, &w);
}

/* ---- References ---- */

static int64_t first_of(const vkd__pool2d *p, uint32_t axis, uint32_t i) {
    return (int64_t)i * p->stride[axis] - p->padding[axis];
}

vkd__window vkd__pool2d_window(const vkd__pool2d *p, uint32_t axis, uint32_t i, uint32_t size,
                               uint32_t windows) {
    if (p->kind == VKD_POOL_BINS)
        return (vkd__window){(uint32_t)((uint64_t)i * size / windows),
                             (uint32_t)vkd__div_up((i + 1ull) * size, windows)};
    const int64_t first = first_of(p, axis, i), end = first + p->kernel[axis];
    return (vkd__window){first < 0 ? 0 : (uint32_t)first, end < size ? (uint32_t)end : size};
}

static void each_channel(vkd__pool2d_at at, uint64_t first, uint64_t result,
                         void (*visit)(const vkd__pool2d_at *at)) {
    for (uint32_t c = 0; c < at.channels; c++) {
        at.image = first + c;
        at.result = result * at.channels + c;
        visit(&at);
    }
}

void vkd__pool2d_each(const vkd__ref *r, vkd_shape image, vkd_shape result,
                      void (*visit)(const vkd__pool2d_at *at)) {
    const vkd__pool2d *p = r->node->params;
    const uint32_t H = image.dim[1], W = image.dim[2], C = image.dim[3];
    vkd__pool2d_at at = {.r = r, .p = p, .width = W, .channels = C};
    for (uint32_t n = 0; n < image.dim[0]; n++)
        for (uint32_t y = 0; y < result.dim[1]; y++)
            for (uint32_t x = 0; x < result.dim[2]; x++) {
                at.rows = vkd__pool2d_window(p, 0, y, H, result.dim[1]);
                at.columns = vkd__pool2d_window(p, 1, x, W, result.dim[2]);
                at.first_row = first_of(p, 0, y);
                at.first_column = first_of(p, 1, x);
                each_channel(at, (uint64_t)n * H * W * C,
                             ((uint64_t)n * result.dim[1] + y) * result.dim[2] + x, visit);
            }
}

/* ---- Cases ---- */

const vkd__pool2d_case vkd__pool2d_cases[] = {
    {{2, 6, 8, 4}, {.kernel = {2, 2}}, "halves"},
    {{2, 7, 9, 8}, {.kernel = {2, 2}}, "halves, pixels left over"},
    {{2, 9, 8, 12}, {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}}, "windows overlap"},
    {{1, 6, 5, 5}, {.kernel = {3, 3}, .stride = {1, 1}, .padding = {1, 1}}, "ragged channels"},
    {{3, 5, 7, 1}, {.kernel = {2, 3}, .stride = {1, 2}}, "one channel, uneven"},
    {{2, 9, 9, 3}, {.kernel = {2, 2}, .stride = {3, 4}}, "pixels between the windows"},
    {{1, 11, 6, 4}, {.kernel = {5, 4}, .stride = {2, 3}, .padding = {2, 2}}, "large, padded"},
    {{2, 4, 5, 8}, {.kernel = {4, 5}}, "one window"},
    {{2, 3, 4, 4}, {.kernel = {1, 1}, .stride = {1, 1}}, "one pixel"},
    {{1, 2, 3, 4}, {.kernel = {3, 5}, .padding = {1, 2}}, "wider than the image"},
    /* In bindings of 2 KiB: windows of images, and images too large. */
    {{200, 2, 2, 1}, {.kernel = {2, 1}}, "many images"},
    {{70, 4, 4, 4}, {.kernel = {2, 2}}, "many images, too large"},
};
_Static_assert(VKD_COUNT(vkd__pool2d_cases) == VKD__POOL2D_CASES, "pool2d.h says how many");
