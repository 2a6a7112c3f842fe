// SPDX-License-Identifier: Apache-2.0
/* conv2d_weight: w[o,r,s,c] = sum_{n,y,x} result[n,y,x,o] image[n, y', x', c], a convolution's
 * gradient for its weight: a product of O x (R S C / groups) over all pixels of the results. Few
 * tiles and a long sum, so workgroups share the pixels; matmul_finish adds their sums in order. */
#include "ops/conv2d.h"
#include "ops/matmul.h"

vkd_tensor vkd__conv2d_weight_of(vkd_graph *g, vkd_tensor image, vkd_tensor result,
                                 const vkd__conv2d *p) {
    vkd__conv2d bare = *p;
    bare.activation = VKD_ACT_NONE;
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_conv2d_weight,
                                          .in_count = 2,
                                          .in = {image, result},
                                          .params = &bare,
                                          .params_size = sizeof bare});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd__conv2d *p = (vkd__conv2d *)n->params; /* the node's own copy, completed here */
    const vkd_shape image = vkd_tensor_shape(g, n->in[0]), result = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__all_f32(g, n)) return false;
    bool fits = image.axes == 4 && result.axes == 4 && image.dim[0] == result.dim[0] &&
                image.dim[3] % p->groups == 0 && result.dim[3] % p->groups == 0;
    for (uint32_t i = 0; fits && i < 2; i++)
        fits = vkd__conv2d_steps(p, i, image.dim[1 + i], p->kernel[i]) == result.dim[1 + i];
    if (!fits)
        return vkd__graph_fail(
            g, n, VKD_E_SHAPE, "no convolution with a kernel of %u x %u makes %s of %s",
            p->kernel[0], p->kernel[1], vkd__shape_text(g, result), vkd__shape_text(g, image));
    p->images = image.dim[0];
    for (int i = 0; i < 3; i++) {
        p->image[i] = image.dim[1 + i];
        p->result[i] = result.dim[1 + i];
    }
    vkd__node_out(g, n, 0, VKD_F32,
                  VKD_SHAPE(p->result[2], p->kernel[0], p->kernel[1], p->image[2] / p->groups));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const vkd__conv2d *p = n->params;
    if (vkd__tensor_get(g, n->in[0])->needs_grad)
        din[0] = vkd__conv2d_transpose_of(g, n->in[1], dout[0], p);
    if (vkd__tensor_get(g, n->in[1])->needs_grad) din[1] = vkd__conv2d_of(g, n->in[0], dout[0], p);
}

/* ---- Lowering ---- */

/* A share of the pixels below this is not worth the sums that it leaves to be written and read. */
#define SHORTEST_CHUNK 256u
/* What keeps the workers of a CPU device busy to the end. */
#define DIRECT_TASKS 32u

static void split(const vkd__lower *l, struct vkd_conv2d_weight_params *push, uint64_t tiles,
                  bool direct) {
    uint64_t splits = (direct ? DIRECT_TASKS : l->profile->fill_groups) / tiles;
    if (splits > push->K / SHORTEST_CHUNK) splits = push->K / SHORTEST_CHUNK;
    const uint64_t bytes = 4ull * push->M * push->N * push->groups;
    if (splits > l->profile->max_binding / bytes) splits = l->profile->max_binding / bytes;
    push->splits = 1;
    push->chunk = push->K;
    if (splits < 2) return;
    push->chunk = (uint32_t)vkd__align_up(vkd__div_up(push->K, splits), 64);
    push->splits = (uint32_t)vkd__div_up(push->K, push->chunk);
}

/* The direct kernel's columns: how many lie side by side in the image, and with those that fill up
 * the quads of each such stretch. */
typedef struct columns {
    uint32_t stretch, all;
} columns;

static columns columns_of(const vkd__conv2d *p, uint32_t N) {
    const uint32_t channels = p->image[2] / p->groups;
    const bool row = p->groups == 1 && p->dilation[1] == 1;
    const uint32_t stretch = row ? p->kernel[1] * channels : channels;
    return (columns){stretch, N / stretch * (uint32_t)vkd__align_up(stretch, 4)};
}

static uint64_t tiles_of(const vkd__lower *l, const struct vkd_conv2d_weight_params *push,
                         const columns *direct) {
    const vkd_profile *f = l->profile;
    const uint32_t N = direct ? direct->all : push->N;
    const vkd__matmul_class class = vkd__matmul_classify(f, push->M, N, push->groups);
    const uint32_t m =
        direct ? vkd__conv2d_rows(push->M, f->direct_tile[class].rows) : f->tile[class].m;
    const uint32_t n = direct ? 4 * f->subgroup : f->tile[class].n;
    return vkd__div_up(push->M, m) * vkd__div_up(N, n) * push->groups;
}

static void spec(vkd__launch *launch, const vkd__conv2d *p, bool accumulate) {
    const uint32_t channels = p->image[2] / p->groups;
    vkd__spec(launch, 13, accumulate);
    vkd__spec(launch, 20, channels);
    vkd__spec(launch, 21, p->kernel[1]);
    vkd__spec(launch, 22, p->result[0]);
    vkd__spec(launch, 23, p->result[1]);
}

static void size(vkd__lower *l, vkd__launch *launch, const vkd__conv2d *p,
                 const struct vkd_conv2d_weight_params *push, const columns *direct) {
    const bool image = vkd__conv2d_ragged(p->image[2] / p->groups);
    const bool result = vkd__conv2d_ragged(push->M);
    const uint32_t Z = push->groups * push->splits;
    if (direct) {
        vkd__conv2d_size_direct(l, launch, push->M, direct->all, Z, 0);
        vkd__spec(launch, 29, direct->stretch);
    } else {
        vkd__conv2d_size_tile(l, launch, push->M, push->N, Z);
    }
    vkd__spec(launch, 14, direct ? image : result);
    vkd__spec(launch, 15, direct ? result : image);
}

/* Images from `first` on; later windows add to what the ones before left. */
static bool lower_window(vkd__lower *l, const vkd__node *n, uint32_t first, uint32_t images,
                         bool direct) {
    const vkd__conv2d *p = n->params;
    const uint32_t channels = p->image[2] / p->groups, out = p->result[2] / p->groups;
    const uint64_t image = 4ull * p->image[0] * p->image[1] * p->image[2];
    const uint64_t result = 4ull * p->result[0] * p->result[1] * p->result[2];
    struct vkd_conv2d_weight_params push = {.M = out,
                                            .N = p->kernel[0] * p->kernel[1] * channels,
                                            .K = images * p->result[0] * p->result[1],
                                            .groups = p->groups,
                                            .in_h = p->image[0],
                                            .in_w = p->image[1],
                                            .in_c = p->image[2],
                                            .dy_c = p->result[2],
                                            .step_y = (int32_t)p->stride[0],
                                            .step_x = (int32_t)p->stride[1],
                                            .base_y = -(int32_t)p->padding[0],
                                            .base_x = -(int32_t)p->padding[1],
                                            .tap_y = (int32_t)p->dilation[0],
                                            .tap_x = (int32_t)p->dilation[1]};
    const double products = (double)push.M * push.N * push.groups * push.K;
    const columns c = columns_of(p, push.N);
    split(l, &push, tiles_of(l, &push, direct ? &c : NULL), direct);
    const uint64_t count = (uint64_t)push.M * push.N * push.groups;
    const bool apart = push.splits > 1;
    const uint32_t scratch = apart ? vkd__scratch_add(l, 4 * count * push.splits) : 0;
    vkd__launch *launch = vkd__launch_add(l, direct ? "conv2d_weight.direct" : "conv2d_weight");
    if (!launch) return false;
    vkd__bind_window(launch, n->in[1], VKD__READ, first * result, images * result);
    vkd__bind_window(launch, n->in[0], VKD__READ, first * image, images * image);
    if (apart)
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
    else
        vkd__bind(launch, n->out[0], first ? VKD__READ_WRITE : VKD__WRITE);
    spec(launch, p, first && !apart);
    size(l, launch, p, &push, direct ? &c : NULL);
    vkd__push(launch, &push, sizeof push);
    vkd__cost(launch, 2.0 * products,
              (double)images * (double)(image + result) + 4.0 * (double)(count * push.splits));
    return !apart || vkd__matmul_add_splits(l, scratch, count, push.splits, n->out[0], first != 0);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const vkd__conv2d *p = n->params;
    const bool direct = vkd__direct(l, "conv2d_weight");
    uint32_t window;
    if (!vkd__conv2d_window(l, p, direct, &window)) return false;
    for (uint32_t at = 0; at < p->images; at += window) {
        const uint32_t images = p->images - at < window ? p->images - at : window;
        const bool ok = vkd__conv2d_is_depth(p) ? vkd__conv2d_weight_depth(l, n, at, images)
                                                : lower_window(l, n, at, images, direct);
        if (!ok) return false;
    }
    return true;
}

/* ---- Reference ---- */

static void add_product(void *user, uint64_t image, uint64_t weight, uint64_t result) {
    const vkd__ref *r = user;
    r->out[0].v[weight] += r->in[0].v[image] * r->in[1].v[result];
}

static void reference(const vkd__ref *r) {
    const uint64_t count = vkd_shape_count(r->out[0].tensor->shape);
    for (uint64_t i = 0; i < count; i++)
        r->out[0].v[i] = 0;
    vkd__ref mine = *r;
    vkd__conv2d_each(
        &(vkd__conv2d_walk){.p = r->node->params, .visit = add_product, .user = &mine});
}

/* ---- Cases ---- */

/* conv2d's, and one whose pixels are shared by workgroups. */
static const vkd__conv2d_case long_case = {
    {9, 12, 11, 4}, 8, {3, 3}, {1, 1}, {1, 1}, {1, 1}, 1, VKD_ACT_NONE, 0, "shared pixels"};

static void build_case(vkd__case *c) {
    const vkd__conv2d_case *k =
        c->index < VKD__CONV2D_CASES ? &vkd__conv2d_cases[c->index] : &long_case;
    vkd__conv2d p = {.groups = k->groups};
    uint32_t y[4] = {k->image[0], 0, 0, k->out};
    for (uint32_t i = 0; i < 2; i++) {
        p.stride[i] = k->stride[i];
        p.padding[i] = k->padding[i];
        p.dilation[i] = k->dilation[i];
        p.kernel[i] = k->kernel[i];
        y[1 + i] = vkd__conv2d_steps(&p, i, k->image[1 + i], k->kernel[i]);
    }
    c->what = k->what;
    const vkd_tensor image = vkd__case_f32(c, vkd_shape_make(4, k->image), -1, 1);
    const vkd_tensor result = vkd__case_f32(c, vkd_shape_make(4, y), -1, 1);
    vkd__case_output(c, vkd__conv2d_weight_of(c->g, image, result, &p));
}

const vkd_op_def vkd_op_conv2d_weight = {
    .name = "conv2d_weight",
    .summary = "a convolution's gradient for its weight",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    /* Sums of up to a few thousand products in f32. */
    .rtol = 1e-4,
    .atol = 1e-5,
    .case_count = VKD__CONV2D_CASES + 1,
    .build_case = build_case,
};
