// SPDX-License-Identifier: Apache-2.0
/* Random graphs, planned and then run by a simulator that knows only bytes.
 *
 * An element's value is a hash of everything that its launch read. The simulator runs the launches
 * in plan order on the places that the plan gave; the witness runs the graph's nodes in the order
 * of building, each tensor in memory of its own. Equal outputs and equal store contents mean that
 * no tensor was overwritten while it was needed, whichever way storage was shared. */
#include "support/plan_ops.h"
#include "support/support.h"

#include <stdlib.h>
#include <string.h>

enum { GRAPHS = 300, STATES = 3, STATE_ELEMENTS = 512, MOST_TENSORS = 128, LIMIT = 8192 };

typedef struct random {
    uint64_t state;
} random;

static uint32_t below(random *r, uint32_t n) {
    r->state = r->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(r->state >> 33) % n;
}

typedef struct made {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd_tensor t[MOST_TENSORS]; /* what a next node may read */
    uint32_t count;
    vkd_tensor states[STATES];
} made;

static vkd_tensor pick(made *m, random *r) {
    /* Mostly recent tensors, so that lifetimes end. */
    const uint32_t reach = below(r, 4) ? 6 : m->count;
    return m->t[m->count - 1 - below(r, reach < m->count ? reach : m->count)];
}

static void add_node(made *m, random *r) {
    static const uint32_t counts[] = {1, 31, 64, 64, 64, 100, 128, 500};
    plan_op_params p = {.outs = 1 + (below(r, 6) == 0)};
    for (uint32_t i = 0; i < 2; i++)
        p.count[i] = counts[below(r, VKD_COUNT(counts))];
    if (!below(r, 5)) p.scratch = counts[below(r, VKD_COUNT(counts))];
    vkd_tensor in[3], out = {0};
    const uint32_t inputs = 1 + below(r, 3);
    for (uint32_t i = 0; i < inputs; i++)
        in[i] = pick(m, r);
    switch (below(r, 10)) {
    case 0:
    case 1:
    case 2:
        out = plan_op(m->g, &op_plain, in, inputs, &p);
        break;
    case 3:
    case 4:
    case 5:
        p.count[0] = (uint32_t)vkd_shape_count(vkd_tensor_shape(m->g, in[0]));
        out = plan_op(m->g, &op_in_place, in, inputs, &p);
        break;
    case 6:
        out = view(m->g, in[0]);
        break;
    case 7:
        update(m->g, m->states[below(r, STATES)], in[0]);
        break;
    default: {
        /* A placement may clear the rest of its last sixteen bytes; here nothing may be cleared. */
        if (vkd_shape_count(vkd_tensor_shape(m->g, in[0])) % 4) break;
        const uint64_t bytes = vkd_shape_count(vkd_tensor_shape(m->g, in[0])) * sizeof(float);
        const uint32_t room = (uint32_t)((STATE_ELEMENTS * sizeof(float) - bytes) / 256 + 1);
        put(m->g, in[0], m->states[below(r, STATES)], 256 * below(r, room));
    }
    }
    if (out.id) m->t[m->count++] = out;
}

static made make_graph(uint32_t seed) {
    made m = {.ctx = test_ctx()};
    random r = {seed};
    assert_int_equal(vkd_store_create(m.ctx, &m.store), VKD_OK);
    assert_int_equal(vkd_graph_create(m.ctx, m.store, NULL, &m.g), VKD_OK);
    m.t[m.count++] = vkd_input(m.g, "x", VKD_F32, VKD_SHAPE(64));
    m.t[m.count++] = vkd_param(m.g, "net.w", VKD_SHAPE(33), &(vkd_init){0});
    for (uint32_t i = 0; i < STATES; i++) {
        char name[] = "state0";
        name[5] = (char)('0' + i);
        m.states[i] = vkd_state(m.g, name, VKD_F32, VKD_SHAPE(STATE_ELEMENTS));
        m.t[m.count++] = m.states[i];
    }
    const uint32_t nodes = 3 + below(&r, 40);
    for (uint32_t i = 0; i < nodes; i++)
        add_node(&m, &r);
    vkd_output(m.g, "a", pick(&m, &r));
    vkd_output(m.g, "b", pick(&m, &r));
    assert_int_equal(vkd_graph_status(m.g), VKD_OK);
    return m;
}

static void unmake(made *m) {
    vkd_graph_destroy(m->g);
    vkd_store_destroy(m->store);
    vkd_ctx_destroy(m->ctx);
}

/* ---- Values as hashes ---- */

static uint64_t mix(uint64_t seed, uint64_t a, uint64_t b) {
    const uint64_t words[] = {a, b};
    return vkd__hash(seed, words, sizeof words);
}

static uint64_t absorb(uint64_t h, const uint64_t *v, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        h = mix(h, v[i], i);
    return h;
}

static void emit_values(uint64_t h, uint32_t which, uint64_t *v, uint64_t count) {
    for (uint64_t i = 0; i < count; i++)
        v[i] = mix(h, which, i);
}

/* ---- The witness: nodes in order, a tensor's memory is its own ---- */

typedef struct memory {
    uint64_t *tensor[2 * MOST_TENSORS]; /* by graph id; views and store leaves point elsewhere */
    uint64_t *scratch;
} memory;

static uint64_t count_of(const vkd_graph *g, uint32_t id) {
    return vkd_shape_count(g->tensors[id].shape);
}

static void witness_node(const vkd_graph *g, const vkd__node *n, memory *m) {
    const plan_op_params *p = n->params;
    if (n->op == &op_view) {
        m->tensor[n->out[0].id] = m->tensor[n->in[0].id];
        return;
    }
    if (n->op == &op_put) {
        memmove(m->tensor[n->in[1].id] + p->offset / 4, m->tensor[n->in[0].id],
                count_of(g, n->in[0].id) * 8);
        return;
    }
    uint64_t h = VKD__HASH_SEED;
    for (uint32_t i = 0; i < n->in_count; i++)
        h = absorb(h, m->tensor[n->in[i].id], count_of(g, n->in[i].id));
    if (p->scratch) {
        emit_values(h, 0, m->scratch, p->scratch);
        h = absorb(VKD__HASH_SEED, m->scratch, p->scratch);
    }
    uint32_t which = 0;
    if (n->writes & 1) emit_values(h, which++, m->tensor[n->in[0].id], count_of(g, n->in[0].id));
    for (uint32_t i = 0; i < n->out_count; i++) {
        m->tensor[n->out[i].id] = calloc(count_of(g, n->out[i].id), 8);
        emit_values(h, which++, m->tensor[n->out[i].id], count_of(g, n->out[i].id));
    }
}

static void witness_leaves(const vkd_graph *g, memory *m) {
    m->scratch = calloc(1024, 8);
    for (uint32_t id = 1; id < g->tensor_count; id++) {
        if (g->tensors[id].home == VKD__HOME_NODE) continue;
        m->tensor[id] = calloc(STATE_ELEMENTS, 8);
        if (g->tensors[id].home == VKD__HOME_INPUT)
            emit_values(7, 7, m->tensor[id], count_of(g, id));
    }
}

static void witness_free(const vkd_graph *g, memory *m) {
    for (uint32_t id = 1; id < g->tensor_count; id++) {
        const vkd__tensor *t = &g->tensors[id];
        if (t->home != VKD__HOME_NODE || g->nodes[t->node].op != &op_view) free(m->tensor[id]);
    }
    free(m->scratch);
}

/* ---- The simulator: launches in order, bytes of arenas, store and input block ---- */

typedef struct machine {
    uint64_t *arena[64], *entry[8], *input;
    uint64_t arena_size[64], entry_size[8], input_size; /* elements */
} machine;

static void machine_make(const vkd_plan *p, machine *m) {
    assert_in_range(p->arena_count, 0, 64);
    for (uint32_t i = 0; i < p->arena_count; i++) {
        assert_in_range(p->arena_bytes[i], 1, LIMIT);
        m->arena_size[i] = p->arena_bytes[i] / 4;
        m->arena[i] = calloc(m->arena_size[i], 8);
        emit_values(99, i, m->arena[i], m->arena_size[i]); /* rubbish */
    }
    assert_in_range(p->store->entry_count, 1, 8);
    for (size_t i = 0; i < p->store->entry_count; i++) {
        m->entry_size[i] = vkd__align_up(p->store->entries[i].bytes, 256) / 4;
        m->entry[i] = calloc(m->entry_size[i], 8);
    }
    m->input_size = p->input_bytes / 4;
    m->input = calloc(m->input_size, 8);
    for (uint32_t i = 0; i < p->input_count; i++)
        emit_values(7, 7, m->input + p->inputs[i].block_offset / 4, p->inputs[i].bytes / 4);
}

static void machine_free(machine *m) {
    for (size_t i = 0; i < VKD_COUNT(m->arena); i++)
        free(m->arena[i]);
    for (size_t i = 0; i < VKD_COUNT(m->entry); i++)
        free(m->entry[i]);
    free(m->input);
}

static uint64_t *at(const machine *m, vkd__space space, uint32_t index, uint64_t offset,
                    uint64_t bytes) {
    uint64_t *base = space == VKD__SPACE_ARENA   ? m->arena[index]
                     : space == VKD__SPACE_STORE ? m->entry[index]
                                                 : m->input;
    const uint64_t size = space == VKD__SPACE_ARENA   ? m->arena_size[index]
                          : space == VKD__SPACE_STORE ? m->entry_size[index]
                                                      : m->input_size;
    assert_int_not_equal(space, VKD__SPACE_DUMMY);
    assert_int_equal(offset % 256, 0);
    assert_in_range(offset / 4 + bytes / 4, 0, size);
    return base + offset / 4;
}

/* Elements of the tensor behind a binding: the rest, up to 16 bytes, is padding. */
static uint64_t real_count(const vkd_plan *p, const vkd__binding *b) {
    if (b->window_bytes) return b->window_bytes / 4;
    if (b->tensor & 0x80000000u) return p->scratch[b->tensor & 0x7fffffffu].bytes / 4;
    return count_of(p->graph, b->tensor);
}

static void simulate(const vkd_plan *p, const machine *m, const vkd__launch *l) {
    uint64_t h = VKD__HASH_SEED;
    for (uint32_t k = 0; k < l->binding_count; k++) {
        const vkd__binding *b = &l->bindings[k];
        const uint64_t *v = at(m, b->space, b->index, b->offset, b->bytes);
        if (b->access & VKD__READ) h = absorb(h, v, real_count(p, b));
    }
    const bool copy = p->graph->nodes[l->node].op == &op_put;
    uint32_t which = 0;
    for (uint32_t k = 0; k < l->binding_count; k++) {
        const vkd__binding *b = &l->bindings[k];
        if (!(b->access & VKD__WRITE)) continue;
        uint64_t *v = at(m, b->space, b->index, b->offset, b->bytes);
        const uint64_t count = real_count(p, b);
        const vkd__binding *from = &l->bindings[0];
        if (copy)
            memmove(v, at(m, from->space, from->index, from->offset, from->bytes), count * 8);
        else
            emit_values(h, which++, v, count);
        for (uint64_t i = count; i < b->bytes / 4; i++)
            v[i] = 0;
    }
}

static void compare(const vkd_plan *p, const machine *m, const memory *w) {
    for (uint32_t i = 0; i < p->output_count; i++) {
        const vkd__plan_io *o = &p->outputs[i];
        const uint64_t *got = at(m, o->source.space, o->source.index, o->source.offset, o->bytes);
        assert_memory_equal(got, w->tensor[p->graph->outputs[i].tensor.id], o->bytes * 2);
    }
    for (uint32_t id = 1; id < p->tensor_count; id++) {
        const vkd__tensor *t = &p->graph->tensors[id];
        if (t->home != VKD__HOME_STORE) continue;
        const vkd__place place = p->places[id];
        assert_memory_equal(at(m, place.space, place.index, place.offset, 0), w->tensor[id],
                            count_of(p->graph, id) * 8);
    }
}

/* ---- Barriers, by comparing every pair ---- */

static bool touch(const vkd__launch *a, const vkd__launch *b) {
    for (uint32_t i = 0; i < a->binding_count; i++)
        for (uint32_t k = 0; k < b->binding_count; k++) {
            const vkd__binding *x = &a->bindings[i], *y = &b->bindings[k];
            if (x->access == VKD__READ && y->access == VKD__READ) continue;
            if (x->space == VKD__SPACE_DUMMY || x->space != y->space || x->index != y->index)
                continue;
            if (x->offset + x->bytes > y->offset && y->offset + y->bytes > x->offset) return true;
        }
    return false;
}

static void check_barriers(const vkd_plan *p) {
    uint32_t counted = 0;
    for (size_t j = 0; j < p->launch_count; j++) {
        bool needed = false;
        for (size_t i = j; i-- > 0;) {
            bool between = false;
            for (size_t k = i + 1; k <= j; k++)
                between |= p->launches[k].barrier;
            const bool conflict = touch(&p->launches[i], &p->launches[j]);
            assert_true(between || !conflict);
            bool earlier = false; /* one that would do without j's */
            for (size_t k = i + 1; k < j; k++)
                earlier |= p->launches[k].barrier;
            needed |= conflict && !earlier;
        }
        assert_int_equal(p->launches[j].barrier, needed);
        counted += needed;
    }
    assert_int_equal(p->info.barriers, counted);
}

typedef struct seen {
    uint32_t shared, elided, copied, arenas;
} seen;

static void note(const vkd_plan *p, seen *s) {
    for (uint32_t i = 0; i < p->node_count; i++) {
        const vkd__node *n = &p->graph->nodes[i];
        if (n->op == &op_put) *(p->elided[i] ? &s->elided : &s->copied) += 1;
        if (n->op != &op_in_place || !p->needed[i]) continue;
        const vkd__place a = p->places[n->in[0].id], b = p->places[n->out[0].id];
        s->shared += a.space == b.space && a.index == b.index && a.offset == b.offset;
    }
    s->arenas += p->arena_count > 1;
}

static void run(uint32_t seed, seen *s) {
    made graph = make_graph(seed);
    vkd_profile profile = *vkd_profile_find("cpu");
    profile.max_allocation = LIMIT;
    vkd_plan *p = NULL;
    assert_int_equal(vkd_plan_create(graph.g, &profile, &p), VKD_OK);
    memory w = {0};
    machine m = {0};
    witness_leaves(graph.g, &w);
    for (size_t i = 0; i < graph.g->node_count; i++)
        witness_node(graph.g, &graph.g->nodes[i], &w);
    machine_make(p, &m);
    for (size_t i = 0; i < p->launch_count; i++)
        simulate(p, &m, &p->launches[i]);
    compare(p, &m, &w);
    check_barriers(p);
    note(p, s);
    machine_free(&m);
    witness_free(graph.g, &w);
    vkd_plan_destroy(p);
    unmake(&graph);
}

static void a_plan_computes_what_the_graph_says(void **state) {
    (void)state;
    seen s = {0};
    for (uint32_t i = 0; i < GRAPHS; i++)
        run(i, &s);
    /* Without these the graphs would be too tame to prove anything. */
    assert_true(s.shared > GRAPHS / 4 && s.elided > GRAPHS / 4 && s.copied > GRAPHS / 4);
    assert_true(s.arenas > GRAPHS / 20);
    print_message("shared %u, elided %u, copied %u, several arenas %u\n", s.shared, s.elided,
                  s.copied, s.arenas);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_computes_what_the_graph_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
