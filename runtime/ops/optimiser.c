// SPDX-License-Identifier: Apache-2.0
#include "ops/optimiser.h"

#include <stdio.h>

vkd_tensor vkd__group_state(vkd_graph *g, const char *group, const char *what, vkd_dtype dtype,
                            vkd_shape shape) {
    char name[256];
    if (snprintf(name, sizeof name, "%s.%s", group, what) >= (int)sizeof name) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "the group's name '%.32s...' is too long", group);
        return (vkd_tensor){0};
    }
    return vkd_state(g, name, dtype, shape);
}

uint64_t vkd__decay_count(const vkd_graph *g, vkd_tensor flat) {
    return g->store->entries[vkd__tensor_get(g, flat)->entry].decay_count;
}

bool vkd__optimiser_infer(vkd_graph *g, vkd__node *n) {
    static const char *const names[] = {"the parameters", "the gradient", "the guard", "the rate"};
    const vkd_shape flat = vkd_tensor_shape(g, n->in[0]);
    const vkd_shape want[] = {flat, flat, VKD_SHAPE(2), VKD_SCALAR};
    for (uint32_t i = 0; i < 4; i++) {
        if (!vkd__need_f32(g, n, i)) return false;
        const vkd_shape shape = vkd_tensor_shape(g, n->in[i]);
        if (!vkd__shape_equal(shape, want[i]))
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s must be %s, not %s", names[i],
                                   vkd__shape_text(g, want[i]), vkd__shape_text(g, shape));
    }
    return true;
}

vkd__span vkd__span_at(const vkd__lower *l, vkd_tensor flat, uint64_t at) {
    const uint64_t total = vkd_shape_count(vkd_tensor_shape(l->g, flat));
    const uint64_t window = vkd__window_elements(l->profile, sizeof(float));
    const uint64_t decay = vkd__decay_count(l->g, flat);
    vkd__span s = {.at = at, .count = total - at < window ? total - at : window};
    if (decay > at) s.decayed = (uint32_t)(decay - at < s.count ? decay - at : s.count);
    return s;
}

bool vkd__span_next(const vkd__lower *l, const vkd__node *n, vkd__span *s) {
    const vkd__reach *reach = vkd__reach_of(l->g, n->in[1]);
    const vkd__stretch whole = {0, vkd_shape_count(vkd_tensor_shape(l->g, n->in[0]))};
    const vkd__stretch *runs = reach ? reach->runs : &whole;
    const uint64_t from = s->at + s->count;
    for (uint32_t i = 0; i < (reach ? reach->run_count : 1); i++) {
        const uint64_t end = runs[i].at + runs[i].count;
        if (end <= from) continue;
        *s = vkd__span_at(l, n->in[0], from > runs[i].at ? from : runs[i].at);
        if (s->count > end - s->at) s->count = end - s->at;
        if (s->decayed > s->count) s->decayed = (uint32_t)s->count;
        return true;
    }
    return false;
}

bool vkd__span_has(const vkd_graph *g, const vkd__node *n, uint64_t element) {
    const vkd__reach *reach = vkd__reach_of(g, n->in[1]);
    if (!reach) return true;
    for (uint32_t i = 0; i < reach->run_count; i++)
        if (element >= reach->runs[i].at && element - reach->runs[i].at < reach->runs[i].count)
            return true;
    return false;
}

void vkd__span_bind(vkd__launch *launch, vkd_tensor t, vkd__access access, const vkd__span *s) {
    vkd__row_bind(launch, t, access, s->at, s->count, 1);
}

vkd__optimiser_case vkd__optimiser_case_build(vkd__case *c) {
    static const uint32_t sizes[] = {1, 33, 127, 1000};
    const uint32_t size = sizes[c->index % VKD_COUNT(sizes)];
    vkd__optimiser_case o;
    o.weight = vkd__case_f32(c, VKD_SHAPE(size, 3), -1, 1);
    /* Zeros, as on the host; the second step decays it if it must not. */
    o.bias = vkd_param(c->g, "case.bias", VKD_SHAPE(size), &(vkd_init){.no_decay = true});
    const vkd_tensor flat = vkd__group_flat(c->g, "case");
    o.gradient = vkd__case_fixed(c, vkd_tensor_shape(c->g, flat), -1, 1);
    o.guard = vkd__case_fixed(c, VKD_SHAPE(2), 0.4, 0.9);
    o.rate = vkd__case_fixed(c, VKD_SCALAR, 0.05, 0.2);
    return o;
}
