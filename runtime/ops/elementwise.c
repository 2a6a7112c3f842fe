// SPDX-License-Identifier: Apache-2.0
/* What element-wise ops share. */
#include <stdio.h>
#include <string.h>

#include "ops/op.h"

vkd_tensor vkd__emit1(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, const void *params,
                      size_t params_size) {
    return vkd__emit(
        g, &(vkd__emit_desc){
               .op = op, .in_count = 1, .in = {x}, .params = params, .params_size = params_size});
}

bool vkd__all_f32(vkd_graph *g, const vkd__node *n) {
    for (uint32_t i = 0; i < n->in_count; i++) {
        const vkd__tensor *t = vkd__tensor_get(g, n->in[i]);
        if (n->in[i].id && t->dtype != VKD_F32)
            return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "'%s' is not f32", t->name);
    }
    return true;
}

bool vkd__constant_value(const vkd_graph *g, vkd_tensor t, float *value) {
    if (!t.id || g->status) return false;
    const vkd__tensor *tensor = vkd__tensor_get(g, t);
    if (!tensor->constant || tensor->dtype != VKD_F32 || tensor->shape.axes) return false;
    *value = tensor->value;
    return true;
}

uint64_t vkd__broadcast_index(vkd_shape x, vkd_shape y, uint64_t e) {
    uint64_t at = 0, step = 1;
    for (uint32_t k = 1; k <= x.axes; k++) {
        const uint32_t size = x.dim[x.axes - k];
        if (size != 1) at += e % size * step;
        e /= y.dim[y.axes - k];
        step *= size;
    }
    return at;
}

bool vkd__all_one_type(vkd_graph *g, const vkd__node *n, vkd_dtype *dtype) {
    *dtype = vkd_tensor_dtype(g, n->in[0]);
    return vkd__is_half(*dtype) || vkd__all_f32(g, n);
}

const char *vkd__variant(const vkd__lower *l, const char *kernel) {
    const vkd__node *n = &l->g->nodes[l->node];
    char name[64];
    snprintf(name, sizeof name, "%s.half", kernel);
    const bool half = vkd__is_half(vkd_tensor_dtype(l->g, n->in[0])) && vkd__kernel_find(name);
    snprintf(name, sizeof name, "%s%s%s", kernel, vkd__direct(l, kernel) ? ".direct" : "",
             half ? ".half" : "");
    const vkd__kernel *found = vkd__kernel_find(name);
    VKD_ASSERT(found != NULL);
    return found->name;
}

vkd_dtype vkd__half_of(const vkd__lower *l) {
    const vkd__node *n = &l->g->nodes[l->node];
    const vkd_dtype in = vkd_tensor_dtype(l->g, n->in[0]);
    const vkd_dtype out = n->out_count ? vkd_tensor_dtype(l->g, n->out[0]) : in;
    return vkd__is_half(in) ? in : vkd__is_half(out) ? out : VKD_F32;
}

bool vkd__flat_lower(vkd__lower *l, const vkd__flat *f) {
    const char *kernel = vkd__variant(l, f->kernel);
    const vkd_dtype half = vkd__half_of(l);
    uint64_t window = vkd__window_elements(l->profile, sizeof(float));
    /* 256 bytes are 128 values of 16 bits. */
    if (half != VKD_F32 && f->count > window) window = window / 128 * 128;
    double element_bytes = 0; /* of all tensors */
    for (uint32_t i = 0; i < f->tensor_count; i++)
        element_bytes += (double)vkd_dtype_size(vkd_tensor_dtype(l->g, f->tensor[i]));
    if (!window)
        return vkd__lower_fail(l, VKD_E_SHAPE, "bindings of %llu bytes cut 16-bit values apart",
                               (unsigned long long)l->profile->max_binding);
    for (uint64_t at = 0; at < f->count; at += window) {
        const uint64_t part = f->count - at < window ? f->count - at : window;
        vkd__launch *launch = vkd__launch_add(l, kernel);
        if (!launch) return false;
        for (uint32_t i = 0; i < f->tensor_count; i++) {
            const size_t size = vkd_dtype_size(vkd_tensor_dtype(l->g, f->tensor[i]));
            if (f->whole >> i & 1 || part == f->count)
                vkd__bind(launch, f->tensor[i], f->access[i]);
            else
                vkd__bind_window(launch, f->tensor[i], f->access[i], at * size, part * size);
        }
        vkd__spec(launch, 10, f->kind);
        if (half != VKD_F32) vkd__spec(launch, 25, half == VKD_BF16);
        const vkd_u32 count = (vkd_u32)part;
        memcpy(f->push, &count, sizeof count);
        vkd__push(launch, f->push, f->push_size);
        vkd__grid(l, launch, vkd__div_up(vkd__div_up(part, 4), l->profile->flat_workgroup));
        vkd__cost(launch, f->flops * (double)part, element_bytes * (double)part);
    }
    return true;
}
