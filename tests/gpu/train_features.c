// SPDX-License-Identifier: Apache-2.0
/* Runs with a loss on features: its adapters learn beside the student, live in the checkpoint, and
 * are in no model. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/safetensors.h"
#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

static const char *const hints[] = {
    "stages.distil.losses=[{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}, {loss: "
    "hint, weight: 0.3, taps: [fc0], relu: false}]",
    NULL};

static void run(const bench *b, const char *const *sets, const char *out, vkd_row *rows,
                uint32_t *count) {
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, out, rows, count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
}

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    run(b, NULL, "plain", NULL, NULL);
    run(b, hints, "whole", NULL, NULL);
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

static void same(const bench *b, const char *one, const char *two, const char *model) {
    char first[128], second[128];
    snprintf(first, sizeof first, "%s/%s.safetensors", one, model);
    snprintf(second, sizeof second, "%s/%s.safetensors", two, model);
    toy_same_file(toy_path(&b->data, first), toy_path(&b->data, second));
}

/* The n-th value of a key in the metrics of a phase. */
static double metric(const bench *b, const char *out, const char *key, bool last) {
    char name[64], wanted[64];
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    snprintf(wanted, sizeof wanted, "\"%s\":", key);
    size_t size = 0;
    char *text = toy_read(toy_path(&b->data, name), &size);
    double value = (double)NAN;
    for (const char *at = strstr(text, wanted); at; at = strstr(at + 1, wanted)) {
        if (last || isnan(value)) value = strtod(at + strlen(wanted), NULL);
    }
    test_free(text);
    return value;
}

static void the_student_comes_nearer_to_the_features(void **state) {
    const bench *b = *state;
    const char *const sets[] = {
        "stages.distil.losses=[{loss: hint, weight: 1, taps: [fc0], relu: false}]",
        "stages.distil.epochs=30", NULL};
    run(b, sets, "hint", NULL, NULL);
    const double first = metric(b, "hint", "hint", false), last = metric(b, "hint", "hint", true);
    print_message("          hint %g to %g\n", first, last);
    assert_true(last < 0.5 * first);
}

static bool has_tensor(const bench *b, const char *file, const char *part) {
    vkd__st_file *f = NULL;
    if (vkd__st_open(b->ctx, toy_path(&b->data, file), &f)) fail_msg("%s", vkd_ctx_error(b->ctx));
    bool found = false;
    for (size_t i = 0; i < vkd__st_count(f); i++)
        found |= strstr(vkd__st_at(f, i)->name, part) != NULL;
    vkd__st_close(f);
    return found;
}

static void adapters_are_in_the_checkpoint_and_in_no_model(void **state) {
    const bench *b = *state;
    assert_true(has_tensor(b, "whole/checkpoint.safetensors", "student.adapter.hint.0.weight"));
    assert_false(has_tensor(b, "whole/student.safetensors", "adapter"));
    assert_true(has_tensor(b, "whole/student.safetensors", "fc0.weight"));
    vkd_row rows[8];
    uint32_t count = 0;
    const char *const sets[] = {hints[0], "stages.distil.epochs=1", NULL};
    run(b, sets, "rows", rows, &count);
    assert_int_equal(rows[2].parameters, 36 * 5 + 5 + 2 * 5 + 5 * 4 + 4);
}

/* All tensors of two checkpoints; how long it took so far is in their metadata alone. */
static void same_tensors(const bench *b, const char *one, const char *two) {
    vkd__st_file *f[2] = {NULL, NULL};
    const char *const names[] = {one, two};
    for (int i = 0; i < 2; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/checkpoint.safetensors", names[i]);
        if (vkd__st_open(b->ctx, toy_path(&b->data, path), &f[i]))
            fail_msg("%s", vkd_ctx_error(b->ctx));
    }
    assert_int_equal(vkd__st_count(f[0]), vkd__st_count(f[1]));
    for (size_t i = 0; i < vkd__st_count(f[0]); i++) {
        const vkd__st_tensor *x = vkd__st_at(f[0], i), *y = vkd__st_find(f[1], x->name);
        assert_non_null(y);
        assert_int_equal(x->bytes, y->bytes);
        assert_memory_equal(x->data, y->data, x->bytes);
    }
    vkd__st_close(f[0]);
    vkd__st_close(f[1]);
}

/* ---- Hints, and then all of the student ---- */

#define TEACH                                                                                      \
    "{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: 0.1}, "        \
    "epochs: 3, batch: 24}, "
#define HINT(lr)                                                                                   \
    "{name: hint, train: student, teacher: teacher, losses: [{loss: hint, taps: [fc0]}], "         \
    "optimiser: {name: adamw, weight_decay: 0.1, lr: " lr "}, epochs: 1, batch: 24}"
#define DISTIL                                                                                     \
    ", {name: distil, train: student, teacher: teacher, losses: [{loss: kd_kl, tau: 3}], "         \
    "optimiser: {name: adamw, lr: 0.01}, epochs: 1, batch: 24}"
#define TWO_LAYERS "models.student={arch: mlp, hidden: [5, 6], norm: layernorm}"

/* Whether the tensors whose names begin so are the same in two models. */
static bool same_part(const bench *b, const char *one, const char *two, const char *start) {
    vkd__st_file *f[2] = {NULL, NULL};
    const char *const names[] = {one, two};
    bool same = true;
    uint32_t found = 0;
    for (int i = 0; i < 2; i++)
        if (vkd__st_open(b->ctx, toy_path(&b->data, names[i]), &f[i]))
            fail_msg("%s", vkd_ctx_error(b->ctx));
    for (size_t i = 0; i < vkd__st_count(f[0]); i++) {
        const vkd__st_tensor *x = vkd__st_at(f[0], i), *y = vkd__st_find(f[1], x->name);
        assert_non_null(y);
        if (strncmp(x->name, start, strlen(start)) != 0) continue;
        same = same && !memcmp(x->data, y->data, x->bytes);
        found++;
    }
    assert_true(found > 0);
    vkd__st_close(f[0]);
    vkd__st_close(f[1]);
    return same;
}

/* Without a step of any size the model is what it starts as. Decay is for what learns, too. */
static void a_hint_leaves_the_layers_above_it_as_they_are(void **state) {
    const bench *b = *state;
    const char *const still[] = {TWO_LAYERS, "stages=[" TEACH HINT("0") "]", NULL};
    const char *const moved[] = {TWO_LAYERS, "stages=[" TEACH HINT("0.01") "]", NULL};
    run(b, still, "still", NULL, NULL);
    run(b, moved, "moved", NULL, NULL);
    const char *one = "still/student.safetensors", *two = "moved/student.safetensors";
    assert_false(same_part(b, one, two, "fc0.weight"));
    assert_false(same_part(b, one, two, "fc0.bias"));
    assert_false(same_part(b, one, two, "norm0"));
    assert_true(same_part(b, one, two, "fc1"));
    assert_true(same_part(b, one, two, "norm1"));
    assert_true(same_part(b, one, two, "fc2"));
}

/* Running statistics are no parameters: a stage that does not compute a layer has none for it. */
static void a_hint_leaves_statistics_above_it_as_they_are(void **state) {
    const bench *b = *state;
    static const char *const outs[] = {"maps1", "maps2"};
    for (int i = 0; i < 2; i++) {
        char stages[700];
        snprintf(stages, sizeof stages,
                 "stages=[" TEACH "{name: hint, train: student, teacher: teacher, "
                 "losses: [{loss: hint, taps: [stage1.out]}], epochs: %d, batch: 24, "
                 "optimiser: {name: adamw, weight_decay: 0.1, lr: 0.01}}]",
                 i + 1);
        const char *const sets[] = {"models.teacher={arch: plain_cnn, depth: 2, width: 4}",
                                    "models.student={arch: plain_cnn, depth: 2, width: 3}", stages,
                                    NULL};
        run(b, sets, outs[i], NULL, NULL);
    }
    const char *one = "maps1/student.safetensors", *two = "maps2/student.safetensors";
    static const char *const below[] = {"conv1", "bn1.weight", "bn1.running_mean"};
    static const char *const above[] = {"conv2", "bn2.weight", "bn2.running_", "fc"};
    for (size_t i = 0; i < VKD_COUNT(below); i++)
        assert_false(same_part(b, one, two, below[i]));
    for (size_t i = 0; i < VKD_COUNT(above); i++)
        assert_true(same_part(b, one, two, above[i]));
}

/* What the student's own layers are is the same model for whoever loads it. */
static void a_distilled_student_loads_without_its_adapters(void **state) {
    const bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.student.load=%s",
             toy_path(&b->data, "whole/student.safetensors"));
    const char *const sets[] = {load, "stages.distil.epochs=1", hints[0], NULL};
    run(b, sets, "loaded", NULL, NULL);
}

static void the_control_knows_nothing_of_features(void **state) {
    same(*state, "plain", "whole", "student_control");
    same(*state, "plain", "whole", "teacher");
}

/* The tables are made in the stage's batches, and a part of the split has its own rows. */
static void kept_features_are_the_live_ones(void **state) {
    const bench *b = *state;
    static const char *const ways[] = {"live", "cached"};
    for (int i = 0; i < 2; i++) {
        char way[64];
        snprintf(way, sizeof way, "stages.distil.teacher_logits=%s", ways[i]);
        const char *const sets[] = {way, "stages.distil.first=50", "stages.distil.samples=130",
                                    "stages.distil.losses=[{loss: ce}, {loss: hint, weight: 0.3, "
                                    "taps: [fc0], relu: false}]",
                                    NULL};
        run(b, sets, ways[i], NULL, NULL);
    }
    same(b, "live", "cached", "student");
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* The phases have 30, 20 and 20 steps; the last one has adapters. */
static void an_interrupted_run_goes_on_to_the_same_bits(void **state) {
    const bench *b = *state;
    static const int stops[] = {7, 50, 51, 58, 69};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32];
        snprintf(out, sizeof out, "stop-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left}, rest = {.resume = true};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, hints, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        if (toy_run(b->ctx, b->device, &b->data, hints, &rest, out, NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        same(b, "whole", out, "student");
        same_tensors(b, "whole", out);
    }
}

/* 30 steps of the teacher, ten with the hint, ten without: the adapter rests there. */
static void hint_then_distil_resumes_to_the_same_bits(void **state) {
    const bench *b = *state;
    const char *const sets[] = {TWO_LAYERS, "stages=[" TEACH HINT("0.01") DISTIL "]", NULL};
    run(b, sets, "two", NULL, NULL);
    static const int stops[] = {31, 37, 40, 41, 46};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32];
        snprintf(out, sizeof out, "two-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left}, rest = {.resume = true};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        if (toy_run(b->ctx, b->device, &b->data, sets, &rest, out, NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        same(b, "two", out, "student");
        same_tensors(b, "two", out);
    }
}

static void mixed_precision_compares_features_too(void **state) {
    const bench *b = *state;
    const char *const sets[] = {hints[0], "precision=mixed", NULL};
    run(b, sets, "mixed", NULL, NULL);
    const double a = metric(b, "whole", "hint", false), c = metric(b, "mixed", "hint", false);
    assert_true(fabs(a - c) < 0.02 * a && a != c);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_student_comes_nearer_to_the_features),
        cmocka_unit_test(adapters_are_in_the_checkpoint_and_in_no_model),
        cmocka_unit_test(a_distilled_student_loads_without_its_adapters),
        cmocka_unit_test(the_control_knows_nothing_of_features),
        cmocka_unit_test(kept_features_are_the_live_ones),
        cmocka_unit_test(an_interrupted_run_goes_on_to_the_same_bits),
        cmocka_unit_test(a_hint_leaves_the_layers_above_it_as_they_are),
        cmocka_unit_test(a_hint_leaves_statistics_above_it_as_they_are),
        cmocka_unit_test(hint_then_distil_resumes_to_the_same_bits),
        cmocka_unit_test(mixed_precision_compares_features_too),
    };
    return cmocka_run_group_tests_name("train_features", tests, open_bench, close_bench);
}
