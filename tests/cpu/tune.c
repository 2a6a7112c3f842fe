// SPDX-License-Identifier: Apache-2.0
/* Claims about the tuner that need no device: the race, sizes as text, the file. */
#include <stdio.h>
#include <string.h>

#include "support/support.h"

#include "check/race.h"
#include "check/tune.h"
#include "graph/plan.h"

/* ---- The race ---- */

/* Runs a race whose candidates take what `seconds` says, and `building` to enter; every sample also
 * passes on a clock that begins with `budget`. Says who was timed, in order, as letters. */
typedef struct show {
    vkd__race race;
    char order[256];
    double left;
} show;

static show hold(const double *seconds, uint32_t count, double building, double budget) {
    show s = {.race = vkd__race_start(count), .left = budget};
    for (size_t n = 0; n + 1 < sizeof s.order; n++) {
        const uint32_t i = vkd__race_next(&s.race, s.left);
        if (i == VKD__RACE_OVER) return s;
        const double cost = seconds[i] + (i == s.race.entered ? building : 0);
        s.order[n] = (char)('a' + i);
        s.left -= cost;
        vkd__race_add(&s.race, i, seconds[i], cost);
    }
    fail_msg("the race never ends");
    return s;
}

static void all_are_timed_in_turn(void **state) {
    (void)state;
    const double seconds[] = {1.0, 0.9, 1.1};
    const show s = hold(seconds, 3, 0, 1000);
    assert_string_equal(s.order, "abcabcabcabcabcabcabc");
    assert_int_equal(vkd__race_winner(&s.race), 1);
}

static void the_slow_are_not_timed_again(void **state) {
    (void)state;
    const double near[] = {1.0, 1.49, 1.51, 0.999};
    show s = hold(near, 4, 0, 1000);
    assert_memory_equal(s.order, "abcdabdabd", 10);
    /* b is in until c has shown what is possible. */
    const double late[] = {1.0, 1.3, 0.8};
    s = hold(late, 3, 0, 1000);
    assert_memory_equal(s.order, "abcacac", 7);
    assert_int_equal(vkd__race_winner(&s.race), 2);
}

static void a_table_that_is_slow_is_still_compared_with(void **state) {
    (void)state;
    const double seconds[] = {9.0, 1.0};
    const show s = hold(seconds, 2, 0, 1000);
    assert_memory_equal(s.order, "ababab", 6);
    assert_int_equal(vkd__race_winner(&s.race), 1);
}

static void five_per_cent_are_not_worth_a_change(void **state) {
    (void)state;
    const double near[] = {1.0, 0.96}, far[] = {1.0, 0.94};
    show s = hold(near, 2, 0, 1000);
    assert_int_equal(vkd__race_winner(&s.race), 0);
    s = hold(far, 2, 0, 1000);
    assert_int_equal(vkd__race_winner(&s.race), 1);
}

static void the_median_decides(void **state) {
    (void)state;
    /* One lucky sample makes no winner, one unlucky one no loser. */
    const double table[] = {1.0, 1.0, 1.0}, lucky[] = {1.0, 0.1, 1.0}, bad[] = {0.9, 5.0, 0.9};
    for (int which = 0; which < 2; which++) {
        vkd__race r = vkd__race_start(2);
        for (int k = 0; k < 3; k++) {
            vkd__race_add(&r, 0, table[k], 1);
            vkd__race_add(&r, 1, which ? bad[k] : lucky[k], 1);
        }
        r.runner[1].dropped = false;
        assert_int_equal(vkd__race_winner(&r), which);
    }
}

static void two_samples_are_too_few(void **state) {
    (void)state;
    vkd__race r = vkd__race_start(2);
    for (int k = 0; k < 3; k++) {
        vkd__race_add(&r, 0, 1.0, 1);
        if (k < 2) vkd__race_add(&r, 1, 0.5, 1);
    }
    assert_int_equal(vkd__race_winner(&r), 0);
    vkd__race_add(&r, 1, 0.5, 1);
    assert_int_equal(vkd__race_winner(&r), 1);
}

static void a_small_budget_admits_few_but_times_them_enough(void **state) {
    (void)state;
    /* Entering takes 1.1, and each that is inside needs 0.2 more. */
    const double seconds[] = {0.1, 0.09, 0.01, 0.01, 0.01};
    const show s = hold(seconds, 5, 1, 3.4); /* 1.21 left when two are inside */
    assert_memory_equal(s.order, "abab", 4);
    assert_int_equal(s.race.entered, 2);
    assert_true(s.race.runner[1].samples >= VKD__RACE_NEEDED);
    assert_int_equal(vkd__race_winner(&s.race), 1);
    assert_true(s.left > -0.11);
}

static void no_budget_leaves_the_table(void **state) {
    (void)state;
    const double seconds[] = {0.1, 0.01};
    show s = hold(seconds, 2, 0, 0);
    assert_string_equal(s.order, "");
    assert_int_equal(vkd__race_winner(&s.race), 0);
    /* The table's alone is timed once, and then nobody to compare with fits in. */
    s = hold(seconds, 2, 1, 1.5);
    assert_string_equal(s.order, "a");
    assert_int_equal(vkd__race_winner(&s.race), 0);
}

static void who_cannot_run_is_out(void **state) {
    (void)state;
    vkd__race r = vkd__race_start(3);
    vkd__race_add(&r, 0, 1, 1);
    assert_int_equal(vkd__race_next(&r, 100), 1);
    vkd__race_drop(&r, 1);
    assert_int_equal(vkd__race_next(&r, 100), 2);
    vkd__race_add(&r, 2, 1, 1);
    for (uint32_t i = vkd__race_next(&r, 100); i != VKD__RACE_OVER; i = vkd__race_next(&r, 100)) {
        assert_int_not_equal(i, 1);
        vkd__race_add(&r, i, 1, 1);
    }
    assert_int_equal(vkd__race_winner(&r), 0);
}

/* ---- Sizes as text ---- */

static void text_of(vkd_ctx *ctx, const vkd_profile *p, char *out, size_t size) {
    vkd__text t = {.ctx = ctx};
    vkd__sizes_text(p, &t);
    assert_false(t.failed);
    snprintf(out, size, "%s", t.text);
    vkd__text_term(&t);
}

static void every_candidate_is_read_back_from_its_text(void **state) {
    (void)state;
    static const char *const names[] = {"gpu", "cpu"};
    vkd_ctx *ctx = test_ctx();
    for (size_t n = 0; n < VKD_COUNT(names); n++)
        for (size_t i = 0; i < vkd__knob_count; i++) {
            const vkd_profile *table = vkd_profile_find(names[n]);
            assert_in_range(vkd__knobs[i].count, 6, VKD__MAX_CANDIDATES);
            for (uint32_t c = 0; c < vkd__knobs[i].count; c++) {
                char want[1024], got[1024], before[1024];
                vkd_profile p = *table, q = *table;
                if (!vkd__knobs[i].set(&p, c)) continue;
                text_of(ctx, &p, want, sizeof want);
                text_of(ctx, table, before, sizeof before);
                assert_int_equal(vkd__sizes_apply(ctx, table, want, &q), VKD_OK);
                text_of(ctx, &q, got, sizeof got);
                assert_string_equal(got, want);
                assert_memory_equal(&q, &p, sizeof q);
                /* And back. */
                assert_int_equal(vkd__sizes_apply(ctx, table, before, &q), VKD_OK);
                assert_memory_equal(&q, table, sizeof q);
            }
        }
    vkd_ctx_destroy(ctx);
}

static void sizes_that_cannot_be_are_refused_whole(void **state) {
    (void)state;
    static const char *const bad[] = {
        "nonesuch=3",
        "element-wise workgroup",
        "element-wise workgroup=",
        "element-wise workgroup=63",
        "element-wise workgroup=128;short rows workgroup=0",
        "element-wise workgroup=64 ",
        "element-wise workgroup=512",      /* more than any device is given */
        "matmul tile, large=64x64x16 4x4", /* not with direct */
        ";"};
    vkd_ctx *ctx = test_ctx();
    const vkd_profile *table = vkd_profile_find("cpu");
    for (size_t i = 0; i < VKD_COUNT(bad); i++) {
        vkd_profile p = *table;
        if (vkd__sizes_apply(ctx, table, bad[i], &p) != VKD_E_ARGUMENT)
            fail_msg("'%s' was taken", bad[i]);
        assert_memory_equal(&p, table, sizeof p);
        assert_non_null(strstr(vkd_ctx_error(ctx), "has no sizes"));
    }
    vkd_profile p = *table;
    assert_int_equal(vkd__sizes_apply(ctx, table, "element-wise workgroup=128", &p), VKD_OK);
    assert_int_equal(p.flat_workgroup, 128);
    /* What is not named becomes the table's again. */
    assert_int_equal(vkd__sizes_apply(ctx, table, "", &p), VKD_OK);
    assert_int_equal(p.flat_workgroup, table->flat_workgroup);
    vkd_ctx_destroy(ctx);
}

/* ---- The file ---- */

static vkd__tuning example(void) {
    vkd__tuning t = {.device = {.driver_version = 0xdeadbeef, .shaders = UINT64_MAX},
                     .direct = true,
                     .table = 77,
                     .count = 2};
    for (size_t i = 0; i < sizeof t.device.uuid; i++)
        t.device.uuid[i] = (uint8_t)(37 * i);
    t.knob[0] = (vkd__tuned){"direct matmul, large", "16x16", "32x8", 9249861, 8000000, 3, 7};
    t.knob[1] = (vkd__tuned){"element-wise workgroup", "64", "64", 0, 0, 0, 6};
    return t;
}

static void a_file_is_read_back(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    static vkd__tuning t, got;
    t = example();
    for (int full = 0; full < 2; full++) {
        vkd__text text = {.ctx = ctx};
        t.full = full;
        vkd__tuning_print(&t, &text);
        assert_null(vkd__tuning_parse(text.text, text.length, &got));
        assert_memory_equal(&got.device, &t.device, sizeof got.device);
        assert_int_equal(got.full, full);
        assert_true(got.direct);
        assert_int_equal(got.table, 77);
        assert_int_equal(got.count, 2);
        for (int i = 0; i < 2; i++) {
            assert_string_equal(got.knob[i].name, t.knob[i].name);
            assert_string_equal(got.knob[i].table, t.knob[i].table);
            assert_string_equal(got.knob[i].chosen, t.knob[i].chosen);
            assert_int_equal(got.knob[i].table_ns, t.knob[i].table_ns);
            assert_int_equal(got.knob[i].chosen_ns, t.knob[i].chosen_ns);
            assert_int_equal(got.knob[i].tried, t.knob[i].tried);
            assert_int_equal(got.knob[i].candidates, t.knob[i].candidates);
        }
        vkd__text_term(&text);
    }
    vkd_ctx_destroy(ctx);
}

static void every_truncation_and_every_changed_bit_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    static vkd__tuning t, got;
    t = example();
    vkd__text text = {.ctx = ctx};
    vkd__tuning_print(&t, &text);
    for (size_t n = 0; n < text.length; n++) {
        char *cut = test_malloc(n + 1); /* so that a sanitizer sees a read behind it */
        memcpy(cut, text.text, n);
        if (!vkd__tuning_parse(cut, n, &got)) fail_msg("%zu bytes were taken", n);
        test_free(cut);
        for (int bit = 0; bit < 8; bit++) {
            text.text[n] = (char)(text.text[n] ^ 1 << bit);
            if (!vkd__tuning_parse(text.text, text.length, &got))
                fail_msg("bit %d of byte %zu was taken", bit, n);
            text.text[n] = (char)(text.text[n] ^ 1 << bit);
        }
    }
    assert_null(vkd__tuning_parse(text.text, text.length, &got));
    vkd__text_add(&text, "\n");
    assert_non_null(vkd__tuning_parse(text.text, text.length, &got));
    vkd__text_term(&text);
    vkd_ctx_destroy(ctx);
}

static void a_file_of_something_else_is_foreign(void **state) {
    (void)state;
    static vkd__tuning t, key;
    key = example();
    t = example();
    assert_null(vkd__tuning_foreign(&t, &key));
    t.device.uuid[15] ^= 1;
    assert_non_null(strstr(vkd__tuning_foreign(&t, &key), "driver or device"));
    t = example();
    t.device.driver_version++;
    assert_non_null(strstr(vkd__tuning_foreign(&t, &key), "driver or device"));
    t = example();
    t.device.shaders--;
    assert_non_null(strstr(vkd__tuning_foreign(&t, &key), "kernels"));
    t = example();
    t.direct = false;
    assert_non_null(strstr(vkd__tuning_foreign(&t, &key), "kernels"));
    t = example();
    t.table++;
    assert_non_null(strstr(vkd__tuning_foreign(&t, &key), "candidates"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_are_timed_in_turn),
        cmocka_unit_test(the_slow_are_not_timed_again),
        cmocka_unit_test(a_table_that_is_slow_is_still_compared_with),
        cmocka_unit_test(five_per_cent_are_not_worth_a_change),
        cmocka_unit_test(the_median_decides),
        cmocka_unit_test(two_samples_are_too_few),
        cmocka_unit_test(a_small_budget_admits_few_but_times_them_enough),
        cmocka_unit_test(no_budget_leaves_the_table),
        cmocka_unit_test(who_cannot_run_is_out),
        cmocka_unit_test(every_candidate_is_read_back_from_its_text),
        cmocka_unit_test(sizes_that_cannot_be_are_refused_whole),
        cmocka_unit_test(a_file_is_read_back),
        cmocka_unit_test(every_truncation_and_every_changed_bit_is_refused),
        cmocka_unit_test(a_file_of_something_else_is_foreign),
    };
    return cmocka_run_group_tests_name("tune", tests, NULL, NULL);
}
