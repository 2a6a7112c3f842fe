// SPDX-License-Identifier: Apache-2.0
/* Nodes to launches, through each op's lower. */
#include "graph/plan.h"

#include <stdarg.h>
#include <stdio.h>

static vkd_result lower_node(vkd_plan *p, uint32_t index) {
    vkd__lower l = {.plan = p, .g = p->graph, .profile = &p->profile, .node = index};
    const vkd__node *n = &p->graph->nodes[index];
    const bool done = n->op->lower(&l, n);
    if (p->status) return p->status;
    if (p->graph->status) return vkd__fail(p->ctx, p->graph->status, "%s", p->graph->error);
    return done ? VKD_OK : VKD_E_MEMORY; /* whoever ran out of memory has said so */
}

vkd_result vkd__plan_lower(vkd_plan *p) {
    for (uint32_t i = 0; i < p->node_count; i++) {
        if (!p->needed[i] || p->elided[i] || p->graph->nodes[i].op->is_view) continue;
        const vkd_result r = lower_node(p, i);
        if (r) return r;
    }
    return VKD_OK;
}

bool vkd__lower_fail(vkd__lower *l, vkd_result r, const char *format, ...) {
    if (l->plan->status) return false; /* the first failure is the one to report */
    const vkd__node *n = &l->g->nodes[l->node];
    vkd__text text = {.ctx = l->plan->ctx};
    vkd__text_add(&text, "%s(", n->op->name);
    const char *separator = "";
    for (uint32_t i = 0; i < n->in_count; i++) {
        if (!n->in[i].id) continue;
        vkd__text_add(&text, "%s'%s'", separator, l->g->tensors[n->in[i].id].name);
        separator = ", ";
    }
    char why[512];
    va_list args;
    va_start(args, format);
    vsnprintf(why, sizeof why, format, args);
    va_end(args);
    l->plan->status = vkd__fail(l->plan->ctx, r, "%s): %s", text.text ? text.text : "", why);
    vkd__text_term(&text);
    return false;
}
