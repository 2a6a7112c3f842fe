// SPDX-License-Identifier: Apache-2.0
/* binary: y = a + b, a - b, a * b or a / b, broadcast as NumPy does.
 *
 *   add   da = dy        db = dy
 *   sub   da = dy        db = -dy
 *   mul   da = dy b      db = dy a
 *   div   da = dy / b    db = -dy y / b       (d(a/b)/db = -a/b^2 = -y/b)
 *
 * each summed over the axes along which the operand was broadcast. */
#include "ops/op.h"
#include "ops/strided.h"

enum { ADD, SUB, MUL, DIV };

typedef struct binary_params {
    uint32_t kind;
} binary_params;

/* An operand that was expanded to the result's shape only to meet the other one: its source
 * broadcasts by itself, and the expanded copy is often not needed at all. */
static bool unexpand(const vkd_graph *g, vkd_tensor *t, vkd_tensor other) {
    const vkd__node *n = vkd__producer(g, *t);
    if (!n || n->op != &vkd_op_expand ||
        !vkd__shape_equal(vkd_tensor_shape(g, *t), vkd_tensor_shape(g, other)))
        return false;
    *t = n->in[0];
    return true;
}

/* At most one of the two: the other one gives the result its shape. */
static void unexpand_one(const vkd_graph *g, vkd_tensor *a, vkd_tensor *b) {
    if (g->status || !a->id || !b->id) return;
    if (!unexpand(g, a, *b)) unexpand(g, b, *a);
}

static vkd_tensor emit(vkd_graph *g, vkd_tensor a, vkd_tensor b, uint32_t kind) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_binary,
                                          .in_count = 2,
                                          .in = {a, b},
                                          .params = &(binary_params){kind},
                                          .params_size = sizeof(binary_params)});
}

vkd_tensor vkd_add(vkd_graph *g, vkd_tensor a, vkd_tensor b) {
    float u, v;
    if (vkd__constant_value(g, a, &u) && vkd__constant_value(g, b, &v))
        return vkd_constant(g, u + v);
    unexpand_one(g, &a, &b);
    return emit(g, a, b, ADD);
}

vkd_tensor vkd_sub(vkd_graph *g, vkd_tensor a, vkd_tensor b) {
    unexpand_one(g, &a, &b);
    return emit(g, a, b, SUB);
}

vkd_tensor vkd_mul(vkd_graph *g, vkd_tensor a, vkd_tensor b) {
    float value;
    unexpand_one(g, &a, &b);
    if (b.id && vkd__constant_value(g, a, &value)) return vkd_scale(g, b, value);
    if (a.id && vkd__constant_value(g, b, &value)) return vkd_scale(g, a, value);
    return emit(g, a, b, MUL);
}

vkd_tensor vkd_div(vkd_graph *g, vkd_tensor a, vkd_tensor b) {
    unexpand_one(g, &a, &b);
    return emit(g, a, b, DIV);
}

vkd_tensor vkd__sum_to(vkd_graph *g, vkd_tensor x, vkd_shape shape) {
    const vkd_shape from = vkd_tensor_shape(g, x);
    if (g->status || !x.id || vkd__shape_equal(from, shape)) return x;
    uint32_t axes = 0;
    for (uint32_t i = 0; i < from.axes; i++) {
        const uint32_t new_axes = from.axes - shape.axes;
        if (i < new_axes || (shape.dim[i - new_axes] == 1 && from.dim[i] != 1)) axes |= 1u << i;
    }
    return vkd_reshape(g, axes ? vkd_sum(g, x, axes, true) : x, shape);
}

static bool infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__all_f32(g, n)) return false;
    const vkd_shape a = vkd_tensor_shape(g, n->in[0]), b = vkd_tensor_shape(g, n->in[1]);
    vkd_shape y;
    if (!vkd__shape_broadcast(a, b, &y))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "shapes do not broadcast, %s and %s",
                               vkd__shape_text(g, a), vkd__shape_text(g, b));
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const uint32_t kind = ((const binary_params *)n->params)->kind;
    const vkd_tensor a = n->in[0], b = n->in[1], y = n->out[0], dy = dout[0];
    if (vkd__tensor_get(g, a)->needs_grad) {
        vkd_tensor da = dy;
        if (kind == MUL) da = vkd_mul(g, dy, b);
        if (kind == DIV) da = vkd_div(g, dy, b);
        din[0] = vkd__sum_to(g, da, vkd_tensor_shape(g, a));
    }
    if (vkd__tensor_get(g, b)->needs_grad) {
        vkd_tensor db = dy;
        if (kind == MUL) db = vkd_mul(g, dy, a);
        if (kind == DIV) db = vkd_div(g, vkd_mul(g, dy, y), b);
        db = vkd__sum_to(g, db, vkd_tensor_shape(g, b));
        din[1] = kind == SUB || kind == DIV ? vkd_neg(g, db) : db;
    }
}

static vkd__strided loop_of(const vkd_graph *g, const vkd__node *n) {
    const vkd_shape y = vkd_tensor_shape(g, n->out[0]);
    vkd__strided s = vkd__strided_over(y, 3);
    vkd__strided_broadcast(&s, 0, vkd_tensor_shape(g, n->in[0]));
    vkd__strided_broadcast(&s, 1, vkd_tensor_shape(g, n->in[1]));
    vkd__strided_part(&s, 2, y, NULL, 0);
    return s;
}

static bool quads(const vkd__strided *s, uint32_t i) {
    if (s->stride[i][0] == 0) return true;
    bool together = s->offset[i] % 4 == 0;
    for (uint32_t k = 1; k < s->axes; k++)
        together = together && s->stride[i][k] % 4 == 0;
    return together;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    vkd__strided s = loop_of(l->g, n);
    vkd__strided_merge(&s);
    const char *kernel = vkd__variant(l, "binary");
    vkd__strided_walk walk;
    if (!vkd__strided_walk_init(&walk, l, &s)) return false;
    for (vkd__strided part; vkd__strided_walk_next(&walk, &part);) {
        vkd__launch *launch = vkd__launch_add(l, kernel);
        if (!launch) return false;
        vkd__strided_bind(l, launch, n->in[0], VKD__READ, &part, 0);
        vkd__strided_bind(l, launch, n->in[1], VKD__READ, &part, 1);
        vkd__strided_bind(l, launch, n->out[0], VKD__WRITE, &part, 2);
        const bool rows = part.dim[0] % 4 == 0;
        const bool whole = walk.quads || (rows && part.offset[2] % 4 == 0);
        vkd__spec(launch, 10, part.axes);
        vkd__spec(launch, 11, (part.axes == 1 || rows) && quads(&part, 0) && quads(&part, 1));
        vkd__spec(launch, 12, part.stride[0][0] == 0);
        vkd__spec(launch, 13, part.stride[1][0] == 0);
        vkd__spec(launch, 14, ((const binary_params *)n->params)->kind);
        if (!whole) vkd__spec(launch, 15, 1);
        const struct vkd_strided_params push = vkd__strided_push(&part);
        vkd__push(launch, &push, sizeof push);
        vkd__grid(l, launch, vkd__div_up(vkd__div_up(push.count, 4), l->profile->flat_workgroup));
        vkd__cost(launch, push.count, 12.0 * (double)push.count);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const uint32_t kind = ((const binary_params *)r->node->params)->kind;
    const vkd_shape y = r->out[0].tensor->shape;
    for (uint64_t e = 0; e < vkd_shape_count(y); e++) {
        const double a = r->in[0].v[vkd__broadcast_index(r->in[0].tensor->shape, y, e)];
        const double b = r->in[1].v[vkd__broadcast_index(r->in[1].tensor->shape, y, e)];
        r->out[0].v[e] = kind == ADD ? a + b : kind == SUB ? a - b : kind == MUL ? a * b : a / b;
    }
}

static void build_case(vkd__case *c) {
    static const struct {
        const char *what;
        vkd_shape a, b;
    } cases[] = {
        {"same shape, ragged", {1, {129}}, {1, {129}}},
        {"a bias on ragged rows", {2, {31, 33}}, {1, {33}}},
        {"a bias on rows of quads", {2, {33, 12}}, {1, {12}}},
        {"a column", {2, {7, 20}}, {2, {7, 1}}},
        {"a column in front", {2, {5, 1}}, {2, {5, 13}}},
        {"one value", {3, {3, 7, 31}}, {0, {0}}},
        {"both grow", {3, {4, 1, 6}}, {2, {5, 1}}},
        {"five axes", {5, {2, 3, 1, 5, 1}}, {5, {1, 3, 4, 1, 7}}},
        {"five axes of quads", {5, {2, 1, 3, 1, 8}}, {4, {2, 1, 2, 8}}},
        {"a thousand", {1, {1000}}, {1, {1000}}},
        {"two values", {0, {0}}, {0, {0}}},
    };
    const uint32_t kind = c->index % 4, which = c->index / 4;
    c->what = cases[which].what;
    const vkd_tensor a = vkd__case_f32(c, cases[which].a, -2, 2);
    const vkd_tensor b = vkd__case_f32(c, cases[which].b, 0.5, 2);
    vkd__case_output(c, emit(c->g, a, b, kind));
}

const vkd_op_def vkd_op_binary = {
    .name = "binary",
    .summary = "add, sub, mul, div: element by element, with broadcasting",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .in_place = true,
    .case_count = 4 * 11,
    .build_case = build_case,
};
