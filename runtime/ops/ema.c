// SPDX-License-Identifier: Apache-2.0
/* ema over whole groups of equal layout: average = decay * average + (1 - decay) * source. */
#include <string.h>

#include "ops/optimiser.h"

/* Whether both groups have the same members, by the name after the first dot, at the same offsets.
 * Both are closed, so member k of one must be member k of the other. */
static bool layouts_match(const vkd_store *s, uint32_t a, uint32_t b) {
    size_t i = 0, k = 0;
    for (;;) {
        while (i < s->entry_count &&
               (s->entries[i].kind != VKD__ENTRY_MEMBER || s->entries[i].group != a))
            i++;
        while (k < s->entry_count &&
               (s->entries[k].kind != VKD__ENTRY_MEMBER || s->entries[k].group != b))
            k++;
        if (i == s->entry_count || k == s->entry_count)
            return i == s->entry_count && k == s->entry_count;
        const vkd__entry *x = &s->entries[i++], *y = &s->entries[k++];
        const char *x_name = strchr(x->name, '.'), *y_name = strchr(y->name, '.');
        if (x->offset != y->offset || !vkd__shape_equal(x->shape, y->shape) || !x_name || !y_name ||
            strcmp(x_name, y_name))
            return false;
    }
}

void vkd_ema(vkd_graph *g, const char *average, const char *source, vkd_tensor decay) {
    const vkd_tensor to = vkd__group_flat(g, average), from = vkd__group_flat(g, source);
    vkd__emit(g, &(vkd__emit_desc){
                     .op = &vkd_op_ema, .in_count = 3, .in = {to, from, decay}, .writes = 1u});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__tensor *to = vkd__tensor_get(g, n->in[0]), *from = vkd__tensor_get(g, n->in[1]);
    if (!layouts_match(g->store, to->entry, from->entry))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the groups have different parameters");
    if (!vkd__need_f32(g, n, 2)) return false;
    if (vkd_tensor_shape(g, n->in[2]).axes)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the decay must be (), not %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[2])));
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const uint64_t total = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0]));
    for (uint64_t at = 0; at < total;) {
        const vkd__span s = vkd__span_at(l, n->in[0], at);
        vkd__launch *launch = vkd__item_launch(l, "ema", s.count / 4);
        if (!launch) return false;
        vkd__span_bind(launch, n->in[0], VKD__READ, &s);
        vkd__span_bind(launch, n->in[1], VKD__READ, &s);
        vkd__bind(launch, n->in[2], VKD__READ);
        vkd__span_bind(launch, n->in[0], VKD__READ_WRITE, &s);
        vkd__push(launch, &(struct vkd_ema_params){(uint32_t)s.count},
                  sizeof(struct vkd_ema_params));
        vkd__cost(launch, 3.0 * (double)s.count, 12.0 * (double)s.count);
        at += s.count;
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const double decay = r->in[2].v[0];
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++)
        r->in[0].v[i] = decay * r->in[0].v[i] + (1 - decay) * r->in[1].v[i];
}

static void build_case(vkd__case *c) {
    static const uint32_t sizes[] = {1, 33, 1000};
    const vkd_tensor source = vkd__case_f32(c, VKD_SHAPE(sizes[c->index], 3), -1, 1);
    const vkd_tensor average = vkd_param(c->g, "average.x0", VKD_SHAPE(sizes[c->index], 3), NULL);
    const vkd_tensor decay = vkd__case_fixed(c, VKD_SCALAR, 0.5, 0.9);
    c->what = "an average that follows, twice";
    for (int step = 0; step < 2; step++)
        vkd_ema(c->g, "average", "case", decay);
    vkd__case_output(c, average);
    vkd__case_output(c, source);
}

const vkd_op_def vkd_op_ema = {
    .name = "ema",
    .summary = "moving average of one group's parameters in another",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 3,
    .build_case = build_case,
    .no_difference_test = "changes parameters",
};
