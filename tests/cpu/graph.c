// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/graph.h"
#include "ops/op.h"

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

static void the_first_mistake_is_kept_and_names_op_and_tensors(void **state) {
    const fixture *f = *state;
    const vkd_tensor a = vkd_input(f->g, "a", VKD_F32, VKD_SHAPE(2, 3));
    const vkd_tensor b = vkd_input(f->g, "b", VKD_F32, VKD_SHAPE(4, 5));
    const vkd_tensor wrong = vkd_add(f->g, a, b);
    assert_int_equal(wrong.id, 0);
    assert_int_equal(vkd_relu(f->g, wrong).id, 0); /* and nobody had to check in between */
    vkd_input(f->g, "a", VKD_F32, VKD_SHAPE(1));   /* a second mistake */
    assert_int_equal(vkd_graph_status(f->g), VKD_E_SHAPE);
    assert_non_null(strstr(f->g->error, "'a'"));
    assert_non_null(strstr(f->g->error, "'b'"));
    assert_non_null(strstr(f->g->error, "(2, 3)"));
}

static void only_real_types_are_computed_in(void **state) {
    const fixture *f = *state;
    vkd_graph *g = f->g;
    const vkd_dtype types[] = {VKD_F32, VKD_F16, VKD_BF16, VKD_I32, VKD_U8};
    for (size_t i = 0; i < VKD_COUNT(types); i++) {
        const vkd_graph_desc desc = {.compute = types[i]};
        assert_int_equal(vkd_graph_create(f->ctx, f->store, &desc, &g),
                         i < 3 ? VKD_OK : VKD_E_ARGUMENT);
        assert_true((g != NULL) == (i < 3));
        vkd_graph_destroy(g);
    }
}

static void shapes_that_cannot_be_counted_are_refused(void **state) {
    const fixture *f = *state;
    static const struct {
        vkd_shape shape;
        vkd_dtype dtype;
        const char *says; /* NULL: it is good */
    } cases[] = {
        {{2, {65536, 65535}}, VKD_F32, NULL},
        {{2, {65536, 65536}}, VKD_F32, "more than 2^32 - 1 elements"},
        {{5, {65536, 65536, 65536, 65536, 3}}, VKD_I32, "more than 2^32 - 1 elements"},
        {{2, {1u << 31, 1u << 31}}, VKD_F32, "more than 2^32 - 1 elements"},
        {{2, {1u << 20, 1u << 20}}, VKD_U8, NULL},
        {{2, {(1u << 20) + 1, 1u << 20}}, VKD_U8, "more than 2^40 elements"},
        {{3, {2, 0, 4}}, VKD_F32, "no elements"},
        {{6, {1, 1, 1, 1, 1}}, VKD_F32, "more than 5 axes"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        vkd_graph *g[2];
        const vkd_tensor none = {0};
        for (size_t k = 0; k < 2; k++)
            assert_int_equal(vkd_graph_create(f->ctx, f->store, NULL, &g[k]), VKD_OK);
        char name[32];
        snprintf(name, sizeof name, "case%zu", i);
        const vkd_tensor leaves[] = {vkd_input(g[0], name, cases[i].dtype, cases[i].shape),
                                     vkd_state(g[1], name, cases[i].dtype, cases[i].shape)};
        for (size_t k = 0; k < 2; k++) {
            assert_int_equal(vkd_graph_status(g[k]), cases[i].says ? VKD_E_SHAPE : VKD_OK);
            assert_int_equal(leaves[k].id == none.id, cases[i].says != NULL);
            if (cases[i].says) assert_non_null(strstr(g[k]->error, cases[i].says));
            vkd_graph_destroy(g[k]);
        }
    }
    const vkd_tensor column = vkd_input(f->g, "column", VKD_F32, VKD_SHAPE(65536, 1));
    const vkd_tensor row = vkd_input(f->g, "row", VKD_F32, VKD_SHAPE(1, 65536));
    assert_int_equal(vkd_add(f->g, column, row).id, 0);
    assert_non_null(strstr(f->g->error, "the result would have more than 2^32 - 1 elements"));
}

/* A device that takes values at the second attempt. */
typedef struct shaky {
    int attempts;
    float got;
} shaky;

static vkd_result shaky_place(void *user, vkd__entry *e) {
    (void)user;
    e->handle = 1;
    return VKD_OK;
}

static vkd_result shaky_write(void *user, const vkd__entry *e, uint64_t offset, const void *data,
                              uint64_t bytes) {
    shaky *s = user;
    (void)e, (void)offset;
    assert_int_equal(bytes, sizeof s->got);
    if (!s->attempts++) return VKD_E_DEVICE_MEMORY;
    memcpy(&s->got, data, sizeof s->got);
    return VKD_OK;
}

static void a_failed_upload_loses_no_values(void **state) {
    const fixture *f = *state;
    shaky device = {0};
    const vkd__store_backend backend = {
        .user = &device, .place = shaky_place, .write = shaky_write};
    const float value = 2.5f;
    vkd_state(f->g, "s", VKD_F32, VKD_SCALAR);
    assert_int_equal(vkd_store_write(f->store, "s", &value, sizeof value), VKD_OK);
    assert_int_equal(vkd__store_attach(f->store, &backend), VKD_E_DEVICE_MEMORY);
    float still = 0;
    assert_int_equal(vkd_store_read(f->store, "s", &still, sizeof still), VKD_OK);
    assert_true(still == value);
    assert_int_equal(vkd__store_attach(f->store, &backend), VKD_OK);
    assert_true(device.got == value);
}

static void a_name_is_given_once(void **state) {
    const fixture *f = *state;
    vkd_input(f->g, "x", VKD_F32, VKD_SHAPE(2));
    assert_int_equal(vkd_input(f->g, "x", VKD_F32, VKD_SHAPE(2)).id, 0);
    assert_int_equal(vkd_graph_status(f->g), VKD_E_ARGUMENT);
}

static void two_graphs_share_a_parameter_of_one_shape_only(void **state) {
    const fixture *f = *state;
    vkd_graph *other = NULL;
    assert_int_equal(vkd_graph_create(f->ctx, f->store, NULL, &other), VKD_OK);
    assert_int_not_equal(vkd_param(f->g, "m.w", VKD_SHAPE(2, 3), NULL).id, 0);
    assert_int_not_equal(vkd_param(other, "m.w", VKD_SHAPE(2, 3), NULL).id, 0);
    assert_int_equal(vkd_store_count(f->store), 1);
    assert_int_equal(vkd_param(other, "m.w", VKD_SHAPE(3, 2), NULL).id, 0);
    assert_int_equal(vkd_graph_status(other), VKD_E_SHAPE);
    vkd_graph_destroy(other);
}

static void a_group_is_laid_out_with_padding_and_undecayed_members_last(void **state) {
    const fixture *f = *state;
    vkd_param(f->g, "m.b", VKD_SHAPE(3), &(vkd_init){.no_decay = true});
    vkd_param(f->g, "m.w", VKD_SHAPE(70), NULL);
    const vkd_tensor flat = vkd__group_flat(f->g, "m");
    assert_int_equal(vkd_shape_count(vkd_tensor_shape(f->g, flat)), 128 + 64);
    assert_int_equal(f->store->entries[vkd__store_find(f->store, "m.w")].offset, 0);
    assert_int_equal(f->store->entries[vkd__store_find(f->store, "m.b")].offset, 128 * 4);
    assert_int_equal(f->store->entries[vkd__store_find(f->store, "m")].decay_count, 128);
    assert_int_equal(vkd_param(f->g, "m.late", VKD_SHAPE(1), NULL).id, 0);
}

static void start_values_depend_on_seed_and_name_after_the_dot(void **state) {
    const fixture *f = *state;
    const vkd_init normal = {.kind = VKD_INIT_NORMAL, .value = 2};
    float a[4000], b[4000], c[4000];
    vkd__init_values(&normal, VKD_SHAPE(40, 100), 1, "student.w", a);
    vkd__init_values(&normal, VKD_SHAPE(40, 100), 1, "control.w", b);
    vkd__init_values(&normal, VKD_SHAPE(40, 100), 2, "student.w", c);
    assert_memory_equal(a, b, sizeof a);
    assert_memory_not_equal(a, c, sizeof a);
    double sum = 0, squares = 0;
    for (int i = 0; i < 4000; i++) {
        sum += (double)a[i];
        squares += (double)a[i] * (double)a[i];
    }
    /* Five standard errors: 2/sqrt(4000) and 2*4/sqrt(2*4000). */
    assert_true(fabs(sum / 4000) < 5 * 0.0316);
    assert_true(fabs(squares / 4000 - 4) < 5 * 0.0894);
    (void)f;
}

static void uniform_start_values_keep_their_bounds(void **state) {
    (void)state;
    const vkd_shape linear = VKD_SHAPE(40, 100), convolution = VKD_SHAPE(40, 5, 2, 10);
    const struct {
        vkd_init init;
        vkd_shape shape;
        double bound;
    } kinds[] = {
        {{.kind = VKD_INIT_XAVIER_UNIFORM}, linear, sqrt(6.0 / (100 + 40))},
        {{.kind = VKD_INIT_XAVIER_UNIFORM}, convolution, sqrt(6.0 / (100 + 400))},
        {{.kind = VKD_INIT_KAIMING_UNIFORM}, convolution, sqrt(3.0 / 100)},
        {{.kind = VKD_INIT_KAIMING_UNIFORM, .gain = 2}, linear, 2 * sqrt(3.0 / 100)},
        {{.kind = VKD_INIT_FAN_IN_UNIFORM}, linear, 0.1},
        {{.kind = VKD_INIT_FAN_IN_UNIFORM, .fan_in = 25}, linear, 0.2},
        {{.kind = VKD_INIT_UNIFORM, .value = 0.5f}, linear, 0.5},
    };
    for (size_t k = 0; k < VKD_COUNT(kinds); k++) {
        float v[4000];
        double most = 0;
        vkd__init_values(&kinds[k].init, kinds[k].shape, 3, "m.w", v);
        for (int i = 0; i < 4000; i++)
            most = fmax(most, fabs((double)v[i]));
        assert_true(most <= kinds[k].bound * 1.000001 && most > kinds[k].bound * 0.99);
    }
}

/* (O, R, S, C): fan_out is O R S. */
static void fan_out_of_a_convolution_counts_its_taps(void **state) {
    (void)state;
    const vkd_init init = {.kind = VKD_INIT_KAIMING_NORMAL_FAN_OUT, .gain = 1.41421356f};
    float v[4000];
    double squares = 0;
    vkd__init_values(&init, VKD_SHAPE(8, 5, 5, 20), 3, "m.w", v);
    for (int i = 0; i < 4000; i++)
        squares += (double)v[i] * (double)v[i];
    const double variance = 2.0 / (8 * 5 * 5);
    assert_true(fabs(squares / 4000 - variance) < 5 * variance * sqrt(2.0 / 4000));
}

static void store_values_go_in_and_out_before_there_is_a_device(void **state) {
    const fixture *f = *state;
    vkd_param(f->g, "m.w", VKD_SHAPE(3), &(vkd_init){.kind = VKD_INIT_CONSTANT, .value = 7});
    vkd_param(f->g, "m.v", VKD_SHAPE(2), NULL);
    float v[3] = {0};
    assert_int_equal(vkd_store_read(f->store, "m.w", v, sizeof v), VKD_OK);
    assert_true(v[0] == 7.0f && v[2] == 7.0f);
    const float written[2] = {1, 2};
    assert_int_equal(vkd_store_write(f->store, "m.v", written, sizeof written), VKD_OK);
    assert_int_equal(vkd_store_read(f->store, "m.v", v, 8), VKD_OK);
    assert_true(v[0] == 1.0f && v[1] == 2.0f);
    assert_int_equal(vkd_store_read(f->store, "m.v", v, 12), VKD_E_ARGUMENT);
    assert_int_equal(vkd_store_read(f->store, "m.none", v, 12), VKD_E_ARGUMENT);
}

/* d/dw of sum(relu(w) * w + w), by hand: 2w + 1 where w > 0, else 1. Three readers of w. */
static void gradients_of_several_readers_are_summed(void **state) {
    const fixture *f = *state;
    const vkd_tensor w = vkd_param(f->g, "m.w", VKD_SHAPE(3), NULL);
    const vkd_tensor y = vkd_add(f->g, vkd_mul(f->g, vkd_relu(f->g, w), w), w);
    const vkd_tensor loss = vkd_sum(f->g, y, VKD_ALL_AXES, false);
    vkd_tensor dw;
    vkd_backward(f->g, loss, &w, 1, &dw);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    double *v = vkd__host_values(h, w);
    v[0] = 3;
    v[1] = -2;
    v[2] = 0.5;
    vkd__host_run(h);
    const double *got = vkd__host_values(h, dw);
    assert_true(got[0] == 7 && got[1] == 1 && got[2] == 2);
    vkd__host_destroy(h);
}

/* Of an image of two by two and a weight of twos: with a kernel of three every pixel is in every
 * result, and its gradient 8; one of 1 x 1 with stride two has the first pixel alone. */
static vkd_tensor conv_of_two(vkd_graph *g, vkd_tensor x, uint32_t kernel) {
    const vkd_tensor w = vkd__expand(g, vkd_constant(g, 2), VKD_SHAPE(1, kernel, kernel, 1));
    const uint32_t stride = kernel == 1 ? 2 : 1, padding = kernel / 2;
    return vkd_conv2d(
        g, x, w, &(vkd_conv2d_desc){.stride = {stride, stride}, .padding = {padding, padding}});
}

static uint32_t count_nodes(const vkd_graph *g, const char *op, size_t from) {
    uint32_t count = 0;
    for (size_t i = from; i < g->node_count; i++)
        count += !strcmp(g->nodes[i].op->name, op);
    return count;
}

/* What arrived before goes into the convolution's own kernel; where pixels of it meet no tap, it
 * does not. */
static void a_convolutions_gradient_takes_the_others_in(void **state) {
    const fixture *f = *state;
    const vkd_tensor x = vkd_param(f->g, "m.x", VKD_SHAPE(1, 2, 2, 1), NULL);
    const vkd_tensor a = conv_of_two(f->g, x, 3), b = conv_of_two(f->g, x, 3);
    const vkd_tensor c = conv_of_two(f->g, x, 1);
    const vkd_tensor sum = vkd_add(f->g, vkd_add(f->g, a, b), x);
    const vkd_tensor loss = vkd_add(f->g, vkd_sum(f->g, sum, VKD_ALL_AXES, false),
                                    vkd_sum(f->g, c, VKD_ALL_AXES, false));
    const size_t forward = f->g->node_count;
    vkd_tensor dx;
    vkd_backward(f->g, loss, &x, 1, &dx);
    assert_int_equal(count_nodes(f->g, "conv2d_transpose", forward), 3);
    assert_int_equal(count_nodes(f->g, "binary", forward), 1); /* of c */
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    vkd__host_run(h);
    const double *got = vkd__host_values(h, dx);
    assert_true(got[0] == 19 && got[1] == 17 && got[2] == 17 && got[3] == 17);
    vkd__host_destroy(h);
}

/* The gradient of s is that of relu(x), too, so nothing may be added to it in place. */
static void a_gradient_that_others_share_is_left_alone(void **state) {
    const fixture *f = *state;
    const vkd_tensor x = vkd_param(f->g, "m.x", VKD_SHAPE(1, 2, 2, 1), NULL);
    const vkd_tensor s = vkd_add(f->g, vkd_relu(f->g, x), x);
    const vkd_tensor y = conv_of_two(f->g, s, 3), later = vkd_scale(f->g, x, 5);
    vkd_tensor dx;
    vkd_backward(f->g, vkd_sum(f->g, vkd_add(f->g, y, later), VKD_ALL_AXES, false), &x, 1, &dx);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    double *v = vkd__host_values(h, x);
    v[0] = 3;
    v[1] = -3;
    vkd__host_run(h);
    const double *got = vkd__host_values(h, dx);
    assert_true(got[0] == 21 && got[1] == 13);
    vkd__host_destroy(h);
}

static void a_parameter_out_of_reach_gets_zeros_and_a_stopped_one_too(void **state) {
    const fixture *f = *state;
    const vkd_tensor w = vkd_param(f->g, "m.w", VKD_SHAPE(2), NULL);
    const vkd_tensor v = vkd_param(f->g, "m.v", VKD_SHAPE(2), NULL);
    const vkd_tensor u = vkd_param(f->g, "m.u", VKD_SHAPE(2), NULL);
    const vkd_tensor y = vkd_add(f->g, w, vkd_stop_gradient(f->g, v));
    const vkd_tensor of[] = {w, v, u};
    vkd_tensor d[3];
    vkd_backward(f->g, vkd_sum(f->g, y, VKD_ALL_AXES, false), of, 3, d);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    vkd__host_run(h);
    assert_true(vkd__host_values(h, d[0])[0] == 1);
    assert_true(vkd__host_values(h, d[1])[0] == 0);
    assert_true(vkd__host_values(h, d[2])[1] == 0);
    vkd__host_destroy(h);
}

static void a_loss_that_is_no_scalar_is_refused(void **state) {
    const fixture *f = *state;
    const vkd_tensor w = vkd_param(f->g, "m.w", VKD_SHAPE(2), NULL);
    vkd_tensor d;
    vkd_backward(f->g, w, &w, 1, &d);
    assert_int_equal(vkd_graph_status(f->g), VKD_E_SHAPE);
    assert_non_null(strstr(f->g->error, "m.w"));
}

static void a_group_gradient_lies_as_the_group_does(void **state) {
    const fixture *f = *state;
    const vkd_tensor b = vkd_param(f->g, "m.b", VKD_SHAPE(3), &(vkd_init){.no_decay = true});
    const vkd_tensor w = vkd_param(f->g, "m.w", VKD_SHAPE(70), NULL);
    const vkd_tensor loss = vkd_add(f->g, vkd_scale(f->g, vkd_sum(f->g, w, VKD_ALL_AXES, false), 2),
                                    vkd_scale(f->g, vkd_sum(f->g, b, VKD_ALL_AXES, false), 3));
    const vkd_tensor grad = vkd_gradient(f->g, loss, "m");
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(f->g, &h), VKD_OK);
    vkd__host_run(h);
    const double *d = vkd__host_values(h, grad);
    assert_true(d[0] == 2 && d[69] == 2 && d[70] == 0 && d[127] == 0);
    assert_true(d[128] == 3 && d[130] == 3 && d[131] == 0 && d[191] == 0);
    vkd__host_destroy(h);
}

int main(void) {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(the_first_mistake_is_kept_and_names_op_and_tensors),
        T(only_real_types_are_computed_in),
        T(shapes_that_cannot_be_counted_are_refused),
        T(a_failed_upload_loses_no_values),
        T(a_name_is_given_once),
        T(two_graphs_share_a_parameter_of_one_shape_only),
        T(a_group_is_laid_out_with_padding_and_undecayed_members_last),
        T(start_values_depend_on_seed_and_name_after_the_dot),
        T(uniform_start_values_keep_their_bounds),
        T(fan_out_of_a_convolution_counts_its_taps),
        T(store_values_go_in_and_out_before_there_is_a_device),
        T(gradients_of_several_readers_are_summed),
        T(a_convolutions_gradient_takes_the_others_in),
        T(a_gradient_that_others_share_is_left_alone),
        T(a_parameter_out_of_reach_gets_zeros_and_a_stopped_one_too),
        T(a_loss_that_is_no_scalar_is_refused),
        T(a_group_gradient_lies_as_the_group_does),
    };
    return cmocka_run_group_tests_name("graph", tests, NULL, NULL);
}
