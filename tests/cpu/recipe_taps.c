// SPDX-License-Identifier: Apache-2.0
/* Which features a recipe compares: how taps are read, and what a stage with them is. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "train/session.h"

/* A recipe whose second stage has these losses and, unless NULL, this as another key. */
static vkd_result parse(vkd_ctx *ctx, const char *losses, const char *key, vkd_recipe **out) {
    char text[1500];
    snprintf(
        text, sizeof text,
        "name: taps\n"
        "data: {format: idx}\n"
        "models: {teacher: {arch: mlp, hidden: [8, 6]}, student: {arch: mlp, hidden: [5, 3]}}\n"
        "stages:\n"
        "  - {train: teacher, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: 1, batch: 4}\n"
        "  - name: distil\n"
        "    train: student\n"
        "    teacher: teacher\n"
        "    optimiser: {name: sgd}\n"
        "    epochs: 1\n"
        "    batch: 4\n"
        "    losses: %s\n"
        "%s\n",
        losses, key ? key : "");
    return vkd_recipe_parse(ctx, "r.yaml", text, strlen(text), NULL, 0, out);
}

static void refuse(const char *losses, const char *key, const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    assert_int_equal(parse(ctx, losses, key, &recipe), VKD_E_RECIPE);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static void a_tap_is_one_name_or_one_of_each_model(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *first = NULL, *second = NULL;
    if (parse(ctx, "[{loss: hint, taps: [fc0, {student: fc1, teacher: \"it's\"}]}]", NULL, &first))
        fail_msg("%s", vkd_ctx_error(ctx));
    const vkd__recipe_loss *l = &first->stages[1].losses[0];
    assert_int_equal(l->tap_count, 2);
    assert_string_equal(l->taps[0].student, "fc0");
    assert_string_equal(l->taps[0].teacher, "fc0");
    assert_string_equal(l->taps[1].student, "fc1");
    assert_string_equal(l->taps[1].teacher, "it's");

    char *printed = vkd_recipe_print(first);
    assert_non_null(printed);
    if (vkd_recipe_parse(ctx, "printed", printed, strlen(printed), NULL, 0, &second))
        fail_msg("%s", vkd_ctx_error(ctx));
    char *again = vkd_recipe_print(second);
    assert_string_equal(printed, again);
    assert_non_null(strstr(printed, "- student: 'fc1'\n            teacher: 'it''s'\n"));
    vkd_free_text(ctx, printed);
    vkd_free_text(ctx, again);
    vkd_recipe_destroy(first);
    vkd_recipe_destroy(second);
    vkd_ctx_destroy(ctx);
}

static void what_is_wrong_with_taps_is_said(void **state) {
    (void)state;
    refuse("[{loss: hint}]", NULL, "r.yaml:12: loss 'hint' compares features: name them");
    refuse("[{loss: hint, taps: []}]", NULL, "compares features: name them");
    refuse("[{loss: kd_kl, taps: [fc0]}]", NULL, "loss 'kd_kl' compares logits");
    refuse("[{loss: hint, taps: fc0}]", NULL, "'taps' must be a list");
    refuse("[{loss: hint, taps: [[fc0]]}]", NULL, "must be a name or {student: NAME");
    refuse("[{loss: hint, taps: [{student: fc0}]}]", NULL, "a tap needs 'teacher'");
    refuse("[{loss: hint, taps: [{studend: a, teacher: b}]}]", NULL, "did you mean 'student'");
    refuse("[{loss: triplet, taps: [{student: fc0, teacher: fc0}]}]", NULL,
           "it looks at the student alone");
    refuse("[{loss: hint, taps: [a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a, a]}]", NULL,
           "has 17 taps, at most 16");
}

static uint32_t logits_of(const char *losses, const char *key) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    if (parse(ctx, losses, key, &recipe)) fail_msg("%s", vkd_ctx_error(ctx));
    const uint32_t logits = recipe->stages[1].options.teacher_logits;
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
    return logits;
}

static void features_make_the_teacher_live(void **state) {
    (void)state;
    assert_int_equal(logits_of("[{loss: kd_kl}]", NULL), VKD__LOGITS_CACHED);
    assert_int_equal(logits_of("[{loss: kd_kl}, {loss: hint, taps: [fc0]}]", NULL),
                     VKD__LOGITS_LIVE);
    assert_int_equal(logits_of("[{loss: hint, taps: [fc0]}]", "    teacher_logits: live"),
                     VKD__LOGITS_LIVE);
    assert_int_equal(logits_of("[{loss: hint, taps: [fc0]}]", "    teacher_logits: cached"),
                     VKD__LOGITS_CACHED);
}

/* ---- What becomes of them ---- */

static int32_t labels[32];
static const vkd__dataset data = {.sample = {2, {4, 4}},
                                  .channels = 1,
                                  .classes = 3,
                                  .train = {.count = 32, .labels = labels},
                                  .test = {.count = 8, .labels = labels}};

static vkd_result sketch(vkd_ctx *ctx, const char *losses, const char *key, vkd_recipe **recipe,
                         vkd__session **out) {
    if (parse(ctx, losses, key, recipe)) fail_msg("%s", vkd_ctx_error(ctx));
    return vkd__session_sketch(ctx, *recipe, &data, out);
}

static void refuse_to_build(const char *losses, vkd_result want, const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    vkd__session *s = NULL;
    assert_int_equal(sketch(ctx, losses, NULL, &recipe, &s), want);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
}

static void taps_that_are_not_there_or_do_not_fit_are_named(void **state) {
    (void)state;
    refuse_to_build("[{loss: hint, name: h, taps: [fc2]}]", VKD_E_RECIPE,
                    "stage 'distil', loss 'h': the model 'student' has no tap 'fc2', did you mean "
                    "'fc0'? (it has: fc0, fc1, logits)");
    refuse_to_build("[{loss: hint, taps: [{student: fc0, teacher: conv}]}]", VKD_E_RECIPE,
                    "the model 'teacher' has no tap 'conv' (it has: fc0, fc1, logits)");
    refuse_to_build("[{loss: hint, taps: [fc1, fc0], regressor: none}]", VKD_E_SHAPE,
                    "stage 'distil', loss 'hint': cannot compare 'fc1' of 'student' (4, 3) with "
                    "'fc1' of 'teacher' (4, 6): ");
    refuse_to_build("[{loss: hint, taps: [fc1], regressor: conv}]", VKD_E_SHAPE, "maps");
}

/* The first stage has no teacher. */
static void a_loss_on_the_students_own_features_needs_no_teacher(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    static const char *const own[] = {"stages.t.losses=[{loss: triplet, taps: [fc0, fc1]}]"};
    static const char *const both[] = {"stages.t.losses=[{loss: rkd_angle, taps: [fc0]}]"};
    static const char text[] = "name: own\n"
                               "data: {format: idx}\n"
                               "models: {teacher: {arch: mlp, hidden: [8, 6]}}\n"
                               "stages:\n"
                               "  - {name: t, train: teacher, losses: [{loss: ce}], optimiser: "
                               "{name: sgd}, epochs: 1, batch: 4}\n";
    vkd_recipe *recipe = NULL;
    if (vkd_recipe_parse(ctx, "r.yaml", text, sizeof text - 1, own, 1, &recipe))
        fail_msg("%s", vkd_ctx_error(ctx));
    vkd__session *s = NULL;
    if (vkd__session_sketch(ctx, recipe, &data, &s)) fail_msg("%s", vkd_ctx_error(ctx));
    vkd_graph *g = NULL;
    if (vkd__graph_train(s, &s->phases[0], &g)) fail_msg("%s", vkd_ctx_error(ctx));
    vkd_graph_destroy(g);
    vkd__session_destroy(s);
    vkd_recipe_destroy(recipe);
    assert_int_equal(vkd_recipe_parse(ctx, "r.yaml", text, sizeof text - 1, both, 1, &recipe),
                     VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "the loss 'rkd_angle' needs a teacher"));
    vkd_ctx_destroy(ctx);
}

/* Adapters are declared before anything lays the group out, and belong to the student alone. */
static void adapters_are_parameters_of_the_students_group(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *recipe = NULL;
    vkd__session *s = NULL;
    if (sketch(ctx,
               "[{loss: ce}, {loss: hint, weight: 100, taps: [fc0, {student: fc1, teacher: fc0}]}]",
               "    control: true", &recipe, &s))
        fail_msg("%s", vkd_ctx_error(ctx));
    vkd_store_info info;
    assert_true(vkd_store_find(s->store, "student.adapter.hint.0.weight", &info));
    assert_true(info.parameter && info.shape.dim[0] == 8 && info.shape.dim[1] == 5);
    assert_true(vkd_store_find(s->store, "student.adapter.hint.1.weight", &info));
    assert_true(info.shape.dim[0] == 8 && info.shape.dim[1] == 3);
    for (uint32_t i = 0; i < s->phase_count; i++) {
        vkd_graph *g = NULL;
        if (vkd__graph_train(s, &s->phases[i], &g)) fail_msg("%s", vkd_ctx_error(ctx));
        vkd_graph_destroy(g);
    }
    for (uint32_t i = 0; i < vkd_store_count(s->store); i++) {
        const char *name = vkd_store_at(s->store, i).name;
        if (strstr(name, "adapter")) assert_ptr_equal(strstr(name, "student.adapter.hint."), name);
    }
    /* A weight of 100 is the features' own affair: the control learns as a student without. */
    assert_true(s->phases[1].control);
    assert_int_equal(s->phases[1].term_count, 1);
    assert_true(s->phases[1].terms[0].weight == 1);
    vkd__session_destroy(s);
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_tap_is_one_name_or_one_of_each_model),
        cmocka_unit_test(what_is_wrong_with_taps_is_said),
        cmocka_unit_test(features_make_the_teacher_live),
        cmocka_unit_test(taps_that_are_not_there_or_do_not_fit_are_named),
        cmocka_unit_test(a_loss_on_the_students_own_features_needs_no_teacher),
        cmocka_unit_test(adapters_are_parameters_of_the_students_group),
    };
    return cmocka_run_group_tests_name("recipe_taps", tests, NULL, NULL);
}
