// SPDX-License-Identifier: Apache-2.0
/* A graph's life, its leaves and its outputs. How nodes are built is in emit.c. */
#include "graph/graph.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

vkd_result vkd_graph_create(vkd_ctx *ctx, vkd_store *store, const vkd_graph_desc *desc,
                            vkd_graph **out) {
    *out = NULL;
    const vkd_dtype compute = desc ? desc->compute : VKD_F32;
    if (!vkd__is_real(compute))
        return vkd__fail(ctx, VKD_E_ARGUMENT, "a graph computes in f32, f16 or bf16");
    vkd_graph *g = vkd__alloc(ctx, 1, sizeof *g);
    if (!g) return VKD_E_MEMORY;
    g->ctx = ctx;
    g->store = store;
    g->arena.ctx = ctx;
    g->references = 1;
    g->seed = desc ? desc->seed : 0;
    g->compute = compute;
    g->name = vkd__arena_format(&g->arena, "%s", desc && desc->name ? desc->name : "graph");
    /* Tensor 0 is no tensor, so that a zeroed handle is invalid. */
    if (!g->name || !VKD__RESERVE(ctx, g->tensors, g->tensor_count, g->tensor_capacity)) {
        vkd_graph_destroy(g);
        return VKD_E_MEMORY;
    }
    g->tensors[g->tensor_count++].name = "none";
    *out = g;
    return VKD_OK;
}

void vkd__graph_retain(const vkd_graph *graph) {
    ((vkd_graph *)graph)->references++; /* the count is no part of a graph's value */
}

void vkd__graph_release(const vkd_graph *graph) {
    vkd_graph *g = (vkd_graph *)graph;
    if (!g || --g->references) return;
    vkd__free(g->ctx, g->tensors);
    vkd__free(g->ctx, g->nodes);
    vkd__free(g->ctx, g->outputs);
    vkd__free(g->ctx, g->reaches);
    vkd__arena_term(&g->arena);
    vkd__free(g->ctx, g);
}

void vkd_graph_destroy(vkd_graph *graph) {
    vkd__graph_release(graph);
}

vkd_result vkd_graph_status(const vkd_graph *graph) {
    return graph->status;
}

const vkd__tensor *vkd__tensor_get(const vkd_graph *g, vkd_tensor t) {
    return &g->tensors[t.id < g->tensor_count ? t.id : 0];
}

bool vkd_graph_uses(const vkd_graph *graph, const char *name) {
    const uint32_t entry = vkd__store_find(graph->store, name);
    for (size_t i = 1; entry != VKD__NO_ENTRY && i < graph->tensor_count; i++)
        if (graph->tensors[i].home == VKD__HOME_STORE && graph->tensors[i].entry == entry)
            return true;
    return false;
}

vkd_shape vkd_tensor_shape(const vkd_graph *graph, vkd_tensor t) {
    return vkd__tensor_get(graph, t)->shape;
}

vkd_dtype vkd_tensor_dtype(const vkd_graph *graph, vkd_tensor t) {
    return vkd__tensor_get(graph, t)->dtype;
}

vkd_tensor vkd_name(vkd_graph *g, vkd_tensor t, const char *format, ...) {
    if (g->status || !t.id) return t;
    char text[256];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    const char *name = vkd__arena_format(&g->arena, "%s", text);
    if (name)
        g->tensors[t.id].name = name;
    else
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the name '%s'", text);
    return t;
}

/* ---- Leaves ---- */

static vkd_tensor add_leaf(vkd_graph *g, const char *name, vkd__tensor leaf) {
    if (g->status) return (vkd_tensor){0};
    if (!VKD__RESERVE(g->ctx, g->tensors, g->tensor_count, g->tensor_capacity) ||
        !(leaf.name = vkd__arena_format(&g->arena, "%s", name))) {
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the tensor '%s'", name);
        return (vkd_tensor){0};
    }
    g->tensors[g->tensor_count] = leaf;
    return (vkd_tensor){(uint32_t)g->tensor_count++};
}

static bool input_name_taken(vkd_graph *g, const char *name) {
    for (size_t i = 1; i < g->tensor_count; i++) {
        const vkd__tensor *t = &g->tensors[i];
        if (t->home == VKD__HOME_INPUT && !t->constant && !strcmp(t->name, name)) return true;
    }
    return false;
}

/* The host has no 16-bit values to give: what it writes and keeps is f32. */
static bool host_type(vkd_graph *g, const char *name, vkd_dtype dtype) {
    if (g->status || !vkd__is_half(dtype)) return true;
    return vkd__graph_fail(g, NULL, VKD_E_ARGUMENT,
                           "'%s' cannot have 16 bits; make it f32 and cast it", name);
}

vkd_tensor vkd_input(vkd_graph *g, const char *name, vkd_dtype dtype, vkd_shape shape) {
    if (!host_type(g, name, dtype)) return (vkd_tensor){0};
    if (!g->status && input_name_taken(g, name)) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "there is already an input '%s'", name);
        return (vkd_tensor){0};
    }
    const char *fault = vkd__shape_fault(shape, dtype);
    if (!g->status && fault) {
        vkd__graph_fail(g, NULL, VKD_E_SHAPE, "the input '%s' has %s", name, fault);
        return (vkd_tensor){0};
    }
    return add_leaf(g, name,
                    (vkd__tensor){.dtype = dtype, .shape = shape, .home = VKD__HOME_INPUT});
}

vkd_tensor vkd_setting(vkd_graph *g, const char *name, float value) {
    const vkd_tensor t = vkd_input(g, name, VKD_F32, VKD_SCALAR);
    if (t.id) g->tensors[t.id].value = value;
    return t;
}

vkd_tensor vkd_step(vkd_graph *g) {
    if (!g->step.id) g->step = vkd_input(g, "step", VKD_I32, VKD_SCALAR);
    return g->step;
}

vkd_tensor vkd_constant(vkd_graph *g, float value) {
    for (size_t i = 1; i < g->tensor_count; i++) {
        const vkd__tensor *t = &g->tensors[i];
        if (t->constant && !memcmp(&t->value, &value, sizeof value))
            return (vkd_tensor){(uint32_t)i};
    }
    char name[32];
    snprintf(name, sizeof name, "%g", (double)value);
    return add_leaf(g, name,
                    (vkd__tensor){.dtype = VKD_F32,
                                  .shape = VKD_SCALAR,
                                  .home = VKD__HOME_INPUT,
                                  .constant = true,
                                  .value = value});
}

vkd_tensor vkd__store_leaf(vkd_graph *g, uint32_t entry) {
    for (size_t i = 1; i < g->tensor_count; i++)
        if (g->tensors[i].home == VKD__HOME_STORE && g->tensors[i].entry == entry)
            return (vkd_tensor){(uint32_t)i};
    const vkd__entry *e = &g->store->entries[entry];
    return add_leaf(g, e->name,
                    (vkd__tensor){.dtype = e->dtype,
                                  .shape = e->shape,
                                  .home = VKD__HOME_STORE,
                                  .entry = entry,
                                  .needs_grad = e->kind == VKD__ENTRY_MEMBER});
}

static vkd_tensor leaf_or_fail(vkd_graph *g, vkd_result r, uint32_t entry) {
    if (!r) return vkd__store_leaf(g, entry);
    vkd__graph_fail(g, NULL, r, "%s", vkd_ctx_error(g->ctx));
    return (vkd_tensor){0};
}

vkd_tensor vkd_param(vkd_graph *g, const char *name, vkd_shape shape, const vkd_init *init) {
    if (g->status) return (vkd_tensor){0};
    const vkd_init zeros = {0};
    uint32_t entry = 0;
    const vkd_result r =
        vkd__store_member(g->store, name, shape, init ? init : &zeros, g->seed, &entry);
    return leaf_or_fail(g, r, entry);
}

vkd_tensor vkd_buffer(vkd_graph *g, const char *name, vkd_shape shape, const vkd_init *init) {
    if (g->status) return (vkd_tensor){0};
    const vkd_init zeros = {0};
    uint32_t entry = 0;
    const vkd_result r =
        vkd__store_make_buffer(g->store, name, shape, init ? init : &zeros, g->seed, &entry);
    return leaf_or_fail(g, r, entry);
}

vkd_tensor vkd_state(vkd_graph *g, const char *name, vkd_dtype dtype, vkd_shape shape) {
    if (g->status || !host_type(g, name, dtype)) return (vkd_tensor){0};
    uint32_t entry = 0;
    const vkd_result r = vkd__store_state(g->store, name, dtype, shape, &entry);
    return leaf_or_fail(g, r, entry);
}

vkd_tensor vkd__group_flat(vkd_graph *g, const char *group) {
    if (g->status) return (vkd_tensor){0};
    const uint32_t entry = vkd__store_find(g->store, group);
    if (entry == VKD__NO_ENTRY || g->store->entries[entry].kind != VKD__ENTRY_GROUP) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "there are no parameters named '%s.…'", group);
        return (vkd_tensor){0};
    }
    return leaf_or_fail(g, vkd__store_close_group(g->store, entry), entry);
}

const vkd__reach *vkd__reach_of(const vkd_graph *g, vkd_tensor gradient) {
    for (size_t i = 0; i < g->reach_count; i++)
        if (g->reaches[i].gradient.id == gradient.id) return &g->reaches[i];
    return NULL;
}

void vkd_output(vkd_graph *g, const char *name, vkd_tensor t) {
    if (g->status) return;
    if (!t.id) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "the output '%s' is no tensor", name);
        return;
    }
    for (size_t i = 0; i < g->output_count; i++)
        if (!strcmp(g->outputs[i].name, name)) {
            vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "there is already an output '%s'", name);
            return;
        }
    char *copy = vkd__arena_format(&g->arena, "%s", name);
    if (!copy || !VKD__RESERVE(g->ctx, g->outputs, g->output_count, g->output_capacity)) {
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the output '%s'", name);
        return;
    }
    if (vkd__is_half(vkd__tensor_get(g, t)->dtype)) t = g->widen(g, t);
    if (!g->status) g->outputs[g->output_count++] = (vkd__output){copy, t};
}
