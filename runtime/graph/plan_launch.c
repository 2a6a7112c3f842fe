// SPDX-License-Identifier: Apache-2.0
/* What an op's lower calls to describe its launches. */
#include "graph/plan.h"

#include <stdio.h>
#include <string.h>

#define SCRATCH 0x80000000u

/* Indices in kernels are 32 bits, signed where a texel buffer is read. */
#define MOST_ELEMENTS ((uint64_t)1 << 30)

bool vkd__direct(const vkd__lower *l, const char *kernel) {
    if (!l->profile->direct) return false;
    char name[96];
    const int length = snprintf(name, sizeof name, "%s.direct", kernel);
    if (length < 0 || (size_t)length >= sizeof name || !vkd__kernel_find(name)) return false;
    const vkd__node *n = &l->g->nodes[l->node];
    for (uint32_t i = 0; i < n->in_count; i++) {
        const vkd__tensor *t = &l->g->tensors[n->in[i].id];
        if (!n->in[i].id || !vkd__is_real(t->dtype)) continue;
        if (vkd__div_up(vkd_shape_count(t->shape), 4) > l->profile->max_texels) return false;
    }
    return true;
}

static const char *label_of(const vkd__lower *l) {
    const vkd__node *n = &l->g->nodes[l->node];
    if (n->out_count) return l->g->tensors[n->out[0].id].name;
    for (uint32_t i = 0; i < n->in_count; i++)
        if (n->writes >> i & 1) return l->g->tensors[n->in[i].id].name;
    return n->op->name;
}

vkd__launch *vkd__launch_add(vkd__lower *l, const char *kernel) {
    vkd_plan *p = l->plan;
    const vkd__kernel *found = vkd__kernel_find(kernel);
    if (!found) {
        vkd__lower_fail(l, VKD_E_ARGUMENT, "this build has no kernel '%s'", kernel);
        return NULL;
    }
    if (!VKD__RESERVE(p->ctx, p->launches, p->launch_count, p->launch_capacity)) return NULL;
    const char *label = vkd__arena_format(&p->memory, "%s", label_of(l));
    if (!label) return NULL;
    vkd__launch *launch = &p->launches[p->launch_count++];
    *launch =
        (vkd__launch){.kernel = found->name, .node = l->node, .label = label, .groups = {1, 1, 1}};
    /* Direct kernels exchange values inside a subgroup. */
    if (strstr(kernel, ".direct")) launch->subgroup = l->profile->subgroup;
    vkd__spec(launch, 0, l->profile->flat_workgroup);
    vkd__spec(launch, 1, 1);
    vkd__spec(launch, 2, 1);
    return launch;
}

static vkd__binding *next_binding(vkd__launch *launch) {
    VKD_ASSERT(launch->binding_count < VKD__MAX_BINDINGS);
    return &launch->bindings[launch->binding_count++];
}

void vkd__bind(vkd__launch *launch, vkd_tensor t, vkd__access access) {
    VKD_ASSERT(t.id || access == VKD__READ); /* zeros that all share are nobody's to write */
    *next_binding(launch) = (vkd__binding){.tensor = t.id, .access = access};
}

void vkd__bind_window(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t offset_bytes,
                      uint64_t bytes) {
    *next_binding(launch) = (vkd__binding){
        .tensor = t.id, .access = access, .window_offset = offset_bytes, .window_bytes = bytes};
}

void vkd__bind_scratch(vkd__launch *launch, uint32_t scratch, vkd__access access) {
    *next_binding(launch) = (vkd__binding){.tensor = scratch | SCRATCH, .access = access};
}

uint32_t vkd__scratch_add(vkd__lower *l, uint64_t bytes) {
    vkd_plan *p = l->plan;
    if (!VKD__RESERVE(p->ctx, p->scratch, p->scratch_count, p->scratch_capacity)) {
        p->status = VKD_E_MEMORY;
        return SCRATCH; /* never looked at: the plan has failed */
    }
    p->scratch[p->scratch_count] =
        (vkd__scratch){.bytes = bytes, .launch = (uint32_t)p->launch_count};
    return (uint32_t)p->scratch_count++ | SCRATCH;
}

void vkd__spec(vkd__launch *launch, uint32_t id, uint32_t value) {
    uint32_t i = 0;
    while (i < launch->spec_count && launch->spec_id[i] != id)
        i++;
    VKD_ASSERT(i < VKD__MAX_SPEC);
    launch->spec_id[i] = id;
    launch->spec[i] = value;
    if (i == launch->spec_count) launch->spec_count++;
}

void vkd__push(vkd__launch *launch, const void *params, size_t size) {
    VKD_ASSERT(size <= VKD__PUSH_BYTES && size % 4 == 0);
    memcpy(launch->push, params, size);
    launch->push_bytes = (uint32_t)size;
}

void vkd__grid(vkd__lower *l, vkd__launch *launch, uint64_t groups) {
    const uint64_t most = l->profile->max_groups[0];
    launch->groups[0] = (uint32_t)(groups > most ? most : groups ? groups : 1);
    launch->groups[1] = 1;
    launch->groups[2] = 1;
}

void vkd__cost(vkd__launch *launch, double flops, double traffic) {
    launch->flops = flops;
    launch->traffic = traffic;
}

uint64_t vkd__window_elements(const vkd_profile *p, size_t element_size) {
    const uint64_t step = element_size < 4 ? 256 / element_size : 64;
    const uint64_t fits = p->max_binding / element_size;
    return (fits < MOST_ELEMENTS ? fits : MOST_ELEMENTS) / step * step;
}

uint64_t vkd__window_rows(const vkd_profile *p, uint64_t row_bytes, uint64_t rows) {
    if (!row_bytes || rows <= p->max_binding / row_bytes) return rows;
    uint64_t step = 256; /* rows after which the offset is aligned again */
    for (uint64_t b = row_bytes; step > 1 && b % 2 == 0; b /= 2)
        step /= 2;
    return p->max_binding / row_bytes / step * step;
}
