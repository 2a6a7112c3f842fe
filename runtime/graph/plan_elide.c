// SPDX-License-Identifier: Apache-2.0
/* Places of store tensors, and values made where they belong.
 *
 * A placement node says that in[0]'s values belong at an offset inside in[1], a store tensor: each
 * parameter's gradient belongs into its group's flat gradient. When in[0]'s maker may write there
 * at once, the copy is left out. The write then happens at the maker instead of at the placement,
 * and in[0] lives in the store from there on. So between the two nobody else may look at or change
 * that region, and after the placement nobody may change it before in[0]'s last reader. */
#include "graph/plan.h"

#include <string.h>

/* Part of a store entry's storage. The end is rounded up to 16 bytes, as bindings are: a kernel may
 * write zeros into the rest of its last vec4. */
typedef struct region {
    uint32_t entry;
    uint64_t begin, end;
} region;

static bool overlap(region a, region b) {
    return a.entry == b.entry && a.begin < b.end && b.begin < a.end;
}

static uint64_t bytes_of(const vkd_plan *p, vkd_tensor t) {
    return vkd__tensor_bytes(&p->graph->tensors[t.id]);
}

/* Where a node reaches through input k; false when that is no store tensor. */
static bool input_region(const vkd_plan *p, const vkd__node *n, uint32_t k, region *out) {
    if (!n->in[k].id) return false;
    const vkd__place place = p->places[p->roots[n->in[k].id]];
    if (place.space != VKD__SPACE_STORE) return false;
    uint64_t begin = place.offset, bytes = bytes_of(p, n->in[k]);
    if (n->op->is_placement && k == 1) {
        begin += *(const uint64_t *)n->params;
        bytes = bytes_of(p, n->in[0]);
    }
    *out = (region){place.index, begin, vkd__align_up(begin + bytes, 16)};
    return true;
}

static bool reads_region(const vkd_plan *p, const vkd__node *n, region r) {
    region other;
    for (uint32_t k = 0; k < n->in_count; k++)
        if (input_region(p, n, k, &other) && overlap(other, r)) return true;
    return false;
}

static bool writes_region(const vkd_plan *p, const vkd__node *n, region r) {
    region other;
    for (uint32_t k = 0; k < n->in_count; k++) {
        const bool written = (n->writes >> k & 1) || (n->op->is_placement && k == 1);
        if (written && input_region(p, n, k, &other) && overlap(other, r)) return true;
    }
    for (uint32_t k = 0; k < n->out_count; k++) {
        const vkd__place place = p->places[n->out[k].id];
        if (place.space != VKD__SPACE_STORE) continue;
        const uint64_t end = place.offset + bytes_of(p, n->out[k]);
        other = (region){place.index, place.offset, vkd__align_up(end, 16)};
        if (overlap(other, r)) return true;
    }
    return false;
}

static bool reads_tensor(const vkd_plan *p, const vkd__node *n, uint32_t root) {
    for (uint32_t k = 0; k < n->in_count; k++)
        if (n->in[k].id && p->roots[n->in[k].id] == root) return true;
    return false;
}

static bool is_output(const vkd_plan *p, uint32_t root) {
    for (size_t i = 0; i < p->graph->output_count; i++)
        if (p->roots[p->graph->outputs[i].tensor.id] == root) return true;
    return false;
}

/* Whether the write of `r` may happen at node `maker` instead of at node `placement`. */
static bool may_move(const vkd_plan *p, uint32_t maker, uint32_t placement, uint32_t root,
                     region r) {
    const vkd__node *nodes = p->graph->nodes;
    for (uint32_t i = maker; i < placement; i++) {
        if (!p->needed[i] || nodes[i].op->is_view) continue;
        if (reads_region(p, &nodes[i], r) || writes_region(p, &nodes[i], r)) return false;
    }
    bool changed = false;
    for (uint32_t i = placement + 1; i < p->node_count; i++) {
        if (!p->needed[i] || nodes[i].op->is_view) continue;
        if (writes_region(p, &nodes[i], r)) changed = true;
        if (changed && reads_tensor(p, &nodes[i], root)) return false;
    }
    return !(changed && is_output(p, root));
}

static void elide(vkd_plan *p, uint32_t placement) {
    const vkd__node *n = &p->graph->nodes[placement];
    const uint32_t root = p->roots[n->in[0].id];
    const vkd__tensor *t = &p->graph->tensors[root];
    if (t->home != VKD__HOME_NODE || t->dtype != VKD_F32) return;
    if (p->places[root].space != VKD__SPACE_DUMMY) return; /* it has a place already */
    region r;
    if (!input_region(p, n, 1, &r)) return;
    /* Bindings start at multiples of 256; there, too, the padding behind r belongs to r. */
    if (r.begin % 256 || vkd__tensor_bytes(t) != bytes_of(p, n->in[0])) return;
    if (!may_move(p, t->node, placement, root, r)) return;
    p->places[root] = (vkd__place){VKD__SPACE_STORE, r.entry, r.begin};
    p->elided[placement] = true;
}

/* Members have no storage but their group's, so their groups must be laid out by now. */
static vkd_result place_store_tensors(vkd_plan *p) {
    vkd_store *s = p->store;
    bool *counted = VKD_NEW(&p->memory, bool, s->entry_count);
    if (!counted) return VKD_E_MEMORY;
    for (uint32_t id = 1; id < p->tensor_count; id++) {
        const vkd__tensor *t = &p->graph->tensors[id];
        if (t->home != VKD__HOME_STORE) continue;
        const vkd__entry *e = &s->entries[t->entry];
        const uint32_t owner = e->kind == VKD__ENTRY_MEMBER ? e->group : t->entry;
        if (s->entries[owner].kind == VKD__ENTRY_GROUP && !s->entries[owner].closed) {
            const vkd_result r = vkd__store_close_group(s, owner);
            if (r) return r;
        }
        const uint64_t offset = e->kind == VKD__ENTRY_MEMBER ? e->offset : 0;
        p->places[id] = (vkd__place){VKD__SPACE_STORE, owner, offset};
        if (!counted[owner])
            p->info.persistent_bytes += vkd__align_up(s->entries[owner].bytes, 256);
        counted[owner] = true;
    }
    return VKD_OK;
}

vkd_result vkd__plan_elide(vkd_plan *p) {
    const vkd_result r = place_store_tensors(p);
    if (r) return r;
    for (uint32_t i = 0; i < p->node_count; i++)
        if (p->needed[i] && p->graph->nodes[i].op->is_placement) elide(p, i);
    return VKD_OK;
}
