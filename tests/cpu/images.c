// SPDX-License-Identifier: Apache-2.0
/* Pooling and padding mean what PyTorch means by them (tests/golden/make_images.py, which says how
 * the images are made): windows, divisors, bins, ties and reflections, forward and backward. And
 * what they refuse. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "autodiff/autodiff.h"
#include "ops/op.h"

#include "../golden/images.h"

typedef struct golden_case {
    vkd_shape image;
    vkd_tensor (*build)(vkd_graph *g, vkd_tensor x);
    const double *y, *dx;
    size_t y_count, dx_count;
} golden_case;

#define KERNEL .kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}

static vkd_tensor largest(vkd_graph *g, vkd_tensor x) {
    return vkd_max_pool2d(g, x, &(vkd_pool2d_desc){KERNEL});
}
static vkd_tensor include(vkd_graph *g, vkd_tensor x) {
    return vkd_avg_pool2d(g, x, &(vkd_pool2d_desc){KERNEL});
}
static vkd_tensor exclude(vkd_graph *g, vkd_tensor x) {
    return vkd_avg_pool2d(g, x, &(vkd_pool2d_desc){KERNEL, .divisor = VKD_POOL_COUNT_EXCLUDE_PAD});
}
static vkd_tensor bins(vkd_graph *g, vkd_tensor x) {
    return vkd_adaptive_avg_pool2d(g, x, 3, 4);
}
static vkd_tensor more_bins(vkd_graph *g, vkd_tensor x) {
    return vkd_adaptive_avg_pool2d(g, x, 5, 6);
}
static vkd_tensor zeros(vkd_graph *g, vkd_tensor x) {
    return vkd_pad2d(g, x, (const uint32_t[]){2, 1}, (const uint32_t[]){1, 0}, VKD_PAD_ZERO);
}
static vkd_tensor reflected(vkd_graph *g, vkd_tensor x) {
    return vkd_pad2d(g, x, (const uint32_t[]){1, 3}, (const uint32_t[]){2, 2}, VKD_PAD_REFLECT);
}

#define GOLDEN(name)                                                                               \
    golden_##name, golden_##name##_gradient, VKD_COUNT(golden_##name),                             \
        VKD_COUNT(golden_##name##_gradient)
static const golden_case cases[] = {
    {{4, {2, 7, 6, 3}}, largest, GOLDEN(max)},
    {{4, {2, 7, 6, 3}}, include, GOLDEN(include)},
    {{4, {2, 7, 6, 3}}, exclude, GOLDEN(exclude)},
    {{4, {2, 7, 5, 2}}, bins, GOLDEN(bins)},
    {{4, {1, 3, 4, 2}}, more_bins, GOLDEN(more_bins)},
    {{4, {1, 3, 4, 2}}, zeros, GOLDEN(zeros)},
    {{4, {2, 3, 4, 2}}, reflected, GOLDEN(reflected)},
};

static void numbers(double *out, size_t count, size_t a, size_t b, size_t most) {
    for (size_t i = 0; i < count; i++)
        out[i] = (double)((a * i + b) % most) / 8;
}

static void expect(const double *got, const double *want, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= 1e-12)) /* sums of a few numbers in double */
            fail_msg("element %zu is %.17g, PyTorch has %.17g", i, got[i], want[i]);
}

static void images_are_made_as_pytorch_makes_them(void **state) {
    const golden_case *k = *state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd__host *host = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor x = vkd_param(g, "image.x", k->image, NULL), y = k->build(g, x);
    const vkd_tensor dy = vkd_input(g, "dy", VKD_F32, vkd_tensor_shape(g, y));
    vkd_tensor dx = {0};
    vkd__backward_from(g, &y, &dy, 1, &x, 1, &dx);
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    assert_int_equal(vkd_shape_count(k->image), k->dx_count);
    assert_int_equal(vkd_shape_count(vkd_tensor_shape(g, y)), k->y_count);
    assert_int_equal(vkd__host_create(g, &host), VKD_OK);
    numbers(vkd__host_values(host, x), k->dx_count, 37, 11, 5);
    numbers(vkd__host_values(host, dy), k->y_count, 13, 5, 23);
    vkd__host_run(host);
    expect(vkd__host_values(host, y), k->y, k->y_count);
    expect(vkd__host_values(host, dx), k->dx, k->dx_count);
    vkd__host_destroy(host);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

/* ---- What they refuse ---- */

static void refuses(vkd_tensor (*build)(vkd_graph *g, vkd_tensor x), vkd_result want,
                    const char *text) {
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(2, 5, 4, 3));
    assert_int_equal(build(g, x).id, 0);
    assert_int_equal(vkd_graph_status(g), want);
    if (!strstr(vkd_ctx_error(ctx), text))
        fail_msg("the message lacks '%s': %s", text, vkd_ctx_error(ctx));
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

static vkd_tensor of_rows(vkd_graph *g, vkd_tensor x) {
    return largest(g, vkd_reshape(g, x, VKD_SHAPE(40, 3)));
}
static vkd_tensor without_kernel(vkd_graph *g, vkd_tensor x) {
    return vkd_max_pool2d(g, x, NULL);
}
static vkd_tensor too_much_padding(vkd_graph *g, vkd_tensor x) {
    return vkd_avg_pool2d(g, x, &(vkd_pool2d_desc){.kernel = {3, 3}, .padding = {2, 0}});
}
static vkd_tensor too_large_a_kernel(vkd_graph *g, vkd_tensor x) {
    return vkd_avg_pool2d(g, x, &(vkd_pool2d_desc){.kernel = {3, 5}});
}
static vkd_tensor no_bins(vkd_graph *g, vkd_tensor x) {
    return vkd_adaptive_avg_pool2d(g, x, 0, 2);
}
static vkd_tensor too_far_reflected(vkd_graph *g, vkd_tensor x) {
    return vkd_pad2d(g, x, (const uint32_t[]){0, 4}, (const uint32_t[]){0, 0}, VKD_PAD_REFLECT);
}
static vkd_tensor too_many_zeros(vkd_graph *g, vkd_tensor x) {
    return vkd_pad2d(g, x, (const uint32_t[]){0xffffffffu, 0}, (const uint32_t[]){1, 0},
                     VKD_PAD_ZERO);
}

static vkd_tensor convolved(vkd_graph *g, vkd_tensor x, vkd_shape weight, uint32_t groups) {
    return vkd_conv2d(g, x, vkd_input(g, "w", VKD_F32, weight),
                      &(vkd_conv2d_desc){.groups = groups});
}
static vkd_tensor groups_of_odd_inputs(vkd_graph *g, vkd_tensor x) {
    return convolved(g, x, VKD_SHAPE(4, 3, 3, 1), 2);
}
static vkd_tensor groups_of_odd_outputs(vkd_graph *g, vkd_tensor x) {
    return convolved(g, x, VKD_SHAPE(4, 3, 3, 1), 3);
}
static vkd_tensor weight_of_other_channels(vkd_graph *g, vkd_tensor x) {
    return convolved(g, x, VKD_SHAPE(6, 3, 3, 2), 3);
}
static vkd_tensor weight_of_two_axes(vkd_graph *g, vkd_tensor x) {
    return convolved(g, x, VKD_SHAPE(6, 27), 1);
}
static vkd_tensor larger_than_the_image(vkd_graph *g, vkd_tensor x) {
    return convolved(g, x, VKD_SHAPE(6, 3, 5, 3), 1);
}
static vkd_tensor bias_of_other_channels(vkd_graph *g, vkd_tensor x) {
    return vkd_conv2d(g, x, vkd_input(g, "w", VKD_F32, VKD_SHAPE(6, 3, 3, 3)),
                      &(vkd_conv2d_desc){.bias = vkd_input(g, "b", VKD_F32, VKD_SHAPE(3))});
}
static vkd_tensor no_such_transpose(vkd_graph *g, vkd_tensor x) {
    return vkd_conv2d_transpose(g, x, vkd_input(g, "w", VKD_F32, VKD_SHAPE(3, 3, 3, 6)),
                                &(vkd_conv2d_desc){.stride = {2, 2}}, (const uint32_t[]){2, 0});
}

static void mistakes_are_named(void **state) {
    (void)state;
    refuses(groups_of_odd_inputs, VKD_E_SHAPE,
            "2 groups do not divide 3 input and 4 output channels");
    refuses(groups_of_odd_outputs, VKD_E_SHAPE,
            "3 groups do not divide 3 input and 4 output channels");
    refuses(weight_of_other_channels, VKD_E_SHAPE,
            "is for 2 channels in a group, 3 channels in 3 groups have 1");
    refuses(weight_of_two_axes, VKD_E_SHAPE, "a weight (O, R, S, C / groups) are wanted");
    refuses(larger_than_the_image, VKD_E_SHAPE,
            "a kernel of 5 with dilation 1 does not fit into 4 pixels with a padding of 0");
    refuses(bias_of_other_channels, VKD_E_SHAPE, "the bias is (3), should be (6)");
    refuses(no_such_transpose, VKD_E_SHAPE, "an output padding is less than the stride");
    refuses(of_rows, VKD_E_SHAPE, "images (N, H, W, C) are wanted");
    refuses(without_kernel, VKD_E_ARGUMENT, "1 to 65535 pixels, not 0");
    refuses(too_much_padding, VKD_E_ARGUMENT, "a padding of 2 is more than half of the kernel, 3");
    refuses(too_large_a_kernel, VKD_E_SHAPE, "a kernel of 5 does not fit into 4 pixels");
    refuses(no_bins, VKD_E_SHAPE, "1 to 65535 rows and columns, not 0");
    refuses(too_far_reflected, VKD_E_SHAPE, "4 pixels cannot be reflected by 4 in front");
    refuses(too_many_zeros, VKD_E_SHAPE, "not 4294967301");
}

/* Evaluation has no use for the places of the largest; a gradient has. */
static void places_are_kept_for_a_gradient_alone(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor x = vkd_param(g, "image.x", VKD_SHAPE(2, 7, 6, 3), NULL);
    const vkd_tensor y = largest(g, x), loss = vkd_sum(g, y, VKD_ALL_AXES, false);
    assert_int_equal(vkd__producer(g, y)->out_count, 1);
    vkd_tensor dx[2];
    vkd_backward(g, loss, &x, 1, &dx[0]);
    assert_int_equal(vkd__producer(g, y)->out_count, 2);
    vkd_backward(g, loss, &x, 1, &dx[1]); /* the same places serve a second one */
    assert_int_equal(vkd__producer(g, y)->out_count, 2);
    assert_int_equal(vkd__producer(g, dx[0])->in[1].id, vkd__producer(g, dx[1])->in[1].id);
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    struct CMUnitTest tests[VKD_COUNT(cases) + 2] = {
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(places_are_kept_for_a_gradient_alone),
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++)
        tests[2 + i] = (struct CMUnitTest){.name = "images_are_made_as_pytorch_makes_them",
                                           .test_func = images_are_made_as_pytorch_makes_them,
                                           .initial_state = (void *)&cases[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
