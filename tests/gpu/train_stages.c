// SPDX-License-Identifier: Apache-2.0
/* Models that several stages train, one after the other, and models with start values of their own.
 */
#include <math.h>
#include <stdio.h>
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

/* Stages of a recipe; TEACH trains the teacher, the others the student. */
#define TEACH                                                                                      \
    "{name: teach, train: teacher, losses: [{loss: ce}], "                                         \
    "optimiser: {name: sgd, lr: 0.1, momentum: 0.9}, epochs: 3, batch: 24}"
#define WARM(options) "{name: warm, train: student, losses: [{loss: ce}], batch: 24, " options "}"
#define DISTIL                                                                                     \
    "{name: distil, train: student, teacher: teacher, control: true, "                             \
    "losses: [{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}], "                      \
    "optimiser: {name: adamw, lr: 0.01, clip: 1}, schedule: {name: cosine, warmup: 3}, "           \
    "epochs: 2, batch: 24}"
#define SGD "optimiser: {name: sgd, lr: 0.05, momentum: 0.9}, epochs: 2"

static void run_desc(const bench *b, const char *const *sets, const vkd_run_desc *desc,
                     const char *out, vkd_row *rows, uint32_t *count) {
    if (toy_run(b->ctx, b->device, &b->data, sets, desc, out, rows, count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

static void run(const bench *b, const char *stages, const char *out, vkd_row *rows,
                uint32_t *count) {
    const char *const sets[] = {stages, NULL};
    run_desc(b, sets, NULL, out, rows, count);
}

static void alike(const bench *b, const char *one, const char *other, bool same) {
    if (toy_same(&b->data, one, other) != same)
        fail_msg("'%s' and '%s' are %s", one, other, same ? "not the same" : "the same");
}

/* ---- Several stages of one model ---- */

static void a_later_stage_goes_on_where_the_earlier_ended(void **state) {
    const bench *b = *state;
    vkd_row rows[8];
    uint32_t count = 0;
    run(b, "stages=[" TEACH ", " WARM(SGD) ", " DISTIL "]", "two", rows, &count);
    run(b, "stages=[" TEACH ", " DISTIL "]", "one", NULL, NULL);
    alike(b, "two/teacher.safetensors", "one/teacher.safetensors", true);
    alike(b, "two/student.safetensors", "one/student.safetensors", false);
    /* The control knows its own stage alone. */
    alike(b, "two/student_control.safetensors", "one/student_control.safetensors", true);

    assert_int_equal(count, 3); /* one row a model */
    double seconds = 0;
    for (int i = 0; i < 2; i++)
        assert_false(isnan(toy_metric(&b->data, "two", "student", i ? "kd_kl" : "ce", 0)));
    seconds = rows[2].seconds.mean;
    assert_true(seconds > 0 && isfinite(rows[2].kl.mean));
    /* The warmed-up student begins where 20 steps of descent brought it. */
    assert_true(toy_metric(&b->data, "two", "student", "kd_kl", 0) <
                0.9 * toy_metric(&b->data, "one", "student", "kd_kl", 0));
}

/* Twenty steps with a rate of 0 fill the moments of either optimiser and change nothing else. */
static void an_optimiser_starts_anew_in_each_stage(void **state) {
    const bench *b = *state;
    run(b, "stages=[" TEACH ", " WARM("optimiser: {name: adamw, lr: 0}, epochs: 2") ", " DISTIL "]",
        "still", NULL, NULL);
    alike(b, "still/student.safetensors", "one/student.safetensors", true);
    run(b,
        "stages=[" WARM(
            "optimiser: {name: sgd, lr: 0, momentum: 0.9}, epochs: 2") ", "
                                                                       "{name: second, train: "
                                                                       "student, losses: [{loss: "
                                                                       "ce}], batch: 24, " SGD "}]",
        "still_sgd", NULL, NULL);
    run(b, "stages=[" WARM(SGD) "]", "plain_sgd", NULL, NULL);
    alike(b, "still_sgd/student.safetensors", "plain_sgd/student.safetensors", true);
}

/* The same teacher says other things after a second stage of its own. */
static void a_teacher_is_the_model_as_it_then_is(void **state) {
    const bench *b = *state;
    const char *const models =
        "models={teacher: {arch: mlp, hidden: [33]}, "
        "student: {arch: mlp, hidden: [5]}, after: {arch: mlp, hidden: [5]}}";
#define MORE                                                                                       \
    "{name: more, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: 0.1}, "         \
    "epochs: 3, batch: 24}"
#define TAUGHT(name)                                                                               \
    "{name: teach_" name ", train: " name ", teacher: teacher, losses: [{loss: kd_kl, tau: 3}], "  \
    "optimiser: {name: adamw, lr: 0.01}, epochs: 2, batch: 24}"
    const char *const mixed[] = {
        models, "stages=[" TEACH ", " TAUGHT("student") ", " MORE ", " TAUGHT("after") "]", NULL};
    const char *const early[] = {models, "stages=[" TEACH ", " TAUGHT("student") "]", NULL};
    const char *const late[] = {models, "stages=[" TEACH ", " MORE ", " TAUGHT("after") "]", NULL};
    run_desc(b, mixed, NULL, "mixed", NULL, NULL);
    run_desc(b, early, NULL, "early", NULL, NULL);
    run_desc(b, late, NULL, "late", NULL, NULL);
    alike(b, "mixed/student.safetensors", "early/student.safetensors", true);
    alike(b, "mixed/after.safetensors", "late/after.safetensors", true);
    alike(b, "mixed/student.safetensors", "mixed/after.safetensors", false);
    alike(b, "mixed/teacher.safetensors", "late/teacher.safetensors", true);

    /* Such a teacher cannot be taken over by the next seed: its final state did not teach. */
    const vkd_run_desc seeds = {.seeds = 2};
    const char *const alone[] = {mixed[0], mixed[1], "seed=4", NULL};
    run_desc(b, mixed, &seeds, "mixed_seeds", NULL, NULL);
    run_desc(b, alone, NULL, "mixed_4", NULL, NULL);
    alike(b, "mixed_seeds/seed-4/student.safetensors", "mixed_4/student.safetensors", true);
}

/* ---- Start values ---- */

static void a_model_may_have_its_own_start_values(void **state) {
    const bench *b = *state;
    char models[300];
    const char *const stages =
        "stages=[{train: first, losses: [{loss: ce}], optimiser: {name: sgd, lr: 0}, steps: 1}, "
        "{train: second, losses: [{loss: ce}], control: true, optimiser: {name: sgd, lr: 0}, "
        "steps: 1}]";
    for (int i = 0; i < 2; i++) {
        snprintf(models, sizeof models,
                 "models={first: {arch: mlp, hidden: [5]}, second: {arch: mlp, hidden: [5], "
                 "init_seed: %d}}",
                 i);
        const char *const sets[] = {models, stages, NULL};
        run_desc(b, sets, NULL, i ? "start1" : "start0", NULL, NULL);
    }
    alike(b, "start0/first.safetensors", "start0/second.safetensors", true);
    alike(b, "start1/first.safetensors", "start0/first.safetensors", true);
    alike(b, "start1/first.safetensors", "start1/second.safetensors", false);
    alike(b, "start1/second.safetensors", "start1/second_control.safetensors", true);
    /* Not the start of the next repetition either. */
    const char *const next[] = {models, stages, "seed=4", NULL};
    run_desc(b, next, NULL, "start4", NULL, NULL);
    alike(b, "start1/second.safetensors", "start4/first.safetensors", false);
}

/* Whoever names a parameter first gives it its start value: the losses' adapters come after. */
static void a_loss_on_features_leaves_start_values_alone(void **state) {
    const bench *b = *state;
    static const char *const losses[] = {"{loss: ce}", "{loss: hint, taps: [fc0]}"};
    for (int i = 0; i < 2; i++) {
        char stages[600];
        snprintf(stages, sizeof stages,
                 "stages=[" TEACH
                 ", {name: distil, train: student, teacher: teacher, losses: [%s], "
                 "optimiser: {name: sgd, lr: 0}, steps: 1, batch: 24, control: true}]",
                 losses[i]);
        const char *const sets[] = {"models.student.init_seed=1", stages, NULL};
        run_desc(b, sets, NULL, i ? "hinted" : "unhinted", NULL, NULL);
    }
    alike(b, "hinted/student.safetensors", "unhinted/student.safetensors", true);
    alike(b, "hinted/student_control.safetensors", "unhinted/student.safetensors", true);
}

static void a_control_starts_from_the_loaded_values_too(void **state) {
    const bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.student.load=%s",
             toy_path(&b->data, "one/student.safetensors"));
    const char *const sets[] = {load,
                                "stages=[{train: student, losses: [{loss: ce}], control: true, "
                                "optimiser: {name: sgd, lr: 0}, steps: 1, batch: 24}]",
                                NULL};
    run_desc(b, sets, NULL, "loaded", NULL, NULL);
    alike(b, "loaded/student.safetensors", "one/student.safetensors", true);
    alike(b, "loaded/student_control.safetensors", "one/student.safetensors", true);
}

/* ---- Several teachers ---- */

/* Two teachers from other start values; `twin` is the first once more. */
#define TEACHERS                                                                                   \
    "models={a: {arch: mlp, hidden: [20]}, b: {arch: mlp, hidden: [20], init_seed: 1}, "           \
    "twin: {arch: mlp, hidden: [20]}, student: {arch: mlp, hidden: [5]}}"
#define TRAINED(name)                                                                              \
    "{train: " name ", losses: [{loss: ce}], optimiser: {name: adamw, lr: 0.01}, epochs: 3, "      \
    "batch: 24}, "
#define BY(who, losses)                                                                            \
    "stages=[" TRAINED("a") TRAINED("b")                                                           \
        TRAINED("twin") "{name: distil, train: student, " who ", losses: [" losses                 \
                        "], optimiser: {name: adamw, lr: 0.01}, epochs: 3, batch: 24}]"
#define TAUGHT_BY(who) BY(who, "{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}")
/* On the logits themselves; those of a mean of probabilities are shifted. */
#define MSE_BY(who) BY(who, "{loss: kd_mse}")

static void run_teachers(const bench *b, const char *stages, const char *out, vkd_row *student) {
    const char *const sets[] = {TEACHERS, stages, NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    run_desc(b, sets, NULL, out, rows, &count);
    *student = rows[count - 1];
}

static void same_loss(const bench *b, const char *one, const char *other, const char *key) {
    for (int i = 0; i < 7; i++) {
        const double x = toy_metric(&b->data, one, "student", key, i);
        const double y = toy_metric(&b->data, other, "student", key, i);
        if (!(fabs(x - y) <= 1e-3 * x)) fail_msg("%s, row %d: %g and %g", key, i, x, y);
    }
}

static void two_equal_teachers_teach_what_one_does(void **state) {
    const bench *b = *state;
    vkd_row one, pair, logits, mse;
    run_teachers(b, TAUGHT_BY("teacher: a"), "by_one", &one);
    run_teachers(b, TAUGHT_BY("teachers: [{model: a, weight: 3}, twin]"), "by_pair", &pair);
    run_teachers(b, TAUGHT_BY("teachers: [a, twin], combine: logits"), "by_logits", &logits);
    run_teachers(b, MSE_BY("teacher: a"), "by_mse", &mse);
    run_teachers(b, MSE_BY("teachers: [a, twin], combine: logits"), "by_mse_logits", &mse);
    same_loss(b, "by_one", "by_pair", "kd_kl");
    same_loss(b, "by_one", "by_logits", "kd_kl");
    same_loss(b, "by_mse", "by_mse_logits", "kd_mse");
    assert_true(fabs(one.kl.mean - pair.kl.mean) < 1e-3 * one.kl.mean);
    assert_true(fabs(one.teacher_entropy.mean - logits.teacher_entropy.mean) < 1e-5);
}

static void two_teachers_are_combined_cached_and_live(void **state) {
    const bench *b = *state;
    vkd_row one, both, live, logits;
    run_teachers(b, TAUGHT_BY("teacher: a"), "by_a", &one);
    run_teachers(b, TAUGHT_BY("teachers: [a, b]"), "by_both", &both);
    run_teachers(b, TAUGHT_BY("teachers: [a, b], teacher_logits: live"), "by_live", &live);
    run_teachers(b, TAUGHT_BY("teachers: [a, b], combine: logits"), "by_both_logits", &logits);
    same_loss(b, "by_both", "by_live", "kd_kl");
    const double a = toy_metric(&b->data, "by_a", "student", "kd_kl", 0);
    const double p = toy_metric(&b->data, "by_both", "student", "kd_kl", 0);
    const double l = toy_metric(&b->data, "by_both_logits", "student", "kd_kl", 0);
    assert_true(fabs(a - p) > 1e-3 * a && fabs(p - l) > 1e-4 * p);
    /* A mean of distributions is less sure than the mean of their entropies says, and the table
     * holds the student against that mean. */
    assert_true(both.teacher_entropy.mean > one.teacher_entropy.mean);
    assert_true(fabs(both.kl.mean - live.kl.mean) < 1e-2 * both.kl.mean);
    assert_true(fabs(both.kl.mean - one.kl.mean) > 1e-3 * one.kl.mean);
    assert_true(logits.teacher_entropy.mean != both.teacher_entropy.mean);
}

/* ---- Ensembles ---- */

/* Three generations from other start values: together they are no worse than the worst of them, and
 * an ensemble of equal models says what each of them says. */
static void an_ensemble_has_a_row_of_its_own(void **state) {
    const bench *b = *state;
    const char *const sets[] = {
        "models={a: {arch: mlp, hidden: [5]}, b: {arch: mlp, hidden: [5], init_seed: 1}, "
        "c: {arch: mlp, hidden: [5]}}",
        "stages=[{train: a, losses: [{loss: ce}], optimiser: {name: adamw, lr: 0.01}, epochs: 3, "
        "batch: 24}, {train: b, teacher: a, losses: [{loss: kd_kl}], optimiser: {name: adamw, "
        "lr: 0.01}, epochs: 3, batch: 24}, {train: c, losses: [{loss: ce}], optimiser: {name: "
        "adamw, lr: 0.01}, epochs: 3, batch: 24}]",
        "evaluation.ensembles=[{name: two, models: [a, b]}, {name: same, models: [a, c]}]", NULL};
    vkd_row rows[8];
    uint32_t count = 0;
    run_desc(b, sets, NULL, "ensemble", rows, &count);
    assert_int_equal(count, 5);
    assert_int_equal(rows[3].parameters, rows[0].parameters + rows[1].parameters);
    assert_true(rows[4].accuracy.mean == rows[0].accuracy.mean);
    assert_true(fabs(rows[4].calibration.mean - rows[0].calibration.mean) < 1e-6);
    assert_true(fabs(rows[3].calibration.mean - rows[0].calibration.mean) > 1e-4);
    assert_true(fabs(rows[3].calibration.mean - rows[1].calibration.mean) > 1e-4);
    const double worse = fmin(rows[0].accuracy.mean, rows[1].accuracy.mean);
    assert_true(rows[3].accuracy.mean >= worse - 0.02);
    assert_true(isnan(rows[3].kl.mean) && isnan(rows[3].seconds.mean));
    assert_true(isfinite(rows[1].teacher_entropy.mean) && isnan(rows[0].teacher_entropy.mean));

    /* a teaches and is trained once; b and the ensemble with it are repeated. */
    const vkd_run_desc seeds = {.seeds = 2};
    run_desc(b, sets, &seeds, "ensemble_seeds", rows, &count);
    assert_int_equal(rows[0].seeds, 1);
    assert_int_equal(rows[3].seeds, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_later_stage_goes_on_where_the_earlier_ended),
        cmocka_unit_test(an_optimiser_starts_anew_in_each_stage),
        cmocka_unit_test(a_teacher_is_the_model_as_it_then_is),
        cmocka_unit_test(a_model_may_have_its_own_start_values),
        cmocka_unit_test(two_equal_teachers_teach_what_one_does),
        cmocka_unit_test(two_teachers_are_combined_cached_and_live),
        cmocka_unit_test(an_ensemble_has_a_row_of_its_own),
        cmocka_unit_test(a_loss_on_features_leaves_start_values_alone),
        cmocka_unit_test(a_control_starts_from_the_loaded_values_too),
    };
    return cmocka_run_group_tests_name("train_stages", tests, open_bench, close_bench);
}
