// SPDX-License-Identifier: Apache-2.0
/* Which samples a labelling teacher keeps, how often, and with which targets. */
#include "train/pseudo.h"

#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "support/support.h"

enum { CLASSES = 3 };

/* Logits of a sample whose confidence in its class is c, the rest spread evenly. */
static void say(float *z, uint32_t class_index, double c) {
    for (uint32_t v = 0; v < CLASSES; v++)
        z[v] = (float)log(v == class_index ? c : (1 - c) / (CLASSES - 1));
}

static vkd__pseudo make(vkd_ctx *ctx, const float *logits, uint32_t samples,
                        const vkd__pseudo_options *o) {
    vkd__pseudo p;
    assert_int_equal(vkd__pseudo_make(ctx, logits, o->first, samples, CLASSES, 7, o, &p), VKD_OK);
    return p;
}

static uint32_t times(const vkd__pseudo *p, uint32_t sample) {
    uint32_t n = 0;
    for (uint32_t i = 0; i < p->count; i++)
        n += p->entries[i] == sample;
    return n;
}

/* ---- Filter ---- */

static void the_threshold_of_a_class_is_on_the_grid(void **state) {
    (void)state;
    static const float c[] = {0.995f, 0.91f, 0.905f, 0.5f, 0.42f, 0.31f, 0.2f};
    const uint32_t n = VKD_COUNT(c);
    assert_true(vkd__pseudo_threshold(c, n, 1, 0.3f) == 0.99f);
    assert_true(vkd__pseudo_threshold(c, n, 2, 0.3f) == 0.91f);
    assert_true(vkd__pseudo_threshold(c, n, 3, 0.3f) == 0.9f);
    assert_true(vkd__pseudo_threshold(c, n, 5, 0.3f) == 0.42f);
    assert_true(vkd__pseudo_threshold(c, n, 6, 0.3f) == 0.31f);
    assert_true(vkd__pseudo_threshold(c, n, 7, 0.3f) == 0.3f); /* there are no seven above it */
    assert_true(vkd__pseudo_threshold(c, n, 7, 0.0f) == 0.2f);
    assert_true(vkd__pseudo_threshold(c, 0, 1, 0.3f) == 0.3f);
}

static void only_the_confident_are_kept(void **state) {
    (void)state;
    static const double c[] = {0.9, 0.59, 0.61, 0.34, 0.6};
    float z[5 * CLASSES];
    vkd_ctx *ctx = test_ctx();
    for (uint32_t n = 0; n < 5; n++)
        say(z + n * CLASSES, n % 2, c[n]);
    const vkd__pseudo_options o = {.first = 100, .threshold = 0.6f - 1e-6f, .temperature = 1};
    vkd__pseudo p = make(ctx, z, 5, &o);
    assert_int_equal(p.count, 3);
    assert_int_equal(p.distinct, 3);
    assert_int_equal(times(&p, 100) + times(&p, 102) + times(&p, 104), 3);
    vkd__pseudo_term(ctx, &p);
    const vkd__pseudo_options none = {.threshold = 0.95f, .temperature = 1};
    p = make(ctx, z, 5, &none);
    assert_int_equal(p.count, 0);
    vkd__pseudo_term(ctx, &p);
    vkd_ctx_destroy(ctx);
}

/* ---- Balance ---- */

static void a_class_with_too_many_keeps_its_most_confident(void **state) {
    (void)state;
    enum { N = 40 };
    float z[N * CLASSES];
    double c[N];
    vkd_ctx *ctx = test_ctx();
    for (uint32_t n = 0; n < N; n++) {
        c[n] = 0.5 + 0.4 * (double)vkd__philox_uniform(vkd__philox_at(3, 1, 0, n).v[0]);
        say(z + n * CLASSES, n % CLASSES, c[n]);
    }
    const vkd__pseudo_options o = {.balance = true, .per_class = 5, .temperature = 1};
    vkd__pseudo p = make(ctx, z, N, &o);
    assert_int_equal(p.count, 5 * CLASSES);
    for (uint32_t n = 0; n < N; n++) {
        uint32_t better = 0;
        for (uint32_t k = n % CLASSES; k < N; k += CLASSES)
            better += c[k] > c[n];
        assert_int_equal(times(&p, n), better < 5);
    }
    vkd__pseudo_term(ctx, &p);
    vkd_ctx_destroy(ctx);
}

/* Class 0 has 8 of 100 wanted: each comes 12 or 13 times, 12.5 in the mean. Class 1 has exactly
 * what is wanted, class 2 nothing. */
static void a_class_with_too_few_is_duplicated(void **state) {
    (void)state;
    enum { FEW = 8, WANTED = 100, N = FEW + WANTED, SEEDS = 400 };
    static float z[N * CLASSES];
    vkd_ctx *ctx = test_ctx();
    for (uint32_t n = 0; n < N; n++)
        say(z + n * CLASSES, n >= FEW, 0.8);
    const vkd__pseudo_options o = {.balance = true, .per_class = WANTED, .temperature = 1};
    double sum = 0;
    uint32_t low = 0;
    for (uint32_t seed = 0; seed < SEEDS; seed++) {
        vkd__pseudo p;
        assert_int_equal(vkd__pseudo_make(ctx, z, 0, N, CLASSES, seed, &o, &p), VKD_OK);
        assert_int_equal(p.distinct, N);
        for (uint32_t n = 0; n < N; n++) {
            const uint32_t t = times(&p, n);
            if (n < FEW) {
                assert_in_range(t, 12, 13);
                low += t == 12;
                sum += t;
            } else {
                assert_int_equal(t, 1);
            }
        }
        vkd__pseudo_term(ctx, &p);
    }
    /* 3200 fair coins: the mean is 100 within 6 * sqrt(8)/2 / sqrt(400). */
    assert_true(fabs(sum / (double)SEEDS - (double)WANTED) < 0.43);
    assert_in_range(low, FEW * SEEDS / 2 - 170, FEW * SEEDS / 2 + 170);
    vkd_ctx_destroy(ctx);
}

static void copies_follow_from_the_seed(void **state) {
    (void)state;
    float z[3 * CLASSES];
    vkd_ctx *ctx = test_ctx();
    for (uint32_t n = 0; n < 3; n++)
        say(z + n * CLASSES, 0, 0.9 - 0.1 * n);
    const vkd__pseudo_options o = {.balance = true, .per_class = 100, .temperature = 1};
    vkd__pseudo a = make(ctx, z, 3, &o), b = make(ctx, z, 3, &o);
    assert_int_equal(a.count, b.count);
    assert_memory_equal(a.entries, b.entries, a.count * sizeof *a.entries);
    assert_in_range(a.count, 99, 102);
    /* Without a number each class gets its share of all samples. */
    const vkd__pseudo_options share = {.balance = true, .temperature = 1};
    vkd__pseudo_term(ctx, &b);
    b = make(ctx, z, 3, &share);
    assert_int_equal(b.count, 1);
    assert_int_equal(b.entries[0], 0);
    vkd__pseudo_term(ctx, &a);
    vkd__pseudo_term(ctx, &b);
    vkd_ctx_destroy(ctx);
}

/* ---- Targets ---- */

static double share(const float *z, uint32_t v) {
    double sum = 0;
    for (uint32_t u = 0; u < CLASSES; u++)
        sum += exp((double)z[u]);
    return exp((double)z[v]) / sum;
}

static void soft_targets_are_retempered_and_hard_ones_are_one_class(void **state) {
    (void)state;
    const float z[2 * CLASSES] = {2, 0, -1, 0.5f, 1, 0.25f};
    vkd_ctx *ctx = test_ctx();
    const vkd__pseudo_options soft = {.temperature = 2};
    vkd__pseudo p = make(ctx, z, 2, &soft);
    for (uint32_t n = 0; n < 2; n++) {
        double sum = 0;
        for (uint32_t v = 0; v < CLASSES; v++)
            sum += sqrt(share(z + n * CLASSES, v));
        for (uint32_t v = 0; v < CLASSES; v++)
            assert_true(fabs(share(p.targets + n * CLASSES, v) -
                             sqrt(share(z + n * CLASSES, v)) / sum) < 1e-6);
    }
    vkd__pseudo_term(ctx, &p);
    const vkd__pseudo_options hard = {.labels = VKD__PSEUDO_HARD, .temperature = 2};
    p = make(ctx, z, 2, &hard);
    assert_true(p.targets[0] == 0 && isinf(p.targets[1]) && isinf(p.targets[2]));
    assert_true(isinf(p.targets[3]) && p.targets[4] == 0 && isinf(p.targets[5]));
    vkd__pseudo_term(ctx, &p);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_threshold_of_a_class_is_on_the_grid),
        cmocka_unit_test(only_the_confident_are_kept),
        cmocka_unit_test(a_class_with_too_many_keeps_its_most_confident),
        cmocka_unit_test(a_class_with_too_few_is_duplicated),
        cmocka_unit_test(copies_follow_from_the_seed),
        cmocka_unit_test(soft_targets_are_retempered_and_hard_ones_are_one_class),
    };
    return cmocka_run_group_tests_name("pseudo", tests, NULL, NULL);
}
