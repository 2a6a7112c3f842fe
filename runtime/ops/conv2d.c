// SPDX-License-Identifier: Apache-2.0
/* conv2d: y[n,y,x,o] = f(bias[o] + residual[n,y,x,o] + sum_{r,s,c} image[n, y', x', c] w[o,r,s,c]),
 * zeros outside, with
 *
 *   y' = y stride + r dilation - padding, x' likewise; c runs over the channels of o's group
 *
 * A cross-correlation, as everywhere in the field. Its gradients are the other two: of the image
 * conv2d_transpose, of the weight conv2d_weight. Channels last, so that a pixel's channels are one
 * run of memory; so a 1 x 1 kernel with stride 1 is a matmul, and is emitted as one. */
#include "ops/conv2d.h"

/* ---- Building ---- */

static void defaults(vkd__conv2d *p, const vkd_conv2d_desc *d) {
    for (int i = 0; i < 2; i++) {
        p->stride[i] = d->stride[i] ? d->stride[i] : 1;
        p->padding[i] = d->padding[i];
        p->dilation[i] = d->dilation[i] ? d->dilation[i] : 1;
    }
    p->groups = d->groups ? d->groups : 1;
    p->activation = d->activation;
}

static bool needs_grad(const vkd_graph *g, vkd_tensor t) {
    return vkd__tensor_get(g, t)->needs_grad;
}

static vkd_tensor emit(vkd_graph *g, const vkd_op_def *op, const vkd_tensor in[4],
                       const vkd__conv2d *p) {
    return vkd__emit(g, &(vkd__emit_desc){.op = op,
                                          .in_count = 4,
                                          .in = {in[0], in[1], in[2], in[3]},
                                          .optional = 1u << CONV2D_BIAS | 1u << CONV2D_RESIDUAL,
                                          .params = p,
                                          .params_size = sizeof *p});
}

vkd_tensor vkd__conv2d_emit(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, vkd_tensor weight,
                            const vkd_conv2d_desc *desc, const uint32_t *size) {
    const vkd_conv2d_desc none = {0};
    const vkd_conv2d_desc *d = desc ? desc : &none;
    vkd__conv2d p = {0};
    defaults(&p, d);
    if (size) p.size[0] = size[0], p.size[1] = size[1];
    if (g->status) return (vkd_tensor){0};
    const bool gradient = needs_grad(g, x) || needs_grad(g, weight) || needs_grad(g, d->bias) ||
                          needs_grad(g, d->residual);
    const bool apart = gradient && (d->activation == VKD_ACT_GELU || d->activation == VKD_ACT_SILU);
    if (apart) p.activation = VKD_ACT_NONE;
    const vkd_tensor y = emit(g, op, (const vkd_tensor[4]){x, weight, d->bias, d->residual}, &p);
    if (!apart) return y;
    return d->activation == VKD_ACT_GELU ? vkd_gelu(g, y) : vkd_silu(g, y);
}

/* A kernel of one pixel that moves by one: rows of pixels times a matrix. */
static bool is_matmul(const vkd_graph *g, vkd_tensor x, vkd_tensor weight,
                      const vkd_conv2d_desc *d) {
    const vkd_shape w = vkd_tensor_shape(g, weight);
    return vkd_tensor_shape(g, x).axes == 4 && w.axes == 4 && w.dim[1] == 1 && w.dim[2] == 1 &&
           d->stride[0] <= 1 && d->stride[1] <= 1 && !d->padding[0] && !d->padding[1] &&
           d->groups <= 1 && vkd__shape_last(w) == vkd__shape_last(vkd_tensor_shape(g, x));
}

vkd_tensor vkd_conv2d(vkd_graph *g, vkd_tensor x, vkd_tensor weight, const vkd_conv2d_desc *desc) {
    const vkd_conv2d_desc none = {0};
    const vkd_conv2d_desc *d = desc ? desc : &none;
    if (g->status || !is_matmul(g, x, weight, d))
        return vkd__conv2d_emit(g, &vkd_op_conv2d, x, weight, d, NULL);
    const vkd_shape w = vkd_tensor_shape(g, weight);
    const vkd_tensor matrix = vkd_reshape(g, weight, VKD_SHAPE(w.dim[0], w.dim[3]));
    const vkd_matmul_desc m = {.transpose_b = true,
                               .bias = d->bias,
                               .activation = d->activation,
                               .residual = d->residual,
                               .f32_result = true};
    return vkd_matmul(g, x, matrix, &m);
}

vkd_tensor vkd__conv2d_of(vkd_graph *g, vkd_tensor image, vkd_tensor weight, const vkd__conv2d *p) {
    vkd__conv2d bare = *p;
    bare.activation = VKD_ACT_NONE;
    return emit(g, &vkd_op_conv2d, (const vkd_tensor[4]){image, weight}, &bare);
}

/* ---- Shapes ---- */

uint32_t vkd__conv2d_steps(const vkd__conv2d *p, uint32_t axis, uint32_t size, uint32_t kernel) {
    const uint64_t padded = size + 2ull * p->padding[axis];
    const uint64_t reach = (uint64_t)p->dilation[axis] * (kernel - 1) + 1;
    return kernel && reach <= padded ? (uint32_t)((padded - reach) / p->stride[axis] + 1) : 0;
}

bool vkd__conv2d_check(vkd_graph *g, vkd__node *n, vkd_shape image, vkd_shape weight) {
    vkd__conv2d *p = (vkd__conv2d *)n->params; /* the node's own copy, completed here */
    if (image.axes != 4 || weight.axes != 4)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "images (N, H, W, C) and a weight (O, R, S, C / groups) are wanted, "
                               "not %s and %s",
                               vkd__shape_text(g, image), vkd__shape_text(g, weight));
    const uint32_t in = image.dim[3], out = weight.dim[0];
    if (in % p->groups || out % p->groups)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "%u groups do not divide %u input and %u output channels", p->groups,
                               in, out);
    if (weight.dim[3] != in / p->groups)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "the weight %s is for %u channels in a group, %u channels in %u "
                               "groups have %u",
                               vkd__shape_text(g, weight), weight.dim[3], in, p->groups,
                               in / p->groups);
    p->images = image.dim[0];
    for (int i = 0; i < 2; i++) {
        p->kernel[i] = weight.dim[1 + i];
        p->image[i] = image.dim[1 + i];
    }
    p->image[2] = in;
    p->result[2] = out;
    return true;
}

bool vkd__conv2d_check_added(vkd_graph *g, const vkd__node *n, vkd_shape y) {
    const vkd_shape bias = vkd_tensor_shape(g, n->in[CONV2D_BIAS]);
    const vkd_shape residual = vkd_tensor_shape(g, n->in[CONV2D_RESIDUAL]);
    if (n->in[CONV2D_BIAS].id && (bias.axes != 1 || bias.dim[0] != y.dim[3]))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the bias is %s, should be (%u)",
                               vkd__shape_text(g, bias), y.dim[3]);
    if (n->in[CONV2D_RESIDUAL].id && !vkd__shape_equal(residual, y))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the residual is %s, should be %s",
                               vkd__shape_text(g, residual), vkd__shape_text(g, y));
    return true;
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd__conv2d *p = (vkd__conv2d *)n->params;
    const vkd_shape image = vkd_tensor_shape(g, n->in[0]), weight = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__all_f32(g, n) || !vkd__conv2d_check(g, n, image, weight)) return false;
    for (uint32_t i = 0; i < 2; i++) {
        p->result[i] = vkd__conv2d_steps(p, i, p->image[i], p->kernel[i]);
        if (!p->result[i])
            return vkd__graph_fail(g, n, VKD_E_SHAPE,
                                   "a kernel of %u with dilation %u does not fit into %u pixels "
                                   "with a padding of %u",
                                   p->kernel[i], p->dilation[i], p->image[i], p->padding[i]);
    }
    const vkd_shape y = VKD_SHAPE(p->images, p->result[0], p->result[1], p->result[2]);
    if (!vkd__conv2d_check_added(g, n, y)) return false;
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

/* ---- Gradient ---- */

vkd_tensor vkd__conv2d_backward_z(vkd_graph *g, const vkd__node *n, vkd_tensor dy,
                                  vkd_tensor *din) {
    const vkd__conv2d *p = n->params;
    const vkd_tensor dz =
        p->activation ? vkd__unary_grad(g, dy, n->out[0], n->out[0], p->activation) : dy;
    const vkd_tensor bias = n->in[CONV2D_BIAS];
    if (needs_grad(g, bias)) din[CONV2D_BIAS] = vkd__sum_to(g, dz, vkd_tensor_shape(g, bias));
    if (needs_grad(g, n->in[CONV2D_RESIDUAL])) din[CONV2D_RESIDUAL] = dz;
    return dz;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const vkd__conv2d *p = n->params;
    const vkd_tensor dz = vkd__conv2d_backward_z(g, n, dout[0], din);
    if (needs_grad(g, n->in[0])) din[0] = vkd__conv2d_transpose_of(g, dz, n->in[1], p);
    if (needs_grad(g, n->in[1])) din[1] = vkd__conv2d_weight_of(g, n->in[0], dz, p);
}

/* ---- Reference ---- */

/* One result pixel's taps. */
static void each_tap(const vkd__conv2d_walk *w, uint32_t image, uint32_t y, uint32_t x) {
    const vkd__conv2d *p = w->p;
    const uint32_t in = p->image[2] / p->groups, out = p->result[2] / p->groups;
    for (uint32_t r = 0; r < p->kernel[0]; r++)
        for (uint32_t s = 0; s < p->kernel[1]; s++) {
            const int64_t iy = (int64_t)y * p->stride[0] + r * p->dilation[0] - p->padding[0];
            const int64_t ix = (int64_t)x * p->stride[1] + s * p->dilation[1] - p->padding[1];
            if (iy < 0 || ix < 0 || iy >= p->image[0] || ix >= p->image[1]) continue;
            const uint64_t from =
                (((uint64_t)image * p->image[0] + (uint64_t)iy) * p->image[1] + (uint64_t)ix) *
                p->image[2];
            const uint64_t to =
                (((uint64_t)image * p->result[0] + y) * p->result[1] + x) * p->result[2];
            for (uint32_t o = 0; o < p->result[2]; o++)
                for (uint32_t c = 0; c < in; c++)
                    w->visit(w->user, from + o / out * in + c,
                             (((uint64_t)o * p->kernel[0] + r) * p->kernel[1] + s) * in + c,
                             to + o);
        }
}

void vkd__conv2d_each(const vkd__conv2d_walk *w) {
    for (uint32_t i = 0; i < w->p->images; i++)
        for (uint32_t y = 0; y < w->p->result[0]; y++)
            for (uint32_t x = 0; x < w->p->result[1]; x++)
                each_tap(w, i, y, x);
}

void vkd__conv2d_reference_added(const vkd__ref *r) {
    const uint64_t count = vkd_shape_count(r->out[0].tensor->shape);
    const uint64_t channels = vkd__shape_last(r->out[0].tensor->shape);
    for (uint64_t i = 0; i < count; i++) {
        r->out[0].v[i] = r->in[CONV2D_BIAS].v ? r->in[CONV2D_BIAS].v[i % channels] : 0;
        if (r->in[CONV2D_RESIDUAL].v) r->out[0].v[i] += r->in[CONV2D_RESIDUAL].v[i];
    }
}

static void add_product(void *user, uint64_t image, uint64_t weight, uint64_t result) {
    const vkd__ref *r = user;
    r->out[0].v[result] += r->in[0].v[image] * r->in[1].v[weight];
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

/* ---- Cases ---- */

enum { BIAS = VKD__CONV2D_CASE_BIAS, BOTH = BIAS | VKD__CONV2D_CASE_RESIDUAL };

const vkd__conv2d_case vkd__conv2d_cases[] = {
    {{2, 5, 5, 4}, 4, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, 0, "3x3"},
    {{2, 7, 6, 8}, 16, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, VKD_ACT_RELU, BOTH, "all added"},
    {{3, 9, 8, 1}, 8, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, BIAS, "one channel"},
    {{2, 8, 8, 3}, 5, {5, 5}, {2, 2}, {2, 2}, {1, 1}, 1, VKD_ACT_NONE, 0, "ragged channels"},
    {{2, 8, 7, 8}, 12, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, BOTH, "stride 2"},
    {{2, 9, 9, 4}, 8, {1, 1}, {2, 2}, {0, 0}, {1, 1}, 1, VKD_ACT_NONE, 0, "1x1, stride 2"},
    {{3, 4, 9, 8}, 16, {1, 1}, {2, 3}, {0, 0}, {1, 1}, 2, VKD_ACT_NONE, 0, "1x1, stride 2 and 3"},
    {{2, 4, 5, 8}, 10, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_TANH, BOTH, "1x1: a matmul"},
    {{1, 11, 10, 4}, 4, {3, 3}, {1, 1}, {2, 2}, {2, 2}, 1, VKD_ACT_NONE, 0, "dilation 2"},
    {{1, 13, 12, 4}, 8, {3, 2}, {3, 2}, {1, 2}, {2, 3}, 1, VKD_ACT_GELU, BOTH, "all uneven"},
    {{1, 12, 13, 4},
     4,
     {4, 3},
     {4, 4},
     {2, 1},
     {2, 2},
     1,
     VKD_ACT_NONE,
     0,
     "pixels no tap reaches"},
    {{2, 6, 6, 16}, 24, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 2, VKD_ACT_NONE, BIAS, "two groups"},
    {{2, 6, 5, 6}, 9, {3, 3}, {2, 1}, {1, 1}, {1, 1}, 3, VKD_ACT_SIGMOID, BOTH, "ragged groups"},
    {{2, 6, 6, 8}, 8, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 8, VKD_ACT_NONE, 0, "depthwise"},
    {{1, 6, 7, 32}, 40, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, 0, "several tiles"},
    {{2, 3, 4, 20}, 33, {2, 2}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_RELU, BOTH, "33 results"},
    {{2, 6, 13, 8}, 12, {5, 5}, {1, 1}, {2, 2}, {1, 1}, 1, VKD_ACT_RELU, BOTH, "two runs a row"},
    {{3, 5, 9, 4}, 20, {2, 3}, {1, 1}, {0, 2}, {2, 1}, 1, VKD_ACT_NONE, 0, "wider than the image"},
    {{2, 5, 13, 5}, 12, {3, 3}, {1, 1}, {1, 1}, {2, 1}, 1, VKD_ACT_RELU, BOTH, "five channels"},
    {{2, 7, 17, 1}, 6, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, BIAS, "grey, stride 2"},
    {{2, 7, 11, 12}, 12, {3, 3}, {2, 2}, {1, 1}, {1, 1}, 12, VKD_ACT_RELU6, BOTH, "depthwise /2"},
    {{1, 5, 9, 4}, 4, {2, 5}, {1, 1}, {0, 2}, {2, 1}, 4, VKD_ACT_NONE, BIAS, "depthwise 2x5"},
    /* In bindings of 2 KiB: windows of images, with sums of their pixels shared too, and images
     * too large to begin where a binding may. */
    {{200, 2, 2, 1}, 3, {2, 1}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_NONE, BOTH, "many images"},
    {{130, 2, 4, 1}, 1, {1, 1}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_NONE, 0, "many, 1x1"},
    {{150, 1, 5, 1}, 1, {1, 2}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_NONE, BOTH, "many, thin"},
    {{200, 1, 2, 4}, 4, {1, 2}, {1, 1}, {0, 0}, {1, 1}, 4, VKD_ACT_NONE, 0, "many, depthwise"},
    {{40, 1, 5, 1}, 3, {1, 2}, {1, 1}, {0, 0}, {1, 1}, 1, VKD_ACT_NONE, 0, "odd sizes"},
};
_Static_assert(VKD_COUNT(vkd__conv2d_cases) == VKD__CONV2D_CASES, "conv2d.h says how many");

vkd_shape vkd__conv2d_case_result(const vkd__conv2d_case *k) {
    uint32_t steps[2];
    for (uint32_t i = 0; i < 2; i++) {
        const vkd__conv2d p = {
            .stride = {k->stride[0], k->stride[1]},
            .padding = {k->padding[0], k->padding[1]},
            .dilation = {k->dilation[0], k->dilation[1]},
        };
        steps[i] = vkd__conv2d_steps(&p, i, k->image[1 + i], k->kernel[i]);
    }
    return VKD_SHAPE(k->image[0], steps[0], steps[1], k->out);
}

vkd_conv2d_desc vkd__conv2d_case_desc(const vkd__conv2d_case *k) {
    return (vkd_conv2d_desc){.stride = {k->stride[0], k->stride[1]},
                             .padding = {k->padding[0], k->padding[1]},
                             .dilation = {k->dilation[0], k->dilation[1]},
                             .groups = k->groups,
                             .activation = k->activation};
}

static void build_case(vkd__case *c) {
    const vkd__conv2d_case *k = &vkd__conv2d_cases[c->index];
    c->what = k->what;
    const vkd_tensor x = vkd__case_f32(c, vkd_shape_make(4, k->image), -1, 1);
    const uint32_t w[4] = {k->out, k->kernel[0], k->kernel[1], k->image[3] / k->groups};
    const vkd_tensor weight = vkd__case_f32(c, vkd_shape_make(4, w), -1, 1);
    vkd_conv2d_desc d = vkd__conv2d_case_desc(k);
    if (k->added & VKD__CONV2D_CASE_BIAS) d.bias = vkd__case_f32(c, VKD_SHAPE(k->out), -1, 1);
    if (k->added & VKD__CONV2D_CASE_RESIDUAL)
        d.residual = vkd__case_f32(c, vkd__conv2d_case_result(k), -1, 1);
    vkd__case_output(c, vkd_conv2d(c->g, x, weight, &d));
}

const vkd_op_def vkd_op_conv2d = {
    .name = "conv2d",
    .summary = "convolution of images (N, H, W, C), with bias and activation",
    .infer = infer,
    .backward = backward,
    .lower = vkd__conv2d_lower,
    .reference = reference,
    /* Sums of up to a few thousand products in f32. */
    .rtol = 1e-4,
    .atol = 1e-5,
    .case_count = VKD__CONV2D_CASES,
    .build_case = build_case,
};
