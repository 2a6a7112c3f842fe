// SPDX-License-Identifier: Apache-2.0
/* Networks that PyTorch wrote, with what it makes of two images: loaded as a teacher is, they give
 * the same taps, in both kernel variants; trained on, they go the same way. The files are described
 * in tests/golden/make_models.py. */
#include "support/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../golden/models.h"
#include "gpu/gpu.h"
#include "train/model_file.h"

enum { IMAGES = 2, STEPS = 6 };

typedef struct golden {
    vkd_ctx *ctx;
    vkd_device *device;
    char path[128];
    vkd__st_file *file;
    test_model model;
    uint32_t classes;
    vkd_shape input; /* (2, H, W, C) */
    vkd_store *store;
    vkd_graph *g;
    vkd_program *program;
} golden;

static const vkd__st_tensor *tensor(const golden *t, const char *name) {
    char full[96];
    snprintf(full, sizeof full, "golden.%s", name);
    return vkd__st_find(t->file, full);
}

static golden open_golden(vkd_ctx *ctx, vkd_device *device, const char *name) {
    golden t = {.ctx = ctx, .device = device};
    snprintf(t.path, sizeof t.path, "tests/golden/models/%s.safetensors", name);
    if (vkd__st_open(ctx, t.path, &t.file)) fail_msg("%s", vkd_ctx_error(ctx));
    t.model = test_model_make(ctx, vkd__st_metadata(t.file, "golden.arch"),
                              vkd__st_metadata(t.file, "golden.options"));
    t.classes = (uint32_t)strtoul(vkd__st_metadata(t.file, "golden.classes"), NULL, 10);
    t.input = tensor(&t, "input")->shape;
    assert_int_equal(vkd_store_create(ctx, &t.store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, t.store, NULL, &t.g), VKD_OK);
    return t;
}

static void close_golden(golden *t) {
    vkd_program_destroy(t->program);
    vkd_graph_destroy(t->g);
    vkd_store_destroy(t->store);
    test_model_term(&t->model);
    vkd__st_close(t->file);
}

/* Plans, loads the file over the start values, and makes the program. */
static void make_program(golden *t, const vkd_profile *profile) {
    vkd_plan *plan = NULL;
    vkd_result r = vkd_plan_create(t->g, profile, &plan);
    if (!r) r = vkd__model_load(t->ctx, t->store, TEST_MODEL, t->path, t->classes, NULL);
    if (!r) r = vkd_program_create(t->device, plan, &t->program);
    if (r) fail_msg("%s", vkd_ctx_error(t->ctx));
    vkd_plan_destroy(plan);
    const vkd__st_tensor *x = tensor(t, "input");
    memcpy(vkd_program_input(t->program, "x"), x->data, x->bytes);
}

static uint64_t step(golden *t) {
    uint64_t ticket = 0;
    if (vkd_program_submit(t->program, &ticket) || vkd_program_wait(t->program, ticket))
        fail_msg("%s", vkd_ctx_error(t->ctx));
    return ticket;
}

static void compare(const golden *t, const char *name, const float *got, double rtol, double atol) {
    const vkd__st_tensor *want = tensor(t, name);
    const size_t count = want->bytes / sizeof(float);
    double *values = test_calloc(count, sizeof *values);
    for (size_t i = 0; i < count; i++) {
        float value;
        memcpy(&value, (const char *)want->data + i * sizeof value, sizeof value);
        values[i] = (double)value;
    }
    char what[192];
    snprintf(what, sizeof what, "%s: %s", t->path, name);
    test_close(what, got, values, count, rtol, atol);
    test_free(values);
}

/* ---- Evaluation ---- */

/* Every tap that the file has, logits among them. f32 against double precision through at most 53
 * layers: 4e-5 was seen in the deepest. A tap of another layer, or a batchnorm left out, is off by
 * tenths. */
static void look_at_taps(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile,
                         const char *name) {
    golden t = open_golden(ctx, device, name);
    vkd__model_io *io =
        test_model_build(t.g, &t.model, vkd_input(t.g, "x", VKD_F32, t.input), t.classes, false);
    uint32_t found = 0;
    for (uint32_t i = 0; i < io->tap_count; i++) {
        const vkd__st_tensor *want = tensor(&t, io->taps[i].name);
        if (!want) continue; /* of a single block */
        const vkd_shape shape = vkd_tensor_shape(t.g, io->taps[i].tensor);
        assert_memory_equal(&shape, &want->shape, sizeof shape);
        vkd_output(t.g, io->taps[i].name, io->taps[i].tensor);
        found++;
    }
    assert_true(found >= 5 && tensor(&t, "logits"));
    make_program(&t, profile);
    const uint64_t ticket = step(&t);
    for (uint32_t i = 0; i < io->tap_count; i++)
        if (tensor(&t, io->taps[i].name))
            compare(&t, io->taps[i].name,
                    vkd_program_output(t.program, ticket, io->taps[i].name, NULL), 1e-4, 1e-4);
    test_free(io);
    close_golden(&t);
}

/* The base kernels, which a CPU driver compiles for long, are held to the references by other tests
 * in every size: here one network of each kind of block is enough. */
static void pytorchs_networks_give_pytorchs_logits(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_profile profile = *vkd_device_profile(device);
    const bool direct = profile.direct;
    for (size_t i = 0; i < VKD_COUNT(golden_models); i++)
        look_at_taps(ctx, device, &profile, golden_models[i]);
    profile.direct = false;
    if (direct) look_at_taps(ctx, device, &profile, "resnet");
    if (direct) look_at_taps(ctx, device, &profile, "wrn");
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

/* ---- Training ---- */

/* Six steps of SGD with momentum, batch statistics and all. Roundings grow with every step, through
 * the statistics of few pixels above all: 1e-3 was never reached by half, and a step with the wrong
 * variance is off by more than that in the second loss. */
static void train(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile, const char *name) {
    golden t = open_golden(ctx, device, name);
    vkd__model_io *io =
        test_model_build(t.g, &t.model, vkd_input(t.g, "x", VKD_F32, t.input), t.classes, true);
    const vkd_tensor labels = vkd_input(t.g, "labels", VKD_I32, VKD_SHAPE(IMAGES));
    const vkd_tensor loss = vkd_ce(t.g, vkd__tap_find(io, "logits"), labels, 0.0f);
    const vkd_tensor gradient = vkd_gradient(t.g, loss, TEST_MODEL);
    vkd_sgd(t.g, TEST_MODEL, gradient, vkd_guard(t.g, TEST_MODEL, gradient, loss, 0.0f),
            vkd_constant(t.g, 0.02f), &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_output(t.g, "loss", loss);
    make_program(&t, profile);
    memcpy(vkd_program_input(t.program, "labels"), (const int32_t[]){1, 3}, 2 * sizeof(int32_t));
    float losses[STEPS];
    for (int i = 0; i < STEPS; i++)
        losses[i] = *(const float *)vkd_program_output(t.program, step(&t), "loss", NULL);
    compare(&t, "losses", losses, 1e-3, 1e-3);
    assert_true(losses[STEPS - 1] < 0.75f * losses[0]);

    char buffer[128];
    float variance[64];
    snprintf(buffer, sizeof buffer, TEST_MODEL ".%s", vkd__st_metadata(t.file, "golden.buffer"));
    if (vkd_store_read(t.store, buffer, variance, tensor(&t, "buffer")->bytes))
        fail_msg("%s", vkd_ctx_error(ctx));
    compare(&t, "buffer", variance, 1e-3, 1e-3);
    test_free(io);
    close_golden(&t);
}

static void training_them_goes_as_in_pytorch(void **state) {
    static const char *const names[] = {"resnet", "wrn", "plain_cnn"};
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_profile profile = *vkd_device_profile(device);
    const bool direct = profile.direct;
    for (size_t i = 0; i < VKD_COUNT(names); i++)
        train(ctx, device, &profile, names[i]);
    profile.direct = false;
    if (direct) train(ctx, device, &profile, "resnet");
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pytorchs_networks_give_pytorchs_logits),
        cmocka_unit_test(training_them_goes_as_in_pytorch),
    };
    return cmocka_run_group_tests_name("models", tests, NULL, NULL);
}
