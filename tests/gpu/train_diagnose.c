// SPDX-License-Identifier: Apache-2.0
/* What a run says of itself: the scale of each term before the first step, and warnings, each seen
 * to be given and not to be given. */
#include <jansson.h>
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

static void run(const bench *b, const char *const *sets, const vkd_run_desc *desc,
                const char *out) {
    if (toy_run(b->ctx, b->device, &b->data, sets, desc, out, NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

static json_t *summary_of(const bench *b, const char *out) {
    char name[64];
    json_error_t error;
    snprintf(name, sizeof name, "%s/summary.json", out);
    json_t *all = json_load_file(toy_path(&b->data, name), 0, &error);
    if (!all) fail_msg("%s: line %d: %s", name, error.line, error.text);
    return all;
}

/* How many warnings of the summary hold the words, and how many there are. */
static size_t warnings(const bench *b, const char *out, const char *words, size_t *all) {
    json_t *summary = summary_of(b, out);
    const json_t *list = json_object_get(summary, "warnings");
    size_t count = 0;
    *all = json_array_size(list);
    for (size_t i = 0; i < *all; i++)
        count += strstr(json_string_value(json_array_get(list, i)), words) != NULL;
    json_decref(summary);
    return count;
}

static void warned(const bench *b, const char *out, const char *words, bool in_metrics) {
    char name[64];
    size_t all = 0, size = 0;
    if (warnings(b, out, words, &all) != 1) fail_msg("'%s' should be warned of once", words);
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    char *text = toy_read(toy_path(&b->data, name), &size);
    const char *at = strstr(text, "\"warning\": ");
    while (at && strncmp(strstr(at, words) ? strstr(at, words) : "", words, strlen(words)) != 0)
        at = strstr(at + 1, "\"warning\": ");
    assert_int_equal(at != NULL, in_metrics);
    test_free(text);
}

/* ---- Scales ---- */

static double term(const json_t *summary, const char *phase, const char *name, const char *key) {
    size_t i, k;
    json_t *stage, *t;
    json_array_foreach(json_object_get(summary, "stages"), i, stage) {
        if (strcmp(json_string_value(json_object_get(stage, "phase")), phase) != 0) continue;
        json_array_foreach(json_object_get(stage, "terms"), k,
                           t) if (!strcmp(json_string_value(json_object_get(t, "term")),
                                          name)) return json_number_value(json_object_get(t, key));
    }
    fail_msg("there is no '%s' of '%s'", name, phase);
    return NAN;
}

static void near(double got, double want, double share) {
    if (!(fabs(got - want) <= share * fabs(want))) fail_msg("%.9g should be %.9g", got, want);
}

/* The first row's loss and the guard's norm are those of the first step: of a stage with one term,
 * they are the term's. */
static void the_scale_of_a_term_is_that_of_the_first_step(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"log_every=1", "stages.teach.losses.ce.weight=3", NULL};
    run(b, sets, NULL, "scales");
    json_t *s = summary_of(b, "scales");
    near(term(s, "teacher", "ce", "weight"), 3, 1e-6);
    near(term(s, "teacher", "ce", "scale"), toy_metric(&b->data, "scales", "teacher", "loss", 0),
         1e-5);
    near(term(s, "teacher", "ce", "gradient_norm"),
         toy_metric(&b->data, "scales", "teacher", "gradient_norm", 0), 1e-4);
    /* Of two terms the weighted values add up, and the norms obey the triangle. */
    const double kl = term(s, "student", "kd_kl", "scale"), ce = term(s, "student", "ce", "scale");
    near(kl + ce, toy_metric(&b->data, "scales", "student", "loss", 0), 1e-4);
    near(kl, 0.9 * toy_metric(&b->data, "scales", "student", "kd_kl", 0), 1e-4);
    const double x = term(s, "student", "kd_kl", "gradient_norm");
    const double y = term(s, "student", "ce", "gradient_norm");
    const double both = toy_metric(&b->data, "scales", "student", "gradient_norm", 0);
    assert_true(both <= (x + y) * 1.0001 && both >= fabs(x - y) * 0.9999);
    assert_true(x > 0 && y > 0);
    near(toy_metric(&b->data, "scales", "student", "scale.kd_kl", 0), kl, 1e-6);
    near(toy_metric(&b->data, "scales", "student", "gradient_norm.kd_kl", 0), x, 1e-6);
    json_decref(s);
}

/* Gradients of f16 would be zero without a loss scale; the terms are gauged in f32. */
static void the_scale_is_the_same_in_mixed_precision(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"precision=mixed", "log_every=1", "stages.teach.losses.ce.weight=3",
                                NULL};
    run(b, sets, NULL, "scales16");
    json_t *s = summary_of(b, "scales"), *h = summary_of(b, "scales16");
    near(term(h, "teacher", "ce", "gradient_norm"), term(s, "teacher", "ce", "gradient_norm"),
         1e-6);
    json_decref(s);
    json_decref(h);
}

static void epochs_say_how_near_the_teacher_is(void **state) {
    const bench *b = *state;
    json_t *s = summary_of(b, "scales");
    json_t *row = json_array_get(json_object_get(s, "rows"), 2);
    static const char *const keys[] = {"kl", "agreement", "teacher_entropy", "calibration_error"};
    for (size_t i = 0; i < VKD_COUNT(keys); i++)
        near(toy_metric(&b->data, "scales", "student", keys[i], 1),
             json_number_value(json_object_get(row, keys[i])), 1e-6);
    assert_true(isnan(toy_metric(&b->data, "scales", "student_control", "kl", 0)));
    assert_false(isnan(toy_metric(&b->data, "scales", "teacher", "calibration_error", 0)));
    json_decref(s);
}

/* Each term is computed once before the first step, batch statistics and all: what that does to the
 * running ones is undone, however many terms there are. */
static void gauging_leaves_running_statistics_alone(void **state) {
    const bench *b = *state;
    static const char *const losses[] = {"{loss: ce}", "{loss: ce}, {loss: ce, name: more, weight: "
                                                       "0}, {loss: ce, name: most, weight: 0}"};
    for (int i = 0; i < 2; i++) {
        char stages[300];
        snprintf(stages, sizeof stages,
                 "stages=[{train: teacher, losses: [%s], optimiser: {name: sgd, lr: 0.1}, steps: "
                 "3, batch: 24}]",
                 losses[i]);
        const char *const sets[] = {"models.teacher={arch: plain_cnn, depth: 2, width: 4}", stages,
                                    NULL};
        run(b, sets, NULL, i ? "bn3" : "bn1");
    }
    assert_true(toy_same(&b->data, "bn1/teacher.safetensors", "bn3/teacher.safetensors"));
}

/* ---- Warnings ---- */

#define TEACH(lr)                                                                                  \
    "{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: " lr "}, "     \
    "epochs: 3, batch: 24}"

static void a_good_run_is_not_warned_of(void **state) {
    const bench *b = *state;
    const char *const sets[] = {"stages.teach.epochs=8", "stages.distil.control=false", NULL};
    size_t all = 0;
    run(b, sets, NULL, "good");
    warnings(b, "good", "", &all);
    assert_int_equal(all, 0);
}

/* A student that starts as its teacher: the divergence has no gradient, the labels have one. */
static const char *const dead[] = {
    "models={teacher: {arch: mlp, hidden: [9]}, student: {arch: mlp, hidden: [9]}}",
    "stages=[" TEACH(
        "0") ", {name: distil, train: student, teacher: teacher, teacher_logits: live, "
             "losses: [{loss: kd_kl}, {loss: ce, weight: 0.1}], optimiser: {name: "
             "sgd, lr: 0.05}, epochs: 2, batch: 24}]",
    NULL};

static void a_term_without_a_gradient_is_warned_of(void **state) {
    const bench *b = *state;
    size_t all = 0;
    run(b, dead, NULL, "dead");
    warned(b, "dead", "student, stage 'distil': no gradient of the loss 'kd_kl' reaches", true);
    assert_int_equal(warnings(b, "dead", "'ce' reaches", &all), 0);
}

/* Hardly any light: what the weights see is nearly nothing, and a rate of 0 changes no bias. */
static void a_loss_at_chance_is_warned_of(void **state) {
    const bench *b = *state;
    const char *const dark[] = {"data.mean=0", "data.std=1e8", "stages=[" TEACH("0") "]", NULL};
    const char *const still[] = {"stages=[" TEACH("0") "]", NULL};
    const char *const brief[] = {"data.mean=0", "data.std=1e8",
                                 "stages=[{name: teach, train: teacher, losses: [{loss: ce}], "
                                 "optimiser: {name: sgd, lr: 0}, steps: 9, batch: 24}]",
                                 NULL};
    size_t all = 0;
    run(b, dark, NULL, "dark");
    warned(b, "dark", "teacher, stage 'teach': the loss 'ce' stays at ln(4) = 1.3863", true);
    run(b, still, NULL, "still"); /* it learns nothing, but it does not say nothing */
    assert_int_equal(warnings(b, "still", "ln(4)", &all), 0);
    run(b, brief, NULL, "brief"); /* too short to say */
    assert_int_equal(warnings(b, "brief", "ln(4)", &all), 0);
}

static void a_teacher_that_is_worse_is_warned_of(void **state) {
    const bench *b = *state;
    size_t all = 0;
    warned(b, "dead", "student: it is right on ", false);
    assert_int_equal(warnings(b, "good", "it is right on ", &all), 0);
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* Where it was stopped after a warning, a run that goes on knows it still. */
static void a_resumed_run_keeps_its_diagnosis(void **state) {
    const bench *b = *state;
    static const int stops[] = {31, 40, 49};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32];
        snprintf(out, sizeof out, "dead-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, dead, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        const vkd_run_desc rest = {.resume = true};
        run(b, dead, &rest, out);
        json_t *whole = summary_of(b, "dead"), *resumed = summary_of(b, out);
        assert_true(
            json_equal(json_object_get(whole, "warnings"), json_object_get(resumed, "warnings")));
        assert_true(
            json_equal(json_object_get(whole, "stages"), json_object_get(resumed, "stages")));
        json_decref(whole);
        json_decref(resumed);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_scale_of_a_term_is_that_of_the_first_step),
        cmocka_unit_test(the_scale_is_the_same_in_mixed_precision),
        cmocka_unit_test(epochs_say_how_near_the_teacher_is),
        cmocka_unit_test(gauging_leaves_running_statistics_alone),
        cmocka_unit_test(a_good_run_is_not_warned_of),
        cmocka_unit_test(a_term_without_a_gradient_is_warned_of),
        cmocka_unit_test(a_loss_at_chance_is_warned_of),
        cmocka_unit_test(a_teacher_that_is_worse_is_warned_of),
        cmocka_unit_test(a_resumed_run_keeps_its_diagnosis),
    };
    return cmocka_run_group_tests_name("train_diagnose", tests, open_bench, close_bench);
}
