// SPDX-License-Identifier: Apache-2.0
/* The figures of a table against numbers made in Python, in double precision. */
#include "train/figures.h"

#include <math.h>
#include <string.h>

#include "support/support.h"

enum { N = 5, V = 4 };
static const float student[N * V] = {1,   2,  3, .5f, .2f, -1, .7f, 1.5f, .1f, 4,
                                     .3f, -2, 9, 0,   0,   0,  .1f, .2f,  .3f, .4f};
static const float teacher[N * V] = {3, 2.5f, -1, 0, 0, .5f, 2, -2, 1, 3,
                                     0, 0,    2,  8, 0, 0,   1, 1,  1, 1.5f};
static const int32_t labels[N] = {2, 3, 1, 1, 0};

static void near(double got, double want) {
    if (!(fabs(got - want) < 1e-6 * (1 + fabs(want)))) fail_msg("%.10g should be %.10g", got, want);
}

static void figures_follow_their_formulas(void **state) {
    (void)state;
    const vkd__figures f = vkd__figures_of(student, teacher, labels, N, V);
    assert_int_equal(f.errors, 2);
    near(f.accuracy, 0.6);
    near(f.agreement, 0.4);
    near(f.kl, 2.2626381027924283);
    near(f.teacher_entropy, 0.7393890631996345);
    /* Two samples share the last bin, one sure and wrong, one sure and right: they are averaged
     * before the gap is taken. */
    near(f.calibration, 0.4115700359765867);
    const vkd__figures alone = vkd__figures_of(student, NULL, labels, N, V);
    near(alone.calibration, f.calibration);
    assert_true(isnan(alone.kl) && isnan(alone.agreement) && isnan(alone.teacher_entropy));
}

static void a_sure_model_that_is_right_is_calibrated_and_one_at_chance_too(void **state) {
    (void)state;
    const float sure[8] = {500, 0, 0, 0, 0, 0, 500, 0};
    const int32_t right[2] = {0, 2}, wrong[2] = {1, 1};
    near(vkd__calibration_error(sure, right, 2, 4), 0);
    near(vkd__calibration_error(sure, wrong, 2, 4), 1);
    const float flat[16] = {0}; /* says class 0 with confidence 1/4, and is right once in four */
    const int32_t each[4] = {0, 1, 2, 3};
    near(vkd__calibration_error(flat, each, 4, 4), 0);
    near(vkd__mean_entropy(flat, 4, 4), log(4));
    near(vkd__mean_entropy(sure, 2, 4), 0);
}

static void a_mixture_is_of_probabilities_or_of_logits(void **state) {
    (void)state;
    static const double probabilities[V] = {-0.7567230777044758, -1.1097100562232642,
                                            -1.796359752548644, -3.3455079118763242};
    static const double logits[V] = {2.5, 2.375, 0, 0.125};
    const float *const parts[] = {student, teacher};
    const float weights[] = {0.25f, 0.75f};
    float out[N * V];
    vkd__mix_probabilities(parts, weights, 2, N, V, out);
    for (int v = 0; v < V; v++)
        near((double)out[v], probabilities[v]);
    vkd__mix_logits(parts, weights, 2, N, V, out);
    for (int v = 0; v < V; v++)
        near((double)out[v], logits[v]);
}

/* Probabilities far below what f32 holds, and classes that are masked by one side or both. */
static void a_mixture_of_probabilities_is_stable(void **state) {
    (void)state;
    const float a[4] = {0, -200, -INFINITY, -INFINITY}, b[4] = {0, -300, -1, -INFINITY};
    const float *const parts[] = {a, b};
    const float weights[] = {0.5f, 0.5f};
    float out[4];
    vkd__mix_probabilities(parts, weights, 2, 1, 4, out);
    near((double)out[1], -200 + log(0.5));
    near((double)out[2], log(0.5) - 1 - log1p(exp(-1)));
    assert_true(isinf(out[3]) && out[3] < 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures_follow_their_formulas),
        cmocka_unit_test(a_sure_model_that_is_right_is_calibrated_and_one_at_chance_too),
        cmocka_unit_test(a_mixture_is_of_probabilities_or_of_logits),
        cmocka_unit_test(a_mixture_of_probabilities_is_stable),
    };
    return cmocka_run_group_tests_name("figures", tests, NULL, NULL);
}
