// SPDX-License-Identifier: Apache-2.0
/* conv2d_transpose: x[n, y', x', c] = f(bias[c] + residual + sum of y[n,y,x,o] w[o,r,s,c] over all
 * y, x, o, r, s that conv2d joins with that pixel), the image's gradient of a convolution and, as a
 * layer, what PyTorch calls ConvTranspose2d:
 *
 *   H = (Y - 1) stride - 2 padding + dilation (R - 1) + output_padding + 1
 *
 * Gathered, not scattered: pixels of one residue modulo the stride meet the same taps, so each
 * residue is one launch of the convolution's kernel with every stride-th tap. */
#include "ops/conv2d.h"

vkd_tensor vkd_conv2d_transpose(vkd_graph *g, vkd_tensor x, vkd_tensor weight,
                                const vkd_conv2d_desc *desc, const uint32_t output_padding[2]) {
    const vkd_conv2d_desc none = {0};
    const vkd_conv2d_desc *d = desc ? desc : &none;
    const vkd_shape sx = vkd_tensor_shape(g, x), w = vkd_tensor_shape(g, weight);
    uint32_t size[2] = {0, 0}; /* of what is no image: for infer to refuse */
    for (int i = 0; i < 2 && sx.axes == 4 && w.axes == 4; i++) {
        const uint32_t stride = d->stride[i] ? d->stride[i] : 1;
        const uint32_t dilation = d->dilation[i] ? d->dilation[i] : 1;
        const int64_t s = (sx.dim[1 + i] - 1ll) * stride - 2ll * d->padding[i] +
                          (int64_t)dilation * (w.dim[1 + i] - 1ll) +
                          (output_padding ? output_padding[i] : 0) + 1;
        size[i] = s > 0 && s <= UINT32_MAX ? (uint32_t)s : 0;
    }
    return vkd__conv2d_emit(g, &vkd_op_conv2d_transpose, x, weight, d, size);
}

vkd_tensor vkd__conv2d_transpose_of(vkd_graph *g, vkd_tensor result, vkd_tensor weight,
                                    const vkd__conv2d *p) {
    vkd__conv2d bare = *p;
    bare.activation = VKD_ACT_NONE;
    bare.size[0] = p->image[0];
    bare.size[1] = p->image[1];
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_conv2d_transpose,
                                          .in_count = 4,
                                          .in = {result, weight},
                                          .optional = 1u << CONV2D_BIAS | 1u << CONV2D_RESIDUAL,
                                          .params = &bare,
                                          .params_size = sizeof bare});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd__conv2d *p = (vkd__conv2d *)n->params;
    const vkd_shape y = vkd_tensor_shape(g, n->in[0]), weight = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__all_f32(g, n)) return false;
    vkd_shape image = y; /* whose channels are the weight's, all groups of them */
    if (y.axes == 4 && weight.axes == 4) {
        if (y.dim[3] != weight.dim[0])
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "the weight %s is for %u channels, not %u",
                                   vkd__shape_text(g, weight), weight.dim[0], y.dim[3]);
        image = VKD_SHAPE(y.dim[0], p->size[0], p->size[1], weight.dim[3] * p->groups);
    }
    if (!vkd__conv2d_check(g, n, image, weight)) return false;
    for (uint32_t i = 0; i < 2; i++) {
        p->result[i] = y.dim[1 + i];
        if (!p->size[i] || vkd__conv2d_steps(p, i, p->size[i], p->kernel[i]) != y.dim[1 + i])
            return vkd__graph_fail(g, n, VKD_E_SHAPE,
                                   "%u pixels with a kernel of %u, stride %u, padding %u and "
                                   "dilation %u have no such transpose of %u; an output padding is "
                                   "less than the stride",
                                   y.dim[1 + i], p->kernel[i], p->stride[i], p->padding[i],
                                   p->dilation[i], p->size[i]);
    }
    if (!vkd__conv2d_check_added(g, n, image)) return false;
    vkd__node_out(g, n, 0, VKD_F32, image);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const vkd__conv2d *p = n->params;
    const vkd_tensor dz = vkd__conv2d_backward_z(g, n, dout[0], din);
    if (vkd__tensor_get(g, n->in[0])->needs_grad) din[0] = vkd__conv2d_of(g, dz, n->in[1], p);
    if (vkd__tensor_get(g, n->in[1])->needs_grad)
        din[1] = vkd__conv2d_weight_of(g, dz, n->in[0], p);
}

/* Pixels that no tap reaches would need launches of their own for it. */
static bool take_summand(vkd__node *n, vkd_tensor summand) {
    const vkd__conv2d *p = n->params;
    if (n->in[CONV2D_RESIDUAL].id || p->activation || vkd__conv2d_transpose_has_gaps(n))
        return false;
    n->in[CONV2D_RESIDUAL] = summand;
    return true;
}

static void add_product(void *user, uint64_t image, uint64_t weight, uint64_t result) {
    const vkd__ref *r = user;
    r->out[0].v[image] += r->in[0].v[result] * r->in[1].v[weight];
}

static void reference(const vkd__ref *r) {
    const vkd__conv2d *p = r->node->params;
    const uint64_t count = vkd_shape_count(r->out[0].tensor->shape);
    vkd__conv2d_reference_added(r);
    vkd__ref mine = *r;
    vkd__conv2d_each(&(vkd__conv2d_walk){.p = p, .visit = add_product, .user = &mine});
    for (uint64_t i = 0; i < count; i++)
        r->out[0].v[i] = vkd__activated((vkd_activation)p->activation, r->out[0].v[i]);
}

static void build_case(vkd__case *c) {
    const vkd__conv2d_case *k = &vkd__conv2d_cases[c->index];
    uint32_t left[2];
    for (uint32_t i = 0; i < 2; i++)
        left[i] = (k->image[1 + i] + 2 * k->padding[i] - k->dilation[i] * (k->kernel[i] - 1) - 1) %
                  k->stride[i];
    c->what = k->what;
    const vkd_tensor x = vkd__case_f32(c, vkd__conv2d_case_result(k), -1, 1);
    const uint32_t w[4] = {k->out, k->kernel[0], k->kernel[1], k->image[3] / k->groups};
    const vkd_tensor weight = vkd__case_f32(c, vkd_shape_make(4, w), -1, 1);
    vkd_conv2d_desc d = vkd__conv2d_case_desc(k);
    if (k->added & VKD__CONV2D_CASE_BIAS) d.bias = vkd__case_f32(c, VKD_SHAPE(k->image[3]), -1, 1);
    if (k->added & VKD__CONV2D_CASE_RESIDUAL)
        d.residual = vkd__case_f32(c, vkd_shape_make(4, k->image), -1, 1);
    vkd__case_output(c, vkd_conv2d_transpose(c->g, x, weight, &d, left));
}

const vkd_op_def vkd_op_conv2d_transpose = {
    .name = "conv2d_transpose",
    .summary = "transposed convolution, and a convolution's gradient for its images",
    .infer = infer,
    .backward = backward,
    .take_summand = take_summand,
    .lower = vkd__conv2d_transpose_lower,
    .reference = reference,
    /* Sums of up to a few thousand products in f32. */
    .rtol = 1e-4,
    .atol = 1e-5,
    .case_count = VKD__CONV2D_CASES,
    .build_case = build_case,
};
