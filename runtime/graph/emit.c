// SPDX-License-Identifier: Apache-2.0
/* Building nodes, and the sticky failure that keeps model code free of checks. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"

/* "matmul('x', 'w'): " in front of a message about a node. */
static void describe_node(const vkd_graph *g, const vkd__node *n, vkd__text *out) {
    vkd__text_add(out, "%s(", n->op->name);
    for (uint32_t i = 0; i < n->in_count; i++)
        vkd__text_add(out, "%s'%s'", i ? ", " : "", vkd__tensor_get(g, n->in[i])->name);
    vkd__text_add(out, "): ");
}

bool vkd__graph_fail(vkd_graph *g, const vkd__node *n, vkd_result r, const char *format, ...) {
    if (g->status) return false; /* the first mistake is the one worth telling */
    char text[768];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    vkd__text front = {.ctx = g->ctx};
    if (n) describe_node(g, n, &front);
    snprintf(g->error, sizeof g->error, "%s%s", front.text ? front.text : "", text);
    vkd__text_term(&front);
    g->status = vkd__fail(g->ctx, r, "%s", g->error);
    return false;
}

void vkd__node_out(vkd_graph *g, vkd__node *n, uint32_t i, vkd_dtype dtype, vkd_shape shape) {
    if (g->status) return;
    VKD_ASSERT(i < VKD__MAX_OUT);
    const char *fault = vkd__shape_fault(shape, dtype);
    if (fault) {
        vkd__graph_fail(g, n, VKD_E_SHAPE, "the result would have %s", fault);
        return;
    }
    const char *name =
        vkd__arena_format(&g->arena, i ? "%s.%zu.%u" : "%s.%zu", n->op->name, g->node_count, i);
    if (!name || !VKD__RESERVE(g->ctx, g->tensors, g->tensor_count, g->tensor_capacity)) {
        vkd__graph_fail(g, n, VKD_E_MEMORY, "no memory for the result");
        return;
    }
    bool needs_grad = false;
    for (uint32_t k = 0; k < n->in_count; k++)
        needs_grad |= vkd__tensor_get(g, n->in[k])->needs_grad;
    g->tensors[g->tensor_count] =
        (vkd__tensor){.name = name,
                      .dtype = dtype,
                      .shape = shape,
                      .home = VKD__HOME_NODE,
                      .node = (uint32_t)g->node_count,
                      .needs_grad = needs_grad && n->op->backward && vkd__is_real(dtype)};
    n->out[i] = (vkd_tensor){(uint32_t)g->tensor_count++};
    if (n->out_count <= i) n->out_count = i + 1;
}

static bool check_inputs(vkd_graph *g, const vkd__node *n, uint32_t optional) {
    for (uint32_t i = 0; i < n->in_count; i++) {
        const uint32_t id = n->in[i].id;
        if (id >= g->tensor_count || (!id && !(optional >> i & 1)))
            return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "input %u is no tensor of this graph", i);
        if (n->writes >> i & 1) VKD_ASSERT(vkd__tensor_get(g, n->in[i])->home == VKD__HOME_STORE);
    }
    return true;
}

/* Widens the 16-bit inputs that the op does not take as they are. */
static void widen_inputs(vkd_graph *g, vkd__node *n) {
    const uint32_t takes = n->op->is_view ? 1 : n->op->takes_half;
    vkd_dtype common = VKD_U8; /* of the inputs that may have 16 bits; none yet */
    bool differ = false;
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!n->in[i].id || !(takes >> i & 1)) continue;
        const vkd_dtype dtype = vkd__tensor_get(g, n->in[i])->dtype;
        differ |= common != VKD_U8 && dtype != common;
        common = dtype;
    }
    for (uint32_t i = 0; i < n->in_count && !g->status; i++)
        if (vkd__is_half(vkd__tensor_get(g, n->in[i])->dtype) && (differ || !(takes >> i & 1)))
            n->in[i] = g->widen(g, n->in[i]);
}

vkd_tensor vkd__emit(vkd_graph *g, const vkd__emit_desc *desc) {
    if (g->status) return (vkd_tensor){0};
    VKD_ASSERT(desc->in_count <= VKD__MAX_IN);
    vkd__node n = {.op = desc->op, .in_count = desc->in_count, .writes = desc->writes};
    memcpy(n.in, desc->in, sizeof n.in);
    if (!check_inputs(g, &n, desc->optional)) return (vkd_tensor){0};
    if (g->widen) widen_inputs(g, &n);
    if (g->status) return (vkd_tensor){0};
    if (desc->params_size) {
        void *params = vkd__arena_alloc(&g->arena, 1, desc->params_size);
        if (!params || !desc->params) {
            vkd__graph_fail(g, &n, VKD_E_MEMORY, "no memory for its parameters");
            return (vkd_tensor){0};
        }
        memcpy(params, desc->params, desc->params_size);
        n.params = params;
    }
    if (!desc->op->infer(g, &n) || g->status) return (vkd_tensor){0};
    if (!VKD__RESERVE(g->ctx, g->nodes, g->node_count, g->node_capacity)) {
        vkd__graph_fail(g, &n, VKD_E_MEMORY, "no memory for the node");
        return (vkd_tensor){0};
    }
    g->nodes[g->node_count++] = n;
    return n.out[0];
}

vkd_tensor vkd__node_extend(vkd_graph *g, const vkd__node *n, uint32_t slot, vkd_tensor extra,
                            vkd_dtype dtype, vkd_shape shape) {
    if (g->status) return (vkd_tensor){0};
    /* The node may be the caller's copy of one that has moved: find it by what it makes. */
    const uint32_t index = vkd__tensor_get(g, n->out[0])->node;
    const vkd__tensor *wanted = vkd__tensor_get(g, extra);
    if (wanted->home == VKD__HOME_NODE && wanted->node >= index) return (vkd_tensor){0};
    vkd__node *stored = &g->nodes[index];
    VKD_ASSERT(slot < VKD__MAX_IN && stored->out_count < VKD__MAX_OUT);
    const uint32_t at = stored->out_count;
    vkd__node extended = *stored;
    for (uint32_t i = extended.in_count; i < slot; i++)
        extended.in[i] = (vkd_tensor){0};
    extended.in[slot] = extra;
    if (extended.in_count <= slot) extended.in_count = slot + 1;
    vkd__node_out(g, &extended, at, dtype, shape);
    if (g->status) return (vkd_tensor){0};
    vkd__tensor *made = &g->tensors[extended.out[at].id];
    made->node = index;
    made->needs_grad = false;
    g->nodes[made->node] = extended;
    return extended.out[at];
}

const vkd__node *vkd__producer(const vkd_graph *g, vkd_tensor t) {
    const vkd__tensor *tensor = vkd__tensor_get(g, t);
    return t.id && tensor->home == VKD__HOME_NODE ? &g->nodes[tensor->node] : NULL;
}
