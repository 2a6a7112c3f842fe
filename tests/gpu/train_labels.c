// SPDX-License-Identifier: Apache-2.0
/* Stages that label samples with a teacher, stages that learn from them, and averaged parameters.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "support/toy.h"
#include "train/figures.h"

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

/* 48 samples have labels, 200 more get them from the teacher. */
#define MODELS                                                                                     \
    "models={teacher: {arch: mlp, hidden: [20]}, student: {arch: mlp, hidden: [20], dropout: "     \
    "0.2, "                                                                                        \
    "init_seed: 1}}"
#define STAGES(label, data, losses, more)                                                          \
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], samples: 48, optimiser: {name: "  \
    "adamw, lr: 0.01}, epochs: 10, batch: 12}, {name: pseudo, label: {teacher: teacher, first: "   \
    "48, samples: 200" label "}}, {name: learn, train: student, samples: 48, " data losses         \
    "optimiser: {name: adamw, lr: 0.01}, epochs: 10, batch: 12" more "}]"
#define CE "losses: [{loss: ce, smoothing: 0.1}], "

static vkd_result try_run(const bench *b, const char *stages, const char *out, vkd_row *rows) {
    uint32_t count = 0;
    vkd_row own[8];
    const char *const sets[] = {MODELS, stages, "log_every=1", NULL};
    return toy_run(b->ctx, b->device, &b->data, sets, NULL, out, rows ? rows : own, &count);
}

static void run(const bench *b, const char *stages, const char *out, vkd_row *rows) {
    if (try_run(b, stages, out, rows)) fail_msg("%s", vkd_ctx_error(b->ctx));
}

static double metric(const bench *b, const char *out, const char *phase, const char *key, int n) {
    return toy_metric(&b->data, out, phase, key, n);
}

static void near(double got, double want, double share) {
    if (!(fabs(got - want) <= share * fabs(want))) fail_msg("%.9g should be %.9g", got, want);
}

/* ---- Labels ---- */

static void the_loss_is_that_of_both_parts(void **state) {
    const bench *b = *state;
    run(b, STAGES("", "data: {pseudo: pseudo, ratio: 3}, ", CE, ""), "ratio", NULL);
    for (int i = 0; i < 5; i++) {
        const double ce = metric(b, "ratio", "student", "ce", i);
        const double pseudo = metric(b, "ratio", "student", "pseudo", i);
        assert_true(ce > 0 && pseudo > 0);
        near(metric(b, "ratio", "student", "loss", i), ce + 3 * pseudo, 1e-5);
    }
    /* Four steps an epoch, ten epochs: the labelled samples decide, of which there are 48. */
    assert_false(isnan(metric(b, "ratio", "student", "loss", 39)));
    assert_true(isnan(metric(b, "ratio", "student", "loss", 40)));
    assert_int_equal((int)metric(b, "ratio", "pseudo", "samples", 0), 200);
    assert_int_equal((int)metric(b, "ratio", "pseudo", "kept", 0), 200);
    const double right = metric(b, "ratio", "pseudo", "labels_right", 0);
    assert_true(right > 0.4 && right < 1);
}

static void the_file_holds_every_labelled_sample(void **state) {
    const bench *b = *state;
    vkd__st_file *file = NULL;
    assert_int_equal(
        vkd__st_open(b->ctx, toy_path(&b->data, "ratio/pseudo.labels.safetensors"), &file), VKD_OK);
    const vkd__st_tensor *targets = vkd__st_find(file, "targets");
    const vkd__st_tensor *entries = vkd__st_find(file, "entries");
    assert_non_null(targets);
    assert_int_equal(targets->shape.dim[0], 200);
    assert_int_equal(targets->shape.dim[1], 4);
    assert_int_equal(entries->shape.dim[0], 200);
    bool seen[248] = {false};
    for (uint32_t i = 0; i < 200; i++) {
        int32_t entry;
        memcpy(&entry, (const char *)entries->data + i * sizeof entry, sizeof entry);
        assert_in_range(entry, 48, 247);
        assert_false(seen[entry]);
        seen[entry] = true;
    }
    vkd__st_close(file);
}

static void a_threshold_drops_and_balance_evens_out(void **state) {
    const bench *b = *state;
    run(b, STAGES(", threshold: 0.8", "data: {pseudo: pseudo}, ", CE, ""), "filter", NULL);
    const double kept = metric(b, "filter", "pseudo", "kept", 0);
    assert_true(kept > 12 && kept < 200);
    assert_true(metric(b, "filter", "pseudo", "labels_right", 0) >
                metric(b, "ratio", "pseudo", "labels_right", 0));
    run(b,
        STAGES(", threshold: 0.8, balance: true, per_class: 30", "data: {pseudo: pseudo}, ", CE,
               ""),
        "balance", NULL);
    const double entries = metric(b, "balance", "pseudo", "entries", 0);
    assert_true(fabs(entries - 4 * 30) <= 20);
    assert_true(metric(b, "balance", "pseudo", "kept", 0) <= entries);
}

static void hard_labels_are_another_loss_than_soft_ones(void **state) {
    const bench *b = *state;
    run(b, STAGES(", labels: hard", "data: {pseudo: pseudo}, ", CE, ""), "hard", NULL);
    run(b, STAGES("", "data: {pseudo: pseudo}, ", CE, ""), "soft", NULL);
    run(b, STAGES(", temperature: 0.05", "data: {pseudo: pseudo}, ", CE, ""), "cold", NULL);
    const double hard = metric(b, "hard", "student", "pseudo", 0);
    assert_true(hard > 1.02 * metric(b, "soft", "student", "pseudo", 0));
    /* Soft labels at a low temperature are nearly hard ones. */
    near(metric(b, "cold", "student", "pseudo", 0), hard, 0.1);
}

static void without_labelled_samples_the_labels_are_all(void **state) {
    const bench *b = *state;
    run(b, STAGES("", "data: {pseudo: pseudo, labelled: false}, ", "", ""), "only", NULL);
    assert_true(isnan(metric(b, "only", "student", "ce", 0)));
    near(metric(b, "only", "student", "loss", 0), metric(b, "only", "student", "pseudo", 0), 1e-6);
    /* An epoch is as long as the stage's samples: 200 / 12 steps, ten times. */
    assert_false(isnan(metric(b, "only", "student", "loss", 159)));
    assert_true(isnan(metric(b, "only", "student", "loss", 160)));
}

/* Features are compared on the labelled part: with labels of a teacher or without, the first step
 * says the same of them. */
static void features_are_those_of_the_labelled_part(void **state) {
    const bench *b = *state;
#define HINT "teacher: teacher, losses: [{loss: hint, taps: [fc0]}, {loss: kd_kl}, {loss: ce}], "
    const char *const both = STAGES("", "data: {pseudo: pseudo, ratio: 2}, ", HINT, "");
    const char *const labelled = STAGES("", "", "teacher_logits: live, " HINT, "");
    const char *const sets[][5] = {
        {MODELS, both, "log_every=1", "models.student.dropout=0", NULL},
        {MODELS, labelled, "log_every=1", "models.student.dropout=0", NULL}};
    for (int i = 0; i < 2; i++)
        if (toy_run(b->ctx, b->device, &b->data, sets[i], NULL, i ? "hint1" : "hint0", NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
    near(metric(b, "hint0", "student", "hint", 0), metric(b, "hint1", "student", "hint", 0), 1e-5);
    near(metric(b, "hint0", "student", "kd_kl", 0), metric(b, "hint1", "student", "kd_kl", 0),
         1e-5);
    assert_false(isnan(metric(b, "hint0", "student", "pseudo", 0)));
}

/* It sees the labelled part alone, and is the control of the same stage without the labels. */
static void a_control_has_no_labels_of_a_teacher(void **state) {
    const bench *b = *state;
    run(b, STAGES("", "data: {pseudo: pseudo}, ", CE, ", control: true"), "with", NULL);
    run(b, STAGES("", "", CE, ", control: true"), "without", NULL);
    assert_true(toy_same(&b->data, "with/student_control.safetensors",
                         "without/student_control.safetensors"));
    assert_false(toy_same(&b->data, "with/student.safetensors", "without/student.safetensors"));
}

/* The same model learns on from what it said before. */
static void a_model_may_learn_from_its_own_labels(void **state) {
    const bench *b = *state;
    vkd_row rows[8];
    run(b, STAGES("", "data: {pseudo: pseudo}, ", CE, ""), "taught", rows);
    assert_true(isnan(rows[0].kl.mean) && rows[1].kl.mean > 0); /* held against who labelled */
    run(b,
        "stages=[{name: teach, train: teacher, losses: [{loss: ce}], samples: 48, optimiser: "
        "{name: adamw, lr: 0.01}, epochs: 10, batch: 12}, {name: pseudo, label: {teacher: teacher, "
        "first: 48}}, {name: again, train: teacher, data: {pseudo: pseudo}, samples: 48, losses: "
        "[{loss: ce}], optimiser: {name: adamw, lr: 0.01}, epochs: 2, batch: 12}]",
        "self", rows);
    assert_int_equal((int)metric(b, "self", "pseudo", "samples", 0), TOY_TRAIN - 48);
    /* It begins at its own labels, each with its own sample: no divergence but that of rounding. */
    assert_true(metric(b, "self", "teacher", "pseudo", 0) < 1e-5);
    assert_true(isnan(rows[0].kl.mean)); /* it has no teacher but itself */
}

static void refuse(const bench *b, const char *stages, const char *out, vkd_result want,
                   const char *words) {
    const vkd_result r = try_run(b, stages, out, NULL);
    if (r != want) fail_msg("%s: %s", vkd_result_text(r), vkd_ctx_error(b->ctx));
    if (!strstr(vkd_ctx_error(b->ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(b->ctx), words);
}

static void what_does_not_fit_is_said(void **state) {
    const bench *b = *state;
    refuse(b, STAGES(", threshold: 1", "data: {pseudo: pseudo}, ", CE, ""), "e1", VKD_E_RECIPE,
           "stage 'pseudo' keeps none of 200 samples");
    refuse(b, STAGES("", "data: {pseudo: pseudo, ratio: 17}, ", CE, ""), "e2", VKD_E_RECIPE,
           "stage 'learn' wants 204 samples of 'pseudo' in each step, which kept 200");
    refuse(b,
           "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd}, "
           "steps: 1, batch: 12}, {name: p, label: {teacher: teacher, first: 200, samples: 57}}]",
           "e3", VKD_E_RECIPE, "labels samples up to 257, the training split has 256");
    refuse(b, STAGES("", "data: {pseudo: pseudo}, ", "losses: [{loss: ce, name: pseudo}], ", ""),
           "e4", VKD_E_RECIPE, "the name 'pseudo' is that of the labels' loss");
}

/* ---- Averages ---- */

/* The values of one tensor of a saved model. */
static size_t values_of(const bench *b, const char *out, const char *name, float *v, size_t most) {
    vkd__st_file *file = NULL;
    char path[64];
    snprintf(path, sizeof path, "%s/teacher.safetensors", out);
    assert_int_equal(vkd__st_open(b->ctx, toy_path(&b->data, path), &file), VKD_OK);
    const vkd__st_tensor *t = vkd__st_find(file, name);
    assert_non_null(t);
    const size_t count = t->bytes / sizeof *v;
    assert_true(count <= most);
    memcpy(v, t->data, t->bytes);
    vkd__st_close(file);
    return count;
}

static void run_steps(const bench *b, const char *lr, int steps, const char *more,
                      const char *out) {
    char stages[400];
    snprintf(stages, sizeof stages,
             "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, "
             "lr: %s}, steps: %d, batch: 12%s}]",
             lr, steps, more);
    run(b, stages, out, NULL);
}

static void an_average_follows_its_formula(void **state) {
    const bench *b = *state;
    enum { STEPS = 4, MOST = 1000 };
    static float w[STEPS + 1][MOST], got[MOST];
    size_t count = 0;
    for (int i = 0; i <= STEPS; i++) {
        char out[16];
        snprintf(out, sizeof out, "ema%d", i);
        run_steps(b, i ? "0.1" : "0", i ? i : 1, "", out);
        count = values_of(b, out, "fc0.weight", w[i], MOST);
    }
    run_steps(b, "0.1", STEPS, ", ema: 0.2", "ema");
    values_of(b, "ema", "fc0.weight", got, MOST);
    for (size_t i = 0; i < count; i++) {
        double a = (double)w[0][i];
        for (int n = 0; n < STEPS; n++) {
            const double d = fmin(0.2, (1.0 + n) / (10.0 + n));
            a = d * a + (1 - d) * (double)w[n + 1][i];
        }
        if (!(fabs((double)got[i] - a) < 1e-6)) fail_msg("%zu: %g, not %g", i, (double)got[i], a);
    }
    assert_false(toy_same(&b->data, "ema/teacher.safetensors", "ema4/teacher.safetensors"));
}

/* What is measured after the last epoch is what the table has, and is not the raw model. */
static void the_average_is_what_is_evaluated_and_what_teaches(void **state) {
    const bench *b = *state;
    vkd_row rows[8];
    char stages[2048];
    const char *const form =
        "stages=[{name: teach, train: teacher, losses: [{loss: ce}], samples: 48, optimiser: "
        "{name: sgd, lr: 0.3}, epochs: 5, batch: 12%s}, {name: learn, train: student, teacher: "
        "teacher, losses: [{loss: kd_kl}], optimiser: {name: sgd, lr: 0.1}, epochs: 1, batch: 12, "
        "control: true%s}]";
    snprintf(stages, sizeof stages, form, ", ema: 0.95", ", ema: 0.9");
    run(b, stages, "averaged", rows);
    const double accuracy = rows[0].accuracy.mean;
    near(metric(b, "averaged", "teacher", "calibration_error", 4), rows[0].calibration.mean, 1e-6);
    near(metric(b, "averaged", "student", "kl", 0), rows[2].kl.mean, 1e-6);
    snprintf(stages, sizeof stages, form, "", "");
    run(b, stages, "raw", rows);
    near(metric(b, "averaged", "teacher", "loss", 19), metric(b, "raw", "teacher", "loss", 19),
         1e-6); /* training itself does not know of it */
    assert_true(metric(b, "averaged", "student", "kd_kl", 0) !=
                metric(b, "raw", "student", "kd_kl", 0));
    print_message("          accuracy %g averaged, %g raw\n", accuracy, rows[0].accuracy.mean);
    assert_false(toy_same(&b->data, "averaged/student_control.safetensors",
                          "raw/student_control.safetensors"));
}

/* Of batchnorm the running statistics are the model's own, and those that the average is evaluated
 * with. */
static void an_average_has_the_models_statistics(void **state) {
    const bench *b = *state;
    enum { MOST = 64 };
    float raw[MOST], averaged[MOST];
    vkd_row rows[8];
    uint32_t count = 0;
    for (int i = 0; i < 2; i++) {
        char stages[300];
        snprintf(stages, sizeof stages,
                 "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: "
                 "sgd, lr: 0.2}, epochs: 2, batch: 24%s}]",
                 i ? ", ema: 0.9" : "");
        const char *const sets[] = {"models={teacher: {arch: plain_cnn, depth: 2, width: 4}}",
                                    stages, NULL};
        if (toy_run(b->ctx, b->device, &b->data, sets, NULL, i ? "bn_ema" : "bn_raw", rows, &count))
            fail_msg("%s", vkd_ctx_error(b->ctx));
    }
    near(metric(b, "bn_ema", "teacher", "calibration_error", 1), rows[0].calibration.mean, 1e-6);
    const size_t n = values_of(b, "bn_raw", "bn1.running_var", raw, MOST);
    values_of(b, "bn_ema", "bn1.running_var", averaged, MOST);
    assert_memory_equal(raw, averaged, n * sizeof *raw);
    assert_true(raw[0] != 1);
    values_of(b, "bn_raw", "bn1.weight", raw, MOST);
    values_of(b, "bn_ema", "bn1.weight", averaged, MOST);
    assert_memory_not_equal(raw, averaged, n * sizeof *raw);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_loss_is_that_of_both_parts),
        cmocka_unit_test(the_file_holds_every_labelled_sample),
        cmocka_unit_test(a_threshold_drops_and_balance_evens_out),
        cmocka_unit_test(hard_labels_are_another_loss_than_soft_ones),
        cmocka_unit_test(without_labelled_samples_the_labels_are_all),
        cmocka_unit_test(features_are_those_of_the_labelled_part),
        cmocka_unit_test(a_control_has_no_labels_of_a_teacher),
        cmocka_unit_test(a_model_may_learn_from_its_own_labels),
        cmocka_unit_test(what_does_not_fit_is_said),
        cmocka_unit_test(an_average_follows_its_formula),
        cmocka_unit_test(an_average_has_the_models_statistics),
        cmocka_unit_test(the_average_is_what_is_evaluated_and_what_teaches),
    };
    return cmocka_run_group_tests_name("train_labels", tests, open_bench, close_bench);
}
