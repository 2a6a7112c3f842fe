// SPDX-License-Identifier: Apache-2.0
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    *state = b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    toy_term(&b->data);
    test_device_close(b->device);
    vkd_ctx_destroy(b->ctx);
    test_free(b);
    return 0;
}

static void run(const bench *b, const char *const *sets, const char *out, vkd_row *rows,
                uint32_t *count) {
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, out, rows, count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

/* ---- Determinism ---- */

static void two_runs_end_with_the_same_bits(void **state) {
    const bench *b = *state;
    run(b, NULL, "one", NULL, NULL);
    run(b, NULL, "two", NULL, NULL);
    toy_same_file(toy_path(&b->data, "one/teacher.safetensors"),
                  toy_path(&b->data, "two/teacher.safetensors"));
    toy_same_file(toy_path(&b->data, "one/student.safetensors"),
                  toy_path(&b->data, "two/student.safetensors"));
    toy_same_file(toy_path(&b->data, "one/student_control.safetensors"),
                  toy_path(&b->data, "two/student_control.safetensors"));
}

/* Whether two models of one architecture hold the same values. */
static bool same_model(const bench *b, const char *first, const char *second) {
    return toy_same(&b->data, first, second);
}

static void a_control_starts_from_the_students_weights(void **state) {
    const bench *b = *state;
    const char *const still[] = {"stages.distil.optimiser.lr=0", NULL};
    const char *const other[] = {"stages.distil.optimiser.lr=0", "seed=4", NULL};
    run(b, still, "still", NULL, NULL);
    run(b, other, "other", NULL, NULL);
    assert_true(same_model(b, "still/student.safetensors", "still/student_control.safetensors"));
    assert_false(same_model(b, "still/student.safetensors", "other/student.safetensors"));
}

/* Without a loss that asks the teacher, student and control do the same: samples in the same order,
 * the same units dropped. */
static void a_control_sees_what_its_student_sees(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.distil.losses=[{loss: ce}]", NULL};
    run(b, sets, "equal", NULL, NULL);
    assert_true(same_model(b, "equal/student.safetensors", "equal/student_control.safetensors"));
    assert_false(same_model(b, "one/student.safetensors", "one/student_control.safetensors"));
}

/* ---- Losses ---- */

static double metric(const bench *b, const char *out, const char *phase, const char *key, int n) {
    return toy_metric(&b->data, out, phase, key, n);
}

static void cached_and_live_teachers_give_the_same_losses(void **state) {
    const bench *b = *state;
    const char *const live[] = {"stages.distil.teacher_logits=live", NULL};
    run(b, live, "live", NULL, NULL);
    for (int i = 0; i < 4; i++) {
        const double a = metric(b, "one", "student", "kd_kl", i);
        const double c = metric(b, "live", "student", "kd_kl", i);
        assert_true(a > 0);
        /* Blocks of other sizes may round elsewhere; twenty steps let that grow. */
        if (!(fabs(a - c) <= 1e-3 * a)) fail_msg("row %d: cached %g, live %g", i, a, c);
    }
}

/* Rows of the table that no stage draws from are not computed. */
static void the_cache_holds_the_samples_that_a_stage_draws_from(void **state) {
    const bench *b = *state;
    const char *const live[] = {"stages.distil.teacher_logits=live", "stages.distil.first=100",
                                "stages.distil.samples=72", NULL};
    const char *const cached[] = {"stages.distil.first=100", "stages.distil.samples=72", NULL};
    run(b, live, "part_live", NULL, NULL);
    run(b, cached, "part_cached", NULL, NULL);
    const double a = metric(b, "part_cached", "student", "kd_kl", 0);
    const double c = metric(b, "part_live", "student", "kd_kl", 0);
    assert_true(a > 0);
    if (!(fabs(a - c) <= 1e-3 * a)) fail_msg("cached %g, live %g", a, c);
}

/* Steps 0 to 4 of 5 weigh 4, 3.5, 3, 2.5, 2. */
static void a_weight_goes_from_its_first_to_its_last(void **state) {
    const bench *b = *state;
    const char *const sets[] = {
        "log_every=1", "stages.distil.epochs=0", "stages.distil.steps=5",
        "stages.distil.losses=[{loss: kd_kl, weight: 0}, {loss: ce, weight: 4, final_weight: 2}]",
        NULL};
    run(b, sets, "line", NULL, NULL);
    for (int i = 0; i < 5; i++) {
        const double weight =
            metric(b, "line", "student", "loss", i) / metric(b, "line", "student", "ce", i);
        const double expected = 4 - 0.5 * i;
        if (!(fabs(weight - expected) < 1e-5)) fail_msg("step %d weighs %g", i, weight);
    }
    assert_true(same_model(b, "line/student.safetensors", "line/student_control.safetensors"));
}

static void every_metric_is_there(void **state) {
    const bench *b = *state;
    static const char *const keys[] = {
        "loss", "kd_kl", "ce", "tau.kd_kl", "gradient_norm", "learning_rate", "samples_per_second"};
    for (size_t i = 0; i < VKD_COUNT(keys); i++)
        assert_false(isnan(metric(b, "one", "student", keys[i], 0)));
    const double loss = metric(b, "one", "student", "loss", 0);
    const double terms =
        0.9 * metric(b, "one", "student", "kd_kl", 0) + 0.1 * metric(b, "one", "student", "ce", 0);
    assert_true(fabs(loss - terms) < 1e-5 * loss);
    assert_true(metric(b, "one", "student", "test_accuracy", 1) > 0.25);
    /* The control's only loss weighs what both of the student's do: 0.9 and 0.1. */
    const double alone = metric(b, "one", "student_control", "ce", 0);
    assert_true(fabs(metric(b, "one", "student_control", "loss", 0) - alone) < 1e-5 * alone);
}

static void the_distilled_student_is_nearer_to_its_teacher(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.distil.epochs=12", "stages.teach.epochs=8", NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    run(b, sets, "nearer", rows, &count);
    assert_int_equal(count, 3);
    assert_true(isnan(rows[0].kl.mean));
    assert_true(rows[0].accuracy.mean > 0.7);
    assert_true(rows[2].kl.mean < 0.8 * rows[1].kl.mean);
    assert_int_equal(rows[1].parameters, 36 * 5 + 5 + 2 * 5 + 5 * 4 + 4);
    assert_int_equal(rows[2].tests, TOY_TEST);
    assert_true(fabs(rows[2].errors.mean - (double)TOY_TEST * (1 - rows[2].accuracy.mean)) < 1e-9);
}

static void a_shift_found_on_the_training_split_brings_an_omitted_class_back(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.distil.epochs=30",         "stages.teach.epochs=8",
                                "stages.distil.omit_classes=[2]",  "stages.distil.control=false",
                                "evaluation.bias_shift={2: 1000}", NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    run(b, sets, "omitted", rows, &count);
    assert_int_equal(count, 4); /* teacher, as trained, given, searched */
    assert_true(rows[1].omitted_recall.mean < 0.9);
    assert_true(rows[2].omitted_recall.mean == 1);
    assert_true(rows[3].omitted_recall.mean > rows[1].omitted_recall.mean);
    assert_true(rows[3].accuracy.mean > rows[1].accuracy.mean);
    assert_true(rows[3].shift.mean > 0 && rows[3].shift.mean <= 20);
}

static void seeds_share_the_teacher_and_repeat_the_rest(void **state) {
    const bench *b = *state;
    vkd_row rows[8];
    uint32_t count = 0;
    const vkd_run_desc desc = {.seeds = 3};
    if (toy_run(b->ctx, b->device, &b->data, NULL, &desc, "seeds", rows, &count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_int_equal(count, 3);
    assert_int_equal(rows[0].seeds, 1);
    assert_int_equal(rows[2].seeds, 3);
    assert_true(rows[2].kl.deviation > 0);
    toy_same_file(toy_path(&b->data, "seeds/seed-3/student.safetensors"),
                  toy_path(&b->data, "one/student.safetensors"));
    assert_false(
        same_model(b, "seeds/seed-3/student.safetensors", "seeds/seed-4/student.safetensors"));
}

static void a_loaded_teacher_gives_what_the_trained_one_gave(void **state) {
    const bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "one/teacher.safetensors"));
    const char *const stage = "stages=[{name: distil, train: student, teacher: teacher, losses: "
                              "[{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}], "
                              "optimiser: {name: adamw, lr: 0.01, clip: 1}, schedule: {name: "
                              "cosine, warmup: 3}, epochs: 2, batch: 24}]";
    const char *const sets[] = {load, stage, NULL};
    run(b, sets, "loaded", NULL, NULL);
    assert_true(same_model(b, "one/student.safetensors", "loaded/student.safetensors"));
}

/* ---- Faults ---- */

static void refuse(const bench *b, const char *const *sets, const char *out, vkd_result want,
                   const char *words) {
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, sets, NULL, out, NULL, NULL);
    if (r != want) fail_msg("%s: %s", vkd_result_text(r), vkd_ctx_error(b->ctx));
    if (!strstr(vkd_ctx_error(b->ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(b->ctx), words);
}

static void a_diverging_run_stops_and_names_a_tensor(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.teach.optimiser.lr=1e9", NULL};
    refuse(b, sets, "diverge", VKD_E_NONFINITE, "the first tensor that is not finite is '");
    assert_null(strstr(vkd_ctx_error(b->ctx), "none any more"));
}

/* Losses this large want a scale of 2^-17 of the first one: more halvings than a run in f32 may
 * have skipped steps. */
static void a_loss_scale_may_come_down_a_long_way(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"precision=mixed", "loss_scale=16777216",
                                "stages.distil.losses.kd_kl.weight=10000", "stages.distil.epochs=4",
                                NULL};
    run(b, sets, "far", NULL, NULL);
    assert_true(metric(b, "far", "student", "skipped", 9) > 10);
    assert_true(metric(b, "far", "student", "loss_scale", 9) >= 1);
}

static void a_mixed_run_that_diverges_stops_too(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"precision=mixed", "loss_scale=256",
                                "stages.teach.optimiser.lr=1e9", NULL};
    refuse(b, sets, "diverge16", VKD_E_NONFINITE, "precision mixed_bf16");
}

/* Factors of products keep 11 or 8 bits, so that the first rows differ by thousandths; what is
 * learnt in the end is as good. */
static void mixed_precision_learns_what_f32_learns(void **state) {
    const bench *b = *state;
    static const char *const words[] = {"f32", "mixed", "mixed_bf16"};
    vkd_row rows[3][8];
    double loss[3], norm[3];
    uint32_t count = 0;
    for (size_t i = 0; i < VKD_COUNT(words); i++) {
        char set[64];
        snprintf(set, sizeof set, "precision=%s", words[i]);
        const char *const sets[] = {set, "stages.distil.epochs=12", "stages.teach.epochs=8", NULL};
        run(b, sets, words[i], rows[i], &count);
        loss[i] = metric(b, words[i], "teacher", "loss", 0);
        norm[i] = metric(b, words[i], "student", "gradient_norm", 0);
        assert_int_equal(count, 3);
        print_message("          %s: loss %g, norm %g, accuracy %g\n", words[i], loss[i], norm[i],
                      rows[i][2].accuracy.mean);
    }
    for (size_t i = 1; i < VKD_COUNT(words); i++) {
        assert_true(fabs(loss[i] / loss[0] - 1) < 0.01);
        assert_true(fabs(norm[i] / norm[0] - 1) < 0.05);
        assert_true(rows[i][0].accuracy.mean > 0.7);
        assert_true(fabs(rows[i][2].accuracy.mean - rows[0][2].accuracy.mean) < 0.05);
        assert_false(
            same_model(b, "f32/student.safetensors",
                       i == 1 ? "mixed/student.safetensors" : "mixed_bf16/student.safetensors"));
    }
}

static void a_teacher_that_says_nan_is_named(void **state) {
    const bench *b = *state;
    size_t size = 0;
    char *bytes = toy_read(toy_path(&b->data, "one/teacher.safetensors"), &size);
    const float nan = NAN;
    memcpy(bytes + size - sizeof nan, &nan, sizeof nan);
    FILE *f = fopen(toy_path(&b->data, "nan.safetensors"), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
    test_free(bytes);
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s", toy_path(&b->data, "nan.safetensors"));
    const char *const stage = "stages=[{train: student, teacher: teacher, losses: [{loss: kd_kl}], "
                              "optimiser: {name: adamw}, epochs: 2}]";
    const char *const sets[] = {load, stage, NULL};
    refuse(b, sets, "nan", VKD_E_DATA, "the teacher 'teacher' says NaN for class");
    assert_non_null(strstr(vkd_ctx_error(b->ctx), "nan.safetensors'"));
}

static void a_run_that_fails_to_start_leaves_its_folder_free(void **state) {
    const bench *b = *state;
    const char *const none[] = {"models.teacher.load=/nowhere/t.safetensors", NULL};
    refuse(b, none, "start", VKD_E_FILE, "/nowhere/t.safetensors");
    const char *const wide[] = {"models.teacher.hidden=[60000, 60000]", NULL};
    refuse(b, wide, "start", VKD_E_SHAPE, "60000");
    run(b, NULL, "start", NULL, NULL);
    refuse(b, none, "start", VKD_E_FILE, "holds a run already");
    toy_same_file(toy_path(&b->data, "start/recipe.yaml"), toy_path(&b->data, "one/recipe.yaml"));
}

static void one_seed_and_several_do_not_write_over_each_other(void **state) {
    const bench *b = *state;
    const struct {
        const char *folder;
        vkd_run_desc desc;
        const char *words;
    } cases[] = {
        {"seeds", {.seeds = 1}, "holds a run of several seeds"},
        {"seeds", {.seeds = 1, .resume = true}, "holds a run of several seeds"},
        {"seeds", {.seeds = 2}, "holds a run already"},
        {"one", {.seeds = 2}, "holds a run of one seed"},
        {"one", {.seeds = 2, .resume = true}, "holds a run of one seed"},
        {"one", {.seeds = 1}, "holds a run already"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const vkd_result r =
            toy_run(b->ctx, b->device, &b->data, NULL, &cases[i].desc, cases[i].folder, NULL, NULL);
        if (r != VKD_E_FILE || !strstr(vkd_ctx_error(b->ctx), cases[i].words))
            fail_msg("case %zu: %s: %s", i, vkd_result_text(r), vkd_ctx_error(b->ctx));
    }
}

static void what_does_not_fit_is_said(void **state) {
    const bench *b = *state;
    const char *const omit[] = {"stages.distil.omit_classes=[9]", NULL};
    refuse(b, omit, "e1", VKD_E_RECIPE, "omits class 9, the data has 4");
    const char *const batch[] = {"stages.distil.batch=1000", NULL};
    refuse(b, batch, "e2", VKD_E_RECIPE, "a batch of 1000 is more than the 256");
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "one/student.safetensors"));
    const char *const wrong[] = {load, NULL};
    refuse(b, wrong, "e3", VKD_E_SHAPE, "fc0.weight");
    const char *const none[] = {"models.teacher.load=/nowhere/t.safetensors", NULL};
    refuse(b, none, "e4", VKD_E_FILE, "/nowhere/t.safetensors");
    const char *const planes[] = {"data.mean=[1, 2]", "data.std=[1, 2]", NULL};
    refuse(b, planes, "e5", VKD_E_RECIPE, "2 values");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_runs_end_with_the_same_bits),
        cmocka_unit_test(a_control_starts_from_the_students_weights),
        cmocka_unit_test(a_control_sees_what_its_student_sees),
        cmocka_unit_test(cached_and_live_teachers_give_the_same_losses),
        cmocka_unit_test(the_cache_holds_the_samples_that_a_stage_draws_from),
        cmocka_unit_test(a_weight_goes_from_its_first_to_its_last),
        cmocka_unit_test(every_metric_is_there),
        cmocka_unit_test(the_distilled_student_is_nearer_to_its_teacher),
        cmocka_unit_test(a_shift_found_on_the_training_split_brings_an_omitted_class_back),
        cmocka_unit_test(seeds_share_the_teacher_and_repeat_the_rest),
        cmocka_unit_test(a_loaded_teacher_gives_what_the_trained_one_gave),
        cmocka_unit_test(a_diverging_run_stops_and_names_a_tensor),
        cmocka_unit_test(a_loss_scale_may_come_down_a_long_way),
        cmocka_unit_test(a_mixed_run_that_diverges_stops_too),
        cmocka_unit_test(mixed_precision_learns_what_f32_learns),
        cmocka_unit_test(a_teacher_that_says_nan_is_named),
        cmocka_unit_test(a_run_that_fails_to_start_leaves_its_folder_free),
        cmocka_unit_test(one_seed_and_several_do_not_write_over_each_other),
        cmocka_unit_test(what_does_not_fit_is_said),
    };
    return cmocka_run_group_tests_name("train_run", tests, open_bench, close_bench);
}
