// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "train/recipe.h"
#include "train/summary.h"
#include "train/tree.h"

static const char good[] = "name: small\n"
                           "seed: 7\n"
                           "data: {format: idx, mean: 0.25, std: [0.5]}\n"
                           "models:\n"
                           "  teacher: {arch: mlp, hidden: [8, 4], dropout: 0.5}\n"
                           "  student: {arch: mlp, hidden: [2]}\n"
                           "stages:\n"
                           "  - name: first\n"
                           "    train: teacher\n"
                           "    losses: [{loss: ce}]\n"
                           "    optimiser: {name: sgd, lr: 0.1}\n"
                           "    epochs: 2\n"
                           "  - name: distil\n"
                           "    train: student\n"
                           "    teacher: teacher\n"
                           "    control: true\n"
                           "    omit_classes: [3]\n"
                           "    losses:\n"
                           "      - {loss: kd_kl, weight: 0.9, tau: 4}\n"
                           "      - {loss: ce, weight: 0.1}\n"
                           "    optimiser: {name: adamw}\n"
                           "    schedule: {name: cosine, warmup: 10}\n"
                           "    steps: 20\n"
                           "evaluation: {bias_shift: {3: 2.5}}\n";

static vkd_recipe *parse(vkd_ctx *ctx, const char *text, const char *set) {
    vkd_recipe *recipe = NULL;
    const vkd_result r =
        vkd_recipe_parse(ctx, "r.yaml", text, strlen(text), &set, set != NULL, &recipe);
    if (r) fail_msg("%s", vkd_ctx_error(ctx));
    return recipe;
}

/* The recipe with one line exchanged or added must be refused, in words that hold all of `words`.
 */
static void refuse(const char *from, const char *to, const char *words) {
    vkd_ctx *ctx = test_ctx();
    char text[2048] = "";
    const char *at = strstr(good, from);
    assert_non_null(at);
    snprintf(text, sizeof text, "%.*s%s%s", (int)(at - good), good, to, at + strlen(from));
    vkd_recipe *recipe = NULL;
    assert_int_equal(vkd_recipe_parse(ctx, "r.yaml", text, strlen(text), NULL, 0, &recipe),
                     VKD_E_RECIPE);
    assert_null(recipe);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static void a_recipe_is_read_whole(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = parse(ctx, good, NULL);
    assert_string_equal(vkd_recipe_name(r), "small");
    assert_int_equal(r->options.seed, 7);
    assert_true(r->data.mean[0] == 0.25f && r->data.std[0] == 0.5f && r->data.std[3] == 0.5f);
    assert_int_equal(r->model_count, 2);
    assert_int_equal(r->stage_count, 2);
    assert_int_equal(r->stages[0].teacher, VKD__NONE);
    const vkd__recipe_stage *s = &r->stages[1];
    assert_int_equal(s->model, 1);
    assert_int_equal(s->teacher, 0);
    assert_true(s->options.control);
    assert_int_equal(s->options.steps, 20);
    assert_int_equal(s->options.batch, 128);
    assert_int_equal(s->options.omit_classes.v[0], 3);
    assert_int_equal(s->warmup, 10);
    assert_int_equal(s->loss_count, 2);
    assert_true(s->losses[0].weight == 0.9f);
    assert_int_equal(r->evaluation.shift_count, 1);
    assert_true(r->evaluation.shifts[0].value == 2.5f);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
}

static void the_printed_recipe_reads_back_the_same(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *first = parse(ctx, good, "data.dir=it's here");
    char *printed = vkd_recipe_print(first);
    assert_non_null(printed);
    vkd_recipe *second = parse(ctx, printed, NULL);
    char *again = vkd_recipe_print(second);
    assert_string_equal(printed, again);
    assert_non_null(strstr(printed, "tau: 4\n"));
    assert_non_null(strstr(printed, "it''s here"));
    vkd_free_text(ctx, printed);
    vkd_free_text(ctx, again);
    vkd_recipe_destroy(first);
    vkd_recipe_destroy(second);
    vkd_ctx_destroy(ctx);
}

static void set_reaches_values_by_name_and_by_index(void **state) {
    (void)state;
    static const char *const sets[] = {"stages.distil.losses.kd_kl.weight=0.5",
                                       "stages.1.losses.0.weight=0.5",
                                       "stages.distil.losses.0={loss: kd_kl, weight: 0.5}"};
    for (size_t i = 0; i < VKD_COUNT(sets); i++) {
        vkd_ctx *ctx = test_ctx();
        vkd_recipe *r = parse(ctx, good, sets[i]);
        assert_true(r->stages[1].losses[0].weight == 0.5f);
        vkd_recipe_destroy(r);
        vkd_ctx_destroy(ctx);
    }
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = parse(ctx, good, "models.student.hidden=[5, 6]");
    char *text = vkd_recipe_print(r);
    assert_non_null(strstr(text, "hidden: [5, 6]"));
    vkd_free_text(ctx, text);
    vkd_recipe_destroy(r);
    r = parse(ctx, good, "checkpoint_every=5"); /* not in the file */
    assert_int_equal(r->options.checkpoint_every, 5);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
}

static void set_says_what_is_wrong(void **state) {
    (void)state;
    static const struct {
        const char *set, *words;
    } cases[] = {
        {"seed", "key=value"},
        {"stages.nothing.steps=3", "no item 'nothing'"},
        {"seed.deep=3", "nothing can be below 'seed'"},
        {"models..arch=mlp", "empty part"},
        {"stages.distil.stepz=3", "--set stages.distil.stepz=3: stage 'distil' has no key 'stepz'"},
        {"seed=many", "--set seed=many"},
        {"stages.distil.optimiser.name=adamv",
         "--set stages.distil.optimiser.name=adamv: there is no optimiser 'adamv'"},
        {"stages.distil.schedule.name=cosin", "--set stages.distil.schedule.name=cosin: there is"},
        {"stages.distil.losses.0.loss=kd", "--set stages.distil.losses.0.loss=kd: there is no"},
        {"models.student.arch=mpl", "--set models.student.arch=mpl: there is no architecture"},
        {"data.format=cifar", "--set data.format=cifar: there is no data format"},
        {"name=a/b", "--set name=a/b: 'a/b' cannot be the name"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        vkd_ctx *ctx = test_ctx();
        vkd_recipe *r = NULL;
        assert_int_equal(vkd_recipe_parse(ctx, "r.yaml", good, strlen(good), &cases[i].set, 1, &r),
                         VKD_E_RECIPE);
        if (!strstr(vkd_ctx_error(ctx), cases[i].words))
            fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), cases[i].words);
        vkd_ctx_destroy(ctx);
    }
}

static void mistakes_name_line_and_nearest_key(void **state) {
    (void)state;
    refuse("seed: 7", "sead: 7", "r.yaml:2: a recipe has no key 'sead', did you mean 'seed'?");
    refuse("dropout: 0.5", "drop_out: 0.5",
           "model 'teacher' has no key 'drop_out', did you mean 'dropout'");
    refuse("dropout: 0.5", "dropout: 1.5", "r.yaml:5");
    refuse("arch: mlp, hidden: [2]", "arch: mlq", "did you mean 'mlp'");
    refuse("name: adamw", "name: adam", "did you mean 'adamw'");
    refuse("name: cosine", "name: cosin", "did you mean 'cosine'");
    refuse("loss: kd_kl", "loss: kd_k", "did you mean 'kd_kl'");
    refuse("format: idx", "format: idy", "did you mean 'idx'");
    refuse("train: student", "train: studend", "did you mean 'student'");
    refuse("weight: 0.9", "weight: -1", "r.yaml:19");
    refuse("epochs: 2", "epochs: 2\n    steps: 3", "needs either epochs or steps, and has both");
    refuse("    epochs: 2\n", "", "needs either epochs or steps, and has none");
    refuse("name: small\n", "", "a recipe needs 'name'");
    refuse("name: small", "name: ../up", "cannot be the name");
    refuse("tau: 4}", "tau: 4}\n      - {loss: kd_kl}", "two losses of stage 'distil'");
    refuse("    teacher: teacher\n", "", "needs a teacher");
    refuse("    teacher: teacher\n", "    teacher: student\n", "its own teacher");
    refuse("  student: {arch", "  student_control: {arch: mlp}\n  student: {arch",
           "needs the name of the model 'student_control'");
    refuse("{3: 2.5}", "{3: 2000}", "from -1000 to 1000");
    refuse("std: [0.5]", "std: 0", "std");
}

static void a_teacher_must_be_trained_before_or_loaded(void **state) {
    (void)state;
    refuse("  - name: first\n"
           "    train: teacher\n"
           "    losses: [{loss: ce}]\n"
           "    optimiser: {name: sgd, lr: 0.1}\n"
           "    epochs: 2\n",
           "", "neither loaded nor trained");
    vkd_ctx *ctx = test_ctx();
    vkd_recipe_destroy(parse(ctx, good, "models.teacher.load=t.safetensors"));
    vkd_ctx_destroy(ctx);
}

/* ---- Schedules ---- */

static double factor(const vkd__schedule_def *d, const char *key, const char *value,
                     uint32_t warmup, uint64_t step) {
    vkd_ctx *ctx = test_ctx();
    double config[128] = {0};
    assert_true(d->config_size <= sizeof config);
    vkd__fields_init(d->fields, d->field_count, config);
    if (key)
        assert_int_equal(
            vkd__fields_set(ctx, d->fields, d->field_count, config, "test", key, value), VKD_OK);
    const vkd__schedule_at at = {step, 100, 10};
    const double f = vkd__schedule_factor(d, config, warmup, &at);
    vkd_ctx_destroy(ctx);
    return f;
}

static void near(double got, double want) {
    if (!(fabs(got - want) < 1e-6)) fail_msg("%.9g should be %.9g", got, want);
}

static void schedules_follow_their_formulas(void **state) {
    (void)state;
    near(factor(&vkd_schedule_constant, NULL, NULL, 0, 99), 1);
    near(factor(&vkd_schedule_cosine, NULL, NULL, 0, 0), 1);
    near(factor(&vkd_schedule_cosine, NULL, NULL, 0, 50), 0.5);
    near(factor(&vkd_schedule_cosine, "final", "0.2", 0, 50), 0.6);
    near(factor(&vkd_schedule_linear, NULL, NULL, 0, 25), 0.75);
    near(factor(&vkd_schedule_linear, "final", "0.5", 0, 25), 0.875);
    near(factor(&vkd_schedule_step, "milestones", "[3, 6]", 0, 29), 1);
    near(factor(&vkd_schedule_step, "milestones", "[3, 6]", 0, 30), 0.1);
    near(factor(&vkd_schedule_step, "milestones", "[3, 6]", 0, 60), 0.01);
}

static void warm_up_rises_in_equal_parts_and_then_the_schedule_starts(void **state) {
    (void)state;
    near(factor(&vkd_schedule_cosine, NULL, NULL, 20, 0), 0.05);
    near(factor(&vkd_schedule_cosine, NULL, NULL, 20, 19), 1);
    near(factor(&vkd_schedule_cosine, NULL, NULL, 20, 20), 1);
    near(factor(&vkd_schedule_cosine, NULL, NULL, 20, 60), 0.5);
}

/* ---- Summary ---- */

static void a_summary_has_mean_and_sample_deviation(void **state) {
    (void)state;
    vkd__result first[] = {{.label = "teacher", .model = "teacher", .accuracy = 0.9, .kl = NAN},
                           {.label = "student", .model = "student", .accuracy = 0.7, .kl = 1}};
    vkd__result second[] = {{.label = "teacher", .accuracy = 0.9, .shared = true},
                            {.label = "student", .accuracy = 0.8, .kl = 3}};
    vkd__result *const results[] = {first, second};
    const uint32_t counts[] = {2, 2};
    vkd_row rows[2];
    assert_int_equal(vkd__summary_rows(results, counts, 2, rows), 2);
    assert_int_equal(rows[0].seeds, 1); /* trained once for all */
    assert_int_equal(rows[1].seeds, 2);
    assert_true(isnan(rows[0].kl.mean));
    near(rows[1].accuracy.mean, 0.75);
    near(rows[1].accuracy.deviation, 0.0707106781);
    near(rows[1].kl.mean, 2);
    near(rows[1].kl.deviation, 1.41421356);
}

static void every_truncation_of_a_recipe_is_refused_or_read(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint32_t refused = 0;
    for (size_t size = 0; size < sizeof good - 1; size++) {
        char *exact = test_malloc(size ? size : 1); /* so that reading beyond it is seen */
        memcpy(exact, good, size);
        vkd_recipe *recipe = NULL;
        const vkd_result r = vkd_recipe_parse(ctx, "r.yaml", exact, size, NULL, 0, &recipe);
        assert_true(r == VKD_OK || r == VKD_E_RECIPE);
        refused += r != VKD_OK;
        vkd_recipe_destroy(recipe);
        test_free(exact);
    }
    assert_true(refused > sizeof good / 2);
    vkd_ctx_destroy(ctx);
}

/* ---- Memory ---- */

typedef struct allocator {
    long left, alive;
} allocator;

static void *take(void *user, size_t size) {
    allocator *a = user;
    if (a->left-- == 0) return NULL;
    a->alive++;
    return malloc(size);
}

static void give(void *user, void *memory) {
    ((allocator *)user)->alive--;
    free(memory);
}

static void every_failing_allocation_is_reported_and_leaves_nothing(void **state) {
    (void)state;
    allocator a = {.left = -1};
    vkd_ctx *ctx = NULL;
    const vkd_ctx_desc desc = {.alloc = take, .free = give, .user = &a};
    assert_int_equal(vkd_ctx_create(&desc, &ctx), VKD_OK);
    const long before = a.alive;
    const char *set = "models.student.hidden=[5, 6]";
    long n = 0;
    for (bool whole = false; !whole; n++) {
        assert_in_range(n, 0, 1000);
        a.left = n;
        vkd_recipe *recipe = NULL;
        vkd_result r = vkd_recipe_parse(ctx, "r.yaml", good, strlen(good), &set, 1, &recipe);
        char *text = r ? NULL : vkd_recipe_print(recipe);
        whole = text != NULL;
        if (!whole) assert_true(a.left < 0);
        if (r) assert_int_equal(r, VKD_E_MEMORY);
        a.left = -1;
        if (text) vkd_free_text(ctx, text);
        vkd_recipe_destroy(recipe);
        assert_int_equal(a.alive, before);
    }
    assert_true(n > 3);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_recipe_is_read_whole),
        cmocka_unit_test(the_printed_recipe_reads_back_the_same),
        cmocka_unit_test(set_reaches_values_by_name_and_by_index),
        cmocka_unit_test(set_says_what_is_wrong),
        cmocka_unit_test(mistakes_name_line_and_nearest_key),
        cmocka_unit_test(a_teacher_must_be_trained_before_or_loaded),
        cmocka_unit_test(schedules_follow_their_formulas),
        cmocka_unit_test(warm_up_rises_in_equal_parts_and_then_the_schedule_starts),
        cmocka_unit_test(a_summary_has_mean_and_sample_deviation),
        cmocka_unit_test(every_truncation_of_a_recipe_is_refused_or_read),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("recipe", tests, NULL, NULL);
}
