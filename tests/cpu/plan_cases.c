// SPDX-License-Identifier: Apache-2.0
/* Every case of every op, planned for both kinds of device, and for devices on which hardly
 * anything fits into one binding: an op then works in windows, or says which tensor is too large.
 */
#include <stdlib.h>
#include <string.h>

#include "ops/op.h"
#include "support/support.h"

typedef struct tried {
    const vkd_op_def *op;
    uint32_t index;
    vkd_profile profile;
    uint32_t planned, refused, windowed; /* counts over all cases */
} tried;

/* All launches of a node together must write every byte of a result. */
static bool written_throughout(const vkd_plan *p, uint32_t node, uint32_t tensor) {
    const uint64_t bytes = vkd__tensor_bytes(&p->graph->tensors[tensor]);
    uint64_t reached = 0;
    for (bool moved = true; moved && reached < bytes;) {
        moved = false;
        for (size_t i = 0; i < p->launch_count; i++) {
            const vkd__launch *l = &p->launches[i];
            for (uint32_t k = 0; l->node == node && k < l->binding_count; k++) {
                const vkd__binding *b = &l->bindings[k];
                if (b->tensor != tensor || !(b->access & VKD__WRITE)) continue;
                const uint64_t end = b->window_offset + (b->window_bytes ? b->window_bytes : bytes);
                if (b->window_offset > reached || end <= reached) continue;
                reached = end;
                moved = true;
            }
        }
    }
    return reached >= bytes;
}

/* What a launch changes in the store, its node must say: the cast cache, the planner and shadow
 * mode believe it. */
static bool says_what_it_changes(const vkd_plan *p, const vkd__launch *l) {
    const vkd__node *n = &p->graph->nodes[l->node];
    for (uint32_t k = 0; k < l->binding_count; k++) {
        const vkd__binding *b = &l->bindings[k];
        if (!(b->access & VKD__WRITE) || b->tensor >= p->tensor_count || n->op->is_placement)
            continue;
        if (p->graph->tensors[b->tensor].home != VKD__HOME_STORE) continue;
        bool said = false;
        for (uint32_t i = 0; i < n->in_count; i++)
            said |= n->in[i].id == b->tensor && (n->writes >> i & 1);
        if (!said) return false;
    }
    return true;
}

/* And the other way round: barriers come from what launches say. */
static bool changes_what_it_says(const vkd_plan *p, uint32_t node) {
    const vkd__node *n = &p->graph->nodes[node];
    for (uint32_t i = 0; i < n->in_count; i++) {
        bool changed = !(n->writes >> i & 1);
        for (size_t k = 0; k < p->launch_count; k++)
            for (uint32_t b = 0; p->launches[k].node == node && b < p->launches[k].binding_count;
                 b++)
                changed |= p->launches[k].bindings[b].tensor == n->in[i].id &&
                           (p->launches[k].bindings[b].access & VKD__WRITE);
        if (!changed) return false;
    }
    return true;
}

static void check_plan(tried *t, const vkd_plan *p) {
    bool windowed = false;
    for (uint32_t id = 1; id < p->tensor_count; id++) {
        const vkd__tensor *made = &p->graph->tensors[id];
        if (made->home != VKD__HOME_NODE || !p->needed[made->node]) continue;
        if (p->graph->nodes[made->node].op->is_view) continue;
        if (!written_throughout(p, made->node, id))
            fail_msg(
                "%s, case %u, on '%s' with bindings of %u bytes: '%s' is not written throughout",
                t->op->name, t->index, p->profile.name, (unsigned)p->profile.max_binding,
                made->name);
    }
    for (uint32_t i = 0; i < p->graph->node_count; i++)
        if (!p->graph->nodes[i].op->is_placement && !changes_what_it_says(p, i))
            fail_msg("%s, case %u: no launch of '%s' changes what its node says", t->op->name,
                     t->index, p->graph->nodes[i].op->name);
    for (size_t i = 0; i < p->launch_count; i++) {
        assert_true(p->launches[i].groups[0] >= 1 && p->launches[i].binding_count > 0);
        if (!says_what_it_changes(p, &p->launches[i]))
            fail_msg("%s, case %u: a launch of '%s' changes what its node does not say",
                     t->op->name, t->index, p->launches[i].kernel);
        for (uint32_t k = 0; k < p->launches[i].binding_count; k++)
            windowed |= p->launches[i].bindings[k].window_offset > 0;
    }
    t->windowed += windowed;
}

static void try_case(tried *t) {
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_store_create(ctx, &store);
    vkd_graph_create(ctx, store, NULL, &g);
    vkd__case c = {.g = g, .index = t->index};
    t->op->build_case(&c);
    static const char *const names[] = {"a", "b", "c", "d"};
    for (uint32_t i = 0; i < c.output_count; i++)
        vkd_output(g, names[i], c.outputs[i]);
    vkd_plan *p = NULL;
    const vkd_result r = vkd_plan_create(g, &t->profile, &p);
    const bool may_refuse = t->profile.max_binding < vkd_profile_find("gpu")->max_binding;
    /* The op must have noticed, "op('x'): ...", not the planner that checks its bindings. */
    if (r && (r != VKD_E_SHAPE || !may_refuse || !strstr(vkd_ctx_error(ctx), "('")))
        fail_msg("%s, case %u: %s: %s", t->op->name, t->index, vkd_result_text(r),
                 vkd_ctx_error(ctx));
    if (p) check_plan(t, p);
    *(p ? &t->planned : &t->refused) += 1;
    vkd_plan_destroy(p);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

static void try_all(tried *t) {
    for (size_t i = 0; i < vkd__op_count; i++) {
        t->op = vkd__ops[i];
        for (t->index = 0; t->index < t->op->case_count; t->index++)
            try_case(t);
    }
}

static void every_case_plans_for_both_kinds_of_device(void **state) {
    (void)state;
    tried t = {.profile = *vkd_profile_find("gpu")};
    try_all(&t);
    t.profile = *vkd_profile_find("cpu");
    try_all(&t);
    assert_true(t.planned >= 2 * vkd__op_count);
    assert_int_equal(t.refused, 0);
}

static void every_op_fits_small_bindings_or_says_why_not(void **state) {
    (void)state;
    tried t = {0};
    for (int direct = 0; direct < 2; direct++) {
        t.profile = *vkd_profile_find(direct ? "cpu" : "gpu");
        for (uint64_t limit = 256; limit <= 65536; limit *= 4) {
            t.profile.max_binding = limit;
            t.profile.max_texels = limit / 16;
            try_all(&t);
        }
    }
    print_message("planned %u, of these in windows %u, refused %u\n", t.planned, t.windowed,
                  t.refused);
    assert_true(t.windowed > t.planned / 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_case_plans_for_both_kinds_of_device),
        cmocka_unit_test(every_op_fits_small_bindings_or_says_why_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
