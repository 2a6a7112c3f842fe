// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/platform.h"
#include "data/safetensors.h"

static char folder[] = "/tmp/vkd_st_XXXXXX";
static char path[64], temporary[72];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/m.safetensors", folder);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

/* Parses a file of this header and so many bytes of data, from memory of exactly that size. */
static vkd_result parse(vkd_ctx *ctx, const char *header, size_t data, uint8_t **memory,
                        vkd__st_file **out) {
    const size_t length = strlen(header), size = 8 + length + data;
    *memory = calloc(1, size);
    assert_non_null(*memory);
    for (int i = 0; i < 8; i++)
        (*memory)[i] = (uint8_t)((uint64_t)length >> 8 * i);
    memcpy(*memory + 8, header, length);
    return vkd__st_parse(ctx, "f", *memory, size, out);
}

#define ENTRY(name, dtype, shape, begin, end)                                                      \
    "\"" name "\":{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":[" #begin "," #end \
    "]}"

static void tensors_and_metadata_are_found(void **state) {
    (void)state;
    static const char header[] = "{\"__metadata__\":{\"step\":\"7\",\"\":\"x\"}," ENTRY(
        "w", "F32", "[2, 3]", 4,
        28) "," ENTRY("label", "I32", "[]", 0,
                      4) "," ENTRY("none", "F32", "[0,9]", 28,
                                   28) "," ENTRY("early", "F32", "[0]", 4,
                                                 4) ","
                                                    "\"\\u00e9\":{\"shape\":[3],\"more\":{},\"data_"
                                                    "offsets\":[28,31],\"dtype\":\"U8\"}}   ";
    vkd_ctx *ctx = test_ctx();
    uint8_t *memory;
    vkd__st_file *f;
    assert_int_equal(parse(ctx, header, 31, &memory, &f), VKD_OK);
    assert_int_equal(vkd__st_count(f), 5);
    assert_string_equal(vkd__st_at(f, 0)->name, "w"); /* the header's order */
    assert_null(vkd__st_at(f, 5));
    const vkd__st_tensor *w = vkd__st_find(f, "w"), *u = vkd__st_find(f, "\xc3\xa9");
    assert_int_equal(w->shape.axes, 2);
    assert_int_equal(w->shape.dim[1], 3);
    assert_int_equal(w->bytes, 24);
    assert_ptr_equal(w->data, memory + 8 + strlen(header) + 4);
    assert_int_equal(vkd__st_find(f, "label")->dtype, VKD_I32);
    assert_int_equal(vkd__st_find(f, "none")->bytes, 0);
    assert_int_equal(u->dtype, VKD_U8);
    assert_null(vkd__st_find(f, "v"));
    assert_null(vkd__st_find(f, "__metadata__"));
    assert_string_equal(vkd__st_metadata(f, "step"), "7");
    assert_null(vkd__st_metadata(f, "w"));
    vkd__st_close(f);
    free(memory);

    assert_int_equal(parse(ctx, "{}", 0, &memory, &f), VKD_OK);
    assert_int_equal(vkd__st_count(f), 0);
    assert_null(vkd__st_find(f, "w"));
    assert_null(vkd__st_metadata(f, "step"));
    vkd__st_close(f);
    free(memory);
    vkd_ctx_destroy(ctx);
}

static void tensors_of_other_dtypes_stand_beside_the_ones_that_are_read(void **state) {
    (void)state;
    static const char header[] = "{" ENTRY("bn1.num_batches_tracked", "I64", "[]", 0, 8) "," ENTRY(
        "w", "F32", "[2]", 8, 16) "," ENTRY("h", "BF16", "[3]", 16,
                                            22) "," ENTRY("on", "BOOL", "[1]", 22, 23) "}";
    vkd_ctx *ctx = test_ctx();
    uint8_t *memory;
    vkd__st_file *f;
    assert_int_equal(parse(ctx, header, 23, &memory, &f), VKD_OK);
    const vkd__st_tensor *count = vkd__st_find(f, "bn1.num_batches_tracked");
    assert_int_equal(count->dtype, VKD__ST_OTHER);
    assert_int_equal(count->bytes, 8);
    assert_string_equal(vkd__st_dtype_name(f, count), "I64");
    assert_int_equal(vkd__st_find(f, "w")->dtype, VKD_F32);
    assert_ptr_equal(vkd__st_find(f, "w")->data, memory + 8 + strlen(header) + 8);
    assert_int_equal(vkd__st_find(f, "h")->dtype, VKD_BF16);
    assert_int_equal(vkd__st_find(f, "on")->bytes, 1);
    vkd__st_close(f);
    free(memory);
    vkd_ctx_destroy(ctx);
}

static void what_a_header_lies_about_is_said(void **state) {
    (void)state;
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } bad[] = {
        {" {}", 0, "'f' is not a safetensors file, no '{' at byte 8"},
        {"[]", 0, "'f' is not a safetensors file, no '{' at byte 8"},
        {"{\"a\":1}", 0, "'f': tensor 'a' has no dtype"},
        {"{\"a\":{\"dtype\":4}}", 0, "'f': tensor 'a' has no dtype"},
        {"{" ENTRY("a", "F4", "[2]", 0, 4) "}", 4, "'f': tensor 'a' is of the unknown dtype F4"},
        {"{" ENTRY("a", "I64", "[2]", 0, 8) "}", 8,
         "'f': tensor 'a' has 8 bytes, its shape and dtype need 16"},
        {"{\"a\":{\"dtype\":\"F32\"}}", 0, "'f': tensor 'a' has no shape"},
        {"{" ENTRY("a", "F32", "4", 0, 4) "}", 4, "'f': tensor 'a' has no shape"},
        {"{" ENTRY("a", "F32", "[1,1,1,1,1,1]", 0, 4) "}", 4,
         "'f': tensor 'a' has 6 axes, at most 5 are read"},
        {"{" ENTRY("a", "F32", "[1,-1]", 0, 4) "}", 4,
         "'f': tensor 'a': dimension 1 must be from 0 to 4294967295"},
        {"{" ENTRY("a", "F32", "[1.0]", 0, 4) "}", 4,
         "'f': tensor 'a': dimension 0 must be from 0 to 4294967295"},
        {"{" ENTRY("a", "F32", "[4294967296]", 0, 4) "}", 4,
         "'f': tensor 'a': dimension 0 must be from 0 to 4294967295"},
        {"{" ENTRY("a", "F32", "[4294967295,4294967295,4294967295]", 0, 4) "}", 4,
         "'f': tensor 'a' is too large"},
        {"{" ENTRY("a", "F32", "[65536,65536,65536,65536]", 0, 0) "}", 0,
         "'f': tensor 'a' is too large"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[]}}", 4,
         "'f': tensor 'a' has no data_offsets [begin, end]"},
        {"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4,4]}}", 4,
         "'f': tensor 'a' has no data_offsets [begin, end]"},
        {"{" ENTRY("a", "F32", "[]", -4, 0) "}", 4,
         "'f': tensor 'a' has no data_offsets [begin, end]"},
        {"{" ENTRY("a", "F32", "[]", 4, 0) "}", 4,
         "'f': tensor 'a' is at [4, 0], outside the 4 bytes of data"},
        {"{" ENTRY("a", "F32", "[]", 1, 5) "}", 4,
         "'f': tensor 'a' is at [1, 5], outside the 4 bytes of data"},
        {"{" ENTRY("a", "F32", "[2]", 0, 4) "}", 4,
         "'f': tensor 'a' has 4 bytes, its shape and dtype need 8"},
        {"{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[2]", 4, 12) "}", 12,
         "'f': tensors 'a' and 'b' overlap"},
        {"{" ENTRY("a", "F32", "[]", 0, 4) "," ENTRY("b", "F32", "[]", 0, 4) "}", 4,
         "'f': tensors 'a' and 'b' overlap"},
        {"{" ENTRY("a", "F32", "[2]", 0, 8) "," ENTRY("b", "F32", "[0]", 4, 4) "}", 8,
         "'f': tensors 'a' and 'b' overlap"},
        {"{" ENTRY("a", "F32", "[]", 0, 4) "," ENTRY("b", "F32", "[]", 5, 9) "}", 9,
         "'f': 1 bytes before tensor 'b' belong to no tensor"},
        {"{" ENTRY("a", "F32", "[]", 1, 5) "}", 5,
         "'f': 1 bytes before tensor 'a' belong to no tensor"},
        {"{" ENTRY("a", "F32", "[]", 0, 4) "}", 5, "'f': the last 1 bytes belong to no tensor"},
        {"{}", 1, "'f': the last 1 bytes belong to no tensor"},
        {"{\"__metadata__\":[]}", 0, "'f': __metadata__ must map texts to texts"},
        {"{\"__metadata__\":{\"k\":1}}", 0, "'f': __metadata__ 'k' must be a text"},
        {"{" ENTRY("a", "F32", "[]", 0, 4) "," ENTRY("a", "F32", "[]", 4, 8) "}", 8, NULL},
        {"{\"a\":}", 0, NULL},
        {"{} x", 0, NULL},
        {"{\"\xff\":1}", 0, NULL},
        {"{\"a\\u0000\":1}", 0, NULL},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        uint8_t *memory;
        vkd__st_file *f;
        assert_int_equal(parse(ctx, bad[i].header, bad[i].data, &memory, &f), VKD_E_FORMAT);
        assert_null(f);
        const char *message = vkd_ctx_error(ctx); /* jansson words those without one here */
        if (bad[i].message)
            assert_string_equal(message, bad[i].message);
        else
            assert_non_null(strstr(message, "'f': the header is damaged at its byte "));
        free(memory);
    }
    vkd_ctx_destroy(ctx);
}

static void header_sizes_that_lie_are_refused(void **state) {
    (void)state;
    static const struct {
        uint8_t bytes[12];
        const char *message;
    } bad[] = {
        {{3, 0, 0, 0, 0, 0, 0, 0, '{', '}'},
         "'f' is cut short, 2 of 3 bytes of the header are there"},
        {{1, 0, 0, 0, 0, 0, 0, 0, '{', '}'},
         "'f' is not a safetensors file, or damaged: its header would have 1 bytes, must have from "
         "2 to 100000000"},
        {{1, 0xe1, 0xf5, 5, 0, 0, 0, 0, '{', '}'},
         "'f' is not a safetensors file, or damaged: its header would have 100000001 bytes, must "
         "have from 2 to 100000000"},
        {{255, 255, 255, 255, 255, 255, 255, 255, '{', '}'},
         "'f' is not a safetensors file, or damaged: its header would have 18446744073709551615 "
         "bytes, must have from 2 to 100000000"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        vkd__st_file *f;
        assert_int_equal(vkd__st_parse(ctx, "f", bad[i].bytes, 10, &f), VKD_E_FORMAT);
        assert_string_equal(vkd_ctx_error(ctx), bad[i].message);
    }
    vkd_ctx_destroy(ctx);
}

/* ---- Files ---- */

static const float weights[6] = {1, -2, 3.5f, 0, 1e-40f, 6};
static const int32_t counts[2] = {-1, 7};
static const uint8_t flags[3] = {1, 2, 255};
static const uint16_t halves[3] = {0x3c00, 0xc000, 0x7bff};
static const vkd__st_tensor tensors[] = {
    {"flags \"\\\n", VKD_U8, {1, {3}}, flags, sizeof flags},
    {"net.\xc3\xa9", VKD_F32, {3, {1, 2, 3}}, weights, sizeof weights},
    {"counts", VKD_I32, {1, {2}}, counts, sizeof counts},
    {"step", VKD_F32, {0, {0}}, weights, 4},
    {"nothing", VKD_F32, {2, {0, 4}}, NULL, 0},
    {"halves", VKD_F16, {1, {3}}, halves, sizeof halves},
    {"brains", VKD_BF16, {1, {3}}, halves, sizeof halves},
};
static const vkd__st_pair metadata[] = {{"format", "vkd"}, {"recipe", "a: \"1\"\n\tb\x01"}};

static void written_files_read_back_equal(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    assert_int_equal(vkd__st_write(ctx, path, tensors, VKD_COUNT(tensors), metadata, 2), VKD_OK);
    assert_false(vkd__file_exists(temporary));
    vkd__st_file *f;
    assert_int_equal(vkd__st_open(ctx, path, &f), VKD_OK);
    assert_int_equal(vkd__st_count(f), VKD_COUNT(tensors));
    for (size_t i = 0; i < VKD_COUNT(tensors); i++) {
        const vkd__st_tensor *t = vkd__st_find(f, tensors[i].name);
        assert_non_null(t);
        assert_int_equal(t->dtype, tensors[i].dtype);
        assert_memory_equal(&t->shape, &tensors[i].shape, sizeof t->shape);
        assert_int_equal(t->bytes, tensors[i].bytes);
        if (t->bytes) assert_memory_equal(t->data, tensors[i].data, t->bytes);
        assert_int_equal((uintptr_t)t->data % vkd_dtype_size(t->dtype), 0);
    }
    assert_string_equal(vkd__st_at(f, 0)->name, tensors[1].name); /* the bytes went to the end */
    assert_string_equal(vkd__st_at(f, 4)->name, tensors[5].name); /* after all of four bytes */
    assert_string_equal(vkd__st_at(f, 6)->name, tensors[0].name);
    assert_int_equal((uintptr_t)vkd__st_at(f, 0)->data % 8, 0);
    for (size_t i = 0; i < 2; i++)
        assert_string_equal(vkd__st_metadata(f, metadata[i].key), metadata[i].value);
    vkd__st_close(f);
    vkd_ctx_destroy(ctx);
}

static void values_are_aligned_after_headers_of_any_length(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    static const char digits[] = "12345678";
    for (size_t i = 0; i < 8; i++) {
        const vkd__st_pair pair = {"k", digits + i};
        assert_int_equal(vkd__st_write(ctx, path, &tensors[1], 1, &pair, 1), VKD_OK);
        vkd__st_file *f;
        assert_int_equal(vkd__st_open(ctx, path, &f), VKD_OK);
        assert_int_equal((uintptr_t)vkd__st_at(f, 0)->data % 8, 0);
        vkd__st_close(f);
    }
    vkd_ctx_destroy(ctx);
}

static void every_beginning_of_a_file_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    assert_int_equal(vkd__st_write(ctx, path, tensors, VKD_COUNT(tensors), metadata, 2), VKD_OK);
    vkd__mapping whole;
    assert_int_equal(vkd__map_file(ctx, path, &whole), VKD_OK);
    for (size_t size = 0; size < whole.size; size++) {
        uint8_t *exact = malloc(size ? size : 1);
        assert_non_null(exact);
        memcpy(exact, whole.bytes, size);
        vkd__st_file *f;
        assert_int_equal(vkd__st_parse(ctx, "f", exact, size, &f), VKD_E_FORMAT);
        free(exact);
    }
    vkd__unmap_file(&whole);
    vkd_ctx_destroy(ctx);
}

static void what_cannot_be_written_leaves_no_file(void **state) {
    (void)state;
    static const struct {
        vkd__st_tensor tensor;
        vkd__st_pair pair;
        const char *message;
    } bad[] = {
        {{"counts", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "name 'counts' comes twice"},
        {{"__metadata__", VKD_U8, {1, {3}}, flags, 3},
         {"k", "v"},
         "name '__metadata__' comes twice"},
        {{"x", VKD_U8, {1, {3}}, flags, 3}, {"format", "v"}, "name 'format' comes twice"},
        {{"x", VKD_F32, {1, {3}}, flags, 3},
         {"k", "v"},
         "tensor 'x' has 3 bytes, not what its shape needs"},
        {{"x", VKD_F32, {4, {65536, 65536, 65536, 65536}}, flags, 0},
         {"k", "v"},
         "tensor 'x' has 0 bytes, not what its shape needs"},
        {{"\xc0\x80", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "a name is not UTF-8"},
        {{"\xbf\xbf", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "a name is not UTF-8"},
        {{"\xe0\x80\x80", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "a name is not UTF-8"},
        {{"\xed\xa0\x80", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "a name is not UTF-8"},
        {{"\xf4\x90\x80\x80", VKD_U8, {1, {3}}, flags, 3}, {"k", "v"}, "a name is not UTF-8"},
        {{"x", VKD_U8, {1, {3}}, flags, 3}, {"k", "\xe2\x82"}, "a name is not UTF-8"},
    };
    vkd_ctx *ctx = test_ctx();
    unlink(path);
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        const vkd__st_tensor two[] = {tensors[2], bad[i].tensor};
        const vkd__st_pair pairs[] = {metadata[0], bad[i].pair};
        assert_int_equal(vkd__st_write(ctx, path, two, 2, pairs, 2), VKD_E_ARGUMENT);
        assert_non_null(strstr(vkd_ctx_error(ctx), bad[i].message));
        assert_false(vkd__file_exists(path) || vkd__file_exists(temporary));
    }
    vkd_ctx_destroy(ctx);
}

/* The system refuses bytes beyond this limit just as a full disk does: in the middle of a write. */
static void limit_file_size(rlim_t limit) {
    struct rlimit now;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &now), 0);
    now.rlim_cur = limit;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
}

static void a_full_disk_leaves_the_old_file_whole(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    assert_int_equal(vkd__st_write(ctx, path, tensors, 3, NULL, 0), VKD_OK);
    struct stat old, now;
    assert_int_equal(stat(path, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (rlim_t limit = 0; limit < (rlim_t)old.st_size; limit += 7) {
        limit_file_size(limit);
        const vkd_result r = vkd__st_write(ctx, path, tensors, 3, NULL, 0);
        limit_file_size(RLIM_INFINITY);
        assert_int_equal(r, VKD_E_FILE);
        assert_non_null(strstr(vkd_ctx_error(ctx), "File too large"));
        assert_false(vkd__file_exists(temporary));
        assert_int_equal(stat(path, &now), 0);
        assert_true(now.st_ino == old.st_ino && now.st_size == old.st_size);
        vkd__st_file *f;
        assert_int_equal(vkd__st_open(ctx, path, &f), VKD_OK);
        vkd__st_close(f);
    }
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tensors_and_metadata_are_found),
        cmocka_unit_test(tensors_of_other_dtypes_stand_beside_the_ones_that_are_read),
        cmocka_unit_test(what_a_header_lies_about_is_said),
        cmocka_unit_test(header_sizes_that_lie_are_refused),
        cmocka_unit_test(written_files_read_back_equal),
        cmocka_unit_test(values_are_aligned_after_headers_of_any_length),
        cmocka_unit_test(every_beginning_of_a_file_is_refused),
        cmocka_unit_test(what_cannot_be_written_leaves_no_file),
        cmocka_unit_test(a_full_disk_leaves_the_old_file_whole),
    };
    return cmocka_run_group_tests_name("safetensors", tests, make_folder, remove_folder);
}
