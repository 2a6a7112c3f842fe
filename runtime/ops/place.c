// SPDX-License-Identifier: Apache-2.0
/* place: a tensor's values go to their place inside a store tensor, such as one parameter's
 * gradient into the flat gradient of its group. Nearly always the planner lets the maker of the
 * values write there at once; what stands here is the copy for the other cases. */
#include <string.h>

#include "ops/op.h"

typedef struct place_params {
    uint64_t offset; /* bytes; the first member, because the planner reads it: see is_placement */
} place_params;

void vkd__put(vkd_graph *g, vkd_tensor values, vkd_tensor into, uint64_t offset) {
    vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_place,
                                   .in_count = 2,
                                   .in = {values, into},
                                   .writes = 1u << 1,
                                   .params = &(place_params){offset},
                                   .params_size = sizeof(place_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const place_params *p = n->params;
    const vkd__tensor *values = vkd__tensor_get(g, n->in[0]), *into = vkd__tensor_get(g, n->in[1]);
    if (values->dtype != VKD_F32 || into->dtype != VKD_F32)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "both must be f32");
    if (p->offset % 256 ||
        p->offset / 4 + vkd_shape_count(values->shape) > vkd_shape_count(into->shape))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s do not fit at byte %llu of %s",
                               vkd__shape_text(g, values->shape), (unsigned long long)p->offset,
                               vkd__shape_text(g, into->shape));
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const place_params *p = n->params;
    const uint64_t count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0]));
    const uint64_t window = vkd__window_elements(l->profile, sizeof(float));
    for (uint64_t at = 0; at < count; at += window) {
        const uint64_t part = count - at < window ? count - at : window;
        vkd__launch *launch = vkd__launch_add(l, vkd__variant(l, "place"));
        if (!launch) return false;
        vkd__bind_window(launch, n->in[0], VKD__READ, at * 4, part * 4);
        vkd__bind_window(launch, n->in[1], VKD__WRITE, p->offset + at * 4, part * 4);
        vkd__push(launch, &(struct vkd_place_params){(uint32_t)part},
                  sizeof(struct vkd_place_params));
        vkd__grid(l, launch, vkd__div_up(vkd__div_up(part, 4), l->profile->flat_workgroup));
        vkd__cost(launch, 0, 8.0 * (double)part);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const place_params *p = r->node->params;
    memcpy(r->in[1].v + p->offset / 4, r->in[0].v,
           vkd_shape_count(r->in[0].tensor->shape) * sizeof(double));
}

static void build_case(vkd__case *c) {
    static const uint32_t counts[] = {1, 33, 130};
    const vkd_tensor x = vkd__case_fixed(c, VKD_SHAPE(counts[c->index]), -1, 1);
    const vkd_tensor into = vkd_state(c->g, "into", VKD_F32, VKD_SHAPE(256));
    /* An input is no node's work, so the planner cannot let its maker write in place: a real copy.
     */
    vkd__put(c->g, x, into, 256);
    vkd__case_output(c, into);
}

const vkd_op_def vkd_op_place = {
    .name = "place",
    .summary = "values to their place inside a store tensor",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .is_placement = true,
    .case_count = 3,
    .build_case = build_case,
    .no_difference_test = "writes a store tensor, has no output",
};
