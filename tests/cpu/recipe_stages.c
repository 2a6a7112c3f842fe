// SPDX-License-Identifier: Apache-2.0
/* What a recipe may say of stages and ensembles. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/support.h"
#include "train/recipe.h"

/* A recipe around the stages at hand. */
static const char head[] = "name: small\n"
                           "data: {format: idx}\n"
                           "models:\n"
                           "  a: {arch: mlp, hidden: [8]}\n"
                           "  b: {arch: mlp, hidden: [8], init_seed: 3}\n"
                           "  c: {arch: mlp, load: c.safetensors}\n"
                           "  s: {arch: mlp, hidden: [2]}\n"
                           "stages:\n";

#define TRAIN(model, more)                                                                         \
    "  - {train: " model ", optimiser: {name: sgd}, steps: 3, losses: [{loss: ce}]" more "}\n"
#define LABEL(more) "  - {name: pseudo, label: {teacher: a" more "}}\n"

static vkd_result parse(vkd_ctx *ctx, const char *tail, vkd_recipe **out) {
    char text[4096];
    const int length = snprintf(text, sizeof text, "%s%s", head, tail);
    assert_in_range(length, 1, sizeof text - 1);
    return vkd_recipe_parse(ctx, "r.yaml", text, strlen(text), NULL, 0, out);
}

/* Reads it, and what is printed of it, to the same text. */
static vkd_recipe *accept(vkd_ctx *ctx, const char *tail) {
    vkd_recipe *r = NULL, *second = NULL;
    if (parse(ctx, tail, &r)) fail_msg("%s", vkd_ctx_error(ctx));
    char *printed = vkd_recipe_print(r);
    if (vkd_recipe_parse(ctx, "printed", printed, strlen(printed), NULL, 0, &second))
        fail_msg("%s\n%s", vkd_ctx_error(ctx), printed);
    char *again = vkd_recipe_print(second);
    assert_string_equal(printed, again);
    vkd_free_text(ctx, printed);
    vkd_free_text(ctx, again);
    vkd_recipe_destroy(second);
    return r;
}

static void refuse(const char *tail, const char *words) {
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = NULL;
    assert_int_equal(parse(ctx, tail, &r), VKD_E_RECIPE);
    if (!strstr(vkd_ctx_error(ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(ctx), words);
    vkd_ctx_destroy(ctx);
}

static void several_stages_may_train_one_model(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = accept(ctx, TRAIN("a", ", name: first") TRAIN("a", ", name: second")
                                    TRAIN("a", ", name: third, control: true"));
    assert_int_equal(r->stage_count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(r->stages[i].model, 0);
    assert_int_equal(r->models[0].init_seed, 0);
    assert_int_equal(r->models[1].init_seed, 3);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
    refuse(TRAIN("a", "") TRAIN("a", ""), "two stages are called 'a'");
    refuse(TRAIN("a", ", name: x, control: true") TRAIN("a", ", name: y, control: true"),
           "stage 'y' asks for a control of 'a', which stage 'x' has already");
}

static void several_teachers_have_weights(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = accept(
        ctx, TRAIN("a", "") TRAIN("s", ", teachers: [{model: a, weight: 3}, c], combine: logits"));
    const vkd__recipe_stage *s = &r->stages[1];
    assert_int_equal(s->teacher_count, 2);
    assert_int_equal(s->teacher, 0);
    assert_int_equal(s->teachers[1].model, 2);
    assert_int_equal(s->options.combine, VKD__COMBINE_LOGITS);
    assert_true(vkd__teacher_share(s, 0) == 0.75f && vkd__teacher_share(s, 1) == 0.25f);
    assert_true(vkd__stage_taught_by(s, 2) && !vkd__stage_taught_by(s, 1));
    vkd_recipe_destroy(r);
    r = accept(ctx, TRAIN("s", ", teachers: [{model: c, weight: 0.1}]"));
    assert_int_equal(r->stages[0].teacher, 2);
    assert_true(vkd__teacher_share(&r->stages[0], 0) == 1);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
    refuse(TRAIN("s", ", teacher: c, teachers: [c]"), "has both 'teacher' and 'teachers'");
    refuse(TRAIN("s", ", teachers: []"), "has 0 teachers, it may have 1 to 8");
    refuse(TRAIN("s", ", teachers: [c, c]"), "has the teacher 'c' twice");
    refuse(TRAIN("s", ", teachers: [c, s]"), "'s' cannot be its own teacher");
    refuse(TRAIN("s", ", teachers: [c, a]"), "the teacher 'a' is neither loaded nor trained");
    refuse(TRAIN("s", ", teachers: [cc]"), "did you mean 'c'?");
    refuse(TRAIN("s", ", teachers: [{model: c, weight: 0}]"), "weight");
    refuse(TRAIN("s", ", teachers: [{model: c, wait: 1}]"), "did you mean 'weight'");
    refuse(TRAIN("s", ", teachers: [[c]]"), "a teacher must be a name or {model: NAME");
    refuse(TRAIN("s", ", teachers: [c], combine: both"), "probabilities");
}

static void a_stage_may_label_and_a_later_one_learn_from_it(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r = accept(
        ctx,
        TRAIN("a", "") LABEL(", first: 30, samples: 150, labels: hard, temperature: 2, "
                             "threshold: 0.5, balance: true, per_class: 40")
            TRAIN(
                "s",
                ", data: {pseudo: pseudo, ratio: 3}") "  - {train: b, optimiser: {name: sgd}, "
                                                      "steps: 2, "
                                                      "data: {labelled: false, pseudo: pseudo}}\n");
    const vkd__pseudo_options *o = r->stages[1].label;
    assert_non_null(o);
    assert_int_equal(r->stages[1].model, VKD__NONE);
    assert_true(vkd__stage_taught_by(&r->stages[1], 0));
    assert_int_equal(o->first, 30);
    assert_int_equal(o->samples, 150);
    assert_int_equal(o->labels, VKD__PSEUDO_HARD);
    assert_true(o->temperature == 2 && o->threshold == 0.5f && o->balance);
    assert_int_equal(o->per_class, 40);
    assert_null(r->stages[2].label);
    assert_int_equal(r->stages[2].data.pseudo, 1);
    assert_int_equal(r->stages[2].data.ratio, 3);
    assert_true(r->stages[2].data.labelled && !r->stages[3].data.labelled);
    assert_int_equal(r->stages[3].loss_count, 0);
    assert_int_equal(r->stages[0].data.pseudo, VKD__NONE);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
    refuse(LABEL(""), "the teacher 'a' is neither loaded nor trained");
    refuse(TRAIN("a", "") "  - {label: {teacher: a}}\n", "a stage that labels needs 'name'");
    refuse(TRAIN("a", "") "  - {name: p, label: {first: 3}}\n", "label needs a 'teacher'");
    refuse(TRAIN("a", "") "  - {name: p, label: {teacher: a}, epochs: 3}\n", "has no key 'epochs'");
    refuse(TRAIN("a", "") LABEL(", treshold: 0.3"), "did you mean 'threshold'");
    refuse(TRAIN("a", "") LABEL(", per_class: 3"), "per_class counts only with balance");
    refuse(TRAIN("a", "") LABEL("") TRAIN("s", ", data: {pseudo: psuedo}"),
           "there is no earlier stage that labels called 'psuedo', did you mean 'pseudo'?");
    refuse(TRAIN("a", "") TRAIN("s", ", data: {pseudo: a}"), "(there is: none)");
    refuse(TRAIN("a", "") LABEL("") TRAIN("s", ", data: {ratio: 2}"), "data needs 'pseudo'");
    refuse(TRAIN("a", "") LABEL("") TRAIN("s", ", data: {pseudo: pseudo, labelled: false}"),
           "are for labelled samples, and it has none");
    refuse(TRAIN("a", "") LABEL("") "  - {train: s, optimiser: {name: sgd}, steps: 3, "
                                    "data: {pseudo: pseudo}}\n",
           "'losses' is missing");
    refuse(TRAIN("a", "") LABEL("") "  - {train: s, optimiser: {name: sgd}, steps: 3, control: "
                                    "true, data: {pseudo: pseudo, labelled: false}}\n",
           "a control has no labels of a teacher");
    refuse(TRAIN("a", "") LABEL("") "  - {train: s, optimiser: {name: sgd}, steps: 3, "
                                    "data: {pseudo: pseudo, labelled: false, ratio: 2}}\n",
           "there is no ratio to them");
}

static void ensembles_name_models_that_are_there_in_the_end(void **state) {
    (void)state;
#define ENSEMBLES(list) TRAIN("a", "") TRAIN("b", "") "evaluation: {ensembles: [" list "]}\n"
    vkd_ctx *ctx = test_ctx();
    vkd_recipe *r =
        accept(ctx, ENSEMBLES("{name: both, models: [b, a]}, {name: x, models: [a, c]}"));
    assert_int_equal(r->evaluation.ensemble_count, 2);
    assert_string_equal(r->evaluation.ensembles[0].name, "both");
    assert_int_equal(r->evaluation.ensembles[0].models[0], 1);
    assert_int_equal(r->evaluation.ensembles[0].models[1], 0);
    vkd_recipe_destroy(r);
    vkd_ctx_destroy(ctx);
    refuse(ENSEMBLES("{name: e, models: [a]}"), "has 1 models, it wants 2 or more");
    refuse(ENSEMBLES("{name: e, models: [a, d]}"), "there is no model 'd'");
    refuse(ENSEMBLES("{name: e, models: [a, a]}"), "has 'a' twice");
    refuse(ENSEMBLES("{name: e, models: [a, s]}"), "which no stage trains and no file gives");
    refuse(ENSEMBLES("{name: a, models: [a, b]}"), "the name 'a' is a model's");
    refuse(ENSEMBLES("{name: e, models: [a, b]}, {name: e, models: [a, c]}"), "another ensemble's");
    refuse(ENSEMBLES("{name: e, model: [a, b]}"), "did you mean 'models'");
    refuse(ENSEMBLES("[a, b]"), "an ensemble must be a map");
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
    bool whole = false;
    for (long n = 0; !whole; n++) {
        assert_in_range(n, 0, 1000);
        a.left = n;
        vkd_recipe *r = NULL;
        const vkd_result result =
            parse(ctx,
                  TRAIN("a", ", ema: 0.5, control: true") LABEL(", first: 3")
                      TRAIN("s", ", teachers: [{model: a, weight: 2}, c], data: {pseudo: "
                                 "pseudo}") "evaluation: {ensembles: [{name: both, models: [a, "
                                            "s]}]}\n",
                  &r);
        char *text = result ? NULL : vkd_recipe_print(r);
        whole = text != NULL;
        if (!whole) assert_true(a.left < 0);
        if (result) assert_int_equal(result, VKD_E_MEMORY);
        a.left = -1;
        if (text) vkd_free_text(ctx, text);
        vkd_recipe_destroy(r);
        assert_int_equal(a.alive, before);
    }
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(several_stages_may_train_one_model),
        cmocka_unit_test(several_teachers_have_weights),
        cmocka_unit_test(a_stage_may_label_and_a_later_one_learn_from_it),
        cmocka_unit_test(ensembles_name_models_that_are_there_in_the_end),
        cmocka_unit_test(every_failing_allocation_is_reported_and_leaves_nothing),
    };
    return cmocka_run_group_tests_name("recipe_stages", tests, NULL, NULL);
}
