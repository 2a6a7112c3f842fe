// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "train/teacher_cache.h"

static char folder[] = "/tmp/vkd_cache_XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/c.safetensors", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

enum { SAMPLES = 3, CLASSES = 4 };
static const float logits[SAMPLES * CLASSES] = {3, 2.5f, -1, 0,         0, 0.5f,
                                                2, -2,   1,  -INFINITY, 1, 70000};
static const float maps[SAMPLES * 2] = {1, -2, 0.5f, 4, 5, 6};

static vkd__teacher_cache_info made_for(void) {
    return (vkd__teacher_cache_info){.teacher = "big",
                                     .teacher_hash = 0x123456789abcdef0ull,
                                     .data_hash = 7,
                                     .augment = VKD__TEACHER_CACHE_PLAIN,
                                     .samples = SAMPLES,
                                     .classes = CLASSES,
                                     .temperature = 1,
                                     .batch = 2,
                                     .device = "none"};
}

static vkd_result write_cache(vkd_ctx *ctx, const vkd__teacher_cache_info *info, vkd_dtype dtype) {
    const vkd__teacher_cache_tensor tensors[] = {
        {"logits", VKD_SHAPE(SAMPLES, CLASSES), logits},
        {"stage1.out", VKD_SHAPE(SAMPLES, 1, 2), maps},
    };
    return vkd__teacher_cache_write(ctx, path, info, tensors, 2, dtype);
}

static void a_dense_cache_reads_back_the_same_bits(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const vkd__teacher_cache_info info = made_for();
    vkd__teacher_cache c;
    float back[SAMPLES * CLASSES];
    assert_int_equal(write_cache(ctx, &info, VKD_F32), VKD_OK);
    assert_int_equal(vkd__teacher_cache_open(ctx, path, &c), VKD_OK);
    vkd__teacher_cache_read(vkd__teacher_cache_logits(&c), 0, SAMPLES * CLASSES, back);
    assert_memory_equal(back, logits, sizeof logits);
    vkd__teacher_cache_read(vkd__teacher_cache_tap(&c, "stage1.out"), 2, 4, back);
    assert_memory_equal(back, maps + 2, 4 * sizeof *maps);
    assert_null(vkd__teacher_cache_tap(&c, "stage2.out"));
    assert_string_equal(c.info.teacher, "big");
    assert_true(c.info.teacher_hash == info.teacher_hash && c.info.data_hash == 7);
    assert_int_equal(c.info.batch, 2);
    vkd__teacher_cache_close(&c);
    vkd_ctx_destroy(ctx);
}

static void f16_rounds_and_refuses_what_it_cannot_hold(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__teacher_cache_info info = made_for();
    vkd__teacher_cache c;
    float back[SAMPLES * 2];
    assert_int_equal(write_cache(ctx, &info, VKD_F16), VKD_E_DATA);
    assert_string_equal(vkd_ctx_error(ctx), "'logits' of sample 2 is 70000, more than f16 holds; "
                                            "keep the cache in f32");
    info.k = 2; /* packed rows stay in f32, the maps go to f16 */
    assert_int_equal(write_cache(ctx, &info, VKD_F16), VKD_OK);
    assert_int_equal(vkd__teacher_cache_open(ctx, path, &c), VKD_OK);
    assert_int_equal(vkd__teacher_cache_logits(&c)->dtype, VKD_F32);
    assert_int_equal(vkd__teacher_cache_tap(&c, "stage1.out")->dtype, VKD_F16);
    vkd__teacher_cache_read(vkd__teacher_cache_tap(&c, "stage1.out"), 0, SAMPLES * 2, back);
    assert_memory_equal(back, maps, sizeof maps); /* each is a number of f16 */
    vkd__teacher_cache_close(&c);
    vkd_ctx_destroy(ctx);
}

/* softmax((3, 2.5, -1, 0) / 2) has the logarithms below. */
static void a_packed_row_holds_the_top_and_the_rest(void **state) {
    (void)state;
    float packed[2 * CLASSES + 1];
    double all = 0, p[CLASSES];
    for (int v = 0; v < CLASSES; v++)
        all += p[v] = exp((double)logits[v] / 2);
    vkd__teacher_cache_pack(logits, CLASSES, 2, 2, packed);
    const double want[] = {log(p[0] / all), log(p[1] / all), log((p[2] + p[3]) / all), 0, 1};
    test_close("k = 2", packed, want, 5, 1e-6, 0);

    /* With every class kept nothing is left; classes come in falling order. */
    vkd__teacher_cache_pack(logits, CLASSES, CLASSES, 2, packed);
    const float order[] = {0, 1, 3, 2};
    assert_memory_equal(packed + CLASSES + 1, order, sizeof order);
    assert_true(packed[CLASSES] == -INFINITY);
    /* Equal logits in the order of their index; a masked class has no probability. */
    vkd__teacher_cache_pack(logits + 8, 3, 3, 1, packed);
    const float equal[] = {0, 2, 1};
    assert_memory_equal(packed + 4, equal, sizeof equal);
    assert_true(packed[2] == -INFINITY && packed[0] == packed[1]);
    /* A row without any class. */
    const float none[] = {-INFINITY, -INFINITY};
    vkd__teacher_cache_pack(none, 2, 1, 1, packed);
    assert_true(packed[0] == -INFINITY && packed[1] == -INFINITY);
}

static void another_temperature_can_be_had_from_all_classes(void **state) {
    (void)state;
    float at4[2 * CLASSES + 1], at1[2 * CLASSES + 1], again[2 * CLASSES + 1], back[CLASSES];
    vkd__teacher_cache_pack(logits, CLASSES, CLASSES, 4, at4);
    vkd__teacher_cache_pack(logits, CLASSES, CLASSES, 1, at1);
    for (int j = 0; j < CLASSES; j++)
        back[(int)at1[CLASSES + 1 + j]] = at1[j];
    vkd__teacher_cache_pack(back, CLASSES, CLASSES, 4, again);
    for (int j = 0; j < CLASSES; j++)
        assert_true(fabsf(again[j] - at4[j]) < 1e-6f);
}

static void every_difference_is_named(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__teacher_cache_info info = made_for();
    info.k = 3;
    info.temperature = 4;
    assert_int_equal(write_cache(ctx, &info, VKD_F32), VKD_OK);
    vkd__teacher_cache c;
    assert_int_equal(vkd__teacher_cache_open(ctx, path, &c), VKD_OK);
    assert_int_equal(vkd__teacher_cache_expect(ctx, &c, &info), VKD_OK);
    const struct {
        vkd__teacher_cache_info need;
        const char *says;
    } cases[] = {
        {{.k = 3, .teacher_hash = 5}, "teacher's parameters is 123456789abcdef0 where this needs"},
        {{.k = 3, .data_hash = 8}, "the hash of the data is 0000000000000007 where"},
        {{.k = 3, .augment = "crop"}, "the augmentation is none where this needs crop"},
        {{.k = 3, .samples = 4}, "samples: 3 where this needs 4"},
        {{.k = 3, .classes = 5}, "classes: 4 where this needs 5"},
        {{.k = 0}, "(k, 0 for all): 3 where this needs 0"},
        {{.k = 3, .temperature = 2}, "probabilities is 4 where this needs 2"},
        {{.k = 2, .samples = 4}, "samples: 3 where this needs 4; classes kept"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        assert_int_equal(vkd__teacher_cache_expect(ctx, &c, &cases[i].need), VKD_E_DATA);
        if (!strstr(vkd_ctx_error(ctx), cases[i].says))
            fail_msg("'%s' does not say '%s'", vkd_ctx_error(ctx), cases[i].says);
    }
    vkd__teacher_cache_close(&c);
    vkd_ctx_destroy(ctx);
}

/* Metadata of a good file with one entry replaced (value NULL: left out). */
static void write_altered(vkd_ctx *ctx, const char *key, const char *value) {
    vkd__st_pair pairs[] = {
        {"format", "vkdistill teacher cache 1"},
        {"teacher", "big"},
        {"teacher_hash", "1"},
        {"data_hash", "2"},
        {"augment", "none"},
        {"samples", "3"},
        {"classes", "4"},
        {"k", "0"},
        {"temperature", "1"},
        {"batch", "2"},
        {"device", "none"},
    };
    size_t count = 0;
    for (size_t i = 0; i < VKD_COUNT(pairs); i++) {
        if (!strcmp(pairs[i].key, key)) pairs[i].value = value;
        if (pairs[i].value) pairs[count++] = pairs[i];
    }
    const vkd__st_tensor t = {"logits", VKD_F32, VKD_SHAPE(SAMPLES, CLASSES), logits,
                              sizeof logits};
    assert_int_equal(vkd__st_write(ctx, path, &t, 1, pairs, count), VKD_OK);
}

static void files_that_are_no_cache_are_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__teacher_cache c;
    write_altered(ctx, "", NULL);
    assert_int_equal(vkd__teacher_cache_open(ctx, path, &c), VKD_OK);
    vkd__teacher_cache_close(&c);
    static const char *const bad[][2] = {
        {"format", NULL},
        {"format", "vkdistill model 1"},
        {"teacher", NULL},
        {"teacher_hash", "xyz"},
        {"teacher_hash", ""},
        {"data_hash", "11111111111111111"},
        {"augment", NULL},
        {"samples", "0"},
        {"samples", "4"},
        {"samples", "-3"},
        {"classes", "5"},
        {"k", "65"},
        {"k", "5"},
        {"k", "2"},
        {"temperature", "nan"},
        {"temperature", "0"},
        {"batch", "4294967296"},
        {"device", NULL},
    };
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        write_altered(ctx, bad[i][0], bad[i][1]);
        if (vkd__teacher_cache_open(ctx, path, &c) != VKD_E_FORMAT)
            fail_msg("%s: '%s' is taken", bad[i][0], bad[i][1] ? bad[i][1] : "");
        assert_null(c.file);
    }
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_cache_reads_back_the_same_bits),
        cmocka_unit_test(f16_rounds_and_refuses_what_it_cannot_hold),
        cmocka_unit_test(a_packed_row_holds_the_top_and_the_rest),
        cmocka_unit_test(another_temperature_can_be_had_from_all_classes),
        cmocka_unit_test(every_difference_is_named),
        cmocka_unit_test(files_that_are_no_cache_are_refused),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
