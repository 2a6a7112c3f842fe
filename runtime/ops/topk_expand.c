// SPDX-License-Identifier: Apache-2.0
/* Rows of logits from what a cache keeps of them. A packed row of 2k + 1 values holds k log
 * probabilities at a temperature T, the logarithm of what the other V - k classes have together,
 * and the k classes, whole numbers that f32 holds exactly.
 *
 *   y[n, class_j] = T logp_j,   y[n, v] = T (rest - log(V - k)) for every other v
 *
 * So softmax(y / T) has the k probabilities, and the rest in equal shares. With kd_topk of the same
 * k and temperature the shares do not matter: only their sum is compared. A class outside 0..V-1 is
 * dropped. No gradient: a teacher gets none. */
#include <math.h>

#include "ops/row.h"

typedef struct params {
    uint32_t V;
    float temperature;
} params;

vkd_tensor vkd_topk_expand(vkd_graph *g, vkd_tensor packed, uint32_t V, float temperature) {
    const params p = {V, temperature};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_topk_expand,
                                          .in_count = 1,
                                          .in = {packed},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape in = vkd_tensor_shape(g, n->in[0]);
    const params *p = n->params;
    if (!vkd__need_f32(g, n, 0)) return false;
    if (in.axes != 2 || in.dim[1] < 3 || in.dim[1] % 2 == 0 || in.dim[1] / 2 > p->V)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "packed rows are (N, 2 k + 1) with k of at most %u classes, not %s",
                               p->V, vkd__shape_text(g, in));
    vkd__node_out(g, n, 0, VKD_F32, VKD_SHAPE(in.dim[0], p->V));
    return true;
}

/* The share of one class outside the top as a logarithm less the rest's; 0 where there is none. */
static double log_share(uint32_t V, uint32_t k) {
    return V > k ? -log((double)(V - k)) : 0;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const params *p = n->params;
    vkd__rows in, out;
    if (!vkd__rows_of(l, n->in[0], &in) || !vkd__rows_of(l, n->out[0], &out)) return false;
    const uint64_t at_once =
        in.rows_at_once < out.rows_at_once ? in.rows_at_once : out.rows_at_once;
    for (uint64_t at = 0; at < out.rows; at += at_once) {
        const uint64_t left = out.rows - at, count = left < at_once ? left : at_once;
        vkd__launch *launch = vkd__row_launch(l, "topk_expand", count, out.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, at, count, in.length);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, at, count, out.length);
        const struct vkd_topk_expand_params push = {
            .N = (uint32_t)count,
            .V = p->V,
            .k = in.length / 2,
            .temperature = p->temperature,
            .log_share = (float)log_share(p->V, in.length / 2),
        };
        vkd__push(launch, &push, sizeof push);
        vkd__cost(launch, (double)count * p->V * push.k, 4.0 * (double)count * p->V);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const params *p = r->node->params;
    const vkd_shape in = r->in[0].tensor->shape;
    const uint32_t k = in.dim[1] / 2;
    const double T = (double)p->temperature;
    for (size_t n = 0; n < in.dim[0]; n++) {
        const double *packed = r->in[0].v + n * in.dim[1];
        double *y = r->out[0].v + n * p->V;
        for (uint32_t v = 0; v < p->V; v++)
            y[v] = T * (packed[k] + log_share(p->V, k));
        for (uint32_t j = 0; j < k; j++) {
            const double class_index = packed[k + 1 + j];
            if (class_index >= 0 && class_index < p->V) y[(size_t)class_index] = T * packed[j];
        }
    }
}

/* Class j of a row is (7 j + 3) mod V, or -1 in every fourth place: no such class. */
static vkd_tensor case_classes(vkd__case *c, uint32_t N, uint32_t V, uint32_t k) {
    const vkd_tensor zero = vkd__case_fixed(c, VKD_SHAPE(N, 1), 0, 0);
    vkd_tensor all = {0};
    for (uint32_t j = 0; j < k; j++) {
        const float class_index = j % 4 == 3 ? -1.0f : (float)((7 * j + 3) % V);
        const vkd_tensor column = vkd_add(c->g, zero, vkd_constant(c->g, class_index));
        all = j ? vkd_concat(c->g, (const vkd_tensor[]){all, column}, 2, 1) : column;
    }
    return all;
}

static void build_case(vkd__case *c) {
    static const struct {
        uint32_t N, V, k;
        float temperature;
    } cases[] = {{1, 2, 1, 1}, {3, 3, 3, 4}, {33, 10, 3, 2}, {7, 129, 5, 1}, {2, 1001, 9, 20}};
    const uint32_t N = cases[c->index].N, V = cases[c->index].V, k = cases[c->index].k;
    const vkd_tensor parts[] = {vkd__case_fixed(c, VKD_SHAPE(N, k + 1), -6, 0),
                                case_classes(c, N, V, k)};
    vkd__case_output(
        c, vkd_topk_expand(c->g, vkd_concat(c->g, parts, 2, 1), V, cases[c->index].temperature));
}

const vkd_op_def vkd_op_topk_expand = {
    .name = "topk_expand",
    .summary = "rows of logits from their k most likely classes and a rest",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 5,
    .build_case = build_case,
    .no_difference_test = "no gradient flows to a teacher",
};
