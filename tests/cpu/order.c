// SPDX-License-Identifier: Apache-2.0
/* In which order a stage sees its samples. */
#include "support/support.h"

#include <string.h>

#include "base/philox.h"
#include "train/order.h"

static const int32_t labels[10] = {0, 1, 2, 3, 0, 1, 2, 3, 3, 0};

static vkd__order make(vkd_ctx *ctx, const vkd__order_desc *desc) {
    vkd__order o;
    assert_int_equal(vkd__order_init(ctx, &o, desc), VKD_OK);
    return o;
}

static vkd__order_desc ten(uint32_t seed) {
    return (vkd__order_desc){
        .seed = seed, .name = "order.x", .labels = labels, .end = 10, .batch = 3};
}

/* ---- Permutations ---- */

static void an_epoch_is_a_permutation_that_only_seed_and_epoch_decide(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__order_desc desc = ten(1);
    vkd__order a = make(ctx, &desc), b = make(ctx, &desc);
    assert_int_equal(a.count, 10);
    assert_int_equal(a.steps, 3);
    uint32_t seen = 0, first[10];
    memcpy(first, vkd__order_epoch(&a, 0), sizeof first);
    for (int i = 0; i < 10; i++)
        seen |= 1u << first[i];
    assert_int_equal(seen, 0x3ff);
    uint32_t second[10];
    memcpy(second, vkd__order_epoch(&a, 1), sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    assert_memory_equal(vkd__order_epoch(&b, 1), second, sizeof second); /* without epoch 0 */
    assert_memory_equal(vkd__order_epoch(&a, 0), first, sizeof first);
    vkd__order_term(ctx, &b);
    desc.seed = 2;
    b = make(ctx, &desc);
    assert_memory_not_equal(vkd__order_epoch(&b, 0), first, sizeof first);
    vkd__order_term(ctx, &a);
    vkd__order_term(ctx, &b);
    vkd_ctx_destroy(ctx);
}

/* The samples that take part, as bits. */
static uint32_t pool_of(vkd_ctx *ctx, const vkd__order_desc *desc) {
    vkd__order o = make(ctx, desc);
    uint32_t bits[4] = {0};
    for (uint64_t epoch = 0; epoch < 4; epoch++) {
        const uint32_t *index = vkd__order_epoch(&o, epoch);
        for (uint32_t i = 0; i < o.count; i++)
            bits[epoch] |= 1u << index[i];
        assert_int_equal(bits[epoch], bits[0]);
    }
    vkd__order_term(ctx, &o);
    return bits[0];
}

static void only_the_wanted_samples_come(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const vkd__u32s omit = {2, {3, 1}}, only = {2, {0, 3}}, none = {0, {0}};
    vkd__order_desc desc = ten(1);
    desc.omit = &omit;
    desc.classes = &none;
    assert_int_equal(pool_of(ctx, &desc), 0x255);
    desc.classes = &only;
    assert_int_equal(pool_of(ctx, &desc), 0x211);
    desc.omit = NULL;
    assert_int_equal(pool_of(ctx, &desc), 0x399);
    desc.first = 4;
    desc.end = 8;
    assert_int_equal(pool_of(ctx, &desc), 0x90);
    desc.classes = NULL;
    assert_int_equal(pool_of(ctx, &desc), 0xf0);
    desc.first = desc.end = 8;
    assert_int_equal(pool_of(ctx, &desc), 0);
    vkd_ctx_destroy(ctx);
}

/* Every sample is as likely in every place: 4000 shuffles of 10, a place gets each sample 400
 * times, standard deviation 19; six of them are allowed. */
static void shuffles_are_even(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const vkd__order_desc desc = ten(5);
    vkd__order o = make(ctx, &desc);
    uint32_t hits[10][10] = {{0}};
    for (uint64_t epoch = 0; epoch < 4000; epoch++) {
        const uint32_t *index = vkd__order_epoch(&o, epoch);
        for (int i = 0; i < 10; i++)
            hits[i][index[i]]++;
    }
    for (int i = 0; i < 10; i++)
        for (int k = 0; k < 10; k++)
            assert_in_range(hits[i][k], 400 - 114, 400 + 114);
    vkd__order_term(ctx, &o);
    vkd_ctx_destroy(ctx);
}

/* ---- Batches of classes ---- */

enum { SAMPLES = 600, MOST_CLASSES = 12 };

/* Class c has counts[c] samples, in no order. */
static uint32_t label_samples(const uint32_t *counts, uint32_t classes, int32_t *out) {
    uint32_t n = 0;
    for (uint32_t c = 0; c < classes; c++)
        for (uint32_t i = 0; i < counts[c]; i++)
            out[n++] = (int32_t)c;
    assert_true(n <= SAMPLES);
    for (uint32_t i = n; i > 1; i--) {
        const uint32_t k = vkd__philox_at(3, 4, i, 0).v[0] % i;
        const int32_t swap = out[i - 1];
        out[i - 1] = out[k];
        out[k] = swap;
    }
    return n;
}

typedef struct sampling {
    uint32_t counts[MOST_CLASSES], classes, batch, per_class;
    uint32_t steps; /* that an epoch must have */
    uint32_t most;  /* groups of one class in a batch */
} sampling;

/* Every batch of every epoch is what it should be, and no sample comes twice in an epoch. */
static void check_epoch(const sampling *s, const vkd__order *o, const int32_t *of,
                        const uint32_t *index) {
    bool seen[SAMPLES] = {false};
    for (uint32_t b = 0; b < o->steps; b++) {
        uint32_t groups[MOST_CLASSES] = {0};
        for (uint32_t i = 0; i < s->batch; i++) {
            const uint32_t at = b * s->batch + i, sample = index[at];
            assert_true(sample < SAMPLES && !seen[sample]);
            seen[sample] = true;
            /* Those of a group stand together. */
            assert_int_equal(of[sample], of[index[at - i % s->per_class]]);
            groups[of[sample]] += i % s->per_class == 0;
        }
        for (uint32_t c = 0; c < s->classes; c++)
            assert_true(groups[c] <= s->most);
    }
}

static void a_batch_has_its_samples_of_each_of_its_classes(void **state) {
    (void)state;
    static const sampling cases[] = {
        /* as many classes as groups: all samples are used */
        {{20, 20, 20, 20}, 4, 20, 5, 4, 1},
        /* more classes than groups */
        {{10, 10, 10, 10, 10, 10}, 6, 6, 2, 10, 1},
        {{10, 10, 10, 10, 10, 10}, 6, 4, 1, 15, 1},
        /* 7 and 9 samples make 3 and 4 pairs */
        {{7, 9, 7, 9}, 4, 4, 2, 7, 1},
        /* one class has most of the samples: 2 + 2 + 3 groups for the second place */
        {{300, 4, 5, 6}, 4, 4, 2, 7, 1},
        /* ... and no other can take its place: 3 + 2 groups, 3 places a batch, 2 batches */
        {{300, 6, 4}, 3, 6, 2, 2, 1},
        /* classes that can give nothing do not count */
        {{30, 1, 30, 0, 1, 30}, 6, 9, 3, 10, 1},
        /* fewer classes than groups: twice each */
        {{40, 40}, 2, 8, 2, 10, 2},
        {{30, 30, 30}, 3, 10, 2, 9, 2},
        {{12}, 1, 6, 2, 2, 3},
        {{13, 200}, 2, 15, 5, 2, 2},
        /* nothing can be made */
        {{1, 1, 1}, 3, 4, 2, 0, 0},
        {{2, 2}, 2, 12, 2, 0, 3},
    };
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const sampling *s = &cases[i];
        int32_t of[SAMPLES];
        const vkd__order_desc desc = {.seed = 7,
                                      .name = "order.x",
                                      .labels = of,
                                      .end = label_samples(s->counts, s->classes, of),
                                      .batch = s->batch,
                                      .per_class = s->per_class};
        vkd__order o = make(ctx, &desc);
        if (o.steps != s->steps) fail_msg("case %zu: %u batches", i, o.steps);
        assert_int_equal(o.most, s->most);
        for (uint64_t epoch = 0; epoch < 50 && o.steps; epoch++)
            check_epoch(s, &o, of, vkd__order_epoch(&o, epoch));
        vkd__order_term(ctx, &o);
    }
    vkd_ctx_destroy(ctx);
}

/* Too many for any sum of what the classes can give: the epoch could not be longer. */
static void an_epoch_is_as_long_as_can_be(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (uint32_t n = 0; n < 300; n++) {
        sampling s = {.classes = 2 + n % 7, .per_class = 1 + n % 3};
        int32_t of[SAMPLES];
        for (uint32_t c = 0; c < s.classes; c++)
            s.counts[c] = vkd__philox_at(9, 9, n, c).v[0] % 60;
        s.batch = s.per_class * (1 + n % 5);
        const uint32_t groups = 1 + n % 5;
        const vkd__order_desc desc = {.seed = n,
                                      .name = "order.x",
                                      .labels = of,
                                      .end = label_samples(s.counts, s.classes, of),
                                      .batch = s.batch,
                                      .per_class = s.per_class};
        vkd__order o = make(ctx, &desc);
        s.most = o.most;
        uint32_t longer = 0;
        for (uint32_t c = 0; c < s.classes; c++) {
            const uint32_t has = s.counts[c] / s.per_class, takes = o.most * (o.steps + 1);
            longer += has < takes ? has : takes;
        }
        assert_true(longer < groups * (o.steps + 1) || !o.most);
        for (uint64_t epoch = 0; epoch < 5 && o.steps; epoch++)
            check_epoch(&s, &o, of, vkd__order_epoch(&o, epoch));
        vkd__order_term(ctx, &o);
    }
    vkd_ctx_destroy(ctx);
}

static void batches_of_classes_follow_from_seed_and_epoch_alone(void **state) {
    (void)state;
    enum { USED = 60 };
    static const uint32_t counts[] = {20, 20, 20, 20};
    int32_t of[SAMPLES];
    vkd_ctx *ctx = test_ctx();
    vkd__order_desc desc = {.seed = 1, .name = "order.x", .labels = of, .batch = 4, .per_class = 2};
    desc.end = label_samples(counts, 4, of);
    vkd__order a = make(ctx, &desc), b = make(ctx, &desc);
    uint32_t first[USED], second[USED];
    memcpy(first, vkd__order_epoch(&a, 0), sizeof first);
    memcpy(second, vkd__order_epoch(&a, 1), sizeof second);
    assert_memory_not_equal(first, second, sizeof first);
    assert_memory_equal(vkd__order_epoch(&b, 1), second, sizeof second); /* without epoch 0 */
    assert_memory_equal(vkd__order_epoch(&a, 0), first, sizeof first);
    vkd__order_term(ctx, &b);
    desc.seed = 2;
    b = make(ctx, &desc);
    assert_memory_not_equal(vkd__order_epoch(&b, 0), first, sizeof first);
    vkd__order_term(ctx, &a);
    vkd__order_term(ctx, &b);
    vkd_ctx_destroy(ctx);
}

/* Of equal classes each pair is as likely in a batch: 6 classes, 3 a batch, 2000 epochs of 10
 * batches; a pair is in 3 of 15 batches, 4000 times. Batches of an epoch depend on each other, so
 * the bound is wide: a tenth. The same for what takes part of unequal classes: where 60 groups of
 * 70 are used, each of its samples comes in 6 of 7 epochs. */
static void all_pairs_of_classes_come(void **state) {
    (void)state;
    static const uint32_t counts[] = {10, 10, 10, 10, 10, 10};
    int32_t of[SAMPLES];
    vkd_ctx *ctx = test_ctx();
    const vkd__order_desc desc = {.seed = 1,
                                  .name = "order.x",
                                  .labels = of,
                                  .end = label_samples(counts, 6, of),
                                  .batch = 6,
                                  .per_class = 2};
    vkd__order o = make(ctx, &desc);
    uint32_t together[6][6] = {{0}}, hits[60] = {0};
    assert_int_equal(o.steps, 10);
    for (uint64_t epoch = 0; epoch < 2000; epoch++) {
        const uint32_t *index = vkd__order_epoch(&o, epoch);
        for (uint32_t b = 0; b < o.steps; b++)
            for (uint32_t i = 0; i < 3; i++)
                for (uint32_t k = 0; k < 3; k++)
                    together[of[index[6 * b + 2 * i]]][of[index[6 * b + 2 * k]]]++;
        for (uint32_t i = 0; i < 60; i++)
            hits[index[i]]++;
    }
    for (int i = 0; i < 6; i++)
        for (int k = 0; k < i; k++)
            assert_in_range(together[i][k], 3600, 4400);
    for (int i = 0; i < 60; i++)
        assert_int_equal(hits[i], 2000);
    vkd__order_term(ctx, &o);
    vkd_ctx_destroy(ctx);
}

/* 7 classes of 10 pairs, 6 of them a batch: 11 batches take 66 of the 70 pairs. */
static void what_is_left_out_is_drawn(void **state) {
    (void)state;
    static const uint32_t counts[] = {20, 20, 20, 20, 20, 20, 20};
    int32_t of[SAMPLES];
    vkd_ctx *ctx = test_ctx();
    const vkd__order_desc desc = {.seed = 1,
                                  .name = "order.x",
                                  .labels = of,
                                  .end = label_samples(counts, 7, of),
                                  .batch = 12,
                                  .per_class = 2};
    vkd__order o = make(ctx, &desc);
    uint32_t hits[140] = {0};
    assert_int_equal(o.steps, 11);
    for (uint64_t epoch = 0; epoch < 4000; epoch++)
        for (uint32_t i = 0; i < 132; i++)
            hits[vkd__order_epoch(&o, epoch)[i]]++;
    for (int i = 0; i < 140; i++) /* 4000 * 66 / 70 = 3771, deviation 15 */
        assert_in_range(hits[i], 3771 - 90, 3771 + 90);
    vkd__order_term(ctx, &o);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_epoch_is_a_permutation_that_only_seed_and_epoch_decide),
        cmocka_unit_test(only_the_wanted_samples_come),
        cmocka_unit_test(shuffles_are_even),
        cmocka_unit_test(a_batch_has_its_samples_of_each_of_its_classes),
        cmocka_unit_test(an_epoch_is_as_long_as_can_be),
        cmocka_unit_test(batches_of_classes_follow_from_seed_and_epoch_alone),
        cmocka_unit_test(all_pairs_of_classes_come),
        cmocka_unit_test(what_is_left_out_is_drawn),
    };
    return cmocka_run_group_tests_name("order", tests, NULL, NULL);
}
