// SPDX-License-Identifier: Apache-2.0
#include "ops/op.h"

vkd_tensor vkd__loss_gradient(vkd_graph *g, const vkd__node *n, uint32_t slot, size_t params_size,
                              vkd_tensor dout) {
    if (!dout.id) return (vkd_tensor){0};
    const bool taken = n->in_count > slot && n->in[slot].id;
    if (taken && n->in[slot].id == dout.id) return n->out[1];
    if (!taken) {
        const vkd_shape shape = vkd__tensor_get(g, n->in[0])->shape;
        const vkd_tensor gradient = vkd__node_extend(g, n, slot, dout, VKD_F32, shape);
        if (gradient.id) return gradient;
    }
    vkd__emit_desc desc = {
        .op = n->op, .in_count = slot + 1, .params = n->params, .params_size = params_size};
    for (uint32_t i = 0; i < slot; i++)
        desc.in[i] = n->in[i];
    desc.in[slot] = dout;
    const vkd__node *second = vkd__producer(g, vkd__emit(g, &desc));
    return second ? second->out[1] : (vkd_tensor){0};
}
