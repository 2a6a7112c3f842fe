// SPDX-License-Identifier: Apache-2.0
/* Ten steps of distilling into a small network, whole: matmul, losses, gradients, guard, optimiser.
 * Each step's loss against what PyTorch computes (tests/golden/make_training.py, which says how the
 * numbers below are made). */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "graph/plan.h"

#include "../golden/training.h"

enum { STEPS = 10, BATCH = 8, IN = 12, HIDDEN = 16, OUT = 5 };

typedef enum optimiser { SGD, ADAMW } optimiser;

static void wave(float *out, size_t count, int seed, double size) {
    for (size_t i = 0; i < count; i++)
        out[i] = (float)(size * sin(0.7 * (double)i + (double)(i * i % 5) * 0.31 + seed));
}

static void write_wave(vkd_store *store, const char *name, size_t count, int seed, double size) {
    float values[HIDDEN * IN];
    wave(values, count, seed, size);
    assert_int_equal(vkd_store_write(store, name, values, count * sizeof *values), VKD_OK);
}

static vkd_tensor network(vkd_graph *g, vkd_tensor x) {
    const vkd_init bias = {.no_decay = true};
    const vkd_tensor w0 = vkd_param(g, "net.fc0.weight", VKD_SHAPE(HIDDEN, IN), NULL);
    const vkd_tensor b0 = vkd_param(g, "net.fc0.bias", VKD_SHAPE(HIDDEN), &bias);
    const vkd_tensor w1 = vkd_param(g, "net.fc1.weight", VKD_SHAPE(OUT, HIDDEN), NULL);
    const vkd_tensor b1 = vkd_param(g, "net.fc1.bias", VKD_SHAPE(OUT), &bias);
    const vkd_tensor hidden = vkd_matmul(
        g, x, w0, &(vkd_matmul_desc){.transpose_b = true, .bias = b0, .activation = VKD_ACT_RELU});
    return vkd_matmul(g, hidden, w1, &(vkd_matmul_desc){.transpose_b = true, .bias = b1});
}

static void build(vkd_graph *g, optimiser which) {
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(BATCH, IN));
    const vkd_tensor teacher = vkd_input(g, "teacher", VKD_F32, VKD_SHAPE(BATCH, OUT));
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor student = network(g, x);
    const vkd_tensor hard = vkd_ce(g, student, labels, 0);
    const vkd_tensor soft = vkd_kd_kl(g, student, teacher, vkd_setting(g, "tau", 4), true);
    const vkd_tensor loss = vkd_add(g, vkd_mul(g, hard, vkd_setting(g, "hard", 0.25f)),
                                    vkd_mul(g, soft, vkd_setting(g, "soft", 0.75f)));
    const vkd_tensor gradient = vkd_gradient(g, loss, "net");
    const vkd_tensor guard = vkd_guard(g, "net", gradient, loss, 0);
    const vkd_tensor lr = vkd_setting(g, "lr", which == SGD ? 0.05f : 0.01f);
    if (which == SGD)
        vkd_sgd(g, "net", gradient, guard, lr,
                &(vkd_sgd_desc){.momentum = 0.9f, .nesterov = true, .weight_decay = 1e-3f});
    else
        vkd_adamw(g, "net", gradient, guard, lr, &(vkd_adamw_desc){.weight_decay = 0.01f});
    vkd_output(g, "loss", loss);
}

static float step(vkd_ctx *ctx, vkd_program *program, int number) {
    wave(vkd_program_input(program, "x"), (size_t)BATCH * IN, 30 + number, 1.5);
    wave(vkd_program_input(program, "teacher"), (size_t)BATCH * OUT, 50 + number, 5);
    int32_t *labels = vkd_program_input(program, "labels");
    for (int i = 0; i < BATCH; i++)
        labels[i] = (3 * i + number) % OUT;
    uint64_t ticket;
    if (vkd_program_submit(program, &ticket) || vkd_program_wait(program, ticket))
        fail_msg("%s", vkd_ctx_error(ctx));
    return *(const float *)vkd_program_output(program, ticket, "loss", NULL);
}

static void train(vkd_ctx *ctx, vkd_device *device, const vkd_profile *profile, optimiser which,
                  float losses[STEPS]) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    build(g, which);
    if (vkd_plan_create(g, profile, &plan)) fail_msg("%s", vkd_ctx_error(ctx));
    write_wave(store, "net.fc0.weight", (size_t)HIDDEN * IN, 10, 0.4);
    write_wave(store, "net.fc0.bias", HIDDEN, 20, 1);
    write_wave(store, "net.fc1.weight", (size_t)OUT * HIDDEN, 11, 0.4);
    write_wave(store, "net.fc1.bias", OUT, 21, 1);
    if (vkd_program_create(device, plan, &program)) fail_msg("%s", vkd_ctx_error(ctx));
    for (int i = 0; i < STEPS; i++)
        losses[i] = step(ctx, program, i);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
}

/* Single against double precision, over ten steps: rounding of 1e-7 a step, times what the steps
 * before it amplify. A wrong momentum, decay or bias correction is off by 1e-3 from step 2 on. */
static void check(optimiser which, const double want[STEPS]) {
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_profile profile = *vkd_device_profile(device);
    const int variants = profile.direct ? 2 : 1;
    for (int i = 0; i < variants; i++) {
        float losses[STEPS], again[STEPS];
        train(ctx, device, &profile, which, losses);
        test_close(profile.direct ? "direct: loss" : "base: loss", losses, want, STEPS, 2e-5, 0);
        train(ctx, device, &profile, which, again);
        assert_memory_equal(losses, again, sizeof losses);
        profile.direct = false;
    }
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void ten_steps_of_sgd_have_the_losses_of_pytorch(void **state) {
    (void)state;
    check(SGD, golden_sgd_losses);
}

static void ten_steps_of_adamw_have_the_losses_of_pytorch(void **state) {
    (void)state;
    check(ADAMW, golden_adamw_losses);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_steps_of_sgd_have_the_losses_of_pytorch),
        cmocka_unit_test(ten_steps_of_adamw_have_the_losses_of_pytorch),
    };
    return cmocka_run_group_tests_name("training", tests, NULL, NULL);
}
