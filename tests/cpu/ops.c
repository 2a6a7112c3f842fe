// SPDX-License-Identifier: Apache-2.0
/* Every op of the register against itself: the gradient that it emits against central differences
 * of its reference, with no device. Builders fold and refuse what their header says. */
#include "support/support.h"

#include <string.h>

#include "check/check.h"
#include "ops/op.h"

static void gradients_agree_with_central_differences(void **state) {
    const vkd_op_def *op = *state;
    vkd_ctx *ctx = test_ctx();
    for (uint32_t i = 0; i < op->case_count; i++)
        if (vkd__check_gradient(ctx, op, i)) fail_msg("%s", vkd_ctx_error(ctx));
    vkd_ctx_destroy(ctx);
}

static void a_registered_op_has_all_its_parts(void **state) {
    (void)state;
    assert_true(vkd__op_count > 0);
    for (size_t i = 0; i < vkd__op_count; i++) {
        const vkd_op_def *op = vkd__ops[i];
        if (!op->case_count || !op->build_case) fail_msg("'%s' has no cases", op->name);
        if (!op->summary || !op->infer) fail_msg("'%s' is incomplete", op->name);
        if (!op->is_view && (!op->lower || !op->reference))
            fail_msg("'%s' has no lower or no reference", op->name);
        if (!op->backward && !op->no_difference_test)
            fail_msg("'%s' has no gradient and does not say why", op->name);
        assert_ptr_equal(vkd__op_find(op->name), op);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(vkd__ops[k]->name, op->name);
    }
}

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static fixture start(void) {
    fixture f = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

static void stop(fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static void constants_fold(void **state) {
    (void)state;
    fixture f = start();
    vkd_graph *g = f.g;
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(2, 3));
    const vkd_tensor one = vkd_constant(g, 1), three = vkd_constant(g, 3);
    assert_int_equal(vkd_mul(g, x, one).id, x.id);
    assert_int_equal(vkd_mul(g, one, x).id, x.id);
    assert_int_equal(vkd_scale(g, x, 1).id, x.id);
    float value = 0;
    assert_true(vkd__constant_value(g, vkd_scale(g, three, 0.5f), &value));
    assert_true(value == 1.5f);
    assert_true(vkd__constant_value(g, vkd_mul(g, three, three), &value));
    assert_true(value == 9);
    assert_true(vkd__constant_value(g, vkd_add(g, three, one), &value));
    assert_true(value == 4);
    /* A setting may be written by the host, so it is no constant. */
    const vkd_tensor setting = vkd_setting(g, "weight", 1);
    assert_int_not_equal(vkd_mul(g, x, setting).id, x.id);
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    stop(&f);
}

static void what_changes_nothing_makes_no_node(void **state) {
    (void)state;
    fixture f = start();
    vkd_graph *g = f.g;
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(2, 1, 3));
    assert_int_equal(vkd_reshape(g, x, VKD_SHAPE(2, 1, 3)).id, x.id);
    assert_int_equal(vkd_sum(g, x, 0, false).id, x.id);
    assert_int_equal(vkd_max(g, x, 2, true).id, x.id);
    assert_int_equal(vkd_slice(g, x, 2, 0, 3).id, x.id);
    assert_int_equal(vkd_concat(g, &x, 1, 0).id, x.id);
    assert_int_equal(vkd__expand(g, x, VKD_SHAPE(2, 1, 3)).id, x.id);
    assert_int_equal(vkd_stop_gradient(g, x).id, x.id);
    assert_int_equal(g->node_count, 0);
    /* An axis of size 1 moves without a copy. */
    const vkd_tensor moved = vkd_permute(g, x, (const uint32_t[]){1, 0, 2});
    assert_ptr_equal(vkd__producer(g, moved)->op, &vkd_op_reshape);
    stop(&f);
}

static void an_expanded_operand_is_read_unexpanded(void **state) {
    (void)state;
    fixture f = start();
    vkd_graph *g = f.g;
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(4, 3));
    const vkd_tensor row = vkd_input(g, "row", VKD_F32, VKD_SHAPE(3));
    const vkd_tensor y = vkd_mul(g, vkd__expand(g, row, VKD_SHAPE(4, 3)), x);
    assert_int_equal(vkd__producer(g, y)->in[0].id, row.id);
    /* Both expanded: one must stay, or the result would be a row. */
    const vkd_tensor wide = vkd__expand(g, row, VKD_SHAPE(4, 3));
    const vkd_tensor sum = vkd_add(g, wide, wide);
    assert_int_equal(vkd_shape_count(vkd_tensor_shape(g, sum)), 12);
    stop(&f);
}

/* The builder must refuse, with this in its message. */
static void refuses(vkd_tensor (*build)(vkd_graph *g), vkd_result want, const char *text) {
    fixture f = start();
    const vkd_tensor t = build(f.g);
    assert_int_equal(t.id, 0);
    assert_int_equal(vkd_graph_status(f.g), want);
    if (!strstr(vkd_ctx_error(f.ctx), text))
        fail_msg("the message lacks '%s': %s", text, vkd_ctx_error(f.ctx));
    stop(&f);
}

static vkd_tensor f32(vkd_graph *g, vkd_shape shape) {
    return vkd_input(g, "x", VKD_F32, shape);
}
static vkd_tensor add_that_does_not_fit(vkd_graph *g) {
    return vkd_add(g, f32(g, VKD_SHAPE(2, 3)), vkd_input(g, "y", VKD_F32, VKD_SHAPE(2)));
}
static vkd_tensor relu_of_integers(vkd_graph *g) {
    return vkd_relu(g, vkd_input(g, "labels", VKD_I32, VKD_SHAPE(2)));
}
static vkd_tensor sum_over_a_missing_axis(vkd_graph *g) {
    return vkd_sum(g, f32(g, VKD_SHAPE(2, 3)), 4, false);
}
static vkd_tensor reshape_to_more(vkd_graph *g) {
    return vkd_reshape(g, f32(g, VKD_SHAPE(2, 3)), VKD_SHAPE(7));
}
static vkd_tensor slice_past_the_end(vkd_graph *g) {
    return vkd_slice(g, f32(g, VKD_SHAPE(2, 3)), 1, 2, 0xffffffffu);
}
static vkd_tensor permute_twice_the_same(vkd_graph *g) {
    return vkd_permute(g, f32(g, VKD_SHAPE(2, 3)), (const uint32_t[]){1, 1});
}
static vkd_tensor concat_that_differs(vkd_graph *g) {
    const vkd_tensor parts[] = {f32(g, VKD_SHAPE(2, 3)),
                                vkd_input(g, "y", VKD_F32, VKD_SHAPE(3, 4))};
    return vkd_concat(g, parts, 2, 1);
}
static vkd_tensor expand_to_less(vkd_graph *g) {
    return vkd__expand(g, f32(g, VKD_SHAPE(2, 3)), VKD_SHAPE(3));
}
static vkd_tensor gelu_of_nothing(vkd_graph *g) {
    return vkd_gelu(g, (vkd_tensor){0});
}

static void mistakes_are_named(void **state) {
    (void)state;
    refuses(add_that_does_not_fit, VKD_E_SHAPE, "binary('x', 'y'): shapes do not broadcast");
    refuses(relu_of_integers, VKD_E_ARGUMENT, "'labels' is not f32");
    refuses(sum_over_a_missing_axis, VKD_E_ARGUMENT, "0x4");
    refuses(reshape_to_more, VKD_E_SHAPE, "(7)");
    refuses(slice_past_the_end, VKD_E_SHAPE, "axis 1");
    refuses(permute_twice_the_same, VKD_E_ARGUMENT, "each of the 2 axes once");
    refuses(concat_that_differs, VKD_E_SHAPE, "differ in more than axis 1");
    refuses(expand_to_less, VKD_E_SHAPE, "does not broadcast to (3)");
    refuses(gelu_of_nothing, VKD_E_ARGUMENT, "no tensor of this graph");
}

#define MOST_OPS 256

int main(void) {
    struct CMUnitTest tests[MOST_OPS + 8] = {
        cmocka_unit_test(a_registered_op_has_all_its_parts),
        cmocka_unit_test(constants_fold),
        cmocka_unit_test(what_changes_nothing_makes_no_node),
        cmocka_unit_test(an_expanded_operand_is_read_unexpanded),
        cmocka_unit_test(mistakes_are_named),
    };
    size_t count = 5;
    for (size_t i = 0; i < vkd__op_count && i < MOST_OPS; i++)
        if (!vkd__ops[i]->no_difference_test)
            tests[count++] =
                (struct CMUnitTest){.name = vkd__ops[i]->name,
                                    .test_func = gradients_agree_with_central_differences,
                                    .initial_state = (void *)vkd__ops[i]};
    return _cmocka_run_group_tests("ops", tests, count, NULL, NULL);
}
