// SPDX-License-Identifier: Apache-2.0
#include "support/plan_ops.h"

#include "shaders/params.h"

static bool infer(vkd_graph *g, vkd__node *n) {
    const plan_op_params *p = n->params;
    for (uint32_t i = 0; i < p->outs; i++)
        vkd__node_out(g, n, i, VKD_F32, VKD_SHAPE(p->count[i]));
    return true;
}

static bool infer_view(vkd_graph *g, vkd__node *n) {
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

static vkd__launch *launch_of(vkd__lower *l, const plan_op_params *p) {
    vkd__launch *launch = vkd__launch_add(l, p->kernel ? p->kernel : "fill");
    if (!launch) return NULL;
    vkd__push(launch, &(struct vkd_fill_params){.count = p->count[0]},
              sizeof(struct vkd_fill_params));
    vkd__grid(l, launch, vkd__div_up(p->count[0], 4 * l->profile->flat_workgroup));
    vkd__cost(launch, p->count[0], 4.0 * p->count[0]);
    return launch;
}

static void bind_inputs(vkd__launch *launch, const vkd__node *n) {
    for (uint32_t i = 0; i < n->in_count; i++)
        vkd__bind(launch, n->in[i], n->writes >> i & 1 ? VKD__READ_WRITE : VKD__READ);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const plan_op_params *p = n->params;
    if (p->refuse) return vkd__lower_fail(l, VKD_E_SHAPE, "rows of %d bytes fit nowhere", 7);
    vkd__launch *launch = launch_of(l, p);
    if (!launch) return false;
    bind_inputs(launch, n);
    if (p->scratch) {
        const uint32_t scratch = vkd__scratch_add(l, p->scratch * sizeof(float));
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
        launch = launch_of(l, p);
        if (!launch) return false;
        vkd__bind_scratch(launch, scratch, VKD__READ);
    }
    for (uint32_t i = 0; i < n->out_count; i++)
        vkd__bind(launch, n->out[i], VKD__WRITE);
    return true;
}

static bool lower_put(vkd__lower *l, const vkd__node *n) {
    const plan_op_params *p = n->params;
    vkd__launch *launch = launch_of(l, p);
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind_window(launch, n->in[1], VKD__WRITE, p->offset,
                     vkd_shape_count(vkd_tensor_shape(l->g, n->in[0])) * sizeof(float));
    return true;
}

const vkd_op_def op_plain = {.name = "plain", .infer = infer, .lower = lower};
const vkd_op_def op_in_place = {
    .name = "in_place", .infer = infer, .lower = lower, .in_place = true};
const vkd_op_def op_view = {.name = "view", .infer = infer_view, .is_view = true};
const vkd_op_def op_put = {.name = "put", .infer = infer, .lower = lower_put, .is_placement = true};
const vkd_op_def op_update = {.name = "update", .infer = infer, .lower = lower};

vkd_tensor plan_op(vkd_graph *g, const vkd_op_def *op, const vkd_tensor *in, uint32_t in_count,
                   const plan_op_params *params) {
    vkd__emit_desc desc = {.op = op,
                           .in_count = in_count,
                           .optional = ~0u,
                           .writes = op == &op_update ? 1u
                                     : op == &op_put  ? 2u
                                                      : 0u,
                           .params = params,
                           .params_size = sizeof *params};
    for (uint32_t i = 0; i < in_count; i++)
        desc.in[i] = in[i];
    return vkd__emit(g, &desc);
}

vkd_tensor plain(vkd_graph *g, vkd_tensor in, uint32_t count) {
    return plan_op(g, &op_plain, &in, 1, &(plan_op_params){.outs = 1, .count = {count}});
}

vkd_tensor in_place(vkd_graph *g, vkd_tensor in, uint32_t count) {
    return plan_op(g, &op_in_place, &in, 1, &(plan_op_params){.outs = 1, .count = {count}});
}

vkd_tensor view(vkd_graph *g, vkd_tensor in) {
    return plan_op(g, &op_view, &in, 1, &(plan_op_params){0});
}

void put(vkd_graph *g, vkd_tensor values, vkd_tensor into, uint64_t offset) {
    const vkd_tensor in[] = {values, into};
    plan_op(g, &op_put, in, 2, &(plan_op_params){.offset = offset, .count = {1}});
}

void update(vkd_graph *g, vkd_tensor state, vkd_tensor by) {
    const vkd_tensor in[] = {state, by};
    plan_op(g, &op_update, in, by.id ? 2 : 1, &(plan_op_params){.count = {1}});
}
