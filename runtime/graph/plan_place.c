// SPDX-License-Identifier: Apache-2.0
/* Lifetimes to offsets, bindings to places.
 *
 * An item is something that needs transient storage: a tensor that no view stands for (its graph
 * id) or a scratch buffer (tensor_count + its number). It lives from the first launch that touches
 * it to the last; outputs live to the end. An item may take over the storage of another that dies
 * in its maker; `owner` leads to the item whose block holds both. */
#include "graph/plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define SCRATCH 0x80000000u
#define NEVER 0xffffffffu

typedef struct span {
    uint32_t first, last; /* first NEVER: no launch touches it */
    uint32_t owner;
} span;

typedef struct placing {
    vkd_plan *p;
    span *items;
    uint32_t item_count;
    vkd__place *scratch; /* where each scratch buffer lies */
    uint32_t *epochs;    /* by launch, and one more for the end */
} placing;

static const char *tensor_name(const vkd_plan *p, uint32_t id) {
    return id & SCRATCH ? "scratch" : p->graph->tensors[id].name;
}

static uint64_t item_bytes(const vkd_plan *p, uint32_t item) {
    if (item >= p->tensor_count) return p->scratch[item - p->tensor_count].bytes;
    return vkd__tensor_bytes(&p->graph->tensors[item]);
}

/* ---- Inputs ---------------------------------------------------------------------------------- */

/* What the host may write stays, used or not, so that it finds its name; constants and the step
 * counter only where a launch or an output looks at them. */
static void find_used(const vkd_plan *p, bool *used) {
    const vkd_graph *g = p->graph;
    for (uint32_t id = 1; id < p->tensor_count; id++) {
        const vkd__tensor *t = &g->tensors[id];
        if (t->home == VKD__HOME_INPUT && !t->constant && id != g->step.id) used[id] = true;
    }
    for (size_t i = 0; i < p->launch_count; i++) {
        const vkd__launch *l = &p->launches[i];
        for (uint32_t k = 0; k < l->binding_count; k++)
            if (!(l->bindings[k].tensor & SCRATCH)) used[p->roots[l->bindings[k].tensor]] = true;
    }
    for (size_t i = 0; i < g->output_count; i++)
        used[p->roots[g->outputs[i].tensor.id]] = true;
}

static vkd_result place_inputs(vkd_plan *p) {
    const vkd_graph *g = p->graph;
    bool *used = VKD_NEW(&p->memory, bool, p->tensor_count);
    if (!used) return VKD_E_MEMORY;
    find_used(p, used);
    uint32_t count = 0;
    for (uint32_t id = 1; id < p->tensor_count; id++)
        count += used[id] && g->tensors[id].home == VKD__HOME_INPUT;
    p->inputs = VKD_NEW(&p->memory, vkd__plan_io, count);
    if (!p->inputs) return VKD_E_MEMORY;
    for (uint32_t id = 1; id < p->tensor_count; id++) {
        const vkd__tensor *t = &g->tensors[id];
        if (!used[id] || t->home != VKD__HOME_INPUT) continue;
        vkd__plan_io *io = &p->inputs[p->input_count++];
        *io = (vkd__plan_io){.name = vkd__arena_format(&p->memory, "%s", t->name),
                             .dtype = t->dtype,
                             .shape = t->shape,
                             .bytes = vkd__tensor_bytes(t),
                             .block_offset = p->input_bytes,
                             .value = t->value,
                             .constant = t->constant,
                             .is_step = id == g->step.id};
        if (!io->name) return VKD_E_MEMORY;
        p->places[id] = (vkd__place){VKD__SPACE_INPUT, 0, p->input_bytes};
        p->input_bytes += vkd__align_up(io->bytes, 256);
        if (p->input_bytes > p->profile.max_allocation)
            return vkd__fail(p->ctx, VKD_E_DEVICE_MEMORY,
                             "inputs up to '%s' take %" PRIu64 " bytes, one allocation of '%s' has "
                             "%" PRIu64 " at most; use a smaller batch",
                             t->name, p->input_bytes, p->profile.name, p->profile.max_allocation);
    }
    return VKD_OK;
}

/* ---- Lifetimes ------------------------------------------------------------------------------- */

/* The item of a binding's tensor; NEVER when that lies in the store or the input block. */
static uint32_t item_of(const vkd_plan *p, uint32_t tensor) {
    if (tensor & SCRATCH) return p->tensor_count + (tensor & ~SCRATCH);
    const uint32_t root = p->roots[tensor];
    const vkd__space space = p->places[root].space;
    return root && space != VKD__SPACE_STORE && space != VKD__SPACE_INPUT ? root : NEVER;
}

static vkd_result find_lives(placing *s) {
    vkd_plan *p = s->p;
    for (uint32_t i = 0; i < s->item_count; i++)
        s->items[i] = (span){NEVER, 0, i};
    for (uint32_t i = 0; i < p->launch_count; i++) {
        const vkd__launch *l = &p->launches[i];
        for (uint32_t k = 0; k < l->binding_count; k++) {
            const uint32_t item = item_of(p, l->bindings[k].tensor);
            if (item == NEVER) continue;
            span *life = &s->items[item];
            if (life->first == NEVER) {
                if (!(l->bindings[k].access & VKD__WRITE))
                    return vkd__fail(
                        p->ctx, VKD_E_ARGUMENT, "%s reads '%s', which no launch has written",
                        p->graph->nodes[l->node].op->name, tensor_name(p, l->bindings[k].tensor));
                life->first = i;
            }
            life->last = i;
        }
    }
    return VKD_OK;
}

static vkd_result extend_lives(placing *s) {
    vkd_plan *p = s->p;
    for (size_t i = 0; i < p->graph->output_count; i++) {
        const vkd__output *o = &p->graph->outputs[i];
        const uint32_t item = item_of(p, o->tensor.id);
        if (item == NEVER) continue;
        if (s->items[item].first == NEVER)
            return vkd__fail(p->ctx, VKD_E_ARGUMENT, "output '%s': no launch writes '%s'", o->name,
                             tensor_name(p, o->tensor.id));
        s->items[item].last = (uint32_t)p->launch_count;
    }
    for (uint32_t i = 0; i < p->scratch_count; i++) {
        span *life = &s->items[p->tensor_count + i];
        if (life->first == NEVER) continue;
        const uint32_t node = p->launches[life->first].node;
        while (life->last + 1 < p->launch_count && p->launches[life->last + 1].node == node)
            life->last++;
    }
    return VKD_OK;
}

/* ---- Sizes ----------------------------------------------------------------------------------- */

static vkd_result too_large(const placing *s, uint32_t item) {
    const vkd_plan *p = s->p;
    const char *op = p->graph->nodes[p->launches[s->items[item].first].node].op->name;
    if (item >= p->tensor_count)
        return vkd__fail(p->ctx, VKD_E_DEVICE_MEMORY,
                         "%s needs %" PRIu64 " bytes of scratch, one allocation of '%s' has "
                         "%" PRIu64 " at most",
                         op, item_bytes(p, item), p->profile.name, p->profile.max_allocation);
    const vkd__tensor *t = &p->graph->tensors[item];
    return vkd__fail(p->ctx, VKD_E_DEVICE_MEMORY,
                     "%s makes '%s', %" PRIu64 " elements of %zu bytes, %" PRIu64
                     " bytes in all; one allocation of '%s' has %" PRIu64
                     " at most; use a smaller batch",
                     op, t->name, vkd_shape_count(t->shape), vkd_dtype_size(t->dtype),
                     vkd__tensor_bytes(t), p->profile.name, p->profile.max_allocation);
}

static vkd_result check_sizes(const placing *s) {
    for (uint32_t i = 0; i < s->item_count; i++) {
        const uint64_t bytes = vkd__align_up(item_bytes(s->p, i), 256);
        if (s->items[i].first != NEVER && bytes > s->p->profile.max_allocation)
            return too_large(s, i);
    }
    return VKD_OK;
}

/* ---- Bindings -------------------------------------------------------------------------------- */

static bool is_direct(const char *kernel) {
    while (*kernel && *kernel != '.')
        kernel++;
    /* Other variants, as matmul.sum, bind as their base does. */
    return !strcmp(kernel, ".direct") || !strcmp(kernel, ".direct.half");
}

/* Direct kernels read their inputs through texel views of four values, which have a limit of their
 * own. Integers are read from storage buffers. */
static uint64_t binding_limit(const vkd_plan *p, const vkd__launch *l, const vkd__binding *b) {
    if (!is_direct(l->kernel) || b->access != VKD__READ || b->tensor & SCRATCH)
        return p->profile.max_binding;
    const vkd_dtype dtype = p->graph->tensors[b->tensor].dtype;
    if (dtype != VKD_F32 && !vkd__is_half(dtype)) return p->profile.max_binding;
    const uint64_t texel = 4 * vkd_dtype_size(dtype);
    return p->profile.max_texels > UINT64_MAX / texel ? UINT64_MAX : p->profile.max_texels * texel;
}

static vkd_result resolve(const placing *s, const vkd__launch *l, vkd__binding *b) {
    const vkd_plan *p = s->p;
    if (!b->tensor) {
        b->space = VKD__SPACE_DUMMY;
        b->bytes = 256;
        return VKD_OK;
    }
    const bool scratch = b->tensor & SCRATCH;
    const vkd__place place = scratch ? s->scratch[b->tensor & ~SCRATCH] : p->places[b->tensor];
    const uint64_t whole = scratch ? p->scratch[b->tensor & ~SCRATCH].bytes
                                   : vkd__tensor_bytes(&p->graph->tensors[b->tensor]);
    const uint64_t bytes = b->window_bytes ? b->window_bytes : whole;
    b->space = place.space;
    b->index = place.index;
    b->offset = place.offset + b->window_offset;
    b->bytes = vkd__align_up(bytes ? bytes : 1, 16);
    const char *op = p->graph->nodes[l->node].op->name, *name = tensor_name(p, b->tensor);
    if (b->window_offset + bytes > vkd__align_up(whole, 16) || b->offset % 256)
        return vkd__fail(p->ctx, VKD_E_SHAPE,
                         "%s binds bytes %" PRIu64 " to %" PRIu64 " of '%s', which has %" PRIu64
                         ", at offset %" PRIu64 "; bindings start at multiples of 256",
                         op, b->window_offset, b->window_offset + bytes, name, whole, b->offset);
    const uint64_t limit = binding_limit(p, l, b);
    if (b->bytes > limit)
        return vkd__fail(p->ctx, VKD_E_SHAPE,
                         "%s binds %" PRIu64 " bytes of '%s' at once, '%s' allows %" PRIu64, op,
                         b->bytes, name, p->profile.name, limit);
    return VKD_OK;
}

/* Gives every item the place of its owner, and every binding its item's. */
static vkd_result give_places(const placing *s, const vkd__place *by_item) {
    const vkd_plan *p = s->p;
    for (uint32_t i = 0; i < s->item_count; i++) {
        if (s->items[i].first == NEVER) continue;
        const vkd__place place = by_item[s->items[i].owner];
        if (i < p->tensor_count)
            p->places[i] = place;
        else
            s->scratch[i - p->tensor_count] = place;
    }
    for (uint32_t id = 1; id < p->tensor_count; id++)
        p->places[id] = p->places[p->roots[id]];
    vkd_result r = VKD_OK;
    for (size_t i = 0; !r && i < p->launch_count; i++)
        for (uint32_t k = 0; !r && k < p->launches[i].binding_count; k++)
            r = resolve(s, &p->launches[i], &p->launches[i].bindings[k]);
    return r;
}

/* ---- Epochs and storage that changes hands --------------------------------------------------- */

/* With an arena for each item the only barriers are those that the data asks for. */
static vkd_result find_epochs(placing *s, vkd__place *by_item) {
    vkd_plan *p = s->p;
    for (uint32_t i = 0; i < s->item_count; i++)
        by_item[i] = (vkd__place){VKD__SPACE_ARENA, i, 0};
    vkd_result r = give_places(s, by_item);
    if (!r) r = vkd__plan_barriers(p);
    if (r) return r;
    uint32_t epoch = 0;
    for (size_t i = 0; i < p->launch_count; i++) {
        epoch += p->launches[i].barrier;
        s->epochs[i] = epoch;
    }
    s->epochs[p->launch_count] = epoch + 1;
    return VKD_OK;
}

/* Whether a launch of another node touches the item in the epoch of launch `last`. */
static bool touched_beside(const placing *s, uint32_t item, uint32_t last) {
    const vkd_plan *p = s->p;
    for (uint32_t i = last + 1; i-- > 0 && s->epochs[i] == s->epochs[last];) {
        const vkd__launch *l = &p->launches[i];
        for (uint32_t k = 0; k < l->binding_count && l->node != p->launches[last].node; k++)
            if (item_of(p, l->bindings[k].tensor) == item) return true;
    }
    return false;
}

/* Whether out[0] of node n may have in[0]'s storage: nobody looks at in[0] after the node or beside
 * it, and the node looks at that storage through in[0] alone. */
static bool may_take_over(const placing *s, uint32_t node, uint32_t from, uint32_t to) {
    const vkd_plan *p = s->p;
    const vkd__node *n = &p->graph->nodes[node];
    if (from == NEVER || to == NEVER || s->items[from].first == NEVER) return false;
    if (s->items[to].first == NEVER || item_bytes(p, from) != item_bytes(p, to)) return false;
    const uint32_t last = s->items[from].last;
    if (last >= p->launch_count || p->launches[last].node != node) return false;
    for (uint32_t k = 1; k < n->in_count; k++)
        if (n->in[k].id && p->roots[n->in[k].id] == from) return false;
    return !touched_beside(s, from, last);
}

static void take_over(placing *s) {
    const vkd_plan *p = s->p;
    for (uint32_t i = 0; i < p->node_count; i++) {
        const vkd__node *n = &p->graph->nodes[i];
        if (!p->needed[i] || p->elided[i] || !n->op->in_place || !n->in[0].id) continue;
        const uint32_t from = item_of(p, n->in[0].id), to = item_of(p, n->out[0].id);
        if (!may_take_over(s, i, from, to)) continue;
        const uint32_t owner = s->items[from].owner;
        s->items[to].owner = owner;
        if (s->items[to].last > s->items[owner].last) s->items[owner].last = s->items[to].last;
    }
}

/* ---- Offsets --------------------------------------------------------------------------------- */

static vkd_result pack(const placing *s, vkd__place *by_item) {
    vkd_plan *p = s->p;
    vkd__block *blocks = VKD_NEW(&p->memory, vkd__block, s->item_count);
    if (!blocks) return VKD_E_MEMORY;
    size_t count = 0;
    for (uint32_t i = 0; i < s->item_count; i++) {
        const span *life = &s->items[i];
        if (life->first == NEVER || life->owner != i) continue;
        const uint64_t bytes = vkd__align_up(item_bytes(p, i), 256);
        blocks[count++] = (vkd__block){.id = i,
                                       .bytes = bytes ? bytes : 256,
                                       .first = s->epochs[life->first],
                                       .last = s->epochs[life->last]};
    }
    const vkd_result r = vkd__plan_pack(p, blocks, count);
    if (r) return r;
    for (size_t i = 0; i < count; i++)
        by_item[blocks[i].id] = (vkd__place){VKD__SPACE_ARENA, blocks[i].arena, blocks[i].offset};
    return give_places(s, by_item);
}

static vkd_result place_outputs(vkd_plan *p) {
    const vkd_graph *g = p->graph;
    p->outputs = VKD_NEW(&p->memory, vkd__plan_io, g->output_count);
    if (!p->outputs) return VKD_E_MEMORY;
    for (size_t i = 0; i < g->output_count; i++) {
        const vkd__output *o = &g->outputs[i];
        const vkd__tensor *t = &g->tensors[o->tensor.id];
        vkd__plan_io *io = &p->outputs[p->output_count++];
        *io = (vkd__plan_io){.name = vkd__arena_format(&p->memory, "%s", o->name),
                             .dtype = t->dtype,
                             .shape = t->shape,
                             .bytes = vkd__tensor_bytes(t),
                             .block_offset = p->output_bytes,
                             .source = p->places[o->tensor.id]};
        if (!io->name) return VKD_E_MEMORY;
        p->output_bytes += vkd__align_up(io->bytes, 16);
    }
    return VKD_OK;
}

vkd_result vkd__plan_place(vkd_plan *p) {
    vkd_result r = place_inputs(p);
    if (r) return r;
    const uint32_t count = p->tensor_count + (uint32_t)p->scratch_count;
    vkd__place *by_item = VKD_NEW(&p->memory, vkd__place, count);
    placing s = {.p = p,
                 .items = VKD_NEW(&p->memory, span, count),
                 .item_count = count,
                 .scratch = VKD_NEW(&p->memory, vkd__place, p->scratch_count),
                 .epochs = VKD_NEW(&p->memory, uint32_t, p->launch_count + 1)};
    if (!by_item || !s.items || !s.scratch || !s.epochs) return VKD_E_MEMORY;
    r = find_lives(&s);
    if (!r) r = extend_lives(&s);
    if (!r) r = check_sizes(&s);
    if (!r) r = find_epochs(&s, by_item);
    if (r) return r;
    take_over(&s);
    r = pack(&s, by_item);
    return r ? r : place_outputs(p);
}
