// SPDX-License-Identifier: Apache-2.0
/* cast: the same values in another of f32, f16 and bf16, to the nearest, ties to even. dx = dy, in
 * f32: rounding is taken for the identity, as mixed precision does (Micikevicius et al.,
 * arXiv:1710.03740). */
#include <math.h>

#include "ops/op.h"

typedef struct cast_params {
    vkd_dtype dtype;
} cast_params;

static vkd_tensor widen(vkd_graph *g, vkd_tensor x) {
    return vkd_cast(g, x, VKD_F32);
}

/* The cast that an earlier reader of x has asked for; none when the store was changed since. */
static vkd_tensor find(const vkd_graph *g, vkd_tensor x, vkd_dtype dtype) {
    for (size_t i = g->node_count; i-- > 0;) {
        const vkd__node *n = &g->nodes[i];
        if (n->op == &vkd_op_cast && n->in[0].id == x.id && vkd_tensor_dtype(g, n->out[0]) == dtype)
            return n->out[0];
        if (n->writes && vkd__tensor_get(g, x)->home == VKD__HOME_STORE) break;
    }
    return (vkd_tensor){0};
}

vkd_tensor vkd_cast(vkd_graph *g, vkd_tensor x, vkd_dtype dtype) {
    if (!g->status && x.id) {
        if (vkd_tensor_dtype(g, x) == dtype) return x;
        /* Back to what it was made from is that, where nothing was lost on the way. */
        const vkd__node *n = vkd__producer(g, x);
        if (n && n->op == &vkd_op_cast && vkd_tensor_dtype(g, x) == VKD_F32 &&
            vkd_tensor_dtype(g, n->in[0]) == dtype)
            return n->in[0];
        const vkd_tensor made = find(g, x, dtype);
        if (made.id) return made;
    }
    g->widen = widen;
    return vkd__emit1(g, &vkd_op_cast, x, &(cast_params){dtype}, sizeof(cast_params));
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_dtype to = ((const cast_params *)n->params)->dtype;
    const vkd__tensor *x = vkd__tensor_get(g, n->in[0]);
    if (!vkd__is_real(x->dtype) || !vkd__is_real(to) ||
        (vkd__is_half(x->dtype) && vkd__is_half(to)))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "a cast is from f32 to f16 or bf16, or from these to f32");
    vkd__node_out(g, n, 0, to, x->shape);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    (void)n;
    din[0] = vkd_cast(g, dout[0], VKD_F32);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const bool narrow = vkd_tensor_dtype(l->g, n->in[0]) == VKD_F32;
    struct vkd_cast_params push = {0};
    return vkd__flat_lower(l,
                           &(vkd__flat){.kernel = narrow ? "narrow" : "widen",
                                        .count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0])),
                                        .tensor_count = 2,
                                        .tensor = {n->in[0], n->out[0]},
                                        .access = {VKD__READ, VKD__WRITE},
                                        .push = &push,
                                        .push_size = sizeof push,
                                        .flops = 1});
}

/* The host rounds every 16-bit result by itself. */
static void reference(const vkd__ref *r) {
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++)
        r->out[0].v[i] = r->in[0].v[i];
}

/* To 16 bits and back, so that what was rounded is compared. */
static void build_case(vkd__case *c) {
    static const uint32_t counts[] = {1, 3, 33, 1000, 4099};
    static const double specials[] = {INFINITY, -INFINITY, NAN, 65519.996, 65520};
    const uint32_t which = c->index / 2;
    const vkd_dtype type = c->index % 2 ? VKD_BF16 : VKD_F16;
    c->what = type == VKD_F16 ? "f16 and back" : "bf16 and back";
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(counts[which]), -4, 4);
    vkd__case_special(c, specials[which], 5);
    vkd__case_output(c, vkd_cast(c->g, vkd_scale(c->g, vkd_cast(c->g, x, type), 2), VKD_F32));
}

const vkd_op_def vkd_op_cast = {
    .name = "cast",
    .summary = "f32 to f16 or bf16, and back",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .takes_half = 1,
    .rtol = 1e-30, /* the same bits */
    .atol = 1e-30,
    .case_count = 10,
    .build_case = build_case,
    .no_difference_test = "rounding is flat almost everywhere; its gradient is the identity",
};
