// SPDX-License-Identifier: Apache-2.0
/* Plans as text against tests/golden/<name>.plan. VKD_UPDATE_GOLDEN=1 writes the files anew; look
 * at the difference before you commit it. */
#include "support/plan_ops.h"
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file) return NULL;
    enum { MOST = 1 << 20 };
    char *text = calloc(MOST, 1);
    const size_t length = fread(text, 1, MOST - 1, file);
    fclose(file);
    text[length] = 0;
    return text;
}

static void write_file(const char *path, const char *text) {
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(text, 1, strlen(text), file), strlen(text));
    assert_int_equal(fclose(file), 0);
}

/* Both texts at the first line that differs. */
static void show_difference(const char *path, const char *got, const char *want) {
    int line = 1;
    for (;;) {
        const size_t g = strcspn(got, "\n"), w = strcspn(want, "\n");
        if (g != w || memcmp(got, want, g) || !got[g] || !want[w])
            fail_msg("%s:%d differs\n  now    %.*s\n  golden %.*s\nVKD_UPDATE_GOLDEN=1 accepts it",
                     path, line, (int)g, got, (int)w, want);
        got += g + 1;
        want += w + 1;
        line++;
    }
}

static void expect_golden(vkd_ctx *ctx, vkd_graph *g, const char *profile, const char *name) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(g, vkd_profile_find(profile), &plan)) fail_msg("%s", vkd_ctx_error(ctx));
    char *got = vkd_plan_print(plan);
    assert_non_null(got);
    char path[256];
    snprintf(path, sizeof path, "tests/golden/%s.%s.plan", name, profile);
    if (getenv("VKD_UPDATE_GOLDEN")) write_file(path, got);
    char *want = read_file(path);
    if (!want) fail_msg("%s is not there; VKD_UPDATE_GOLDEN=1 writes it", path);
    if (strcmp(got, want)) show_difference(path, got, want);
    free(want);
    vkd_free_text(ctx, got);
    vkd_plan_destroy(plan);
}

/* One of everything the planner does: a view, storage taken over, scratch, an absent input, a value
 * made in its place and one copied there, a change of the store. */
static void the_plan_of_every_feature_is_as_before(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_store_create(ctx, &store);
    vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "features"}, &g);
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(16, 6));
    const vkd_tensor w = vkd_param(g, "net.w", VKD_SHAPE(6), &(vkd_init){0});
    const vkd_tensor flat = vkd_state(g, "net.gradient", VKD_F32, VKD_SHAPE(160));
    const vkd_tensor in[] = {x, w, {0}, vkd_constant(g, 2.0f)};
    const vkd_tensor h = vkd_name(
        g,
        plan_op(g, &op_plain, in, 4, &(plan_op_params){.outs = 2, .count = {96, 1}, .scratch = 20}),
        "hidden");
    const vkd_tensor a = vkd_name(g, in_place(g, view(g, h), 96), "activated");
    const vkd_tensor d = vkd_name(g, plain(g, a, 6), "dw");
    vkd_output(g, "loss", vkd_name(g, plain(g, a, 1), "loss"));
    put(g, d, flat, 0);
    put(g, x, flat, 256);
    update(g, w, flat);
    vkd_output(g, "w", w);
    expect_golden(ctx, g, "cpu", "features");
    expect_golden(ctx, g, "gpu", "features");
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

static vkd_tensor mlp(vkd_graph *g, vkd_tensor x, const char *group, uint32_t width) {
    char name[32];
    const uint32_t sizes[] = {20, width, 10};
    for (uint32_t i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s.%u.weight", group, i);
        const vkd_init weight = {.kind = VKD_INIT_XAVIER_UNIFORM}, bias = {.no_decay = true};
        const vkd_tensor w = vkd_param(g, name, VKD_SHAPE(sizes[i + 1], sizes[i]), &weight);
        snprintf(name, sizeof name, "%s.%u.bias", group, i);
        const vkd_tensor b = vkd_param(g, name, VKD_SHAPE(sizes[i + 1]), &bias);
        x = vkd_matmul(g, x, w,
                       &(vkd_matmul_desc){.transpose_b = true,
                                          .bias = b,
                                          .activation = i ? VKD_ACT_NONE : VKD_ACT_RELU});
    }
    return vkd_name(g, x, "%s.logits", group);
}

/* The step that the project is about: a student between a teacher and the labels. */
static void the_plan_of_a_distillation_step_is_as_before(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_store_create(ctx, &store);
    vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "distil"}, &g);
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(32, 20));
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(32));
    const vkd_tensor student = mlp(g, x, "student", 16);
    const vkd_tensor teacher = vkd_stop_gradient(g, mlp(g, x, "teacher", 64));
    const vkd_tensor tau = vkd_setting(g, "tau", 4.0f), weight = vkd_setting(g, "weight", 0.5f);
    const vkd_tensor ce = vkd_name(g, vkd_ce(g, student, labels, 0.0f), "ce");
    const vkd_tensor kl = vkd_name(g, vkd_kd_kl(g, student, teacher, tau, true), "kl");
    const vkd_tensor loss = vkd_name(g, vkd_add(g, ce, vkd_mul(g, kl, weight)), "loss");
    const vkd_tensor gradient = vkd_gradient(g, loss, "student");
    const vkd_tensor guard = vkd_guard(g, "student", gradient, loss, 1.0f);
    vkd_sgd(g, "student", gradient, guard, vkd_setting(g, "lr", 0.1f),
            &(vkd_sgd_desc){.momentum = 0.9f, .weight_decay = 1e-4f});
    vkd_output(g, "loss", loss);
    vkd_output(g, "kl", kl);
    expect_golden(ctx, g, "cpu", "distil");
    expect_golden(ctx, g, "gpu", "distil");
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

/* Few tiles and a long K: forward K is split, and so is the weight's gradient with the bias's. */
static void the_plan_of_split_products_is_as_before(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_store_create(ctx, &store);
    vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "split"}, &g);
    const vkd_init weight = {.kind = VKD_INIT_XAVIER_UNIFORM};
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(2048, 1024));
    const vkd_tensor shortcut = vkd_input(g, "shortcut", VKD_F32, VKD_SHAPE(2048, 8));
    const vkd_tensor w = vkd_param(g, "net.weight", VKD_SHAPE(8, 1024), &weight);
    const vkd_tensor b = vkd_param(g, "net.bias", VKD_SHAPE(8), &(vkd_init){0});
    const vkd_matmul_desc linear = {
        .transpose_b = true, .bias = b, .activation = VKD_ACT_RELU, .residual = shortcut};
    const vkd_tensor y = vkd_name(g, vkd_matmul(g, x, w, &linear), "y");
    vkd_output(g, "gradient", vkd_gradient(g, vkd_sum(g, y, VKD_ALL_AXES, false), "net"));
    expect_golden(ctx, g, "gpu", "split");
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_plan_of_every_feature_is_as_before),
        cmocka_unit_test(the_plan_of_a_distillation_step_is_as_before),
        cmocka_unit_test(the_plan_of_split_products_is_as_before),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
