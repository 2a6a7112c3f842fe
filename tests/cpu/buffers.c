// SPDX-License-Identifier: Apache-2.0
/* Buffers: tensors that are saved with a model and take part in nothing of its optimisation. */
#include "support/support.h"

#include <string.h>

#include "graph/graph.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static int setup(void **state) {
    fixture *f = test_calloc(1, sizeof *f);
    f->ctx = test_ctx();
    assert_int_equal(vkd_store_create(f->ctx, &f->store), VKD_OK);
    assert_int_equal(vkd_graph_create(f->ctx, f->store, &(vkd_graph_desc){.seed = 5}, &f->g),
                     VKD_OK);
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

static const vkd_init ones = {.kind = VKD_INIT_ONES};

static void a_buffer_is_listed_as_one(void **state) {
    const fixture *f = *state;
    vkd_param(f->g, "net.w", VKD_SHAPE(3), NULL);
    vkd_buffer(f->g, "net.running_var", VKD_SHAPE(3), &ones);
    vkd_state(f->g, "net.momentum", VKD_F32, VKD_SHAPE(3));
    assert_int_equal(vkd_graph_status(f->g), VKD_OK);
    assert_int_equal(vkd_store_count(f->store), 3);
    vkd_store_info info;
    assert_true(vkd_store_find(f->store, "net.running_var", &info));
    assert_true(info.buffer && !info.parameter);
    assert_true(vkd_store_find(f->store, "net.w", &info));
    assert_true(info.parameter && !info.buffer);
    assert_true(vkd_store_find(f->store, "net.momentum", &info));
    assert_true(!info.parameter && !info.buffer);
}

/* On the host before a device is there, and in the host executor. Two models of one architecture
 * start equal, as with parameters. */
static void a_buffer_has_start_values(void **state) {
    const fixture *f = *state;
    const vkd_init uniform = {.kind = VKD_INIT_UNIFORM, .value = 1};
    const vkd_tensor a = vkd_buffer(f->g, "net.shift", VKD_SHAPE(5), &uniform);
    const vkd_tensor b = vkd_buffer(f->g, "other.shift", VKD_SHAPE(5), &uniform);
    vkd_buffer(f->g, "net.zeros", VKD_SHAPE(2), NULL);
    float values[5], same[5], zeros[2] = {1, 1};
    assert_int_equal(vkd_store_read(f->store, "net.shift", values, sizeof values), VKD_OK);
    assert_int_equal(vkd_store_read(f->store, "other.shift", same, sizeof same), VKD_OK);
    assert_int_equal(vkd_store_read(f->store, "net.zeros", zeros, sizeof zeros), VKD_OK);
    assert_memory_equal(values, same, sizeof values);
    assert_true(values[0] != values[1] && values[0] != 0);
    assert_true(zeros[0] == 0 && zeros[1] == 0);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    for (int i = 0; i < 5; i++) {
        assert_true(vkd__host_values(h, a)[i] == (double)values[i]);
        assert_true(vkd__host_values(h, b)[i] == (double)values[i]);
    }
    vkd__host_destroy(h);
}

static void what_was_written_before_a_device_came_stays(void **state) {
    const fixture *f = *state;
    const float written[2] = {3, 4};
    float values[2] = {0};
    vkd_buffer(f->g, "net.v", VKD_SHAPE(2), &ones);
    assert_int_equal(vkd_store_write(f->store, "net.v", written, sizeof written), VKD_OK);
    assert_int_equal(vkd_store_read(f->store, "net.v", values, sizeof values), VKD_OK);
    assert_memory_equal(values, written, sizeof values);
}

/* Optimisers, the norm and averages see the flat group: what is not in it cannot be changed. */
static void a_group_is_laid_out_without_its_buffers(void **state) {
    const fixture *f = *state;
    const vkd_tensor w = vkd_param(f->g, "net.w", VKD_SHAPE(64), NULL);
    const vkd_tensor v = vkd_buffer(f->g, "net.v", VKD_SHAPE(64), &ones);
    const vkd_tensor loss = vkd_sum(f->g, vkd_mul(f->g, w, v), VKD_ALL_AXES, false);
    const vkd_tensor gradient = vkd_gradient(f->g, loss, "net");
    assert_int_equal(vkd_shape_count(vkd_tensor_shape(f->g, gradient)), 64);
    assert_false(vkd__tensor_get(f->g, v)->needs_grad);
    /* And it may come late, where a parameter may not. */
    assert_int_not_equal(vkd_buffer(f->g, "net.late", VKD_SHAPE(1), NULL).id, 0);
    assert_int_equal(vkd_param(f->g, "net.later", VKD_SHAPE(1), NULL).id, 0);
    assert_int_equal(vkd_graph_status(f->g), VKD_E_ARGUMENT);
}

/* Averages of parameters leave both sides' buffers alone, and do not ask them to match. */
static void an_average_leaves_buffers_alone(void **state) {
    const fixture *f = *state;
    const vkd_tensor w = vkd_param(f->g, "net.w", VKD_SHAPE(1), NULL);
    const vkd_tensor a = vkd_param(f->g, "slow.w", VKD_SHAPE(1), NULL);
    const vkd_tensor v = vkd_buffer(f->g, "slow.v", VKD_SHAPE(1), &ones);
    vkd_ema(f->g, "slow", "net", vkd_constant(f->g, 0.5f));
    assert_int_equal(vkd_graph_status(f->g), VKD_OK);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    vkd__host_values(h, w)[0] = 2;
    vkd__host_run(h);
    assert_true(vkd__host_values(h, a)[0] == 1);
    assert_true(vkd__host_values(h, v)[0] == 1);
    vkd__host_destroy(h);
}

static void mistakes_are_told(void **state) {
    (void)state;
    static const struct {
        int kind;
        const char *text;
    } mistakes[] = {
        {0, "the buffer 'v' needs a name of the form group.name"},
        {1, "'net.v' is both a parameter and a buffer"},
        {2, "'net.v' is both a buffer and a state"},
        {3, "'net.v' is already in the store with 2 elements, not 3"},
        {4, "the buffer 'net.v' has no elements"},
    };
    for (size_t i = 0; i < VKD_COUNT(mistakes); i++) {
        fixture *f = NULL;
        setup((void **)&f);
        const int kind = mistakes[i].kind;
        if (kind == 0) vkd_buffer(f->g, "v", VKD_SHAPE(1), NULL);
        if (kind == 1) vkd_param(f->g, "net.v", VKD_SHAPE(2), NULL);
        if (kind > 0) vkd_buffer(f->g, "net.v", VKD_SHAPE(kind == 4 ? 0 : 2), NULL);
        if (kind == 2) vkd_state(f->g, "net.v", VKD_F32, VKD_SHAPE(2));
        if (kind == 3) vkd_buffer(f->g, "net.v", VKD_SHAPE(3), NULL);
        assert_int_not_equal(vkd_graph_status(f->g), VKD_OK);
        if (!strstr(vkd_ctx_error(f->ctx), mistakes[i].text))
            fail_msg("\"%s\" does not say \"%s\"", vkd_ctx_error(f->ctx), mistakes[i].text);
        teardown((void **)&f);
    }
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(a_buffer_is_listed_as_one),
        T(a_buffer_has_start_values),
        T(what_was_written_before_a_device_came_stays),
        T(a_group_is_laid_out_without_its_buffers),
        T(an_average_leaves_buffers_alone),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests_name("buffers", tests, NULL, NULL);
}
