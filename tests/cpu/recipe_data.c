// SPDX-License-Identifier: Apache-2.0
/* What a recipe says of its data, and which of them a stage sees. */
#include "support/toy.h"

#include <stdio.h>
#include <string.h>

#include "support/data.h"
#include "train/recipe.h"
#include "train/session.h"

static toy files;

static int make_files(void **state) {
    (void)state;
    toy_init(&files);
    return 0;
}

static int remove_files(void **state) {
    (void)state;
    toy_term(&files);
    return 0;
}

static vkd_result parse(vkd_ctx *ctx, const char *data, vkd_recipe **out) {
    char text[512];
    const int size =
        snprintf(text, sizeof text,
                 "name: d\ndata: %s\nmodels: {m: {arch: mlp}}\nstages: [{train: m, losses: [{loss: "
                 "ce}], optimiser: {name: sgd}, epochs: 1}]\n",
                 data);
    return vkd_recipe_parse(ctx, "d.yaml", text, (size_t)size, NULL, 0, out);
}

static void the_keys_of_every_format_are_read_and_printed(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = NULL, *again = NULL;
    const char *const text = "{format: folder, dir: x, channels: 1, samples: 7, tests: 5, "
                             "size: [14, 12], classes: [T-shirt/top, \"it's\", 3]}";
    if (parse(ctx, text, &r)) fail_msg("%s", vkd_ctx_error(ctx));
    const vkd__data_options *o = &r->data.options;
    assert_int_equal(o->samples, 7);
    assert_int_equal(o->tests, 5);
    assert_int_equal(o->size.count, 2);
    assert_int_equal(o->size.v[0], 14);
    assert_int_equal(o->size.v[1], 12);
    assert_int_equal(o->classes, 3);
    assert_string_equal(o->class_names[0], "T-shirt/top");
    assert_string_equal(o->class_names[1], "it's");
    assert_string_equal(o->class_names[2], "3");
    char *printed = vkd_recipe_print(r);
    assert_non_null(strstr(printed, "  classes: ['T-shirt/top', 'it''s', '3']\n"));
    assert_int_equal(vkd_recipe_parse(ctx, "p", printed, strlen(printed), NULL, 0, &again), VKD_OK);
    char *twice = vkd_recipe_print(again);
    assert_string_equal(printed, twice);
    vkd_free_text(ctx, printed);
    vkd_free_text(ctx, twice);
    vkd_recipe_destroy(r);
    vkd_recipe_destroy(again);
    assert_int_equal(parse(ctx, "{format: idx, classes: 4}", &r), VKD_OK);
    assert_int_equal(r->data.options.classes, 4);
    assert_null(r->data.options.class_names);
    printed = vkd_recipe_print(r);
    assert_non_null(strstr(printed, "  classes: 4\n"));
    vkd_free_text(ctx, printed);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
}

static void mistakes_are_named(void **state) {
    (void)state;
    const struct {
        const char *data, *words;
    } cases[] = {
        {"{format: idx, clases: 4}", "d.yaml:2: data has no key 'clases', did you mean 'classes'?"},
        {"{format: idx, classes: [one]}", "'classes' must name at least two"},
        {"{format: idx, classes: [a, [b]]}", "a class's name must be one line of text"},
        {"{format: idx, classes: [a, '']}", "a class's name must be one line of text"},
        {"{format: idx, classes: [a, \"b\\nc\"]}", "a class's name must be one line of text"},
        {"{format: idx, classes: [a, \"b\\u2028c\"]}", "a class's name must be one line of text"},
        {"{format: idx, classes: {a: b}}", "classes is '{a: b}'"},
        {"{format: idx, size: [14, 0]}", "must be from 1 to 4096"},
        {"{format: folder, channels: 2}", "channels is '2'"},
        {"{format: cifar10, labels: fine}", "data has no key 'labels'"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        vkd_ctx *ctx = test_ctx();
        vkd_recipe *r = NULL;
        assert_int_equal(parse(ctx, cases[i].data, &r), VKD_E_RECIPE);
        if (!strstr(vkd_ctx_error(ctx), cases[i].words))
            fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), cases[i].words);
        vkd_ctx_destroy(ctx);
    }
}

/* The toy's images, whose classes light up one quarter each. */
static void a_list_of_classes_names_them(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = toy_recipe(ctx, &files,
                               (const char *const[]){"data.classes=[nw, ne, sw, se]",
                                                     "data.size=[3, 2]", "data.samples=9", NULL});
    vkd__dataset d;
    if (vkd__recipe_load_data(ctx, r, &d)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(d.classes, 4);
    assert_string_equal(d.class_names[3], "se");
    assert_int_equal(d.train.count, 9);
    assert_int_equal(d.test.count, TOY_TEST);
    assert_int_equal(vkd_shape_count(d.sample), 6);
    vkd__dataset_term(ctx, &d);
    vkd_recipe_destroy(r);
    r = toy_recipe(ctx, &files, (const char *const[]){"data.classes=[a, b, c]", NULL});
    assert_int_equal(vkd__recipe_load_data(ctx, r, &d), VKD_E_DATA);
    assert_non_null(strstr(vkd_ctx_error(ctx), "is above 2, the last of 3 classes"));
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
}

/* ---- Which samples a stage sees ---- */

/* Planning a recipe with these settings of its first stage; *steps of an epoch. */
static vkd_result sketch(vkd_ctx *ctx, const char *const *sets, uint64_t *steps) {
    vkd_recipe *r = toy_recipe(ctx, &files, sets);
    vkd__dataset d;
    vkd__session *s = NULL;
    if (vkd__recipe_load_data(ctx, r, &d)) fail_msg("%s", vkd_ctx_error(ctx));
    const vkd_result result = vkd__session_sketch(ctx, r, &d, &s);
    if (!result) *steps = s->phases[0].epoch_steps;
    vkd__session_destroy(s);
    vkd__dataset_term(ctx, &d);
    vkd_recipe_destroy(r);
    return result;
}

static void a_stage_has_its_part_of_the_samples(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint64_t steps = 0;
    const struct {
        const char *sets[4];
        uint64_t steps;
    } cases[] = {
        {{"stages.teach.batch=1"}, TOY_TRAIN},
        {{"stages.teach.batch=1", "stages.teach.first=100"}, TOY_TRAIN - 100},
        {{"stages.teach.batch=1", "stages.teach.first=100", "stages.teach.samples=20"}, 20},
        {{"stages.teach.batch=1", "stages.teach.first=250", "stages.teach.samples=20"},
         TOY_TRAIN - 250},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const char *const sets[] = {cases[i].sets[0], cases[i].sets[1], cases[i].sets[2],
                                    cases[i].sets[3], NULL};
        if (sketch(ctx, sets, &steps)) fail_msg("%s", vkd_ctx_error(ctx));
        assert_int_equal(steps, cases[i].steps);
    }
    vkd_ctx_destroy(ctx);
}

/* Of two classes, a pair of each a batch: as many as the rarer one gives. */
static void batches_of_classes_are_counted(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = toy_recipe(ctx, &files, NULL);
    vkd__dataset d;
    if (vkd__recipe_load_data(ctx, r, &d)) fail_msg("%s", vkd_ctx_error(ctx));
    uint64_t count[2] = {0}, steps = 0;
    for (uint32_t i = 50; i < 150; i++)
        if (d.train.labels[i] == 1 || d.train.labels[i] == 2) count[d.train.labels[i] - 1]++;
    vkd__dataset_term(ctx, &d);
    vkd_recipe_destroy(r);
    const char *const sets[] = {"stages.teach.batch=4",        "stages.teach.sampler=classes",
                                "stages.teach.first=50",       "stages.teach.samples=100",
                                "stages.teach.classes=[1, 2]", NULL};
    if (sketch(ctx, sets, &steps)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_true(steps > 5);
    assert_int_equal(steps, (count[0] < count[1] ? count[0] : count[1]) / 2);
    vkd_ctx_destroy(ctx);
}

static void a_stage_without_a_batch_is_refused(void **state) {
    (void)state;
    const struct {
        const char *sets[3], *words;
    } cases[] = {
        {{"stages.teach.first=256"},
         "stage 'teach': first is 256, the training split has 256 samples"},
        {{"stages.teach.first=240"}, "a batch of 24 is more than the 16 training samples"},
        {{"stages.teach.classes=[4]"}, "stage 'teach' names class 4, the data has 4"},
        {{"stages.teach.classes=[1]", "stages.teach.omit_classes=[1]"},
         "a batch of 24 is more than the 0 training samples"},
        {{"stages.teach.samples=24", "stages.teach.sampler=classes", "stages.teach.per_class=24"},
         "the classes of its 24 training samples make no batch of 24 with 24 of a class"},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        uint64_t steps;
        const char *const sets[] = {cases[i].sets[0], cases[i].sets[1], cases[i].sets[2], NULL};
        assert_int_equal(sketch(ctx, sets, &steps), VKD_E_RECIPE);
        if (!strstr(vkd_ctx_error(ctx), cases[i].words))
            fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), cases[i].words);
    }
    vkd_recipe *r = NULL;
    static const char text[] = "name: d\ndata: {format: idx}\nmodels: {m: {arch: mlp}}\n"
                               "stages: [{train: m, losses: [{loss: ce}], optimiser: {name: sgd}, "
                               "epochs: 1, batch: 9, sampler: classes}]\n";
    assert_int_equal(vkd_recipe_parse(ctx, "d", text, sizeof text - 1, NULL, 0, &r), VKD_E_RECIPE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "stage 'm': per_class 2 does not divide batch 9"));
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_keys_of_every_format_are_read_and_printed),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(a_list_of_classes_names_them),
        cmocka_unit_test(a_stage_has_its_part_of_the_samples),
        cmocka_unit_test(batches_of_classes_are_counted),
        cmocka_unit_test(a_stage_without_a_batch_is_refused),
    };
    return cmocka_run_group_tests_name("recipe's data", tests, make_files, remove_files);
}
