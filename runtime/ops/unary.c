// SPDX-License-Identifier: Apache-2.0
/* unary: y = f(x), element by element, for every f of the table below, and unary_grad:
 * dx = dy * f'(x), where f' is written in y instead of x wherever that is cheaper:
 *
 *   relu     max(x, 0)                   [y > 0]
 *   gelu     x Phi(x)                    Phi(x) + x phi(x), Phi and phi of the normal distribution
 *   silu     x s(x), s = 1/(1+e^-x)      s(x) + x s(x) (1 - s(x))
 *   tanh     tanh(x)                     1 - y^2
 *   sigmoid  s(x)                        y (1 - y)
 *   relu6    min(max(x, 0), 6)           [0 < y < 6]
 *   exp      e^x                         y
 *   log      ln(x)                       1 / x
 *   sqrt     sqrt(x)                     1 / (2 y)
 *   square   x^2                         2 x
 *   scale    c x                         c: the gradient is another scale
 *
 * Krizhevsky, Convolutional deep belief networks on CIFAR-10, 2010 (relu6); Hendrycks & Gimpel,
 * arXiv:1606.08415 (gelu); Elfwing et al., arXiv:1702.03118 (silu). */
#include <math.h>

#include "ops/op.h"

/* As in activation.glsl. */
enum { SCALE, RELU, GELU, SILU, TANH, SIGMOID, RELU6, EXP, LOG, SQRT, SQUARE };

typedef struct unary_params {
    uint32_t kind;
    float factor;
} unary_params;

static double sigmoid(double x) {
    return 1 / (1 + exp(-x));
}
static double normal_cdf(double x) {
    return 0.5 * erfc(-x * 0.70710678118654752440);
}

static double relu(double x) {
    return x > 0 || isnan(x) ? x : 0;
}
static double relu_grad(double y) {
    return y > 0 ? 1 : 0;
}
static double gelu(double x) {
    return x * normal_cdf(x);
}
static double gelu_grad(double x) {
    return normal_cdf(x) + x * exp(-0.5 * x * x) * 0.39894228040143267794;
}
static double silu(double x) {
    return x * sigmoid(x);
}
static double silu_grad(double x) {
    const double s = sigmoid(x);
    return s + x * s * (1 - s);
}
static double tanh_grad(double y) {
    return 1 - y * y;
}
static double sigmoid_grad(double y) {
    return y * (1 - y);
}
static double relu6(double x) {
    return x > 6 ? 6 : relu(x);
}
static double relu6_grad(double y) {
    return y > 0 && y < 6 ? 1 : 0;
}
static double exp_grad(double y) {
    return y;
}
static double log_grad(double x) {
    return 1 / x;
}
static double sqrt_grad(double y) {
    return 0.5 / y;
}
static double square(double x) {
    return x * x;
}
static double square_grad(double x) {
    return 2 * x;
}

typedef struct kind {
    double (*f)(double x);
    double (*grad)(double v);
    bool from_y;      /* v is y */
    double low, high; /* what the cases feed it */
    double flops;     /* rough, for the plan's estimate */
} kind;

static const kind kinds[] = {
    [SCALE] = {NULL, NULL, false, -2, 2, 1},
    [RELU] = {relu, relu_grad, true, -2, 2, 1},
    [GELU] = {gelu, gelu_grad, false, -5, 5, 40},
    [SILU] = {silu, silu_grad, false, -8, 8, 12},
    [TANH] = {tanh, tanh_grad, true, -3, 3, 20},
    [SIGMOID] = {sigmoid, sigmoid_grad, true, -8, 8, 12},
    [RELU6] = {relu6, relu6_grad, true, -4, 10, 2},
    [EXP] = {exp, exp_grad, true, -4, 4, 8},
    [LOG] = {log, log_grad, false, 0.1, 5, 8},
    [SQRT] = {sqrt, sqrt_grad, true, 0.1, 5, 4},
    [SQUARE] = {square, square_grad, false, -2, 2, 1},
};
#define KIND_COUNT ((uint32_t)VKD_COUNT(kinds))

/* VKD_ACT_NONE stands where SCALE does, which has no f of its own. */
double vkd__activated(vkd_activation activation, double x) {
    return activation == VKD_ACT_NONE ? x : kinds[activation].f(x);
}

double vkd__activation_slope(uint32_t activation, double v, bool from_y) {
    if (activation == VKD_ACT_NONE) return 1;
    const kind *k = &kinds[activation];
    VKD_ASSERT(k->from_y || !from_y);
    return k->grad(k->from_y && !from_y ? k->f(v) : v);
}

/* ---- y = f(x) ---- */

static vkd_tensor emit(vkd_graph *g, vkd_tensor x, uint32_t which, float factor) {
    const unary_params p = {which, factor};
    return vkd__emit1(g, &vkd_op_unary, x, &p, sizeof p);
}

vkd_tensor vkd_relu(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, RELU, 0);
}
vkd_tensor vkd_gelu(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, GELU, 0);
}
vkd_tensor vkd_silu(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, SILU, 0);
}
vkd_tensor vkd_tanh(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, TANH, 0);
}
vkd_tensor vkd_sigmoid(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, SIGMOID, 0);
}
vkd_tensor vkd_relu6(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, RELU6, 0);
}
vkd_tensor vkd_exp(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, EXP, 0);
}
vkd_tensor vkd_log(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, LOG, 0);
}
vkd_tensor vkd_sqrt(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, SQRT, 0);
}
vkd_tensor vkd_square(vkd_graph *g, vkd_tensor x) {
    return emit(g, x, SQUARE, 0);
}
vkd_tensor vkd_neg(vkd_graph *g, vkd_tensor x) {
    return vkd_scale(g, x, -1);
}

vkd_tensor vkd_scale(vkd_graph *g, vkd_tensor x, float factor) {
    float value;
    if (vkd__constant_value(g, x, &value)) return vkd_constant(g, value * factor);
    if (factor == 1) return x;
    return emit(g, x, SCALE, factor);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    vkd_dtype dtype;
    if (!vkd__all_one_type(g, n, &dtype)) return false;
    vkd__node_out(g, n, 0, dtype, vkd_tensor_shape(g, n->in[0]));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const unary_params *p = n->params;
    if (p->kind == SCALE)
        din[0] = vkd_scale(g, dout[0], p->factor);
    else
        din[0] = vkd__unary_grad(g, dout[0], n->in[0], n->out[0], p->kind);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const unary_params *p = n->params;
    struct vkd_unary_params push = {.factor = p->factor};
    return vkd__flat_lower(l,
                           &(vkd__flat){.kernel = "unary",
                                        .count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0])),
                                        .tensor_count = 2,
                                        .tensor = {n->in[0], n->out[0]},
                                        .access = {VKD__READ, VKD__WRITE},
                                        .kind = p->kind,
                                        .push = &push,
                                        .push_size = sizeof push,
                                        .flops = kinds[p->kind].flops});
}

static void reference(const vkd__ref *r) {
    const unary_params *p = r->node->params;
    const uint64_t count = vkd_shape_count(r->in[0].tensor->shape);
    for (uint64_t i = 0; i < count; i++) {
        const double x = r->in[0].v[i];
        r->out[0].v[i] = p->kind == SCALE ? (double)p->factor * x : kinds[p->kind].f(x);
    }
}

/* Behind these come as many of 16 bits. */
#define F32_CASES (3 * KIND_COUNT)
static const uint32_t case_counts[] = {1, 2, 31, 33, 127, 129, 1000};

static void build_case(vkd__case *c) {
    const uint32_t which = c->index % KIND_COUNT;
    const uint32_t count = case_counts[c->index % VKD_COUNT(case_counts)];
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(count), kinds[which].low, kinds[which].high);
    /* Far from zero the activations must neither overflow nor leak. */
    if (which >= GELU && which <= SIGMOID) vkd__case_special(c, c->index & 1 ? -100 : 100, 7);
    if (c->index < F32_CASES) {
        vkd__case_output(c, emit(c->g, x, which, 0.75f));
        return;
    }
    const vkd_dtype half = c->index & 1 ? VKD_BF16 : VKD_F16;
    c->what = half == VKD_F16 ? "f16" : "bf16";
    vkd__case_half(c, half);
    vkd__case_output(c, emit(c->g, vkd_cast(c->g, x, half), which, 0.75f));
}

const vkd_op_def vkd_op_unary = {
    .name = "unary",
    .summary = "relu, relu6, gelu, silu, tanh, sigmoid, exp, log, sqrt, square, scale",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .takes_half = 1,
    .in_place = true,
    .case_count = F32_CASES + 3 * KIND_COUNT,
    .build_case = build_case,
};

/* ---- dx = dy f'(v) ---- */

vkd_tensor vkd__unary_grad(vkd_graph *g, vkd_tensor dy, vkd_tensor x, vkd_tensor y,
                           uint32_t which) {
    VKD_ASSERT(which > SCALE && which < KIND_COUNT);
    const unary_params p = {.kind = which};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_unary_grad,
                                          .in_count = 2,
                                          .in = {dy, kinds[which].from_y ? y : x},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    vkd_dtype dtype;
    if (!vkd__all_one_type(g, n, &dtype)) return false;
    const vkd_shape dy = vkd_tensor_shape(g, n->in[0]), v = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__shape_equal(dy, v))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "shapes differ, %s and %s",
                               vkd__shape_text(g, dy), vkd__shape_text(g, v));
    vkd__node_out(g, n, 0, dtype, dy);
    return true;
}

static bool grad_lower(vkd__lower *l, const vkd__node *n) {
    const unary_params *p = n->params;
    struct vkd_unary_params push = {.factor = 1};
    return vkd__flat_lower(l,
                           &(vkd__flat){.kernel = "unary_grad",
                                        .count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0])),
                                        .tensor_count = 3,
                                        .tensor = {n->in[0], n->in[1], n->out[0]},
                                        .access = {VKD__READ, VKD__READ, VKD__WRITE},
                                        .kind = p->kind,
                                        .push = &push,
                                        .push_size = sizeof push,
                                        .flops = kinds[p->kind].flops + 1});
}

static void grad_reference(const vkd__ref *r) {
    const unary_params *p = r->node->params;
    const uint64_t count = vkd_shape_count(r->in[0].tensor->shape);
    for (uint64_t i = 0; i < count; i++)
        r->out[0].v[i] = r->in[0].v[i] * kinds[p->kind].grad(r->in[1].v[i]);
}

#define GRAD_F32_CASES (2 * (KIND_COUNT - RELU))

static void grad_build_case(vkd__case *c) {
    const uint32_t which = RELU + c->index % (KIND_COUNT - RELU);
    const uint32_t count = case_counts[c->index % VKD_COUNT(case_counts)];
    const kind *k = &kinds[which];
    const vkd_tensor dy = vkd__case_fixed(c, VKD_SHAPE(count), -2, 2);
    /* v is a result of f, as in a graph: a tanh between -1 and 1. */
    const double low = k->from_y ? k->f(k->low) : k->low,
                 high = k->from_y ? k->f(k->high) : k->high;
    const vkd_tensor v = vkd__case_fixed(c, VKD_SHAPE(count), low, high);
    if (which == RELU || which == RELU6) vkd__case_special(c, 0, 3);
    if (which == GELU || which == SILU) vkd__case_special(c, c->index & 1 ? -100 : 100, 7);
    if (c->index < GRAD_F32_CASES) {
        vkd__case_output(c, vkd__unary_grad(c->g, dy, v, v, which));
        return;
    }
    const vkd_dtype half = c->index & 1 ? VKD_BF16 : VKD_F16;
    c->what = half == VKD_F16 ? "f16" : "bf16";
    vkd__case_half(c, half);
    const vkd_tensor v16 = vkd_cast(c->g, v, half);
    vkd__case_output(c, vkd__unary_grad(c->g, vkd_cast(c->g, dy, half), v16, v16, which));
}

const vkd_op_def vkd_op_unary_grad = {
    .name = "unary_grad",
    .summary = "the gradient of unary: dy times the derivative",
    .infer = grad_infer,
    .lower = grad_lower,
    .reference = grad_reference,
    .takes_half = 3,
    .in_place = true,
    .case_count = 2 * GRAD_F32_CASES,
    .build_case = grad_build_case,
    .no_difference_test = "it is a gradient itself; unary's cases check it",
};
