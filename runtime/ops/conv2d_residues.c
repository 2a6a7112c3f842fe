// SPDX-License-Identifier: Apache-2.0
/* Lowering of conv2d_transpose: pixels of the image that leave the same residues modulo the stride
 * meet the same taps, and are a launch of their own. */
#include "ops/conv2d.h"

/* Along one axis: the image's pixels that lie `residue` behind a multiple of the stride. Pixel i =
 * residue + stride q meets taps r with stride | i + padding - r dilation: every period-th from
 * `first` on, `taps` of them; tap first + t period reads result q + base + t step. */
typedef struct phase {
    uint32_t residue, pixels, first, period, taps;
    int32_t base, step;
} phase;

static uint32_t divisor(uint32_t a, uint32_t b) {
    return b ? divisor(b, a % b) : a;
}

static phase phase_of(const vkd__conv2d *p, uint32_t axis, uint32_t residue) {
    const uint32_t stride = p->stride[axis], dilation = p->dilation[axis], size = p->image[axis];
    const uint32_t shared = divisor(stride, dilation);
    phase f = {.residue = residue,
               .pixels = size > residue ? (size - residue - 1) / stride + 1 : 0,
               .period = stride / shared,
               .step = -(int32_t)(dilation / shared)};
    const int64_t at = (int64_t)residue + p->padding[axis];
    while (f.first < f.period && (at - (int64_t)f.first * dilation) % stride != 0)
        f.first++;
    if (f.first >= f.period || f.first >= p->kernel[axis]) return f; /* no tap reaches them */
    f.taps = (p->kernel[axis] - 1 - f.first) / f.period + 1;
    f.base = (int32_t)((at - (int64_t)f.first * dilation) / (int64_t)stride);
    return f;
}

static bool lower_phase(vkd__lower *l, const vkd__node *n, const vkd__gather *common,
                        uint32_t images, const phase *y, const phase *x) {
    const vkd__conv2d *p = n->params;
    if (!y->pixels || !x->pixels) return true;
    vkd__gather q = *common;
    struct vkd_conv2d_params *push = &q.push;
    const uint32_t channels = p->image[2] / p->groups, C = p->image[2];
    const uint32_t taps = y->taps * x->taps;
    push->M = images * y->pixels * x->pixels;
    push->K = taps * q.channels;
    push->grid_h = y->pixels;
    push->grid_w = x->pixels;
    push->step_y = push->step_x = 1;
    push->base_y = y->base;
    push->base_x = x->base;
    push->tap_y = y->step;
    push->tap_x = x->step;
    push->out_first = (y->residue * p->image[1] + x->residue) * C;
    push->out_pixel = p->stride[1] * C;
    push->out_row = p->stride[0] * p->image[1] * C;
    push->out_image = p->image[0] * p->image[1] * C;
    push->w_first = taps ? (y->first * p->kernel[1] + x->first) * channels : 0;
    push->w_row = y->period * p->kernel[1] * channels;
    push->w_tap = x->period * channels;
    q.taps_w = taps ? x->taps : 1;
    q.transposed = true;
    return vkd__gather_lower(l, n, &q);
}

bool vkd__conv2d_transpose_has_gaps(const vkd__node *n) {
    const vkd__conv2d *p = n->params;
    if (n->in[CONV2D_BIAS].id || n->in[CONV2D_RESIDUAL].id || p->activation) return false;
    for (uint32_t axis = 0; axis < 2; axis++)
        for (uint32_t i = 0; i < p->stride[axis]; i++) {
            const phase f = phase_of(p, axis, i);
            if (f.pixels && !f.taps) return true;
        }
    return false;
}

/* Whether one launch can write the zeros beside what it computes: each block of stride pixels has
 * in its first all the taps, as with kernels of 1 x 1. The kernels for runs cannot. */
static bool fills_gaps(const vkd__conv2d *p, bool direct) {
    for (uint32_t axis = 0; axis < 2; axis++) {
        if (p->image[axis] % p->stride[axis] != 0 || phase_of(p, axis, 0).taps != 1) return false;
        for (uint32_t i = 1; i < p->stride[axis]; i++)
            if (phase_of(p, axis, i).taps) return false;
    }
    const bool ragged = vkd__conv2d_ragged(p->image[2] / p->groups) ||
                        (direct && vkd__conv2d_ragged(p->result[2] / p->groups));
    return !ragged && !vkd__conv2d_is_depth(p);
}

static bool lower_zeros(vkd__lower *l, const vkd__node *n) {
    struct vkd_fill_params push = {.value = 0};
    return vkd__flat_lower(l,
                           &(vkd__flat){.kernel = "fill",
                                        .count = vkd_shape_count(vkd_tensor_shape(l->g, n->out[0])),
                                        .tensor_count = 1,
                                        .tensor = {n->out[0]},
                                        .access = {VKD__WRITE},
                                        .push = &push,
                                        .push_size = sizeof push});
}

bool vkd__conv2d_transpose_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__conv2d *p = n->params;
    const bool direct = vkd__direct(l, "conv2d"), gaps = vkd__conv2d_transpose_has_gaps(n);
    const bool filled = gaps && fills_gaps(p, direct);
    uint32_t window;
    if (!vkd__conv2d_window(l, p, direct, &window)) return false;
    /* Zeros, then the others over them, cost less than a launch for each residue. */
    if (gaps && !filled && !lower_zeros(l, n)) return false;
    const uint64_t out = 4ull * p->image[0] * p->image[1] * p->image[2];
    for (uint32_t at = 0; at < p->images; at += window) {
        const uint32_t images = p->images - at < window ? p->images - at : window;
        vkd__gather q = vkd__gather_begin(p, p->result, p->image[2], direct, at, images);
        q.out_offset = at * out;
        q.out_bytes = images * out;
        for (uint32_t axis = 0; axis < 2; axis++)
            q.gap[axis] = filled ? p->stride[axis] : 0;
        for (uint32_t i = 0; i < p->stride[0] * p->stride[1]; i++) {
            const phase y = phase_of(p, 0, i / p->stride[1]), x = phase_of(p, 1, i % p->stride[1]);
            const bool zeros = gaps && (!y.taps || !x.taps);
            if (!zeros && !lower_phase(l, n, &q, images, &y, &x)) return false;
        }
    }
    return true;
}
