// SPDX-License-Identifier: Apache-2.0
/* vkdistill sweep as a user meets it. */
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "support/toy.h"

typedef struct fixture {
    toy t;
    vkd_ctx *ctx;
    vkd_device *device;
} fixture;

static int setup(void **state) {
    static fixture f;
    f.ctx = test_ctx();
    f.device = test_device(f.ctx);
    toy_init(&f.t);
    if (toy_run(f.ctx, f.device, &f.t, NULL, NULL, "run", NULL, NULL))
        fail_msg("%s", vkd_ctx_error(f.ctx));
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    toy_term(&f->t);
    test_device_close(f->device);
    vkd_ctx_destroy(f->ctx);
    return 0;
}

typedef struct answer {
    int code;
    char out[1 << 16], err[1 << 16];
} answer;

/* "@" stands for the folder; `before` is for the shell. */
static const answer *ask(const fixture *f, const char *before, const char *arguments) {
    static answer a;
    char command[4096];
    a = (answer){0};
    int length =
        snprintf(command, sizeof command, "%s '%s' sweep @/run/recipe.yaml %s 2>'@/errors'", before,
                 VKD_PROGRAM, arguments);
    char whole[8192] = "";
    size_t to = 0;
    for (int i = 0; i < length; i++)
        to +=
            (size_t)(command[i] == '@' ? snprintf(whole + to, sizeof whole - to, "%s", f->t.folder)
                                       : snprintf(whole + to, sizeof whole - to, "%c", command[i]));
    FILE *out = popen(whole, "r");
    assert_non_null(out);
    a.out[fread(a.out, 1, sizeof a.out - 1, out)] = 0;
    const int status = pclose(out);
    a.code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    FILE *errors = fopen(toy_path(&f->t, "errors"), "rb");
    assert_non_null(errors);
    a.err[fread(a.err, 1, sizeof a.err - 1, errors)] = 0;
    fclose(errors);
    return &a;
}

static const answer *good(const fixture *f, const char *arguments) {
    const answer *a = ask(f, "", arguments);
    if (a->code) fail_msg("sweep %s: %d, %s", arguments, a->code, a->err);
    return a;
}

static uint32_t times(const char *text, const char *words) {
    uint32_t n = 0;
    for (const char *at = strstr(text, words); at; at = strstr(at + 1, words))
        n++;
    return n;
}

#define TAU "stages.distil.losses.kd_kl.tau"
#define WEIGHT "stages.distil.losses.kd_kl.weight"

/* What does not depend on how long anything took. */
static json_t *figures_of(const char *text) {
    json_t *all = json_loads(text, 0, NULL), *point, *row;
    assert_non_null(all);
    size_t i, k;
    json_array_foreach(json_object_get(all, "points"), i, point) {
        json_object_del(point, "folder");
        json_array_foreach(json_object_get(point, "rows"), k, row) {
            json_object_del(row, "seconds");
            json_object_del(row, "seconds_deviation");
        }
    }
    return all;
}

static void every_point_is_the_run_with_its_settings(void **state) {
    const fixture *f = *state;
    const answer *a = good(f, "--grid " TAU "=1,4 --grid models.student.hidden=[5],[6] --json "
                              "--out @/grid");
    json_t *all = json_loads(a->out, 0, NULL);
    const json_t *points = json_object_get(all, "points");
    assert_int_equal(json_array_size(points), 4);
    const json_t *third = json_object_get(json_array_get(points, 2), "set");
    assert_string_equal(json_string_value(json_object_get(third, TAU)), "4");
    assert_string_equal(json_string_value(json_object_get(third, "models.student.hidden")), "[5]");
    const char *folder = json_string_value(json_object_get(json_array_get(points, 3), "folder"));
    const char *const sets[] = {TAU "=4", "models.student.hidden=[6]", NULL};
    assert_int_equal(toy_run(f->ctx, f->device, &f->t, sets, NULL, "plain", NULL, NULL), VKD_OK);
    static const char *const models[] = {"teacher", "student_control", "student"};
    for (size_t i = 0; i < VKD_COUNT(models); i++) {
        char path[1024], plain[64];
        snprintf(path, sizeof path, "%s/%s.safetensors", folder, models[i]);
        snprintf(plain, sizeof plain, "plain/%s.safetensors", models[i]);
        toy_same_file(path, toy_path(&f->t, plain));
    }
    /* One teacher, a control for each width, a student for each point. */
    assert_int_equal(times(a->err, "trained before, taken from"), 3 + 2);
    json_decref(all);
}

static void points_that_are_done_are_read(void **state) {
    const fixture *f = *state;
    const answer *a = good(f, "--grid " TAU "=1,4 --grid models.student.hidden=[5],[6] --json "
                              "--out @/grid");
    assert_int_equal(times(a->err, "done before"), 4);
    json_t *second = figures_of(a->out);
    size_t size = 0;
    char *text = toy_read(toy_path(&f->t, "grid/sweep.json"), &size);
    json_t *file = figures_of(text);
    assert_true(json_equal(second, file));
    test_free(text);
    json_decref(file);
    json_decref(second);
    a = good(f, "--grid " TAU "=1,4,9 --grid models.student.hidden=[5],[6] --json --out @/grid");
    assert_int_equal(times(a->err, "done before"), 4); /* two more were run */
    a = ask(f, "",
            "--grid " TAU "=1,4 --grid models.student.hidden=[5],[6] --set seed=9 --out "
            "@/grid");
    assert_int_equal(a->code, 3);
    assert_non_null(strstr(a->err, "holds a run of another recipe"));
}

static void a_killed_sweep_goes_on_to_the_same_table(void **state) {
    const fixture *f = *state;
    const char *const arguments = "--grid " WEIGHT "=0.3,0.6,0.9 --json --out @/killed";
    good(f, "--grid " WEIGHT "=0.3,0.6,0.9 --json --out @/whole");
    static const char *const kills[] = {"timeout -s KILL 0.3", "timeout -s KILL 0.5",
                                        "timeout -s KILL 0.8"};
    uint32_t killed = 0;
    for (size_t i = 0; i < VKD_COUNT(kills); i++)
        killed += ask(f, kills[i], arguments)->code != 0;
    assert_true(killed > 0);
    json_t *end = figures_of(good(f, arguments)->out);
    size_t size = 0;
    char *text = toy_read(toy_path(&f->t, "whole/sweep.json"), &size);
    json_t *whole = figures_of(text);
    assert_true(json_equal(end, whole));
    test_free(text);
    json_decref(whole);
    json_decref(end);
}

static void the_table_has_seeds_and_the_control(void **state) {
    const fixture *f = *state;
    const answer *a = good(f, "--grid " TAU "=1,4 --seeds 2 --markdown --out @/seeds");
    assert_non_null(strstr(a->out, "| tau |"));
    assert_non_null(strstr(a->out, "control"));
    assert_int_equal(times(a->out, "student distilled"), 2);
    assert_int_equal(times(a->out, "student alone"), 1); /* alike at both points */
    assert_int_equal(times(a->out, "| teacher |"), 1);
    assert_true(times(a->out, "+-") >= 8);
}

static void mistakes_are_said_before_anything_runs(void **state) {
    static const struct {
        const char *arguments;
        int code;
        const char *words;
    } cases[] = {
        {"", 2, "a sweep wants 1 to 8 --grid"},
        {"--grid tau", 2, "wants key=value"},
        {"--grid " TAU "=1,,2", 2, "a value is empty"},
        {"--grid " TAU "=1,2,1", 2, "'1' is there twice"},
        {"--grid " TAU "=1,2 --grid " TAU "=3", 2, "there twice"},
        {"--grid " TAU "=1,nonsense", 3, "nonsense"},
        {"--grid stages.distil.losses.kd_kl.tua=1", 3, "did you mean 'tau'"},
        {"--grid " TAU "=1,2 --seeds 0", 2, "--seeds must be at least 1"},
    };
    const fixture *f = *state;
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        char arguments[512];
        snprintf(arguments, sizeof arguments, "%s --out @/never", cases[i].arguments);
        const answer *a = ask(f, "", arguments);
        if (a->code != cases[i].code || !strstr(a->err, cases[i].words))
            fail_msg("sweep %s: %d, %s", arguments, a->code, a->err);
    }
    FILE *none = fopen(toy_path(&f->t, "never"), "rb");
    assert_null(none);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_point_is_the_run_with_its_settings),
        cmocka_unit_test(points_that_are_done_are_read),
        cmocka_unit_test(a_killed_sweep_goes_on_to_the_same_table),
        cmocka_unit_test(the_table_has_seeds_and_the_control),
        cmocka_unit_test(mistakes_are_said_before_anything_runs),
    };
    return cmocka_run_group_tests_name("sweep", tests, setup, teardown);
}
