// SPDX-License-Identifier: Apache-2.0
/* max_grad: the gradient of max. x is (outer, reduce, inner), y = max over reduce:
 *
 *   dx[o,k,i] = dy[o,i] where k is the first with x[o,k,i] = y[o,i], else 0
 *
 * A first launch finds that k in each chunk of the axis, a second one writes dx. */
#include "ops/op.h"

#define CHUNK 256u

typedef struct max_grad_params {
    uint32_t reduce, inner;
} max_grad_params;

vkd_tensor vkd__max_grad(vkd_graph *g, vkd_tensor dy, vkd_tensor x, vkd_tensor y, uint32_t reduce,
                         uint32_t inner) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_max_grad,
                                          .in_count = 3,
                                          .in = {dy, x, y},
                                          .params = &(max_grad_params){reduce, inner},
                                          .params_size = sizeof(max_grad_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    if (!vkd__all_f32(g, n)) return false;
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[1]));
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const max_grad_params *p = n->params;
    const uint64_t count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[1]));
    const uint64_t outer = count / p->reduce / p->inner, splits = vkd__div_up(p->reduce, CHUNK);
    if (count * sizeof(float) > l->profile->max_binding)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "%llu elements are too many for one binding of this device",
                               (unsigned long long)count);
    struct vkd_reduce_params push = {.rows = (vkd_u32)(outer * splits),
                                     .reduce = p->reduce,
                                     .inner = p->inner,
                                     .chunk = CHUNK,
                                     .splits = (vkd_u32)splits,
                                     .scale = 1};
    const uint64_t places = outer * splits * p->inner;
    const uint32_t scratch = vkd__scratch_add(l, places * sizeof(int32_t));
    vkd__launch *launch = vkd__launch_add(l, vkd__variant(l, "max_first"));
    if (!launch) return false;
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind(launch, n->in[2], VKD__READ);
    vkd__bind_scratch(launch, scratch, VKD__WRITE);
    vkd__push(launch, &push, sizeof push);
    vkd__grid(l, launch, vkd__div_up(places, l->profile->flat_workgroup));
    vkd__cost(launch, (double)count, 4.0 * (double)count);

    push.rows = (vkd_u32)outer;
    launch = vkd__launch_add(l, vkd__variant(l, "max_grad"));
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__push(launch, &push, sizeof push);
    vkd__grid(l, launch, vkd__div_up(vkd__div_up(count, 4), l->profile->flat_workgroup));
    vkd__cost(launch, 0, 4.0 * (double)count);
    return true;
}

static void reference(const vkd__ref *r) {
    const max_grad_params *p = r->node->params;
    const double *dy = r->in[0].v, *x = r->in[1].v, *y = r->in[2].v;
    const uint64_t count = vkd_shape_count(r->in[1].tensor->shape);
    const uint64_t outer = count / p->reduce / p->inner;
    for (uint64_t o = 0; o < outer; o++)
        for (uint64_t i = 0; i < p->inner; i++) {
            bool found = false;
            for (uint64_t k = 0; k < p->reduce; k++) {
                const uint64_t e = (o * p->reduce + k) * p->inner + i;
                const bool here = !found && x[e] == y[o * p->inner + i];
                r->out[0].v[e] = here ? dy[o * p->inner + i] : 0;
                found = found || here;
            }
        }
}

static void build_case(vkd__case *c) {
    static const uint32_t shapes[][3] = {
        {9, 33, 1}, {1, 1000, 1}, {3, 31, 5}, {2, 127, 8}, {1, 2, 2}};
    const uint32_t *s = shapes[c->index];
    const vkd_tensor dy = vkd__case_fixed(c, VKD_SHAPE(s[0], 1, s[2]), 0.5, 1);
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(s[0], s[1], s[2]), -1, 1);
    /* Many elements share the largest value: the first one gets all. */
    vkd__case_special(c, 2, 7);
    vkd__case_output(c, vkd__max_grad(c->g, dy, x, vkd_max(c->g, x, 2, true), s[1], s[2]));
}

const vkd_op_def vkd_op_max_grad = {
    .name = "max_grad",
    .summary = "the gradient of max: to the first largest element",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 5,
    .build_case = build_case,
    .no_difference_test = "it is a gradient itself; reduce's cases check it",
};
