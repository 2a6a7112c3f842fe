// SPDX-License-Identifier: Apache-2.0
/* Runs on folders of images: colour, resized, in batches of classes, with names that the model's
 * file keeps. */
#include "support/toy.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/philox.h"
#include "support/data.h"
#include "train/predict.h"

enum { CLASSES = 4, TRAIN = 20, TEST = 6, SIDE = 12 };

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

static const char *const names[CLASSES] = {"ant", "bee", "cow", "dog"};

/* A class has its own colour, under noise. Every third image is larger; half of them are JPEG. */
static void put(const bench *b, const char *split, uint32_t class_index, uint32_t n) {
    static const uint8_t colours[CLASSES][3] = {
        {150, 60, 60}, {60, 150, 60}, {60, 60, 150}, {110, 110, 60}};
    static uint8_t pixels[24 * 24 * 3], bytes[1 << 14];
    const uint32_t side = n % 3 ? SIDE : 2 * SIDE, count = side * side;
    for (uint32_t i = 0; i < count; i++)
        for (uint32_t c = 0; c < 3; c++)
            pixels[3 * i + c] =
                (uint8_t)(colours[class_index][c] +
                          vkd__philox_at(n, class_index, *split == 't' && split[1] == 'e', i).v[c] %
                              90);
    const test_png_desc png = {.height = side, .width = side, .colour = 2, .rows = pixels};
    const size_t size = n & 1 ? test_jpeg(side, side, 3, pixels, bytes, sizeof bytes)
                              : test_png(&png, bytes, sizeof bytes);
    char path[128];
    snprintf(path, sizeof path, "images/%s/%s/%02u.%s", split, names[class_index], (unsigned)n,
             n & 1 ? "jpg" : "png");
    test_write(toy_path(&b->data, path), bytes, size);
}

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    for (uint32_t c = 0; c < CLASSES; c++) {
        for (uint32_t n = 0; n < TRAIN; n++)
            put(b, "train", c, n);
        for (uint32_t n = 0; n < TEST; n++)
            put(b, "test", c, n);
    }
    *state = b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    toy_term(&b->data);
    test_device_close(b->device);
    vkd_ctx_destroy(b->ctx);
    test_free(b);
    return 0;
}

/* The toy's recipe over the images, with six more settings at most. */
static vkd_result run(const bench *b, const char *const *more, const vkd_run_desc *desc,
                      const char *out, vkd_row *rows, uint32_t *count) {
    char data[512];
    snprintf(data, sizeof data,
             "data={format: folder, dir: '%s', size: [5, 7], mean: [0.6, 0.5, 0.4], std: 0.2}",
             toy_path(&b->data, "images"));
    const char *sets[TOY_SETS] = {data, "stages.teach.batch=8", "stages.teach.sampler=classes",
                                  "stages.distil.batch=8", "stages.teach.epochs=6"};
    for (size_t n = 5; more && *more && n + 1 < TOY_SETS; n++)
        sets[n] = *more++;
    /* toy_recipe gives data.dir first, which the whole section then replaces. */
    return toy_run(b->ctx, b->device, &b->data, sets, desc, out, rows, count);
}

static void a_folder_of_images_is_learnt(void **state) {
    const bench *b = *state;
    vkd_row rows[8];
    uint32_t count = 0;
    if (run(b, NULL, NULL, "whole", rows, &count)) fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].tests, CLASSES * TEST);
    assert_true(rows[0].accuracy.mean > 0.8);
    assert_int_equal(rows[1].parameters, 5 * 7 * 3 * 5 + 5 + 2 * 5 + 5 * 4 + 4);
    vkd__saved_model m;
    assert_int_equal(
        vkd__saved_model_open(b->ctx, toy_path(&b->data, "whole/student.safetensors"), &m), VKD_OK);
    for (uint32_t c = 0; c < CLASSES; c++)
        assert_string_equal(m.class_names[c], names[c]);
    assert_memory_equal(m.sample.dim, ((const uint32_t[]){5, 7, 3}), 3 * sizeof(uint32_t));
    assert_int_equal(m.batch.channels, 3);
    assert_true(m.batch.mean[1] == 0.5f && m.batch.std[2] == 0.2f);
    vkd__saved_model_term(b->ctx, &m);
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* 10 batches an epoch, 60 steps of the teacher: in the middle of an epoch, at its end, and later.
 */
static void a_stopped_run_goes_on_with_the_same_batches(void **state) {
    const bench *b = *state;
    static const int stops[] = {7, 10, 33};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        char out[32], path[64];
        int left = stops[i];
        snprintf(out, sizeof out, "stopped-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
        assert_int_equal(run(b, NULL, &first, out, NULL, NULL), VKD_E_INTERRUPTED);
        const vkd_run_desc rest = {.resume = true};
        if (run(b, NULL, &rest, out, NULL, NULL)) fail_msg("%s", vkd_ctx_error(b->ctx));
        snprintf(path, sizeof path, "%s/teacher.safetensors", out);
        toy_same_file(toy_path(&b->data, "whole/teacher.safetensors"), toy_path(&b->data, path));
        snprintf(path, sizeof path, "%s/student.safetensors", out);
        toy_same_file(toy_path(&b->data, "whole/student.safetensors"), toy_path(&b->data, path));
    }
}

static void a_sampler_changes_what_is_learnt(void **state) {
    const bench *b = *state;
    const char *const shuffle[] = {"stages.teach.sampler=shuffle", NULL};
    const char *const four[] = {"stages.teach.per_class=4", NULL};
    if (run(b, shuffle, NULL, "shuffled", NULL, NULL) || run(b, four, NULL, "four", NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_false(toy_same(&b->data, "whole/teacher.safetensors", "shuffled/teacher.safetensors"));
    assert_false(toy_same(&b->data, "whole/teacher.safetensors", "four/teacher.safetensors"));
}

/* Classes that no stage has shown the teacher are those that it never says. */
static void a_stage_of_some_classes_knows_no_others(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.teach.classes=[1, 3]", "stages.teach.epochs=20",
                                "stages.distil.control=false", NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    if (run(b, sets, NULL, "two", rows, &count)) fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_true(rows[0].accuracy.mean > 0.4 && rows[0].accuracy.mean <= 0.5);
}

/* A teacher whose classes have other numbers in the data would teach nonsense. */
static void a_teacher_of_other_classes_is_refused(void **state) {
    const bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "whole/teacher.safetensors"));
    const char *const sets[] = {load, "data.classes=[bee, ant, cow, dog]", NULL};
    assert_int_equal(run(b, sets, NULL, "other", NULL, NULL), VKD_E_SHAPE);
    assert_non_null(strstr(vkd_ctx_error(b->ctx), "has 'ant' as class 0, the data as class 1"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folder_of_images_is_learnt),
        cmocka_unit_test(a_stopped_run_goes_on_with_the_same_batches),
        cmocka_unit_test(a_sampler_changes_what_is_learnt),
        cmocka_unit_test(a_stage_of_some_classes_knows_no_others),
        cmocka_unit_test(a_teacher_of_other_classes_is_refused),
    };
    return cmocka_run_group_tests_name("train_data", tests, open_bench, close_bench);
}
