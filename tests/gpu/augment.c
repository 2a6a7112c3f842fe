// SPDX-License-Identifier: Apache-2.0
/* Augmented images to the bit: what moves by whole pixels keeps its bits, both families of kernels
 * give the same ones, and a step gives what its number says, whenever it is run. */
#include "support/gpu.h"

#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "ops/augment.h"

enum { BATCH = 6, HEIGHT = 9, WIDTH = 7, CHANNELS = 3, IMAGE = HEIGHT * WIDTH * CHANNELS };
#define SHAPE VKD_SHAPE(BATCH, HEIGHT, WIDTH, CHANNELS)

static const vkd_augment_desc everything = {.crop = 2,
                                            .pad_mode = VKD_PAD_REFLECT,
                                            .flip = 0.5f,
                                            .scale = 0.25f,
                                            .shear = 0.25f,
                                            .rotate = 40,
                                            .shift = 1.5f,
                                            .randaugment_ops = 2,
                                            .randaugment_magnitude = 12,
                                            .contrast = 0.5f,
                                            .brightness = 0.5f,
                                            .cutout = 3};

static void fill(vkd_program *p) {
    float *x = vkd_program_input(p, "x");
    assert_non_null(x);
    for (uint32_t i = 0; i < BATCH * IMAGE; i++)
        x[i] = vkd__philox_uniform(vkd__philox_at(5, 0, 0, i).v[0]) * 4 - 2;
    x[8] = -0.0f;
    x[90] = INFINITY; /* a weight of 0 times this would be a NaN */
}

/* A program of the graph with either family of kernels. */
static vkd_program *program(gpu_fixture *f, bool direct) {
    vkd_profile profile = *vkd_device_profile(f->device);
    profile.direct = direct;
    vkd_plan *plan = NULL;
    if (vkd_plan_create(f->g, &profile, &plan)) fail_msg("%s", vkd_ctx_error(f->ctx));
    return gpu_program_of(f, plan);
}

/* "y" after one step with that number; the copy is the caller's. */
static float *shown(gpu_fixture *f, vkd_program *p, int32_t step, size_t *count) {
    vkd_program_set_step(p, step);
    const uint64_t ticket = gpu_step(f, p);
    const float *y = vkd_program_output(p, ticket, "y", count);
    assert_non_null(y);
    float *copy = test_calloc(*count, sizeof *copy);
    memcpy(copy, y, *count * sizeof *copy);
    return copy;
}

static void expect_input(gpu_fixture *f, bool direct) {
    vkd_program *p = program(f, direct);
    fill(p);
    float x[BATCH * IMAGE];
    memcpy(x, vkd_program_input(p, "x"), sizeof x);
    size_t count = 0;
    float *y = shown(f, p, 3, &count);
    assert_int_equal(count, BATCH * IMAGE);
    assert_memory_equal(x, y, sizeof x);
    test_free(y);
    vkd_program_destroy(p);
}

/* Numbers that say "as it is", in the kernel that interpolates, reflects and cuts. */
static void the_identity_keeps_every_bit(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    static const vkd_augment_desc d = {.pad_mode = VKD_PAD_REFLECT, .rotate = 1, .cutout = 1};
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, SHAPE);
    struct vkd_augment_draw_params none = vkd__augment_most(&(vkd_augment_desc){0}, SHAPE);
    vkd_output(f.g, "y", vkd__augment_apply(f.g, x, vkd__augment_draw(f.g, &none), &d));
    for (int direct = 0; direct < 2; direct++)
        expect_input(&f, direct != 0);
    gpu_teardown(&f);
}

static void flipped_twice_is_as_it_was(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    static const vkd_augment_desc flip = {.flip = 1};
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, SHAPE);
    vkd_output(f.g, "y", vkd_augment(f.g, vkd_augment(f.g, x, &flip, "a"), &flip, "b"));
    for (int direct = 0; direct < 2; direct++)
        expect_input(&f, direct != 0);
    gpu_teardown(&f);
}

/* Each pixel of a crop is a pixel of the image, or a zero from outside. */
static void a_crop_moves_pixels_and_changes_none(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    static const vkd_augment_desc crop = {.crop = 3};
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, SHAPE);
    const vkd_tensor y = vkd_augment(f.g, x, &crop, "a");
    vkd_output(f.g, "y", y);
    struct vkd_augment_draw_params p = vkd__augment_most(&crop, SHAPE);
    p.stream = vkd__philox_stream("a");
    for (int direct = 0; direct < 2; direct++) {
        vkd_program *step = program(&f, direct != 0);
        fill(step);
        float in[BATCH * IMAGE];
        memcpy(in, vkd_program_input(step, "x"), sizeof in);
        size_t count = 0;
        float *out = shown(&f, step, 11, &count);
        for (int e = 0; e < BATCH * IMAGE; e++) {
            int32_t n[VKD_AUGMENT_NUMBERS];
            vkd__augment_drawn(&p, 11, (uint32_t)(e / IMAGE), n);
            const int h = e % IMAGE / CHANNELS / WIDTH + n[VKD__AUGMENT_Y_FIRST] / 65536;
            const int w = e / CHANNELS % WIDTH + n[VKD__AUGMENT_X_FIRST] / 65536;
            const bool inside = h >= 0 && h < HEIGHT && w >= 0 && w < WIDTH;
            const int from = (e / IMAGE * HEIGHT + h) * WIDTH * CHANNELS + w * CHANNELS;
            const float want = inside ? in[from + e % CHANNELS] : 0.0f;
            assert_memory_equal(&out[e], &want, sizeof want);
        }
        test_free(out);
        vkd_program_destroy(step);
    }
    gpu_teardown(&f);
}

/* Of an image of ones the square is what is zero. */
static void a_cutout_has_the_area_that_was_drawn(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    static const vkd_augment_desc cut = {.cutout = 4};
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, SHAPE);
    vkd_output(f.g, "y", vkd_augment(f.g, x, &cut, "a"));
    struct vkd_augment_draw_params p = vkd__augment_most(&cut, SHAPE);
    p.stream = vkd__philox_stream("a");
    vkd_program *step = gpu_program(&f);
    float *ones = vkd_program_input(step, "x");
    for (int e = 0; e < BATCH * IMAGE; e++)
        ones[e] = 1;
    int whole = 0;
    for (int32_t s = 0; s < 8; s++) {
        size_t count = 0;
        float *y = shown(&f, step, s, &count);
        for (int image = 0; image < BATCH; image++) {
            int32_t n[VKD_AUGMENT_NUMBERS], zeros = 0;
            vkd__augment_drawn(&p, (uint32_t)s, (uint32_t)image, n);
            for (int e = 0; e < IMAGE; e++) {
                const float v = y[image * IMAGE + e];
                assert_true(v == 0 || v == 1);
                zeros += v == 0;
            }
            const int32_t rows = n[VKD__AUGMENT_CUT_BOTTOM] - n[VKD__AUGMENT_CUT_TOP];
            const int32_t columns = n[VKD__AUGMENT_CUT_RIGHT] - n[VKD__AUGMENT_CUT_LEFT];
            assert_int_equal(zeros, rows * columns * CHANNELS);
            assert_in_range(rows * columns, 4, 16); /* a quarter of the square at least */
            whole += rows * columns == 16;
        }
        test_free(y);
    }
    assert_in_range(whole, 1, 8 * BATCH - 1);
    vkd_program_destroy(step);
    gpu_teardown(&f);
}

/* A step gives the same in a program that ran the steps before it, in one that begins there, and in
 * the other family's kernels; the next step gives something else. */
static void a_step_is_said_by_its_number_alone(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, SHAPE);
    vkd_output(f.g, "y", vkd_augment(f.g, x, &everything, "a"));
    vkd_program *programs[] = {program(&f, false), program(&f, false), program(&f, true)};
    for (size_t i = 0; i < VKD_COUNT(programs); i++)
        fill(programs[i]);
    size_t count = 0;
    float *before = NULL, *first = NULL;
    for (int i = 0; i < 3; i++) {
        const uint64_t ticket = gpu_step(&f, programs[0]);
        const float *y = vkd_program_output(programs[0], ticket, "y", &count);
        test_free(before);
        before = first;
        first = test_calloc(count, sizeof *first);
        memcpy(first, y, count * sizeof *first);
    }
    assert_memory_not_equal(before, first, count * sizeof *first);
    for (size_t i = 1; i < VKD_COUNT(programs); i++) {
        float *resumed = shown(&f, programs[i], 2, &count);
        assert_memory_equal(first, resumed, count * sizeof *first);
        test_free(resumed);
    }
    test_free(before);
    test_free(first);
    for (size_t i = 0; i < VKD_COUNT(programs); i++)
        vkd_program_destroy(programs[i]);
    gpu_teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_identity_keeps_every_bit),
        cmocka_unit_test(flipped_twice_is_as_it_was),
        cmocka_unit_test(a_crop_moves_pixels_and_changes_none),
        cmocka_unit_test(a_cutout_has_the_area_that_was_drawn),
        cmocka_unit_test(a_step_is_said_by_its_number_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
