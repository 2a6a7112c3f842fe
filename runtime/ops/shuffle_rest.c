// SPDX-License-Identifier: Apache-2.0
/* shuffle_rest: each row of the last axis with its largest element where it is, and the others in
 * another order.
 *
 *   m = the first largest of x[n], r(v) = v - [v > m] for v != m, u(k) = k + [k >= m]
 *   y[n,m] = x[n,m],  y[n,v] = x[n, u(pi(r(v)))]
 *
 * pi permutes 0..V-2, chosen by the words of Philox at counter (n, step), key (seed, stream of
 * name): another one for each row and step, the same ones on every device. m is argmax's. No
 * gradient. */
#include "base/philox.h"
#include "base/shuffle.h"
#include "ops/row.h"

typedef struct params {
    uint32_t seed, stream;
} params;

vkd_tensor vkd_shuffle_rest(vkd_graph *g, vkd_tensor x, const char *name) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_shuffle_rest,
                                          .in_count = 3,
                                          .in = {x, vkd_argmax(g, x), vkd_step(g)},
                                          .params = &(params){g->seed, vkd__philox_stream(name)},
                                          .params_size = sizeof(params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape shape = vkd_tensor_shape(g, n->in[0]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (!shape.axes || vkd__shape_last(shape) < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "rows of two elements or more are wanted, not %s",
                               vkd__shape_text(g, shape));
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    vkd__rows r;
    if (!vkd__rows_of(l, n->in[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__item_launch(l, "shuffle_rest", vkd__div_up(count * r.length, 4));
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, first, count, r.length);
        vkd__bind(launch, n->in[1], VKD__READ);
        vkd__bind(launch, n->in[2], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        const struct vkd_shuffle_rest_params push = {(uint32_t)count, r.length, (uint32_t)first,
                                                     p->seed, p->stream};
        vkd__push(launch, &push, sizeof push);
        vkd__cost(launch, 60.0 * (double)count * r.length, 12.0 * (double)count * r.length);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const params *p = r->node->params;
    const uint32_t V = vkd__shape_last(r->in[0].tensor->shape);
    const uint32_t step = (uint32_t)(int32_t)r->in[2].v[0];
    for (uint64_t n = 0; n < vkd__shape_rows(r->in[0].tensor->shape); n++) {
        const double *x = r->in[0].v + n * V;
        const vkd__philox key = vkd__philox_at(p->seed, p->stream, step, (uint32_t)n);
        const uint32_t m = (uint32_t)r->in[1].v[n];
        for (uint32_t v = 0; v < V; v++) {
            const uint32_t k = v == m ? 0 : vkd__shuffle(key, V - 1, v - (v > m));
            r->out[0].v[n * V + v] = x[v == m ? m : k + (k >= m)];
        }
    }
}

#define CASES (VKD__ROW_CASES + 1)

static void build_case(vkd__case *c) {
    static const uint32_t sizes[VKD__ROW_CASES][2] = {{1, 2},   {5, 3},   {130, 10}, {7, 16},
                                                      {4, 31},  {3, 33},  {2, 64},   {5, 127},
                                                      {3, 129}, {2, 1001}};
    const uint32_t *size = sizes[c->index % VKD__ROW_CASES];
    c->what = c->index == VKD__ROW_CASES ? "all equal" : "ragged rows";
    const double low = c->index == VKD__ROW_CASES ? 1 : -3;
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(size[0], size[1]), low, low == 1 ? 1 : 3);
    vkd__case_output(c, vkd_shuffle_rest(c->g, x, "case"));
}

const vkd_op_def vkd_op_shuffle_rest = {
    .name = "shuffle_rest",
    .summary = "rows in another order, but for their largest element",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = CASES,
    .build_case = build_case,
    .no_difference_test = "no gradient flows through it",
};
