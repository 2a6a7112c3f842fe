// SPDX-License-Identifier: Apache-2.0
/* CIFAR's binary files as the test writes them: a few records where the published ones have ten
 * thousand. */
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/cifar.h"

static char folder[] = "/tmp/vkd_cifar_XXXXXX";

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

/* Byte i of the image in record n: planes, so that i / 1024 is the channel. */
static uint8_t value(uint32_t n, uint32_t i) {
    return (uint8_t)(n * 31 + i / 1024 * 80 + i % 1024 % 71);
}

enum { MOST = 5, LONGEST = 3074 };

/* `count` records from number `first` on; record n has the labels n % 10 or n % 20, n % 100. */
static size_t records(uint32_t labels, uint32_t first, uint32_t count, uint8_t *out) {
    uint8_t *at = out;
    assert_true(count <= MOST);
    for (uint32_t n = first; n < first + count; n++) {
        if (labels == 1) *at++ = (uint8_t)(n % 10);
        if (labels == 2) *at++ = (uint8_t)(n % 20);
        if (labels == 2) *at++ = (uint8_t)(n % 100);
        for (uint32_t i = 0; i < 3072; i++)
            *at++ = value(n, i);
    }
    return (size_t)(at - out);
}

static void write_records(const char *name, uint32_t labels, uint32_t first, uint32_t count) {
    static uint8_t bytes[MOST * LONGEST];
    test_write(path_of(name), bytes, records(labels, first, count, bytes));
}

/* Batch k has k records, so that there are 15; the test batch has 3. */
static void write_cifar10(void) {
    for (uint32_t k = 1, first = 0; k <= 5; first += k++) {
        char name[32];
        snprintf(name, sizeof name, "data_batch_%u.bin", k);
        write_records(name, 1, first, k);
    }
    write_records("test_batch.bin", 1, 50, 3);
}

static void write_cifar100(void) {
    write_records("train.bin", 2, 17, 5);
    write_records("test.bin", 2, 98, 2);
}

static void write_text(const char *name, const char *text) {
    test_write(path_of(name), text, strlen(text));
}

static const char ten[] =
    "airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n\n";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    test_remove(folder);
    return 0;
}

static vkd_result load(vkd_ctx *ctx, const char *format, const char *key, const char *text,
                       vkd__dataset *d) {
    return test_load(ctx, format, (const char *const[]){"dir", folder, key, text, NULL}, d);
}

/* Sample i of the split is record n, channels last. */
static void expect_record(const vkd__split *s, uint32_t i, uint32_t n, int32_t label) {
    assert_int_equal(s->labels[i], label);
    const uint8_t *at = s->bytes + (size_t)i * 3072;
    for (uint32_t pixel = 0; pixel < 1024; pixel++)
        for (uint32_t c = 0; c < 3; c++)
            assert_int_equal(*at++, value(n, c * 1024 + pixel));
}

static void cifar10_is_read_in_the_order_of_its_files(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    write_cifar10();
    write_text("batches.meta.txt", ten);
    vkd__dataset d;
    assert_int_equal(load(ctx, "cifar10", "classes", "10", &d), VKD_OK);
    assert_int_equal(d.sample.axes, 3);
    assert_int_equal(d.sample.dim[0], 32);
    assert_int_equal(d.sample.dim[1], 32);
    assert_int_equal(d.sample.dim[2], 3);
    assert_int_equal(d.channels, 3);
    assert_int_equal(d.classes, 10);
    assert_string_equal(d.class_names[0], "airplane");
    assert_string_equal(d.class_names[9], "truck");
    assert_int_equal(d.train.count, 15);
    assert_int_equal(d.test.count, 3);
    for (uint32_t i = 0; i < 15; i++)
        expect_record(&d.train, i, i, (int32_t)(i % 10));
    for (uint32_t i = 0; i < 3; i++)
        expect_record(&d.test, i, 50 + i, (int32_t)i);
    vkd__dataset_term(ctx, &d);
    assert_int_equal(load(ctx, "cifar10", "samples", "7", &d), VKD_OK);
    assert_int_equal(d.train.count, 7);
    expect_record(&d.train, 6, 6, 6);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void cifar100_has_two_labels(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    write_cifar100();
    vkd__dataset d;
    assert_int_equal(load(ctx, "cifar100", "labels", "fine", &d), VKD_OK);
    assert_int_equal(d.classes, 100);
    assert_null(d.class_names);
    for (uint32_t i = 0; i < 5; i++)
        expect_record(&d.train, i, 17 + i, (int32_t)(17 + i));
    expect_record(&d.test, 1, 99, 99);
    vkd__dataset_term(ctx, &d);
    assert_int_equal(load(ctx, "cifar100", "labels", "coarse", &d), VKD_OK);
    assert_int_equal(d.classes, 20);
    for (uint32_t i = 0; i < 5; i++)
        expect_record(&d.train, i, 17 + i, (int32_t)((17 + i) % 20));
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void images_are_resized(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    write_cifar100();
    vkd__dataset d;
    assert_int_equal(load(ctx, "cifar100", "size", "[16, 8]", &d), VKD_OK);
    assert_int_equal(d.sample.dim[0], 16);
    assert_int_equal(d.sample.dim[1], 8);
    assert_int_equal(d.sample.dim[2], 3);
    /* Pixel (1, 0) of green in the test record 99: rows 2 and 3, columns 0 to 3. */
    uint32_t sum = 4;
    for (uint32_t y = 2; y < 4; y++)
        for (uint32_t x = 0; x < 4; x++)
            sum += value(99, 1024 + y * 32 + x);
    assert_int_equal(d.test.bytes[16 * 8 * 3 + 8 * 3 + 1], sum / 8);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

/* Records have no end of their own: every file that is not a whole number of them is refused. */
static void every_part_of_a_record_is_refused(void **state) {
    (void)state;
    static const vkd__cifar_kind kinds[] = {{.labels = 1, .classes = {10}},
                                            {.labels = 2, .classes = {20, 100}}};
    static uint8_t bytes[MOST * LONGEST];
    vkd_ctx *ctx = test_ctx();
    for (size_t k = 0; k < VKD_COUNT(kinds); k++) {
        const size_t all = records(kinds[k].labels, 3, 2, bytes), record = all / 2;
        for (size_t size = 0; size <= all; size++) {
            uint8_t *exact = malloc(size + !size);
            assert_non_null(exact);
            memcpy(exact, bytes, size);
            uint32_t count = 9;
            const vkd_result r = vkd__cifar_check(ctx, &kinds[k], "f", exact, size, &count);
            assert_int_equal(r, size && size % record == 0 ? VKD_OK : VKD_E_DATA);
            assert_int_equal(count, r ? 0 : size / record);
            if (r && size) assert_non_null(strstr(vkd_ctx_error(ctx), "'f' is cut short"));
            free(exact);
        }
    }
    vkd_ctx_destroy(ctx);
}

static void refuse(const char *format, const char *key, const char *text, vkd_result want,
                   const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd__dataset d;
    assert_int_equal(load(ctx, format, key, text, &d), want);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static void what_is_wrong_is_said(void **state) {
    (void)state;
    write_cifar10();
    write_cifar100();
    refuse("cifar10", "samples", "16", VKD_E_DATA, "samples is 16, but the training split has 15");
    refuse("cifar10", "classes", "11", VKD_E_DATA, "classes says 11, the data has 10");
    refuse("cifar10", "size", "[8]", VKD_E_RECIPE, "size has 1 values, must be [height, width]");
    refuse("cifar10", "dir", "/nowhere", VKD_E_FILE, "cannot open '/nowhere/data_batch_1.bin'");
    write_records("data_batch_4.bin", 2, 0, 2);
    refuse("cifar10", "tests", "1", VKD_E_DATA, "data_batch_4.bin' is cut short or of another");
    write_text("data_batch_4.bin", "");
    refuse("cifar10", "tests", "1", VKD_E_DATA, "data_batch_4.bin' is empty");
    static uint8_t bytes[MOST * LONGEST];
    const size_t size = records(2, 17, 5, bytes);
    bytes[3074 * 2] = 20;
    test_write(path_of("train.bin"), bytes, size);
    refuse("cifar100", "labels", "fine", VKD_E_DATA, "label 20 of record 2 in '");
    bytes[3074 * 2] = 0;
    bytes[3074 * 4 + 1] = 100;
    test_write(path_of("train.bin"), bytes, size);
    refuse("cifar100", "labels", "coarse", VKD_E_DATA, "label 100 of record 4 in '");
    unlink(path_of("test.bin"));
    write_records("train.bin", 2, 0, 1);
    refuse("cifar100", "labels", "fine", VKD_E_FILE, "/test.bin'");
}

static void names_are_as_many_as_classes(void **state) {
    (void)state;
    write_cifar10();
    write_text("batches.meta.txt", "a\nb\n");
    refuse("cifar10", "tests", "1", VKD_E_DATA, "batches.meta.txt' names 2 classes, there are 10");
    write_text("batches.meta.txt", "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\nk");
    refuse("cifar10", "tests", "1", VKD_E_DATA, "names 11 classes, there are 10");
    write_text("batches.meta.txt", "a\nb\nc\nd\n\nf\ng\nh\ni\nj\n");
    refuse("cifar10", "tests", "1", VKD_E_DATA, "the name of class 4 is not a line of UTF-8");
    write_text("batches.meta.txt", "a\nb\nc\xff\nd\ne\nf\ng\nh\ni\nj\n");
    refuse("cifar10", "tests", "1", VKD_E_DATA, "the name of class 2 is not a line of UTF-8");
    write_text("batches.meta.txt", "a\r\nb\r\nc\r\nd\r\ne\r\nf\r\ng\r\nh\r\ni\r\n\xc3\xbc\r\n\r\n");
    vkd_ctx *ctx = test_ctx();
    vkd__dataset d;
    assert_int_equal(load(ctx, "cifar10", "tests", "1", &d), VKD_OK);
    assert_string_equal(d.class_names[0], "a");
    assert_string_equal(d.class_names[9], "\xc3\xbc");
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cifar10_is_read_in_the_order_of_its_files),
        cmocka_unit_test(cifar100_has_two_labels),
        cmocka_unit_test(images_are_resized),
        cmocka_unit_test(every_part_of_a_record_is_refused),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(names_are_as_many_as_classes),
    };
    return cmocka_run_group_tests_name("cifar", tests, make_folder, remove_folder);
}
