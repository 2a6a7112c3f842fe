// SPDX-License-Identifier: Apache-2.0
#include "graph/plan.h"

#include <string.h>

const vkd__kernel *vkd__kernel_find(const char *name) {
    for (size_t i = 0; i < vkd__kernel_count; i++)
        if (!strcmp(vkd__kernels[i].name, name)) return &vkd__kernels[i];
    return NULL;
}

static void sum_up(vkd_plan *p) {
    vkd_plan_info *info = &p->info;
    info->launches = (uint32_t)p->launch_count;
    info->slices = p->slice_count;
    info->input_bytes = p->input_bytes;
    info->output_bytes = p->output_bytes;
    for (uint32_t i = 0; i < p->arena_count; i++)
        info->transient_bytes += p->arena_bytes[i];
    for (size_t i = 0; i < p->launch_count; i++) {
        info->barriers += p->launches[i].barrier;
        info->flops += p->launches[i].flops;
        info->bytes += p->launches[i].traffic;
        info->seconds += p->launches[i].seconds;
    }
}

vkd_result vkd_plan_create(vkd_graph *graph, const vkd_profile *profile, vkd_plan **out) {
    *out = NULL;
    if (graph->status) return vkd__fail(graph->ctx, graph->status, "%s", graph->error);
    if (!profile)
        return vkd__fail(graph->ctx, VKD_E_ARGUMENT, "no profile to plan graph '%s' for",
                         graph->name);
    vkd_plan *p = vkd__alloc(graph->ctx, 1, sizeof *p);
    if (!p) return VKD_E_MEMORY;
    p->ctx = graph->ctx;
    p->memory.ctx = graph->ctx;
    p->store = graph->store;
    p->profile = *profile;
    p->tensor_count = (uint32_t)graph->tensor_count;
    p->node_count = (uint32_t)graph->node_count;
    p->graph = graph;
    vkd__graph_retain(graph);
    p->name = vkd__arena_format(&p->memory, "%s", graph->name);

    vkd_result r = p->name ? VKD_OK : VKD_E_MEMORY;
    if (!r) r = vkd__plan_order(p);
    if (!r) r = vkd__plan_elide(p);
    if (!r) r = vkd__plan_lower(p);
    if (!r) r = vkd__plan_place(p);
    if (!r) r = vkd__plan_sync(p);
    if (r) {
        vkd_plan_destroy(p);
        return r;
    }
    sum_up(p);
    *out = p;
    return VKD_OK;
}

void vkd_plan_destroy(vkd_plan *plan) {
    if (!plan) return;
    vkd__graph_release(plan->graph);
    vkd__free(plan->ctx, plan->launches);
    vkd__free(plan->ctx, plan->scratch);
    vkd__arena_term(&plan->memory);
    vkd__free(plan->ctx, plan);
}

vkd_plan_info vkd_plan_get_info(const vkd_plan *plan) {
    return plan->info;
}
