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

/* A linear classifier's file with this format and input. */
static void write_model(vkd_ctx *ctx, const char *format, const char *input) {
    const vkd__st_pair pairs[] = {
        {"format", format},      {"arch", "mlp"},         {"config.hidden", "[]"},
        {"input", input},        {"config.dropout", "0"}, {"config.activation", "relu"},
        {"classes", "3"},        {"config.norm", "none"}, {"config.init", "fan_in"},
        {"scale", "0.00392157"}, {"mean", "0.1,0.2,0.3"}, {"std", "1,1,1"}};
    const float weight[3 * 12] = {0}, bias[3] = {0};
    const vkd__st_tensor tensors[] = {
        {"fc0.weight", VKD_F32, VKD_SHAPE(3, 12), weight, sizeof weight},
        {"fc0.bias", VKD_F32, VKD_SHAPE(3), bias, sizeof bias}};
    if (vkd__st_write(ctx, path, tensors, 2, pairs, VKD_COUNT(pairs)))
        fail_msg("%s", vkd_ctx_error(ctx));
}

static vkd_result open_model(vkd_ctx *ctx, const char *format, const char *input, vkd_shape *out) {
    vkd__saved_model m;
    write_model(ctx, format, input);
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
    expect(ctx, vkd__model_load(ctx, store, "net", path, 3), "planes");
    expect(ctx, open_model(ctx, "vkdistill model 3", "[12]", &s),
           "is of format 'vkdistill model 3', this program reads 'vkdistill model 2'");
    expect(ctx, vkd__model_load(ctx, store, "net", path, 3), "model 3");
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_are_channels_last),
        cmocka_unit_test(another_layout_is_refused),
    };
    return cmocka_run_group_tests_name("model file", tests, make_file, remove_file);
}
