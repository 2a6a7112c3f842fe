// SPDX-License-Identifier: Apache-2.0
/* What becomes of a stage's losses in its phases: the weights of a control, and by how much a term
 * is multiplied. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "train/session.h"

static int32_t labels[32];
static const vkd__dataset data = {.sample = {2, {4, 4}},
                                  .channels = 1,
                                  .classes = 3,
                                  .train = {.count = 32, .labels = labels},
                                  .test = {.count = 8, .labels = labels}};

typedef struct bench {
    vkd_ctx *ctx;
    vkd_recipe *recipe;
    vkd__session *session;
} bench;

/* A student, with its control, that learns from a teacher by these losses. */
static bench open_with(const char *losses) {
    bench b = {.ctx = test_ctx()};
    char text[1500];
    snprintf(
        text, sizeof text,
        "name: terms\n"
        "data: {format: idx}\n"
        "models: {teacher: {arch: mlp, hidden: [8, 6]}, student: {arch: mlp, hidden: [5, 6]}}\n"
        "stages:\n"
        "  - {train: teacher, losses: [{loss: ce}], optimiser: {name: sgd}, epochs: 1, batch: 4}\n"
        "  - {train: student, teacher: teacher, control: true, optimiser: {name: sgd}, epochs: 1,\n"
        "     batch: 4, losses: %s}\n",
        losses);
    if (vkd_recipe_parse(b.ctx, "r.yaml", text, strlen(text), NULL, 0, &b.recipe) ||
        vkd__session_sketch(b.ctx, b.recipe, &data, &b.session))
        fail_msg("%s", vkd_ctx_error(b.ctx));
    return b;
}

static void close_bench(bench *b) {
    vkd__session_destroy(b->session);
    vkd_recipe_destroy(b->recipe);
    vkd_ctx_destroy(b->ctx);
}

/* ---- The control ---- */

typedef struct want {
    const char *loss;
    float first, last;
} want;

static void expect_control(const char *losses, uint32_t count, const want *wanted) {
    bench b = open_with(losses);
    const vkd__phase *p = &b.session->phases[1];
    assert_true(p->control);
    assert_int_equal(p->term_count, count);
    for (uint32_t i = 0; i < count; i++) {
        const vkd__term *t = &p->terms[i];
        if (strcmp(t->def->name, wanted[i].loss) != 0 || t->weight != wanted[i].first ||
            t->final_weight != wanted[i].last)
            fail_msg("%s: term %u is %s from %g to %g", losses, i, t->def->name, (double)t->weight,
                     (double)t->final_weight);
    }
    close_bench(&b);
}

#define EXPECT(losses, ...)                                                                        \
    expect_control(losses, sizeof((const want[]){__VA_ARGS__}) / sizeof(want),                     \
                   (const want[]){__VA_ARGS__})

static void a_control_has_the_stages_sum_of_weights(void **state) {
    (void)state;
    EXPECT("[{loss: kd_kl, weight: 3}, {loss: ce, weight: 1}]", {"ce", 4, 4});
    EXPECT("[{loss: kd_kl, weight: 4, final_weight: 1}, {loss: ce}]", {"ce", 5, 2});
    EXPECT("[{loss: kd_kl}, {loss: ce, weight: 2, final_weight: 0}]", {"ce", 3, 3});
    EXPECT("[{loss: kd_kl, weight: 7}]", {"ce", 1, 1});
    EXPECT("[{loss: kd_kl}, {loss: ce, weight: 0}]", {"ce", 1, 1});
}

/* Their weights say what units their features have, whether a teacher is there or not. */
static void losses_on_features_do_not_count(void **state) {
    (void)state;
    EXPECT("[{loss: ce}, {loss: rkd_distance, weight: 25, taps: [fc1]}]", {"ce", 1, 1});
    EXPECT("[{loss: triplet, taps: [fc1]}, {loss: rkd_distance, weight: 25, taps: [fc1]}]",
           {"triplet", 1, 1});
    EXPECT("[{loss: ce}, {loss: triplet, weight: 3, taps: [fc1]}, {loss: kd_kl}]", {"ce", 2, 2},
           {"triplet", 3, 3});
    EXPECT("[{loss: kd_kl}, {loss: triplet, weight: 0.5, taps: [fc1]}]", {"triplet", 0.5f, 0.5f});
    EXPECT("[{loss: kd_kl}, {loss: triplet, weight: 0, taps: [fc1]}]", {"ce", 1, 1});
}

/* ---- tau^2 ---- */

static void expect_squared(const char *losses, bool squared) {
    bench b = open_with(losses);
    const vkd__term *t = &b.session->phases[2].terms[0];
    assert_true(t->tau == 4);
    assert_int_equal(t->t_squared, squared);
    close_bench(&b);
}

static void it_is_known_who_multiplies_by_tau_squared(void **state) {
    (void)state;
    expect_squared("[{loss: kd_kl, tau: 4}]", true);
    expect_squared("[{loss: kd_kl, tau: 4, t_squared: false}]", false);
    expect_squared("[{loss: dist, tau: 4}]", true);
    expect_squared("[{loss: dkd, tau: 4}]", true);
    expect_squared("[{loss: cwtm, tau: 4}]", false);
}

/* A loss that has tau says of tau^2 what it does: in its formula, and where it is no option as a
 * need. */
static void formulas_say_so_too(void **state) {
    (void)state;
    for (size_t i = 0; i < vkd__loss_count; i++) {
        const vkd__loss_def *def = vkd__losses[i];
        if (!(def->needs & VKD__LOSS_TAU)) continue;
        bool option = false;
        for (size_t f = 0; f < def->field_count; f++)
            option = option || !strcmp(def->fields[f].name, "t_squared");
        const bool always = def->needs & VKD__LOSS_TAU_SQUARED;
        assert_false(option && always);
        if ((strstr(def->formula, "tau^2") != NULL) != (option || always))
            fail_msg("%s: %s", def->name, def->formula);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_control_has_the_stages_sum_of_weights),
        cmocka_unit_test(losses_on_features_do_not_count),
        cmocka_unit_test(it_is_known_who_multiplies_by_tau_squared),
        cmocka_unit_test(formulas_say_so_too),
    };
    return cmocka_run_group_tests_name("terms", tests, NULL, NULL);
}
