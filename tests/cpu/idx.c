// SPDX-License-Identifier: Apache-2.0
#include "support/data.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>

#include "base/platform.h"
#include "data/idx.h"

#define MOST 4096

typedef struct bytes {
    uint8_t v[MOST];
    size_t size;
} bytes;

static bytes text(const char *content, size_t size) {
    bytes b = {.size = size};
    assert_true(size <= MOST);
    memcpy(b.v, content, size);
    return b;
}
#define TEXT(content) text(content, sizeof(content) - 1)

static bytes join(bytes a, bytes b) {
    assert_true(a.size + b.size <= MOST);
    memcpy(a.v + a.size, b.v, b.size);
    a.size += b.size;
    return a;
}

static bytes packed(bytes b) {
    bytes out = {0};
    z_stream z = {0};
    assert_int_equal(deflateInit2(&z, 9, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
    z.next_in = b.v;
    z.avail_in = (uInt)b.size;
    z.next_out = out.v;
    z.avail_out = MOST;
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    out.size = z.total_out;
    deflateEnd(&z);
    return out;
}

/* Parses a copy of exactly that size, so that the address sanitizer sees a byte too many. */
static vkd_result parse_first(vkd_ctx *ctx, const bytes *b, size_t size, uint32_t low,
                              uint32_t high, uint32_t most, vkd__idx *out) {
    uint8_t *exact = malloc(size ? size : 1);
    assert_non_null(exact);
    memcpy(exact, b->v, size);
    const vkd_result r = vkd__idx_parse(ctx, "f", exact, size, low, high, most, out);
    free(exact);
    return r;
}

static vkd_result parse(vkd_ctx *ctx, const bytes *b, uint32_t most, vkd__idx *out) {
    return parse_first(ctx, b, b->size, 1, 4, most, out);
}

/* Four images of 2 x 3, values 0 to 23. */
static bytes images(void) {
    bytes b = TEXT("\0\0\10\3\0\0\0\4\0\0\0\2\0\0\0\3");
    for (uint8_t i = 0; i < 24; i++)
        b.v[b.size++] = i;
    return b;
}

static bytes labels(void) {
    return TEXT("\0\0\10\1\0\0\0\4\0\2\1\2");
}

static void plain_and_packed_files_hold_the_same(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const bytes plain = images();
    bytes front = plain, back = {.size = plain.size - 20};
    front.size = 20;
    memcpy(back.v, plain.v + 20, back.size);
    const bytes forms[] = {plain, packed(plain), join(packed(front), packed(back)),
                           join(packed((bytes){.size = 0}), packed(plain))};
    for (size_t i = 0; i < VKD_COUNT(forms); i++) {
        vkd__idx x;
        assert_int_equal(parse(ctx, &forms[i], 0, &x), VKD_OK);
        assert_int_equal(x.shape.axes, 3);
        assert_int_equal(x.shape.dim[0], 4);
        assert_int_equal(x.shape.dim[1], 2);
        assert_int_equal(x.shape.dim[2], 3);
        assert_int_equal(x.kept, 4);
        assert_memory_equal(x.values, plain.v + 16, 24);
        vkd__free(ctx, x.values);
        assert_int_equal(parse(ctx, &forms[i], 3, &x), VKD_OK);
        assert_int_equal(x.shape.dim[0], 4);
        assert_int_equal(x.kept, 3);
        assert_memory_equal(x.values, plain.v + 16, 18);
        vkd__free(ctx, x.values);
    }
    vkd_ctx_destroy(ctx);
}

static void every_beginning_of_a_file_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const bytes forms[] = {images(), packed(images()), labels(), packed(labels())};
    for (size_t i = 0; i < VKD_COUNT(forms); i++)
        for (size_t size = 0; size < forms[i].size; size++)
            for (uint32_t most = 0; most < 2; most++) {
                vkd__idx x;
                assert_int_equal(parse_first(ctx, &forms[i], size, 1, 4, most, &x), VKD_E_DATA);
                assert_null(x.values);
                const char *message = vkd_ctx_error(ctx);
                assert_true(strstr(message, "'f' is cut short") || strstr(message, "is damaged"));
            }
    vkd_ctx_destroy(ctx);
}

static void what_is_wrong_with_a_file_is_said(void **state) {
    (void)state;
    const bytes good = images(), small = packed(images());
    bytes wrong_sum = small;
    wrong_sum.v[wrong_sum.size - 5] ^= 1;
    bytes wrong_code = small;
    wrong_code.v[10] = 0x07;
    const struct {
        bytes file;
        const char *message;
    } bad[] = {
        {TEXT(""), "'f' is cut short in its header"},
        {TEXT("\x89PNG"), "'f' is not an IDX file, it starts with 89 50 4e 47"},
        {TEXT("\0\0\15\3"), "'f' holds values of type 0x0d, only unsigned bytes (0x08) are read"},
        {TEXT("\0\0\10\0"), "'f' has 0 axes, must have from 1 to 4"},
        {TEXT("\0\0\10\5"), "'f' has 5 axes, must have from 1 to 4"},
        {TEXT("\0\0\10\2\0\0\0\1\0\0\0\0"), "'f' is empty, its shape is (1, 0)"},
        {TEXT("\0\0\10\1\0\0\0\0"), "'f' is empty, its shape is (0)"},
        {TEXT("\0\0\10\1\0\0\0\2x"), "'f' is cut short, (2) values cannot be in 1 bytes"},
        {TEXT("\0\0\10\4\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377\377xx"),
         "'f' is cut short, (4294967295, 4294967295, 4294967295, 4294967295) values cannot be in 2 "
         "bytes"},
        {TEXT("\0\0\10\4\0\1\0\0\0\1\0\0\0\1\0\0\0\1\0\0xx"),
         "'f' is cut short, (65536, 65536, 65536, 65536) values cannot be in 2 bytes"},
        {packed(TEXT("\0\0\10\2\377\377\377\377\0\0\0\1xx")), NULL},
        {packed(TEXT("\0\0\10\1\0\0\0\4xx")), "'f' is cut short, 2 of 4 values are there"},
        {join(good, TEXT("x")), "'f' goes on after its 24 values"},
        {packed(join(good, TEXT("x"))), "'f' goes on after its 24 values"},
        {join(small, packed(TEXT("x"))), "'f' goes on after its 24 values"},
        {join(small, TEXT("xy")), "'f' has 2 bytes after its packed data"},
        {wrong_sum, "'f' is damaged, its packed data is wrong: incorrect data check"},
        {wrong_code, "'f' is damaged, its packed data is wrong: invalid block type"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        vkd__idx x;
        assert_int_equal(parse(ctx, &bad[i].file, 0, &x), VKD_E_DATA);
        assert_null(x.values);
        if (bad[i].message)
            assert_string_equal(vkd_ctx_error(ctx), bad[i].message);
        else
            assert_non_null(strstr(vkd_ctx_error(ctx), "(4294967295, 1) values cannot be in"));
    }
    vkd_ctx_destroy(ctx);
}

/* ---- Four files in a folder ---- */

static char folder[] = "/tmp/vkd_idx_XXXXXX";
static const char *const names[] = {"train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                    "t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"};

static const char *path_of(const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static void put(vkd_ctx *ctx, const char *name, bytes b) {
    assert_int_equal(vkd__write_file(ctx, path_of(name), &(vkd__bytes){b.v, b.size}, 1), VKD_OK);
}

static void put_all(vkd_ctx *ctx) {
    put(ctx, names[0], images());
    put(ctx, names[1], labels());
    put(ctx, names[2], packed(images()));
    put(ctx, names[3], packed(labels()));
}

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(names); i++)
        unlink(path_of(names[i]));
    unlink(path_of("other"));
    return rmdir(folder);
}

static vkd_result load(vkd_ctx *ctx, const char *key, const char *value, vkd__dataset *d) {
    return test_load(ctx, "idx", (const char *const[]){"dir", folder, key, value, NULL}, d);
}

static void a_folder_is_loaded(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    put_all(ctx);
    vkd__dataset d;
    assert_int_equal(load(ctx, "samples", "1", &d), VKD_OK);
    assert_int_equal(d.sample.axes, 3);
    assert_int_equal(d.sample.dim[0], 2);
    assert_int_equal(d.sample.dim[1], 3);
    assert_int_equal(d.sample.dim[2], 1);
    assert_int_equal(d.channels, 1);
    assert_int_equal(d.classes, 3); /* of all labels, though one sample is used */
    assert_int_equal(d.train.count, 1);
    assert_int_equal(d.test.count, 4);
    assert_int_equal(d.test.labels[3], 2);
    assert_int_equal(d.test.bytes[23], 23);
    vkd__dataset_term(ctx, &d);
    assert_int_equal(load(ctx, "classes", "5", &d), VKD_OK);
    assert_int_equal(d.classes, 5);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void planes_become_channels_last(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    put_all(ctx);
    const bytes planes =
        join(TEXT("\0\0\10\4\0\0\0\4\0\0\0\3\0\0\0\1\0\0\0\2"), TEXT("012345678901234567890123"));
    put(ctx, names[0], planes);
    put(ctx, names[2], packed(planes));
    vkd__dataset d;
    assert_int_equal(load(ctx, "tests", "2", &d), VKD_OK);
    assert_int_equal(d.channels, 3);
    assert_int_equal(d.sample.axes, 3);
    assert_int_equal(d.sample.dim[0], 1);
    assert_int_equal(d.sample.dim[1], 2);
    assert_int_equal(d.sample.dim[2], 3);
    assert_int_equal(d.test.count, 2);
    assert_memory_equal(d.train.bytes, "024135", 6);    /* of the planes 01, 23, 45 */
    assert_memory_equal(d.test.bytes + 6, "680791", 6); /* 67, 89, 01 */
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void plain_rows_stay_rows(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    put_all(ctx);
    const bytes rows = join(TEXT("\0\0\10\2\0\0\0\4\0\0\0\3"), TEXT("abcdefghijkl"));
    put(ctx, names[0], rows);
    put(ctx, names[2], packed(rows));
    vkd__dataset d;
    assert_int_equal(load(ctx, "classes", "0", &d), VKD_OK);
    assert_int_equal(d.sample.axes, 1);
    assert_int_equal(d.sample.dim[0], 3);
    assert_int_equal(d.channels, 1);
    assert_memory_equal(d.train.bytes, "abcdefghijkl", 12);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void files_that_do_not_fit_together_are_refused(void **state) {
    (void)state;
    const bytes five = TEXT("\0\0\10\1\0\0\0\5\0\2\1\2\1"),
                high = TEXT("\0\0\10\1\0\0\0\4\0\2\3\2");
    const bytes wide = join(TEXT("\0\0\10\2\0\0\0\4\0\0\0\2"), TEXT("12345678"));
    const struct {
        const char *name;
        bytes content;
        const char *key, *value, *message;
    } bad[] = {
        {names[1], five, "classes", "0",
         "'DIR/train-images-idx3-ubyte' has 4 images, but 'DIR/train-labels-idx1-ubyte' has 5 "
         "labels"},
        {names[3], high, "classes", "0",
         "label 3 of sample 2 in 'DIR/t10k-labels-idx1-ubyte.gz' is above 2, the last of 3 "
         "classes"},
        {names[1], labels(), "classes", "2",
         "label 2 of sample 1 in 'DIR/train-labels-idx1-ubyte' is above 1, the last of 2 classes"},
        {names[2], wide, "classes", "0",
         "samples differ in size: 'DIR/train-images-idx3-ubyte' is (4, 2, 3), "
         "'DIR/t10k-images-idx3-ubyte.gz' is (4, 2)"},
        {names[2], images(), "tests", "5", "data: tests is 5, but the test split has 4"},
        {names[0], images(), "samples", "5", "data: samples is 5, but the training split has 4"},
        {names[0], labels(), "classes", "0",
         "'DIR/train-images-idx3-ubyte' has 1 axes, must have from 2 to 4"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        put_all(ctx);
        put(ctx, bad[i].name, bad[i].content);
        vkd__dataset d;
        assert_int_equal(load(ctx, bad[i].key, bad[i].value, &d), VKD_E_DATA);
        char want[512] = "";
        for (const char *from = bad[i].message; *from; from++) {
            if (!strncmp(from, "DIR", 3)) {
                strcat(want, folder);
                from += 2;
            } else
                strncat(want, from, 1);
        }
        assert_string_equal(vkd_ctx_error(ctx), want);
    }
    vkd_ctx_destroy(ctx);
}

static void missing_files_are_named(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    put_all(ctx);
    vkd__dataset d;
    assert_int_equal(load(ctx, "test_labels", "/nowhere/labels", &d), VKD_E_FILE);
    assert_string_equal(vkd_ctx_error(ctx),
                        "cannot open '/nowhere/labels': No such file or directory");
    unlink(path_of(names[1]));
    assert_int_equal(load(ctx, "classes", "0", &d), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "cannot find 'train-labels-idx1-ubyte' or "
                                               "'train-labels-idx1-ubyte.gz' in '/tmp/vkd_idx_"));
    put(ctx, "other", labels());
    assert_int_equal(load(ctx, "train_labels", path_of("other"), &d), VKD_OK);
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

static void fashion_mnist_is_what_it_should_be(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__dataset d = {0};
    const vkd_result r = test_load(ctx, "idx", (const char *const[]){NULL}, &d);
    if (r == VKD_E_FILE) {
        vkd_ctx_destroy(ctx);
        skip();
    }
    assert_int_equal(r, VKD_OK);
    assert_int_equal(d.train.count, 60000);
    assert_int_equal(d.test.count, 10000);
    assert_int_equal(d.classes, 10);
    assert_int_equal((int)vkd_shape_count(d.sample), 784);
    uint64_t sum = 0;
    for (size_t i = 0; i < (size_t)d.train.count * 784; i++)
        sum += d.train.bytes[i];
    assert_int_equal(sum * 10000 / 255 / (60000 * 784ull), 2860); /* its known mean, 0.2860 */
    for (int c = 0, count; c < 10; c++) {
        count = 0;
        for (uint32_t i = 0; i < d.train.count; i++)
            count += d.train.labels[i] == c;
        assert_int_equal(count, 6000);
    }
    vkd__dataset_term(ctx, &d);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_and_packed_files_hold_the_same),
        cmocka_unit_test(every_beginning_of_a_file_is_refused),
        cmocka_unit_test(what_is_wrong_with_a_file_is_said),
        cmocka_unit_test(a_folder_is_loaded),
        cmocka_unit_test(planes_become_channels_last),
        cmocka_unit_test(plain_rows_stay_rows),
        cmocka_unit_test(files_that_do_not_fit_together_are_refused),
        cmocka_unit_test(missing_files_are_named),
        cmocka_unit_test(fashion_mnist_is_what_it_should_be),
    };
    return cmocka_run_group_tests_name("idx", tests, make_folder, remove_folder);
}
