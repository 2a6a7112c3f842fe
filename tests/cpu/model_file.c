// SPDX-License-Identifier: Apache-2.0
/* What a model's file must say before anything is built of it; runs that save and load are in
 * tests/gpu. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/model_file.h"

static char path[] = "/tmp/vkd_model_XXXXXX";

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

/* A linear classifier's file with this format, input, and names unless they are NULL. */
static void write_model(vkd_ctx *ctx, const char *format, const char *input, const char *names) {
    const vkd__st_pair pairs[] = {
        {"format", format},      {"arch", "mlp"},         {"config.hidden", "[]"},
        {"input", input},        {"config.dropout", "0"}, {"config.activation", "relu"},
        {"classes", "3"},        {"config.norm", "none"}, {"config.init", "fan_in"},
        {"scale", "0.00392157"}, {"mean", "0.1,0.2,0.3"}, {"std", "1,1,1"},
        {"class_names", names}};
    const float weight[3 * 12] = {0}, bias[3] = {0};
    const vkd__st_tensor tensors[] = {
        {"fc0.weight", VKD_F32, VKD_SHAPE(3, 12), weight, sizeof weight},
        {"fc0.bias", VKD_F32, VKD_SHAPE(3), bias, sizeof bias}};
    if (vkd__st_write(ctx, path, tensors, 2, pairs, VKD_COUNT(pairs) - !names))
        fail_msg("%s", vkd_ctx_error(ctx));
}

static vkd_result open_model(vkd_ctx *ctx, const char *format, const char *input, vkd_shape *out) {
    vkd__saved_model m;
    write_model(ctx, format, input, NULL);
    const vkd_result r = vkd__saved_model_open(ctx, path, &m);
    *out = m.sample;
    vkd__saved_model_term(ctx, &m);
    return r;
}

static void assert_shape(vkd_shape got, vkd_shape want) {
    assert_memory_equal(&got, &want, sizeof got);
}

static void samples_are_channels_last(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_shape s;
    assert_int_equal(open_model(ctx, "vkdistill model 2", "[2, 2, 3]", &s), VKD_OK);
    assert_shape(s, VKD_SHAPE(2, 2, 3));
    assert_int_equal(open_model(ctx, "vkdistill model 2", "[12]", &s), VKD_OK);
    assert_shape(s, VKD_SHAPE(12));
    /* Of version 1, what is the same in both layouts. */
    assert_int_equal(open_model(ctx, "vkdistill model 1", "[4, 3]", &s), VKD_OK);
    assert_shape(s, VKD_SHAPE(4, 3, 1));
    assert_int_equal(open_model(ctx, "vkdistill model 1", "[12]", &s), VKD_OK);
    assert_shape(s, VKD_SHAPE(12));
    vkd_ctx_destroy(ctx);
}

static void expect(vkd_ctx *ctx, vkd_result r, const char *words) {
    assert_int_equal(r, VKD_E_FORMAT);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
}

static void another_layout_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_shape s;
    vkd_store *store;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    expect(ctx, open_model(ctx, "vkdistill model 1", "[3, 2, 2]", &s),
           "trained when the channels of an image were planes");
    expect(ctx, vkd__model_load(ctx, store, "net", path, 3, NULL), "planes");
    expect(ctx, open_model(ctx, "vkdistill model 3", "[12]", &s),
           "is of format 'vkdistill model 3', this program reads 'vkdistill model 2'");
    expect(ctx, vkd__model_load(ctx, store, "net", path, 3, NULL), "model 3");
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

static vkd_result open_named(vkd_ctx *ctx, const char *names, vkd__saved_model *m) {
    write_model(ctx, VKD__MODEL_FORMAT, "[12]", names);
    return vkd__saved_model_open(ctx, path, m);
}

static void classes_have_names(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__saved_model m;
    assert_int_equal(open_named(ctx, NULL, &m), VKD_OK);
    assert_null(m.class_names);
    vkd__saved_model_term(ctx, &m);
    assert_int_equal(open_named(ctx, "cat\nT-shirt/top\n\xc3\xbc, x\n", &m), VKD_OK);
    assert_string_equal(m.class_names[0], "cat");
    assert_string_equal(m.class_names[1], "T-shirt/top");
    assert_string_equal(m.class_names[2], "\xc3\xbc, x");
    vkd__saved_model_term(ctx, &m);
    expect(ctx, open_named(ctx, "cat\ndog\n", &m), "names 2 classes and has 3");
    expect(ctx, open_named(ctx, "cat\ndog\nbird\nant\n", &m), "names 4 classes and has 3");
    vkd_ctx_destroy(ctx);
}

static void count_warnings(void *user, vkd_log_level level, const char *message) {
    (void)message;
    *(uint32_t *)user += level == VKD_LOG_WARNING;
}

/* What a model and a data set call their classes; 'b' stands for a class called "b". */
static vkd_result agree(vkd_ctx *ctx, const char *file, const char *data) {
    char a[3][2] = {{file[0]}, {file[1]}, {file[2]}}, b[3][2] = {{data[0]}, {data[1]}, {data[2]}};
    char *const names[] = {a[0], a[1], a[2]}, *const others[] = {b[0], b[1], b[2]};
    return vkd__class_names_agree(ctx, path, names, others, 3);
}

static void the_same_classes_in_another_order_are_refused(void **state) {
    (void)state;
    uint32_t warned = 0;
    vkd_ctx *ctx = NULL;
    const vkd_ctx_desc desc = {.log = count_warnings, .user = &warned};
    assert_int_equal(vkd_ctx_create(&desc, &ctx), VKD_OK);
    assert_int_equal(agree(ctx, "abc", "abc"), VKD_OK);
    assert_int_equal(vkd__class_names_agree(ctx, path, NULL, NULL, 3), VKD_OK);
    assert_int_equal(warned, 0);
    assert_int_equal(agree(ctx, "abc", "axc"), VKD_OK); /* another word for the same, perhaps */
    assert_int_equal(warned, 1);
    assert_int_equal(agree(ctx, "abc", "acb"), VKD_E_SHAPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "has 'b' as class 1, the data as class 2"));
    assert_int_equal(agree(ctx, "abc", "xab"), VKD_E_SHAPE);
    vkd_store *store;
    char *const data[] = {"dog", "cat", "bird"};
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    write_model(ctx, VKD__MODEL_FORMAT, "[12]", "cat\ndog\nbird\n");
    assert_int_equal(vkd__model_load(ctx, store, "net", path, 3, data), VKD_E_SHAPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "in another order"));
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_channels_last),
        cmocka_unit_test(another_layout_is_refused),
        cmocka_unit_test(classes_have_names),
        cmocka_unit_test(the_same_classes_in_another_order_are_refused),
    };
    return cmocka_run_group_tests_name("model file", tests, make_file, remove_file);
}
