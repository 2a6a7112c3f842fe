// SPDX-License-Identifier: Apache-2.0
/* Reverse-mode differentiation: a walk over the nodes from last to first that emits, for each, the
 * nodes of its gradient. What arrives at one tensor from several readers is summed in the order in
 * which the walk meets them, later readers first: by the later summand's own kernel where that can,
 * else by `add` nodes. */
#include "autodiff/autodiff.h"

#include <stdio.h>
#include <string.h>

#include "ops/op.h"

typedef struct walk {
    vkd_graph *g;
    vkd_tensor *gradient; /* by tensor id; {0} while nothing arrived */
    size_t count;
} walk;

static bool is_used(const walk *w, vkd_tensor t) {
    const vkd_graph *g = w->g;
    for (size_t i = g->node_count; i-- > vkd__tensor_get(g, t)->node;)
        for (uint32_t k = 0; k < g->nodes[i].in_count; k++)
            if (g->nodes[i].in[k].id == t.id) return true;
    for (size_t id = 1; id < w->count; id++)
        if (w->gradient[id].id == t.id) return true;
    return false;
}

/* Whether the maker of a gradient that nobody has used yet adds what arrived before. */
static bool join(walk *w, vkd_tensor before, vkd_tensor gradient) {
    vkd_graph *g = w->g;
    const vkd__tensor *sum = vkd__tensor_get(g, before), *t = vkd__tensor_get(g, gradient);
    if (t->home != VKD__HOME_NODE || !g->nodes[t->node].op->take_summand) return false;
    if (sum->home == VKD__HOME_NODE && sum->node >= t->node) return false;
    if (sum->dtype != t->dtype || is_used(w, gradient)) return false;
    if (!g->nodes[t->node].op->take_summand(&g->nodes[t->node], before)) return false;
    g->tensors[gradient.id].needs_grad |= sum->needs_grad;
    return true;
}

/* `mine`: the gradient is of no other tensor. */
static void arrive(walk *w, vkd_tensor at, vkd_tensor gradient, bool mine) {
    if (!at.id || !gradient.id || !vkd__tensor_get(w->g, at)->needs_grad) return;
    vkd_tensor *sum = &w->gradient[at.id];
    if (sum->id && !(mine && join(w, *sum, gradient)))
        *sum = vkd_add(w->g, *sum, gradient);
    else
        *sum = gradient;
}

static void visit(walk *w, uint32_t index) {
    vkd_graph *g = w->g;
    const vkd__node n = g->nodes[index]; /* a copy: emitting moves the array */
    if (!n.op->backward) return;
    vkd_tensor dout[VKD__MAX_OUT] = {0}, din[VKD__MAX_IN] = {0};
    bool any = false;
    for (uint32_t i = 0; i < n.out_count; i++) {
        if (n.out[i].id < w->count) dout[i] = w->gradient[n.out[i].id];
        any |= dout[i].id != 0;
    }
    if (!any) return;
    n.op->backward(g, &n, dout, din);
    for (uint32_t i = 0; i < n.in_count; i++) {
        uint32_t receivers = 0;
        for (uint32_t k = 0; k < n.in_count; k++)
            receivers += din[k].id == din[i].id;
        arrive(w, n.in[i], din[i], receivers == 1);
    }
}

/* reached, if it is not NULL, says of which tensors something arrived. */
static void backward(vkd_graph *g, const vkd_tensor *outputs, const vkd_tensor *seeds,
                     uint32_t output_count, const vkd_tensor *of, uint32_t count,
                     vkd_tensor *gradients, bool *reached) {
    memset(gradients, 0, count * sizeof *gradients);
    if (g->status) return;
    walk w = {.g = g, .count = g->tensor_count};
    w.gradient = vkd__alloc(g->ctx, w.count, sizeof *w.gradient);
    if (!w.gradient) {
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the gradients");
        return;
    }
    for (uint32_t i = 0; i < output_count; i++)
        arrive(&w, outputs[i], seeds[i], false);
    const size_t nodes = g->node_count; /* those emitted on the way are not walked */
    for (size_t i = nodes; !g->status && i-- > 0;)
        visit(&w, (uint32_t)i);
    for (uint32_t i = 0; !g->status && i < count; i++) {
        gradients[i] = w.gradient[of[i].id];
        if (reached) reached[i] = gradients[i].id != 0;
        if (!gradients[i].id)
            gradients[i] = vkd__expand(g, vkd_constant(g, 0.0f), vkd_tensor_shape(g, of[i]));
        gradients[i] = vkd_cast(g, gradients[i], VKD_F32); /* for what has 16 bits itself */
    }
    vkd__free(g->ctx, w.gradient);
}

void vkd__backward_from(vkd_graph *g, const vkd_tensor *outputs, const vkd_tensor *seeds,
                        uint32_t output_count, const vkd_tensor *of, uint32_t count,
                        vkd_tensor *gradients) {
    backward(g, outputs, seeds, output_count, of, count, gradients, NULL);
}

static bool check_loss(vkd_graph *g, vkd_tensor loss) {
    const vkd__tensor *t = vkd__tensor_get(g, loss);
    if (loss.id && t->dtype == VKD_F32 && vkd_shape_count(t->shape) == 1) return true;
    return vkd__graph_fail(g, NULL, VKD_E_SHAPE, "the loss '%s' is not a () f32 tensor but %s",
                           t->name, vkd__shape_text(g, t->shape));
}

void vkd_backward(vkd_graph *g, vkd_tensor loss, const vkd_tensor *of, uint32_t count,
                  vkd_tensor *gradients) {
    memset(gradients, 0, count * sizeof *gradients);
    if (g->status || !check_loss(g, loss)) return;
    const vkd_tensor one = vkd_constant(g, 1.0f);
    vkd__backward_from(g, &loss, &one, 1, of, count, gradients);
}

/* ---- The gradient of a group, laid out as the group is ---- */

static uint32_t members_of(const vkd_graph *g, uint32_t group, vkd_tensor *of) {
    uint32_t count = 0;
    for (uint32_t i = 1; i < g->tensor_count; i++) {
        const vkd__tensor *t = &g->tensors[i];
        if (t->home != VKD__HOME_STORE) continue;
        const vkd__entry *e = &g->store->entries[t->entry];
        if (e->kind == VKD__ENTRY_MEMBER && e->group == group) of[count++] = (vkd_tensor){i};
    }
    return count;
}

/* The runs of a group that the reached members are, in order. */
static uint32_t runs_of(const vkd_graph *g, const vkd_tensor *of, const bool *reached,
                        uint32_t count, vkd__stretch *runs) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (!reached[i]) continue;
        const vkd__entry *e = &g->store->entries[vkd__tensor_get(g, of[i])->entry];
        const vkd__stretch run = {e->offset / sizeof(float),
                                  vkd__align_up(vkd_shape_count(e->shape), VKD__GROUP_ALIGN)};
        uint32_t k = found++;
        for (; k && runs[k - 1].at > run.at; k--)
            runs[k] = runs[k - 1];
        runs[k] = run;
    }
    uint32_t joined = 0;
    for (uint32_t i = 0; i < found; i++)
        if (joined && runs[joined - 1].at + runs[joined - 1].count == runs[i].at)
            runs[joined - 1].count += runs[i].count;
        else
            runs[joined++] = runs[i];
    return joined;
}

/* A group has one gradient in a graph: a second loss takes the first one's place. */
static void remember(vkd_graph *g, vkd_tensor gradient, const vkd_tensor *of, const bool *reached,
                     uint32_t count) {
    vkd__stretch *runs = VKD_NEW(&g->arena, vkd__stretch, count ? count : 1);
    size_t at = 0;
    while (at < g->reach_count && g->reaches[at].gradient.id != gradient.id)
        at++;
    if (!runs || !VKD__RESERVE(g->ctx, g->reaches, g->reach_count, g->reach_capacity)) {
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the gradients");
        return;
    }
    g->reach_count += at == g->reach_count;
    g->reaches[at] = (vkd__reach){gradient, runs, runs_of(g, of, reached, count, runs)};
}

vkd_tensor vkd_gradient(vkd_graph *g, vkd_tensor loss, const char *group) {
    const vkd_tensor flat = vkd__group_flat(g, group);
    if (g->status || !check_loss(g, loss)) return (vkd_tensor){0};
    char name[192];
    snprintf(name, sizeof name, "%s.gradient", group);
    /* A state, so that padding, and parameters that the loss does not reach, stay zero for good. */
    const vkd_tensor out = vkd_state(g, name, VKD_F32, vkd_tensor_shape(g, flat));
    vkd_tensor *of = vkd__alloc(g->ctx, g->tensor_count * 2, sizeof *of);
    bool *reached = vkd__alloc(g->ctx, g->tensor_count, sizeof *reached);
    if (!of || !reached) {
        vkd__free(g->ctx, of);
        vkd__free(g->ctx, reached);
        vkd__graph_fail(g, NULL, VKD_E_MEMORY, "no memory for the gradients");
        return (vkd_tensor){0};
    }
    vkd_tensor *gradients = of + g->tensor_count;
    const uint32_t entry = vkd__tensor_get(g, flat)->entry;
    const uint32_t count = members_of(g, entry, of);
    const vkd_tensor one = vkd_constant(g, 1.0f);
    backward(g, &loss, &one, 1, of, count, gradients, reached);
    if (!g->status) remember(g, out, of, reached, count);
    for (uint32_t i = 0; i < count; i++) {
        const vkd__tensor *t = vkd__tensor_get(g, of[i]);
        vkd__put(g, gradients[i], out, g->store->entries[t->entry].offset);
    }
    vkd__free(g->ctx, of);
    vkd__free(g->ctx, reached);
    return out;
}
