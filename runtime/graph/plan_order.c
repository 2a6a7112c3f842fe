// SPDX-License-Identifier: Apache-2.0
/* Which nodes run: those that an output or a change of a store tensor needs (but for changes that
 * are made aside, as running statistics are). They keep the order in
 * which they were built, since that order says what a node reads of a store tensor that another
 * changes. */
#include "graph/plan.h"

static void need_maker(vkd_plan *p, vkd_tensor t) {
    if (!t.id) return;
    const vkd__tensor *tensor = &p->graph->tensors[t.id];
    if (tensor->home == VKD__HOME_NODE) p->needed[tensor->node] = true;
}

static void mark_needed(vkd_plan *p) {
    const vkd_graph *g = p->graph;
    for (size_t i = 0; i < g->output_count; i++)
        need_maker(p, g->outputs[i].tensor);
    /* A node stands after the makers of its inputs, so one walk backwards reaches them all. */
    for (uint32_t i = p->node_count; i-- > 0;) {
        const vkd__node *n = &g->nodes[i];
        if ((n->writes && !n->op->writes_aside) || n->op->is_placement) p->needed[i] = true;
        if (!p->needed[i]) continue;
        for (uint32_t k = 0; k < n->in_count; k++)
            need_maker(p, n->in[k]);
    }
}

static void find_roots(vkd_plan *p) {
    const vkd_graph *g = p->graph;
    for (uint32_t id = 0; id < p->tensor_count; id++) {
        p->roots[id] = id;
        const vkd__tensor *t = &g->tensors[id];
        if (!id || t->home != VKD__HOME_NODE) continue;
        const vkd__node *n = &g->nodes[t->node];
        /* A view's source was there before it, so its root is known. */
        if (n->op->is_view) p->roots[id] = p->roots[n->in[0].id];
    }
}

vkd_result vkd__plan_order(vkd_plan *p) {
    p->needed = VKD_NEW(&p->memory, bool, p->node_count);
    p->elided = VKD_NEW(&p->memory, bool, p->node_count);
    p->roots = VKD_NEW(&p->memory, uint32_t, p->tensor_count);
    p->places = VKD_NEW(&p->memory, vkd__place, p->tensor_count);
    if (!p->needed || !p->elided || !p->roots || !p->places) return VKD_E_MEMORY;
    for (uint32_t i = 0; i < p->tensor_count; i++)
        p->places[i].space = VKD__SPACE_DUMMY;
    mark_needed(p);
    find_roots(p);
    return VKD_OK;
}
