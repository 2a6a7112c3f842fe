// SPDX-License-Identifier: Apache-2.0
/* What building a graph does with 16-bit tensors: who gets them as they are, for whom they are
 * widened, and that one cast serves all its readers until what it was made from changes. */
#include "support/support.h"

#include <string.h>

#include "ops/op.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd_tensor x, x16; /* (4, 8), and the same in f16 */
} fixture;

static int setup(void **state) {
    fixture *f = test_calloc(1, sizeof *f);
    f->ctx = test_ctx();
    assert_int_equal(vkd_store_create(f->ctx, &f->store), VKD_OK);
    assert_int_equal(vkd_graph_create(f->ctx, f->store, NULL, &f->g), VKD_OK);
    f->x = vkd_input(f->g, "x", VKD_F32, VKD_SHAPE(4, 8));
    f->x16 = vkd_cast(f->g, f->x, VKD_F16);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
    test_free(f);
    return 0;
}

/* The i-th input that t's maker really has. */
static vkd_tensor input_of(const fixture *f, vkd_tensor t, uint32_t i) {
    return vkd__producer(f->g, t)->in[i];
}

static void expect_type(const fixture *f, vkd_tensor t, vkd_dtype dtype) {
    assert_int_equal(vkd_graph_status(f->g), VKD_OK);
    assert_int_equal(vkd_tensor_dtype(f->g, t), dtype);
}

static void activations_and_views_keep_16_bits(void **state) {
    const fixture *f = *state;
    const vkd_tensor y = vkd_relu(f->g, f->x16), flat = vkd_reshape(f->g, y, VKD_SHAPE(32));
    expect_type(f, y, VKD_F16);
    expect_type(f, flat, VKD_F16);
    assert_int_equal(input_of(f, flat, 0).id, y.id);
}

static void what_knows_f32_alone_gets_f32(void **state) {
    const fixture *f = *state;
    const vkd_tensor p = vkd_softmax(f->g, f->x16), sum = vkd_add(f->g, f->x16, f->x);
    expect_type(f, p, VKD_F32);
    expect_type(f, sum, VKD_F32);
    const vkd_tensor wide = input_of(f, p, 0);
    expect_type(f, wide, VKD_F32);
    assert_int_equal(input_of(f, wide, 0).id, f->x16.id); /* the rounded values, not x itself */
    assert_int_not_equal(wide.id, f->x.id);
    assert_int_equal(input_of(f, sum, 0).id, wide.id); /* widened once for both */
}

static void operands_of_two_types_meet_in_f32(void **state) {
    const fixture *f = *state;
    const vkd_tensor b = vkd_input(f->g, "b", VKD_F32, VKD_SHAPE(8, 4));
    const vkd_tensor both[] = {vkd_matmul(f->g, f->x16, b, NULL),
                               vkd_matmul(f->g, f->x16, vkd_cast(f->g, b, VKD_BF16), NULL)};
    for (size_t i = 0; i < VKD_COUNT(both); i++) {
        expect_type(f, both[i], VKD_F32);
        expect_type(f, input_of(f, both[i], 0), VKD_F32);
        expect_type(f, input_of(f, both[i], 1), VKD_F32);
    }
    const vkd_tensor alike = vkd_matmul(f->g, f->x16, vkd_cast(f->g, b, VKD_F16), NULL);
    expect_type(f, alike, VKD_F32); /* a graph of f32: sums are not rounded again */
    assert_int_equal(input_of(f, alike, 0).id, f->x16.id);
}

static void the_host_sees_no_16_bits(void **state) {
    const fixture *f = *state;
    vkd_output(f->g, "y", f->x16);
    expect_type(f, f->g->outputs[0].tensor, VKD_F32);
    vkd_input(f->g, "half", VKD_F16, VKD_SHAPE(2));
    assert_int_equal(vkd_graph_status(f->g), VKD_E_ARGUMENT);
    assert_non_null(strstr(f->g->error, "'half' cannot have 16 bits"));
}

static void a_state_of_16_bits_is_refused(void **state) {
    const fixture *f = *state;
    vkd_state(f->g, "bank", VKD_BF16, VKD_SHAPE(2));
    assert_int_equal(vkd_graph_status(f->g), VKD_E_ARGUMENT);
    assert_non_null(strstr(f->g->error, "'bank' cannot have 16 bits"));
}

static void a_cast_is_made_once_for_all_its_readers(void **state) {
    const fixture *f = *state;
    const size_t nodes = f->g->node_count;
    assert_int_equal(vkd_cast(f->g, f->x, VKD_F16).id, f->x16.id);
    assert_int_equal(vkd_cast(f->g, f->x, VKD_F32).id, f->x.id);
    assert_int_equal(f->g->node_count, nodes);
    const vkd_tensor wide = vkd_cast(f->g, f->x16, VKD_F32);
    assert_int_equal(vkd_cast(f->g, wide, VKD_F16).id, f->x16.id); /* back: nothing was lost */
    assert_int_equal(f->g->node_count, nodes + 1);
    const vkd_tensor other = vkd_cast(f->g, f->x, VKD_BF16);
    expect_type(f, other, VKD_BF16);
    vkd_cast(f->g, other, VKD_F16);
    assert_int_equal(vkd_graph_status(f->g), VKD_E_ARGUMENT);
}

/* One step of gradient descent between two readers of a weight. */
static void a_changed_weight_is_cast_again(void **state) {
    const fixture *f = *state;
    vkd_graph *g = f->g;
    const vkd_tensor w = vkd_param(g, "net.w", VKD_SHAPE(4), NULL);
    const vkd_tensor before = vkd_cast(g, w, VKD_F16);
    const vkd_tensor loss = vkd_sum(g, vkd_square(g, before), VKD_ALL_AXES, false);
    const vkd_tensor gradient = vkd_gradient(g, loss, "net");
    assert_int_equal(vkd_cast(g, f->x, VKD_F16).id, f->x16.id); /* no part of the store */
    const vkd_tensor guard = vkd_guard(g, "net", gradient, loss, 0);
    vkd_sgd(g, "net", gradient, guard, vkd_constant(g, 0.25f), NULL);
    const vkd_tensor after = vkd_cast(g, w, VKD_F16);
    assert_int_not_equal(after.id, before.id);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(g, &h), VKD_OK);
    vkd__host_values(h, w)[2] = 3;
    vkd__host_run(h);
    assert_true(vkd__host_values(h, before)[2] == 3);
    assert_true(vkd__host_values(h, after)[2] == 1.5);
    vkd__host_destroy(h);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(activations_and_views_keep_16_bits), T(what_knows_f32_alone_gets_f32),
        T(operands_of_two_types_meet_in_f32),  T(the_host_sees_no_16_bits),
        T(a_state_of_16_bits_is_refused),      T(a_cast_is_made_once_for_all_its_readers),
        T(a_changed_weight_is_cast_again),
    };
    return cmocka_run_group_tests_name("widen", tests, NULL, NULL);
}
