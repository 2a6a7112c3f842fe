// SPDX-License-Identifier: Apache-2.0
/* gather: y[n] = table[indices[n]], zeros for an index outside 0..V-1; and its gradient,
 *
 *   dtable[v] = sum over n with indices[n] = v of dy[n]
 *
 * which is summed in the order of n by whoever holds the first of them: no float atomics, the same
 * bits in every run. Three steps: zeros, chains of equal indices, sums along the chains.
 * A table beyond the device's largest binding is read and written in windows of rows. */
#include <string.h>

#include "ops/row.h"

typedef struct grad_params {
    uint32_t V;
} grad_params;

vkd_tensor vkd_gather(vkd_graph *g, vkd_tensor table, vkd_tensor indices) {
    return vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_gather, .in_count = 2, .in = {table, indices}});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape table = vkd_tensor_shape(g, n->in[0]);
    vkd_shape out = vkd_tensor_shape(g, n->in[1]);
    if (!vkd__need_f32(g, n, 0)) return false;
    if (vkd_tensor_dtype(g, n->in[1]) != VKD_I32)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "the indices are not i32");
    if (table.axes != 2 || out.axes >= VKD_MAX_AXES)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "the table must be (V, D) and the indices have "
                               "at most %d axes, not %s and %s",
                               VKD_MAX_AXES - 1, vkd__shape_text(g, table),
                               vkd__shape_text(g, out));
    out.dim[out.axes++] = table.dim[1];
    vkd__node_out(g, n, 0, VKD_F32, out);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    din[0] = vkd__emit(
        g, &(vkd__emit_desc){.op = &vkd_op_gather_grad,
                             .in_count = 2,
                             .in = {dout[0], n->in[1]},
                             .params = &(grad_params){vkd_tensor_shape(g, n->in[0]).dim[0]},
                             .params_size = sizeof(grad_params)});
}

static bool lower_window(vkd__lower *l, const vkd__node *n, const vkd__rows *table, uint64_t row,
                         const vkd__rows *out, uint64_t at) {
    const uint64_t rows = vkd__rows_count(table, row), count = vkd__rows_count(out, at);
    vkd__launch *launch = vkd__row_launch(l, "gather", count, out->length);
    if (!launch) return false;
    vkd__row_bind(launch, n->in[0], VKD__READ, row, rows, out->length);
    vkd__row_bind(launch, n->in[1], VKD__READ, at, count, 1);
    vkd__row_bind(launch, n->out[0], VKD__WRITE, at, count, out->length);
    vkd__push(launch,
              &(struct vkd_gather_params){.N = (uint32_t)count,
                                          .D = out->length,
                                          .V = (uint32_t)table->rows,
                                          .first = (uint32_t)row,
                                          .rows = (uint32_t)rows},
              sizeof(struct vkd_gather_params));
    vkd__cost(launch, 0, 8.0 * (double)count * out->length);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    vkd__rows table, out;
    if (!vkd__rows_of(l, n->in[0], &table) || !vkd__rows_of(l, n->out[0], &out)) return false;
    for (uint64_t row = 0; row < table.rows; row += table.rows_at_once)
        for (uint64_t at = 0; at < out.rows; at += out.rows_at_once)
            if (!lower_window(l, n, &table, row, &out, at)) return false;
    return true;
}

static void reference(const vkd__ref *r) {
    const uint32_t V = r->in[0].tensor->shape.dim[0], D = r->in[0].tensor->shape.dim[1];
    const uint64_t count = vkd_shape_count(r->in[1].tensor->shape);
    for (uint64_t n = 0; n < count; n++) {
        const double index = r->in[1].v[n];
        const bool inside = index >= 0 && index < V;
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[n * D + d] = inside ? r->in[0].v[(uint64_t)index * D + d] : 0;
    }
}

/* ---- Gradient: dy (..., D), indices (...) to dtable (V, D) ---- */

static bool grad_infer(vkd_graph *g, vkd__node *n) {
    const grad_params *p = n->params;
    const uint32_t D = vkd__shape_last(vkd_tensor_shape(g, n->in[0]));
    vkd__node_out(g, n, 0, VKD_F32, VKD_SHAPE(p->V, D));
    return true;
}

static bool lower_zeros(vkd__lower *l, const vkd__node *n, const vkd__rows *table, uint64_t row) {
    const uint64_t rows = vkd__rows_count(table, row), count = rows * table->length;
    vkd__launch *launch = vkd__item_launch(l, "fill", vkd__div_up(count, 4));
    if (!launch) return false;
    vkd__row_bind(launch, n->out[0], VKD__WRITE, row, rows, table->length);
    vkd__push(launch, &(struct vkd_fill_params){(uint32_t)count, 0.0f},
              sizeof(struct vkd_fill_params));
    vkd__cost(launch, 0, 4.0 * (double)count);
    return true;
}

static bool lower_links(vkd__lower *l, const vkd__node *n, uint64_t count, uint32_t scratch) {
    vkd__launch *launch = vkd__item_launch(l, "gather_links", count);
    if (!launch) return false;
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind_scratch(launch, scratch, VKD__WRITE);
    vkd__push(launch, &(struct vkd_gather_params){.N = (uint32_t)count},
              sizeof(struct vkd_gather_params));
    vkd__cost(launch, (double)count * (double)count, 8.0 * (double)count);
    return true;
}

static bool lower_sums(vkd__lower *l, const vkd__node *n, const vkd__rows *table, uint64_t row,
                       uint64_t count, uint32_t scratch) {
    const uint64_t rows = vkd__rows_count(table, row);
    vkd__launch *launch = vkd__row_launch(l, "gather_grad", count, table->length);
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__row_bind(launch, n->out[0], VKD__WRITE, row, rows, table->length);
    vkd__push(launch,
              &(struct vkd_gather_params){.N = (uint32_t)count,
                                          .D = table->length,
                                          .V = (uint32_t)table->rows,
                                          .first = (uint32_t)row,
                                          .rows = (uint32_t)rows},
              sizeof(struct vkd_gather_params));
    vkd__cost(launch, (double)count * table->length, 8.0 * (double)count * table->length);
    return true;
}

static bool grad_lower(vkd__lower *l, const vkd__node *n) {
    vkd__rows dy, table;
    if (!vkd__rows_of(l, n->in[0], &dy) || !vkd__rows_of(l, n->out[0], &table)) return false;
    if (dy.rows_at_once < dy.rows) /* a chain may lead anywhere in dy */
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "%llu rows of %u elements exceed one binding of %llu bytes on this "
                               "device; use smaller batches",
                               (unsigned long long)dy.rows, dy.length,
                               (unsigned long long)l->profile->max_binding);
    const uint32_t scratch = vkd__scratch_add(l, dy.rows * sizeof(uint32_t));
    if (!lower_links(l, n, dy.rows, scratch)) return false;
    for (uint64_t row = 0; row < table.rows; row += table.rows_at_once)
        if (!lower_zeros(l, n, &table, row) || !lower_sums(l, n, &table, row, dy.rows, scratch))
            return false;
    return true;
}

static void grad_reference(const vkd__ref *r) {
    const grad_params *p = r->node->params;
    const uint32_t D = vkd__shape_last(r->in[0].tensor->shape);
    const uint64_t count = vkd_shape_count(r->in[1].tensor->shape);
    memset(r->out[0].v, 0, (size_t)p->V * D * sizeof(double));
    for (uint64_t n = 0; n < count; n++) {
        const double index = r->in[1].v[n];
        if (index < 0 || index >= p->V) continue;
        for (uint32_t d = 0; d < D; d++)
            r->out[0].v[(uint64_t)index * D + d] += r->in[0].v[n * D + d];
    }
}

/* ---- Cases: V, D, indices; the last ones draw indices outside the table ---- */

static const uint32_t sizes[][3] = {{1, 1, 1},    {5, 3, 31},  {7, 4, 33},  {33, 10, 12},
                                    {40, 64, 50}, {9, 66, 70}, {3, 129, 5}, {200, 8, 9}};

static vkd_tensor case_indices(vkd__case *c) {
    const uint32_t *s = sizes[c->index];
    const bool outside = c->index >= VKD_COUNT(sizes) - 3;
    c->what = outside ? "indices outside the table" : "repeated indices";
    const int32_t past = outside ? 3 : 0;
    if (s[2] % 2) return vkd__case_i32(c, VKD_SHAPE(s[2]), -past, (int32_t)s[0] + past);
    return vkd__case_i32(c, VKD_SHAPE(2, s[2] / 2), -past, (int32_t)s[0] + past);
}

static void build_case(vkd__case *c) {
    const uint32_t *s = sizes[c->index];
    const vkd_tensor table = vkd__case_f32(c, VKD_SHAPE(s[0], s[1]), -1, 1);
    vkd__case_output(c, vkd_gather(c->g, table, case_indices(c)));
}

static void build_grad_case(vkd__case *c) {
    const uint32_t *s = sizes[c->index];
    const vkd_tensor indices = case_indices(c);
    vkd_shape shape = vkd_tensor_shape(c->g, indices);
    shape.dim[shape.axes++] = s[1];
    const vkd_tensor dy = vkd__case_fixed(c, shape, -1, 1);
    vkd__case_output(c, vkd__emit(c->g, &(vkd__emit_desc){.op = &vkd_op_gather_grad,
                                                          .in_count = 2,
                                                          .in = {dy, indices},
                                                          .params = &(grad_params){s[0]},
                                                          .params_size = sizeof(grad_params)}));
}

const vkd_op_def vkd_op_gather = {
    .name = "gather",
    .summary = "rows of a table by index",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = VKD_COUNT(sizes),
    .build_case = build_case,
};
const vkd_op_def vkd_op_gather_grad = {
    .name = "gather_grad",
    .summary = "gradient of gather: ordered sums into the table's rows",
    .infer = grad_infer,
    .lower = grad_lower,
    .reference = grad_reference,
    .case_count = VKD_COUNT(sizes),
    .build_case = build_grad_case,
    .no_difference_test = "a gradient itself: checked through gather",
};
