// SPDX-License-Identifier: Apache-2.0
/* y[n,v] = 1 where v is labels[n], else 0: labels as targets for losses made of plain ops. */
#include "ops/row.h"

typedef struct params {
    uint32_t V;
} params;

vkd_tensor vkd_one_hot(vkd_graph *g, vkd_tensor labels, uint32_t V) {
    const params p = {V};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_one_hot,
                                          .in_count = 1,
                                          .in = {labels},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__tensor *labels = vkd__tensor_get(g, n->in[0]);
    vkd_shape shape = labels->shape;
    if (labels->dtype != VKD_I32) return vkd__graph_fail(g, n, VKD_E_SHAPE, "labels must be i32");
    if (shape.axes == VKD_MAX_AXES)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "no room for another axis in %s",
                               vkd__shape_text(g, shape));
    shape.dim[shape.axes++] = ((const params *)n->params)->V;
    vkd__node_out(g, n, 0, VKD_F32, shape);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    vkd__rows rows;
    if (!vkd__rows_of(l, n->out[0], &rows)) return false;
    for (uint64_t first = 0; first < rows.rows; first += rows.rows_at_once) {
        const uint64_t count = vkd__rows_count(&rows, first);
        vkd__launch *launch = vkd__launch_add(l, "one_hot");
        if (!launch) return false;
        vkd__bind(launch, n->in[0], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, rows.length);
        const struct vkd_one_hot_params push = {(uint32_t)count, rows.length, (uint32_t)first};
        vkd__push(launch, &push, sizeof push);
        const uint64_t elements = count * rows.length;
        vkd__grid(l, launch, vkd__div_up(vkd__div_up(elements, 4), l->profile->flat_workgroup));
        vkd__cost(launch, 0, 4.0 * (double)elements);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const uint64_t N = vkd_shape_count(r->in[0].tensor->shape);
    const uint32_t V = ((const params *)r->node->params)->V;
    for (uint64_t n = 0; n < N; n++)
        for (uint32_t v = 0; v < V; v++)
            r->out[0].v[n * V + v] = r->in[0].v[n] == v;
}

static void build_case(vkd__case *c) {
    static const uint32_t sizes[][2] = {{1, 2}, {31, 3}, {33, 10}, {7, 129}, {127, 64}};
    const uint32_t N = sizes[c->index][0], V = sizes[c->index][1];
    const vkd_tensor labels = vkd__case_i32(c, VKD_SHAPE(N), -2, (int32_t)V + 2);
    vkd__case_output(c, vkd_one_hot(c->g, labels, V));
}

const vkd_op_def vkd_op_one_hot = {
    .name = "one_hot",
    .summary = "labels as rows with one 1",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 5,
    .build_case = build_case,
    .no_difference_test = "labels are integers",
};
