// SPDX-License-Identifier: Apache-2.0
/* The host executor: every node's reference, in order, in double precision. It gives tests and
 * shadow mode the meaning of a graph, and shares memory exactly where the device does: views share
 * their input's values, members share their group's. */
#include "graph/graph.h"

struct vkd__host {
    vkd_ctx *ctx;
    const vkd_graph *g;
    vkd__arena arena;
    double **values;  /* by tensor id */
    vkd__node *nodes; /* a copy: the graph may get more, or be extended, while this one lives */
    size_t node_count;
    bool exact;
};

/* Buffers begin as on the device, so that a caller who knows nothing of them need not fill them. */
static bool start_values(vkd__host *h, const vkd__entry *e, double *out) {
    const uint64_t count = vkd_shape_count(e->shape);
    float *start = VKD_NEW(&h->arena, float, count);
    if (!start) return false;
    vkd__init_values(&e->init, e->shape, e->seed, e->name, start);
    for (uint64_t i = 0; i < count; i++)
        out[i] = (double)start[i];
    return true;
}

static double **entry_values(vkd__host *h, const vkd_store *s) {
    double **by_entry = VKD_NEW(&h->arena, double *, s->entry_count + 1);
    if (!by_entry) return NULL;
    for (size_t i = 0; i < s->entry_count; i++) {
        const vkd__entry *e = &s->entries[i];
        if (e->kind == VKD__ENTRY_MEMBER) continue;
        if (!(by_entry[i] = VKD_NEW(&h->arena, double, vkd_shape_count(e->shape)))) return NULL;
        if (e->kind == VKD__ENTRY_BUFFER && !start_values(h, e, by_entry[i])) return NULL;
    }
    for (size_t i = 0; i < s->entry_count; i++) {
        const vkd__entry *e = &s->entries[i];
        if (e->kind == VKD__ENTRY_MEMBER)
            by_entry[i] = by_entry[e->group] + e->offset / sizeof(float);
    }
    return by_entry;
}

static double *leaf_values(vkd__host *h, const vkd__tensor *t, double **by_entry) {
    if (t->home == VKD__HOME_STORE) return by_entry[t->entry];
    double *v = VKD_NEW(&h->arena, double, vkd_shape_count(t->shape));
    if (v && t->home == VKD__HOME_INPUT) v[0] = (double)t->value;
    return v;
}

vkd_result vkd__host_create(const vkd_graph *g, vkd__host **out) {
    *out = NULL;
    if (g->status) return vkd__fail(g->ctx, g->status, "%s", g->error);
    for (size_t i = 0; i < g->store->entry_count; i++)
        if (g->store->entries[i].kind == VKD__ENTRY_GROUP) {
            const vkd_result r = vkd__store_close_group(g->store, (uint32_t)i);
            if (r) return r;
        }
    vkd__host *h = vkd__alloc(g->ctx, 1, sizeof *h);
    if (!h) return VKD_E_MEMORY;
    h->ctx = g->ctx;
    h->g = g;
    h->arena.ctx = g->ctx;
    h->values = VKD_NEW(&h->arena, double *, g->tensor_count);
    double **by_entry = entry_values(h, g->store);
    h->node_count = g->node_count;
    h->nodes = VKD_NEW(&h->arena, vkd__node, g->node_count);
    bool ok = h->values && by_entry && h->nodes;
    for (size_t i = 0; ok && i < g->node_count; i++)
        h->nodes[i] = g->nodes[i];
    for (size_t i = 1; ok && i < g->tensor_count; i++) {
        const vkd__tensor *t = &g->tensors[i];
        /* A view's input has a smaller id, so its values are there. */
        if (t->home == VKD__HOME_NODE && g->nodes[t->node].op->is_view)
            h->values[i] = h->values[g->nodes[t->node].in[0].id];
        else
            h->values[i] = leaf_values(h, t, by_entry);
        ok = h->values[i] != NULL;
    }
    if (!ok) {
        vkd__host_destroy(h);
        return VKD_E_MEMORY;
    }
    *out = h;
    return VKD_OK;
}

void vkd__host_destroy(vkd__host *h) {
    if (!h) return;
    vkd__arena_term(&h->arena);
    vkd__free(h->ctx, h);
}

double *vkd__host_values(vkd__host *h, vkd_tensor t) {
    return h->values[t.id];
}

void vkd__host_run_node(vkd__host *h, uint32_t node) {
    const vkd__node *n = &h->nodes[node];
    if (n->op->is_view) return;
    vkd__ref r = {.graph = h->g, .node = n};
    for (uint32_t i = 0; i < n->in_count; i++)
        r.in[i] = (vkd__values){vkd__tensor_get(h->g, n->in[i]), h->values[n->in[i].id]};
    for (uint32_t i = 0; i < n->out_count; i++)
        r.out[i] = (vkd__values){vkd__tensor_get(h->g, n->out[i]), h->values[n->out[i].id]};
    n->op->reference(&r);
    for (uint32_t i = 0; i < n->out_count && !h->exact; i++) {
        const vkd__tensor *t = r.out[i].tensor;
        if (!vkd__is_half(t->dtype)) continue;
        for (uint64_t k = 0; k < vkd_shape_count(t->shape); k++)
            r.out[i].v[k] = vkd__rounded(t->dtype, r.out[i].v[k]);
    }
}

void vkd__host_exact(vkd__host *h) {
    h->exact = true;
}

void vkd__host_run(vkd__host *h) {
    for (uint32_t i = 0; i < h->node_count; i++)
        vkd__host_run_node(h, i);
}
