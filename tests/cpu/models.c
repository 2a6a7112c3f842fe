// SPDX-License-Identifier: Apache-2.0
/* The architectures: how many parameters they have, what their taps are, that every parameter
 * learns, and what they refuse. */
#include "support/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "../golden/models.h"
#include "graph/graph.h"
#include "graph/plan.h"
#include "vkdistill/train.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static fixture setup(void) {
    fixture f = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

static void teardown(fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static vkd_tensor images(vkd_graph *g, uint32_t count, vkd_shape sample) {
    return vkd_input(g, "x", VKD_F32,
                     VKD_SHAPE(count, sample.dim[0], sample.dim[1], sample.dim[2]));
}

/* ---- Sizes ---- */

/* golden_counts holds what PyTorch counts; among them what the papers and their implementations
 * say: 0.27 M for resnet20 and 1.7 M for resnet110 on CIFAR-10 (He et al.), 0.7 M for WRN-16-2 and
 * 2.2 M for WRN-40-2 (Zagoruyko & Komodakis), 3.5 M for MobileNetV2 (Sandler et al.), 9.46 M for
 * vgg13 on CIFAR-100 (Tian et al.). */
static void parameters_are_as_many_as_published(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(golden_counts); i++) {
        fixture f = setup();
        test_model m = test_model_make(f.ctx, golden_counts[i].arch, golden_counts[i].options);
        for (int training = 0; training < 2; training++) { /* which makes none of its own */
            vkd_graph *g = NULL;
            assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &g), VKD_OK);
            test_free(test_model_build(g, &m, images(g, 2, golden_counts[i].sample),
                                       golden_counts[i].classes, training));
            if (vkd_graph_status(g)) fail_msg("%s", vkd_ctx_error(f.ctx));
            vkd_graph_destroy(g);
        }
        uint64_t count = 0;
        for (uint32_t k = 0; k < vkd_store_count(f.store); k++) {
            const vkd_store_info info = vkd_store_at(f.store, k);
            if (info.parameter) count += vkd_shape_count(info.shape);
        }
        if (count != golden_counts[i].parameters)
            fail_msg("%s %s: %llu parameters, PyTorch has %llu", golden_counts[i].arch,
                     golden_counts[i].options, (unsigned long long)count,
                     (unsigned long long)golden_counts[i].parameters);
        test_model_term(&m);
        teardown(&f);
    }
}

/* ---- Taps ---- */

static const struct {
    const char *arch, *options;
    vkd_shape sample;
    const char *taps; /* all but those of single blocks */
} tap_cases[] = {
    {"plain_cnn",
     "depth=2",
     {3, {28, 28, 1}},
     "stem 28x28x16, stage1.out 28x28x16, stage2.out 14x14x16, pool 784, logits 7"},
    {"plain_cnn",
     "depth=8",
     {3, {28, 28, 1}},
     "stem 28x28x16, stage1.out 28x28x16, stage2.out 14x14x32, stage3.out 7x7x64, "
     "stage4.out 3x3x128, pool 128, fc1 64, logits 7"},
    {"plain_cnn",
     "depth=6 width=3",
     {3, {14, 14, 1}},
     "stem 14x14x3, stage1.out 14x14x3, stage2.out 7x7x6, stage3.out 3x3x12, pool 12, logits 7"},
    {"resnet",
     "depth=8",
     {3, {28, 28, 1}},
     "stem 28x28x16, stage1.out 28x28x16, stage2.out 14x14x32, stage3.out 7x7x64, pool 64, "
     "logits 7"},
    {"resnet",
     "depth=14 width=2 stem=8",
     {3, {32, 32, 3}},
     "stem 32x32x8, stage1.out 32x32x32, stage2.out 16x16x64, stage3.out 8x8x128, pool 128, "
     "logits 7"},
    {"resnet",
     "depth=8 width=0.3 shortcut=A",
     {3, {14, 14, 1}},
     "stem 14x14x5, stage1.out 14x14x5, stage2.out 7x7x10, stage3.out 4x4x20, pool 20, logits 7"},
    {"wrn",
     "depth=10 widen=2",
     {3, {32, 32, 3}},
     "stem 32x32x16, stage1.out 32x32x32, stage1.act 32x32x32, stage2.out 16x16x64, "
     "stage2.act 16x16x64, stage3.out 8x8x128, stage3.act 8x8x128, pool 128, logits 7"},
    {"wrn",
     "depth=10",
     {3, {14, 14, 1}},
     "stem 14x14x16, stage1.out 14x14x16, stage1.act 14x14x16, stage2.out 7x7x32, "
     "stage2.act 7x7x32, stage3.out 4x4x64, stage3.act 4x4x64, pool 64, logits 7"},
    {"vgg",
     "",
     {3, {32, 32, 3}},
     "stem 32x32x64, stage1.out 16x16x128, stage2.out 8x8x256, stage3.out 4x4x512, "
     "stage4.out 4x4x512, pool 512, logits 7"},
    {"vgg",
     "depth=13 width=0.0625",
     {3, {14, 14, 1}},
     "stem 14x14x4, stage1.out 7x7x8, stage2.out 3x3x16, stage3.out 1x1x32, stage4.out 1x1x32, "
     "pool 32, logits 7"},
    {"vgg",
     "width=0.125",
     {3, {64, 64, 3}},
     "stem 64x64x8, stage1.out 32x32x16, stage2.out 16x16x32, stage3.out 8x8x64, "
     "stage4.out 4x4x64, pool 64, logits 7"},
    {"mobilenet_v2",
     "",
     {3, {32, 32, 3}},
     "stem 16x16x32, stage1.out 16x16x24, stage2.out 8x8x32, stage3.out 4x4x96, "
     "stage4.out 2x2x320, head 2x2x1280, pool 1280, logits 7"},
    {"mobilenet_v2",
     "width=0.25 head=64",
     {3, {14, 14, 1}},
     "stem 7x7x8, stage1.out 7x7x8, stage2.out 4x4x8, stage3.out 2x2x24, stage4.out 1x1x80, "
     "head 1x1x64, pool 64, logits 7"},
};

static void describe(const vkd_graph *g, const vkd__model_io *io, char *out, size_t size) {
    size_t length = 0;
    *out = 0;
    for (uint32_t i = 0; i < io->tap_count; i++) {
        const vkd_shape s = vkd_tensor_shape(g, io->taps[i].tensor);
        assert_int_equal(s.dim[0], 3);
        if (strstr(io->taps[i].name, ".block")) continue;
        length += (size_t)snprintf(out + length, size - length, "%s%s ", length ? ", " : "",
                                   io->taps[i].name);
        for (uint32_t k = 1; k < s.axes; k++)
            length += (size_t)snprintf(out + length, size - length, "%s%u", k > 1 ? "x" : "",
                                       (unsigned)s.dim[k]);
        assert_true(length < size);
    }
}

static void taps_have_the_shapes_of_their_stages(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(tap_cases); i++) {
        fixture f = setup();
        test_model m = test_model_make(f.ctx, tap_cases[i].arch, tap_cases[i].options);
        assert_int_equal(vkd__model_check(f.ctx, m.def, "m", m.config, &tap_cases[i].sample),
                         VKD_OK);
        vkd__model_io *io =
            test_model_build(f.g, &m, images(f.g, 3, tap_cases[i].sample), 7, false);
        if (vkd_graph_status(f.g)) fail_msg("%s", vkd_ctx_error(f.ctx));
        char text[512];
        describe(f.g, io, text, sizeof text);
        assert_string_equal(text, tap_cases[i].taps);
        test_free(io);
        test_model_term(&m);
        teardown(&f);
    }
}

/* The deepest that their options allow: taps of all blocks find room. */
static void the_deepest_networks_have_room_for_their_taps(void **state) {
    static const struct {
        const char *arch, *options, *last;
    } deep[] = {{"resnet", "depth=110 width=0.0625", "stage3.block18"},
                {"wrn", "depth=82 widen=0.0625", "stage3.block13"},
                {"mobilenet_v2", "width=0.03125 divisor=1 head=4", "stage4.block4"}};
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(deep); i++) {
        fixture f = setup();
        test_model m = test_model_make(f.ctx, deep[i].arch, deep[i].options);
        vkd__model_io *io = test_model_build(f.g, &m, images(f.g, 2, VKD_SHAPE(4, 4, 1)), 2, true);
        assert_int_equal(vkd_graph_status(f.g), VKD_OK);
        assert_true(vkd__tap_find(io, deep[i].last).id);
        assert_true(vkd__tap_find(io, "logits").id);
        test_free(io);
        test_model_term(&m);
        teardown(&f);
    }
}

/* ---- Gradients ---- */

static vkd_tensor cross_entropy(vkd_graph *g, const vkd__model_io *io, uint32_t batch) {
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(batch));
    return vkd_ce(g, vkd__tap_find(io, "logits"), labels, 0.0f);
}

static const struct {
    const char *arch, *options;
} trained[] = {
    {"mlp", "hidden=[5]"},
    {"plain_cnn", "depth=2 width=4"},
    {"plain_cnn", "depth=10 width=2 batchnorm=false"},
    {"resnet", "depth=14 width=0.25"},
    {"resnet", "depth=8 width=0.25 shortcut=A"},
    {"wrn", "depth=16 widen=0.25 stem=0.5 dropout=0.2"},
    {"vgg", "depth=11 width=0.0625"},
    {"mobilenet_v2", "width=0.2 divisor=4 head=12"},
};

/* What adds a constant to each channel in front of a batchnorm, whose mean takes it away again: a
 * convolution's bias in vgg; in mobilenet_v2 the batchnorm that ends a block, because all that
 * reads a block, perhaps over a sum, is a 1 x 1 convolution with batchnorm. Its gradient is zero
 * but for roundings. */
static bool has_no_say(const vkd_store *store, const char *name) {
    unsigned block, layer;
    char bias[64], norm[64];
    if (sscanf(name, TEST_MODEL ".features.%u.conv.%u.", &block, &layer) == 2) {
        snprintf(bias, sizeof bias, TEST_MODEL ".features.%u.conv.%u.bias", block,
                 block == 1 ? 2u : 3u);
        return !strcmp(name, bias);
    }
    if (sscanf(name, TEST_MODEL ".block%u.%u.", &block, &layer) != 2) return false;
    snprintf(bias, sizeof bias, TEST_MODEL ".block%u.%u.bias", block, layer);
    snprintf(norm, sizeof norm, TEST_MODEL ".block%u.%u.running_mean", block, layer + 1);
    return !strcmp(name, bias) && vkd_store_find(store, norm, NULL);
}

static void every_parameter_has_a_gradient(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(trained); i++) {
        fixture f = setup();
        test_model m = test_model_make(f.ctx, trained[i].arch, trained[i].options);
        vkd__model_io *io =
            test_model_build(f.g, &m, images(f.g, 4, VKD_SHAPE(16, 16, 2)), 3, true);
        const vkd_tensor loss = cross_entropy(f.g, io, 4);
        vkd_tensor of[512], gradients[512];
        const char *names[512];
        uint32_t count = 0;
        for (uint32_t k = 0; k < vkd_store_count(f.store); k++) {
            const vkd_store_info info = vkd_store_at(f.store, k);
            if (!info.parameter) continue;
            assert_true(count < VKD_COUNT(of));
            names[count] = info.name;
            of[count++] = vkd_param(f.g, info.name, info.shape, NULL);
        }
        vkd_backward(f.g, loss, of, count, gradients);
        vkd__host *h = NULL;
        if (vkd__host_create(f.g, &h)) fail_msg("%s", vkd_ctx_error(f.ctx));
        test_model_fill(f.g, h);
        vkd__host_run(h);
        for (uint32_t k = 0; k < count; k++) {
            const double *v = vkd__host_values(h, gradients[k]);
            double most = 0;
            for (uint64_t e = 0; e < vkd_shape_count(vkd_tensor_shape(f.g, of[k])); e++)
                most = fmax(most, fabs(v[e]));
            if (!isfinite(most) || (most < 1e-9) != has_no_say(f.store, names[k]))
                fail_msg("%s %s: the largest gradient of '%s' is %g", trained[i].arch,
                         trained[i].options, names[k], most);
        }
        vkd__host_destroy(h);
        test_free(io);
        test_model_term(&m);
        teardown(&f);
    }
}

static void training_steps_can_be_planned(void **state) {
    static const char *const profiles[] = {"cpu", "gpu"};
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(trained); i++) {
        fixture f = setup();
        test_model m = test_model_make(f.ctx, trained[i].arch, trained[i].options);
        vkd__model_io *io =
            test_model_build(f.g, &m, images(f.g, 4, VKD_SHAPE(16, 16, 2)), 3, true);
        const vkd_tensor loss = cross_entropy(f.g, io, 4);
        const vkd_tensor gradient = vkd_gradient(f.g, loss, TEST_MODEL);
        vkd_sgd(f.g, TEST_MODEL, gradient, vkd_guard(f.g, TEST_MODEL, gradient, loss, 0.0f),
                vkd_constant(f.g, 0.1f), NULL);
        for (size_t k = 0; k < VKD_COUNT(profiles); k++) {
            vkd_plan *plan = NULL;
            if (vkd_plan_create(f.g, vkd_profile_find(profiles[k]), &plan))
                fail_msg("%s: %s", trained[i].arch, vkd_ctx_error(f.ctx));
            vkd_plan_destroy(plan);
        }
        test_free(io);
        test_model_term(&m);
        teardown(&f);
    }
}

/* ---- What is refused ---- */

static void sizes_that_do_not_fit_are_refused_in_a_sentence(void **state) {
    static const struct {
        const char *arch, *options;
        vkd_shape sample; /* no axes: not known yet */
        const char *message;
    } bad[] = {
        {"resnet", "depth=9", {0}, "m: a resnet's depth is 6n + 2 (8, 14, 20, 26, 32, ...), not 9"},
        {"resnet", "shortcut=A stem=8", {0}, "m: shortcut A has no way from a stem of 8 channels"},
        {"wrn", "depth=12", {0}, "m: a wide residual network's depth is 6n + 4 (10, 16, 22, 28"},
        {"plain_cnn",
         "depth=8",
         {3, {14, 14, 1}},
         "m halves its images 4 times, which leaves nothing of 14 x 14 pixels: take fewer layers, "
         "or images of at least 16 x 16"},
        {"vgg", "", {3, {32, 7, 3}}, "m halves its images 3 times, which leaves nothing of 32 x 7"},
        {"vgg",
         "",
         {1, {784}},
         "m takes images (height, width, channels), the samples have 1 axes"},
        {"mobilenet_v2", "", {2, {28, 28}}, "m takes images (height, width, channels)"},
    };
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        test_model m = test_model_make(ctx, bad[i].arch, bad[i].options);
        const vkd_shape *sample = bad[i].sample.axes ? &bad[i].sample : NULL;
        assert_int_equal(vkd__model_check(ctx, m.def, "m", m.config, sample), VKD_E_RECIPE);
        if (strncmp(vkd_ctx_error(ctx), bad[i].message, strlen(bad[i].message)) != 0)
            fail_msg("'%s' does not begin with '%s'", vkd_ctx_error(ctx), bad[i].message);
        if (sample) assert_int_equal(vkd__model_check(ctx, m.def, "m", m.config, NULL), VKD_OK);
        test_model_term(&m);
    }
    vkd_ctx_destroy(ctx);
}

static void a_recipe_says_where_a_depth_is_wrong(void **state) {
    (void)state;
    static const char text[] =
        "name: r\ndata: {format: idx}\nmodels:\n  deep: {arch: resnet, depth: 21}\n"
        "stages: [{name: s, train: deep, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: "
        "1}]\n";
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    assert_int_equal(vkd_recipe_parse(ctx, "r.yaml", text, sizeof text - 1, NULL, 0, &recipe),
                     VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "r.yaml:4: model 'deep': a resnet's depth is 6n"));
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_as_many_as_published),
        cmocka_unit_test(taps_have_the_shapes_of_their_stages),
        cmocka_unit_test(the_deepest_networks_have_room_for_their_taps),
        cmocka_unit_test(every_parameter_has_a_gradient),
        cmocka_unit_test(training_steps_can_be_planned),
        cmocka_unit_test(sizes_that_do_not_fit_are_refused_in_a_sentence),
        cmocka_unit_test(a_recipe_says_where_a_depth_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
