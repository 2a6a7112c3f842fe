// SPDX-License-Identifier: Apache-2.0
/* Model files of this program and of others: the order of axes, and what is said of files that do
 * not fit. tests/gpu/models.c looks at what loaded networks compute. */
#include "support/model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "train/model_file.h"
#include "train/model_order.h"

static const char resnet[] = "tests/golden/models/resnet.safetensors"; /* PyTorch's */
static const char resnet_options[] = "depth=8 width=0.1875 stem=5";

static char path[] = "/tmp/vkd_load_XXXXXX";

static int make_file(void **state) {
    (void)state;
    const int fd = mkstemp(path);
    return fd < 0 || close(fd);
}

static int remove_file(void **state) {
    (void)state;
    return unlink(path);
}

/* What was logged, one line behind the other. */
typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    char log[2048];
} fixture;

static void log_line(void *user, vkd_log_level level, const char *message) {
    fixture *f = user;
    const size_t length = strlen(f->log);
    snprintf(f->log + length, sizeof f->log - length, "%s %s\n",
             level == VKD_LOG_WARNING ? "warning:" : "info:", message);
}

/* A store with the parameters of a model called "m". */
static void setup(fixture *f, const char *arch, const char *options, vkd_shape input) {
    *f = (fixture){0};
    vkd_graph *g = NULL;
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = log_line, .user = f}, &f->ctx), VKD_OK);
    assert_int_equal(vkd_store_create(f->ctx, &f->store), VKD_OK);
    assert_int_equal(vkd_graph_create(f->ctx, f->store, NULL, &g), VKD_OK);
    test_model m = test_model_make(f->ctx, arch, options);
    test_free(test_model_build(g, &m, vkd_input(g, "x", VKD_F32, input), 5, false));
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    test_model_term(&m);
    vkd_graph_destroy(g);
}

static void teardown(fixture *f) {
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static vkd_result load(fixture *f, const char *file) {
    return vkd__model_load(f->ctx, f->store, TEST_MODEL, file, 5, NULL);
}

static void expect(const fixture *f, vkd_result got, vkd_result want, const char *message) {
    assert_int_equal(got, want);
    if (!strstr(vkd_ctx_error(f->ctx), message))
        fail_msg("'%s' does not hold '%s'", vkd_ctx_error(f->ctx), message);
}

/* ---- A file of PyTorch's ---- */

static void a_state_dict_is_read_in_its_own_order(void **state) {
    (void)state;
    fixture f;
    setup(&f, "resnet", resnet_options, VKD_SHAPE(2, 8, 8, 3));
    if (load(&f, resnet)) fail_msg("%s", vkd_ctx_error(f.ctx));

    vkd__st_file *file = NULL;
    assert_int_equal(vkd__st_open(f.ctx, resnet, &file), VKD_OK);
    const vkd__st_tensor *t = vkd__st_find(file, "conv1.weight");
    assert_int_equal(t->shape.dim[1], 3); /* (5, 3, 3, 3): channels before taps */
    float there[5][3][3][3], here[5][3][3][3];
    memcpy(there, t->data, sizeof there);
    assert_int_equal(vkd_store_read(f.store, TEST_MODEL ".conv1.weight", here, sizeof here),
                     VKD_OK);
    for (int o = 0; o < 5; o++)
        for (int c = 0; c < 3; c++)
            for (int r = 0; r < 3; r++)
                for (int s = 0; s < 3; s++)
                    assert_true(here[o][r][s][c] == there[o][c][r][s]);

    float variance[5];
    assert_int_equal(
        vkd_store_read(f.store, TEST_MODEL ".bn1.running_var", variance, sizeof variance), VKD_OK);
    assert_memory_equal(variance, vkd__st_find(file, "bn1.running_var")->data, sizeof variance);
    vkd__st_close(file);

    assert_non_null(strstr(f.log, "info: 'tests/golden/models/resnet.safetensors': 10 times "
                                  "num_batches_tracked is left out"));
    assert_non_null(strstr(f.log, "warning: 'tests/golden/models/resnet.safetensors': 9 tensors "
                                  "are left out, the model 'm' has none of their names: "
                                  "golden.input, golden.stem, golden.stage1.out, "
                                  "golden.stage2.out and 5 more"));
    teardown(&f);
}

static void a_file_of_another_shape_says_both(void **state) {
    (void)state;
    fixture f;
    setup(&f, "resnet", "depth=8 width=0.25 stem=5", VKD_SHAPE(2, 8, 8, 3));
    expect(&f, load(&f, resnet), VKD_E_SHAPE,
           "'layer1.0.conv1.weight' is (3, 5, 3, 3) in the file and (4, 5, 3, 3) in the model; "
           "give the model the options that the file was trained with");
    teardown(&f);
}

static void what_a_file_lacks_is_listed_and_nothing_is_written(void **state) {
    (void)state;
    fixture f;
    setup(&f, "resnet", "depth=14 width=0.1875 stem=5", VKD_SHAPE(2, 8, 8, 3));
    expect(&f, load(&f, resnet), VKD_E_SHAPE,
           "lacks 30 of the 82 tensors of the model 'm' (layer1.1.conv1.weight, "
           "layer1.1.bn1.weight, layer1.1.bn1.bias, layer1.1.bn1.running_mean and 26 more), and "
           "has others (golden.input, ");
    float mean[5];
    assert_int_equal(vkd_store_read(f.store, TEST_MODEL ".bn1.running_mean", mean, sizeof mean),
                     VKD_OK);
    for (int i = 0; i < 5; i++)
        assert_true(mean[i] == 0);
    teardown(&f);
}

/* ---- Files that are written here ---- */

static const float values[8] = {1, 2, 3, 4, 5, 6, 7, 8};

/* The linear classifier on two inputs, with more of this name and dtype. */
static void write_linear(fixture *f, const char *weight, vkd_dtype dtype, const char *more,
                         const char *arch) {
    const vkd__st_tensor tensors[] = {
        {weight, dtype, VKD_SHAPE(5, 1), values, 5 * sizeof *values},
        {"fc0.bias", VKD_F32, VKD_SHAPE(5), values, 5 * sizeof *values},
        {more, VKD_F32, VKD_SHAPE(2), values, 2 * sizeof *values}};
    const vkd__st_pair pairs[] = {
        {"arch", arch}, {"format", "vkdistill model 2"}, {"classes", "5"}};
    assert_int_equal(
        vkd__st_write(f->ctx, path, tensors, more ? 3 : 2, pairs, arch ? VKD_COUNT(pairs) : 0),
        VKD_OK);
}

static void files_are_told_apart_by_their_metadata(void **state) {
    (void)state;
    fixture f;
    setup(&f, "mlp", "hidden=[]", VKD_SHAPE(2, 1));
    write_linear(&f, "fc0.weight", VKD_F32, "more", NULL);
    assert_int_equal(load(&f, path), VKD_OK);
    assert_non_null(strstr(f.log, "1 tensors are left out"));
    /* What this program wrote fits or does not. */
    write_linear(&f, "fc0.weight", VKD_F32, "more", "mlp");
    expect(&f, load(&f, path), VKD_E_SHAPE, "has 1 tensors that the model 'm' has not: more");
    write_linear(&f, "fc0.weight", VKD_F32, NULL, "mlp");
    assert_int_equal(load(&f, path), VKD_OK);
    expect(&f, vkd__model_load(f.ctx, f.store, TEST_MODEL, path, 6, NULL), VKD_E_SHAPE,
           "tells 5 classes apart, the data has 6");
    teardown(&f);
}

static void a_tensor_that_is_no_f32_is_named(void **state) {
    (void)state;
    fixture f;
    setup(&f, "mlp", "hidden=[]", VKD_SHAPE(2, 1));
    write_linear(&f, "fc0.weight", VKD_I32, NULL, NULL);
    expect(&f, load(&f, path), VKD_E_DATA, "'fc0.weight' is I32, a model's tensors are F32");
    write_linear(&f, "module.fc0.weight", VKD_F32, NULL, NULL);
    expect(&f, load(&f, path), VKD_E_SHAPE,
           "lacks 1 of the 2 tensors of the model 'm' (fc0.weight), and has others "
           "(module.fc0.weight): it is another architecture, or names them otherwise");
    teardown(&f);
}

/* ---- The order ---- */

static void weights_go_to_the_file_and_back(void **state) {
    (void)state;
    const vkd_shape shapes[] = {VKD_SHAPE(2, 3, 2, 4), VKD_SHAPE(6, 3, 3, 1), VKD_SHAPE(5, 7),
                                VKD_SHAPE(9)};
    const vkd_shape files[] = {VKD_SHAPE(2, 4, 3, 2), VKD_SHAPE(6, 1, 3, 3), VKD_SHAPE(5, 7),
                               VKD_SHAPE(9)};
    for (size_t i = 0; i < VKD_COUNT(shapes); i++) {
        float stored[64], back[64];
        char file[1 + sizeof stored]; /* a file's values may be unaligned */
        const size_t count = (size_t)vkd_shape_count(shapes[i]);
        float ordered[64];
        for (size_t k = 0; k < count; k++)
            stored[k] = (float)k;
        vkd__model_to_file(shapes[i], stored, ordered);
        memcpy(file + 1, ordered, count * sizeof *ordered);
        vkd__model_from_file(shapes[i], file + 1, back);
        assert_memory_equal(back, stored, count * sizeof *stored);
        const vkd_shape s = vkd__model_file_shape(shapes[i]);
        assert_memory_equal(&s, &files[i], sizeof s);
        /* Channels first: o = 1, c = 2, r = 1, s = 0 of (2, 3, 2, 4). */
        if (!i)
            assert_true(ordered[((1 * 4 + 2) * 3 + 1) * 2] == stored[((1 * 3 + 1) * 2) * 4 + 2]);
        if (i) assert_memory_equal(ordered, stored, count * sizeof *stored);
    }
}

static void a_file_holds_parameters_and_buffers_of_its_own_group(void **state) {
    static const struct {
        const char *name;
        bool parameter, buffer, held;
    } cases[] = {
        {"m.conv1.weight", true, false, true},   {"m.bn1.running_mean", false, true, true},
        {"m.momentum", false, false, false},     {"m.adapter.hint.weight", true, false, false},
        {"m2.conv1.weight", true, false, false}, {"data.train", false, false, false},
    };
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const vkd_store_info info = {
            .name = cases[i].name, .parameter = cases[i].parameter, .buffer = cases[i].buffer};
        const char *rest = NULL;
        assert_int_equal(vkd__model_holds(&info, "m", &rest), cases[i].held);
        if (cases[i].held) assert_string_equal(rest, cases[i].name + 2);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_state_dict_is_read_in_its_own_order),
        cmocka_unit_test(a_file_of_another_shape_says_both),
        cmocka_unit_test(what_a_file_lacks_is_listed_and_nothing_is_written),
        cmocka_unit_test(files_are_told_apart_by_their_metadata),
        cmocka_unit_test(a_tensor_that_is_no_f32_is_named),
        cmocka_unit_test(weights_go_to_the_file_and_back),
        cmocka_unit_test(a_file_holds_parameters_and_buffers_of_its_own_group),
    };
    return cmocka_run_group_tests(tests, make_file, remove_file);
}
