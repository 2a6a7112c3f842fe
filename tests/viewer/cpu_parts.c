// SPDX-License-Identifier: Apache-2.0
/* What the viewer computes, without a window, a run or a device. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "viewer/axis.h"
#include "viewer/chart.h"
#include "viewer/layout.h"
#include "viewer/maths.h"
#include "viewer/ranking.h"

#define NEAR(got, want) assert_true(fabs((got) - (want)) < 1e-9)

/* ---- Numbers ---- */

/* By hand: logits ln 1, ln 2, ln 5 at tau 1; squares of the shares at tau 1/2. */
static void distributions_are_as_by_hand(void **state) {
    (void)state;
    const float logits[] = {0, logf(2), logf(5)};
    double p[3], q[3];
    uint32_t first, second;
    assert_true(math_softmax(logits, 3, 1, p));
    assert_true(fabs(p[0] - 0.125) < 1e-7 && fabs(p[2] - 0.625) < 1e-7);
    assert_true(math_softmax(logits, 3, 0.5, q));
    assert_true(fabs(q[1] - 4.0 / 30) < 1e-7);
    const double a[] = {0.5, 0.25, 0.25}, b[] = {0.25, 0.25, 0.5}, c[] = {1, 0, 0};
    NEAR(math_entropy(a, 3), 1.5 * log(2));
    NEAR(math_entropy(c, 3), 0);
    NEAR(math_kl(a, b, 3), 0.25 * log(2));
    NEAR(math_kl(c, a, 3), log(2));
    assert_true(isinf(math_kl(a, c, 3)));
    NEAR(math_js(a, a, 3), 0);
    const double d[] = {0, 0, 1};
    NEAR(math_js(c, d, 3), log(2));
    math_top(a, 3, &first, &second);
    assert_true(first == 0 && second == 1);
    math_top(d, 3, &first, &second);
    assert_true(first == 2 && second == 0);
    math_top(a, 1, &first, &second);
    assert_true(first == 0 && second == UINT32_MAX);
}

static void numbers_that_are_none_are_no_distribution(void **state) {
    (void)state;
    const float bad[][2] = {{NAN, 0}, {INFINITY, 0}, {-INFINITY, -INFINITY}};
    const float masked[] = {-INFINITY, 3};
    double p[2];
    for (int i = 0; i < 3; i++) {
        assert_false(math_softmax(bad[i], 2, 4, p));
        assert_true(p[0] == 0 && p[1] == 0);
    }
    assert_true(math_softmax(masked, 2, 4, p));
    assert_true(p[0] == 0 && p[1] == 1);
    const float large[] = {1e30f, -1e30f};
    assert_true(math_softmax(large, 2, 0.5, p) && p[0] == 1);
}

static void distances_are_divided_by_their_mean(void **state) {
    (void)state;
    const float x[] = {0, 0, 3, 4, 0, 1}, same[] = {2, 2, 2};
    const double gap = sqrt(9 + 9), mean = (5 + 1 + gap) / 3;
    double out[9];
    math_distances(x, 3, 2, out);
    NEAR(out[1], 5 / mean);
    NEAR(out[3], 5 / mean);
    NEAR(out[2], 1 / mean);
    NEAR(out[5], gap / mean);
    NEAR(out[4], 0);
    math_distances(same, 3, 1, out);
    for (int i = 0; i < 9; i++)
        NEAR(out[i], 0);
}

static void colours_go_from_end_to_end(void **state) {
    (void)state;
    assert_int_equal(colourmap_at(COLOURMAP_AMOUNT, 0), 0x440154ff);
    assert_int_equal(colourmap_at(COLOURMAP_AMOUNT, -3), 0x440154ff);
    assert_int_equal(colourmap_at(COLOURMAP_AMOUNT, 1), 0xfde725ff);
    assert_int_equal(colourmap_at(COLOURMAP_AMOUNT, NAN), 0x808080ff);
    assert_int_equal(colourmap_at(COLOURMAP_DIFFERENCE, 0), 0x202228ff);
    const float values[] = {1, 2, 3, NAN};
    uint8_t rgba[16];
    colourmap_fill(COLOURMAP_AMOUNT, values, 4, 1, 3, rgba);
    assert_true(rgba[0] == 0x44 && rgba[3] == 255 && rgba[8] == 0xfd && rgba[12] == 0x80);
    const uint8_t pixels[] = {1, 2, 3, 4, 5, 6};
    colourmap_pixels(pixels, 2, 3, rgba);
    assert_true(rgba[2] == 3 && rgba[4] == 4 && rgba[7] == 255);
}

/* ---- Axes, curves ---- */

static void ticks_are_round_and_inside(void **state) {
    (void)state;
    const axis a = axis_make(0.13, 0.87, false, true, 5);
    assert_true(a.low <= 0.13 && a.high >= 0.87 && a.ticks >= 3 && a.ticks <= 7);
    NEAR(a.step, 0.2);
    NEAR(axis_tick(&a, 1) - axis_tick(&a, 0), 0.2);
    NEAR(axis_place(&a, axis_value(&a, 0.3)), 0.3);
    const axis b = axis_make(0.004, 90, true, true, 6);
    NEAR(log10(b.low), -3);
    NEAR(log10(b.high), 2);
    NEAR(axis_place(&b, 1e-3 * pow(10, 2.5)), 0.5);
    assert_true(axis_place(&b, 0) < 0);
    const double odd[][2] = {{NAN, 1}, {3, 3}, {0, 0}, {5, -5}, {INFINITY, -INFINITY}, {-2, -1}};
    for (size_t i = 0; i < VKD_COUNT(odd); i++)
        for (int logarithmic = 0; logarithmic < 2; logarithmic++) {
            const axis c = axis_make(odd[i][0], odd[i][1], logarithmic, true, 4);
            assert_true(c.high > c.low && c.ticks < 30);
        }
    char text[32];
    axis_text(&a, 0.4, text, sizeof text);
    assert_string_equal(text, "0.4");
    const axis d = axis_make(0, 200000, false, true, 3);
    axis_text(&d, 100000, text, sizeof text);
    assert_string_equal(text, "100k");
}

static void curves_keep_their_peaks_and_their_gaps(void **state) {
    (void)state;
    enum { COUNT = 100000 };
    double *x = malloc(COUNT * sizeof *x), *y = malloc(COUNT * sizeof *y);
    float points[4096];
    assert_true(x && y);
    for (int i = 0; i < COUNT; i++) {
        x[i] = i;
        y[i] = i == 70007 ? 9 : i == 30003 ? -9 : 0;
    }
    y[50000] = NAN;
    const chart_curve c = {.x = x, .y = y, .count = COUNT};
    const chart_plot p = {.r = {10, 20, 500, 100}, .high = COUNT - 1, .bottom = -10, .top = 10};
    uint32_t next = 0, parts = 0;
    float high = 1e9f, low = 0;
    for (uint32_t at = 0; at < COUNT; at = next, parts++) {
        const uint32_t count = chart_points(&p, &c, at, COUNT, points, 4096, &next);
        assert_true(count > 400 && count <= 1100);
        for (uint32_t i = 0; i < count; i++) {
            assert_true(points[2 * i] >= 10 && points[2 * i] <= 511);
            high = fminf(high, points[2 * i + 1]);
            low = fmaxf(low, points[2 * i + 1]);
        }
    }
    assert_int_equal(parts, 2); /* one before and one behind the gap */
    assert_true(fabsf(high - 25) < 0.1f && fabsf(low - 115) < 0.1f);
    assert_int_equal(chart_find(x, COUNT, 70006.5), 70007);
    assert_int_equal(chart_find(x, COUNT, 1e9), COUNT);
    free(x);
    free(y);
}

/* ---- Layout ---- */

static void tiles_cover_the_window_and_do_not_overlap(void **state) {
    (void)state;
    const gui_rect areas[] = {{0, 40, 1600, 900}, {5, 5, 500, 1900}, {0, 0, 300, 200}};
    for (uint32_t bits = 1; bits < 64; bits++)
        for (size_t k = 0; k < VKD_COUNT(areas); k++) {
            layout l;
            layout_tiles t;
            double covered = 0;
            layout_init(&l, 6);
            for (uint32_t i = 0; i < 6; i++)
                l.shown[i] = bits >> i & 1;
            layout_place(&l, areas[k], 0, &t);
            for (uint32_t i = 0; i < 6; i++) {
                assert_true((t.r[i].w > 0) == l.shown[i]);
                covered += (double)t.r[i].w * (double)t.r[i].h;
                assert_true(t.r[i].w <= 0 || (t.r[i].x >= areas[k].x && t.r[i].y >= areas[k].y));
                for (uint32_t j = 0; j < i && t.r[i].w > 0; j++)
                    assert_true(t.r[j].w <= 0 || t.r[i].x >= t.r[j].x + t.r[j].w ||
                                t.r[j].x >= t.r[i].x + t.r[i].w ||
                                t.r[i].y >= t.r[j].y + t.r[j].h || t.r[j].y >= t.r[i].y + t.r[i].h);
            }
            assert_true(fabs(covered - (double)areas[k].w * (double)areas[k].h) < 1);
        }
}

static void a_border_follows_the_mouse(void **state) {
    (void)state;
    layout l;
    layout_tiles before, after;
    layout_init(&l, 6);
    const gui_rect area = {0, 0, 1600, 900};
    layout_place(&l, area, 6, &before);
    assert_true(before.border_count == 5);
    for (uint32_t i = 0; i < before.border_count; i++) {
        const layout_border *b = &before.borders[i];
        layout_move(&l, b, 50);
        layout_place(&l, area, 6, &after);
        const float moved =
            b->between_rows ? after.borders[i].r.y - b->r.y : after.borders[i].r.x - b->r.x;
        assert_true(fabsf(moved - 50) <= 1);
        layout_move(&l, b, -1e6f); /* nothing can be made to vanish */
        layout_place(&l, area, 6, &after);
        for (uint32_t k = 0; k < 6; k++)
            assert_true(after.r[k].w > 20 && after.r[k].h > 20);
        layout_init(&l, 6);
    }
}

static void a_layout_is_read_as_it_was_written(void **state) {
    (void)state;
    layout l, back;
    char text[4096], cut[4096];
    layout_init(&l, 6);
    l.shown[2] = false;
    l.alone = 4;
    l.heights[1] = 0.625f;
    l.widths[1][2] = 1.5f;
    l.width = 1234;
    layout_write(&l, text, sizeof text);
    layout_init(&back, 6);
    assert_true(layout_read(&back, text));
    assert_memory_equal(&back, &l, sizeof l);
    /* A file that ends early, or holds something else, changes nothing. */
    layout fresh;
    layout_init(&fresh, 6);
    for (size_t i = 0; i + 3 < strlen(text); i++) {
        memcpy(cut, text, i);
        cut[i] = 0;
        layout_init(&back, 6);
        if (!layout_read(&back, cut)) assert_memory_equal(&back, &fresh, sizeof back);
    }
    assert_false(layout_read(&back, "vkdistill view 2\nsize 9 9"));
    assert_false(layout_read(&back, ""));
    const char *lies[] = {"size 1e9 500", "size nan 500", "shown 0", "shown 64"};
    for (size_t i = 0; i < VKD_COUNT(lies); i++) {
        snprintf(cut, sizeof cut, "vkdistill view 1\n%s%s", i < 2 ? "" : "size 800 600\n", lies[i]);
        assert_false(layout_read(&back, cut));
    }
}

static void the_last_panel_stays(void **state) {
    (void)state;
    layout l;
    layout_init(&l, 2);
    layout_toggle(&l, 0);
    assert_true(!l.shown[0] && l.shown[1]);
    layout_toggle(&l, 1);
    assert_true(l.shown[1]);
}

/* ---- Rankings ---- */

static void rankings_put_first_what_is_asked_for(void **state) {
    (void)state;
    const float teacher[] = {4, 0, 0, 4, 2, 0, NAN, 0}, student[] = {4, 0, 4, 0, 1, 0, 0, 1};
    const int32_t labels[] = {0, 1, 0, 1}, indices[] = {10, 11, 12, 13};
    const scene_answers a = {4, 2, indices, labels, {teacher, student}};
    ranking_entry out[4];
    ranking_wish w = {.order = RANKING_DISAGREEMENT, .tau = 1, .label = -1};
    assert_int_equal(ranking_make(&a, &w, out), 4);
    assert_true(out[0].sample == 11 && out[1].sample == 12 && out[2].sample == 10);
    assert_true(out[3].sample == 13 && isnan(out[3].value)); /* the teacher's are no numbers */
    assert_true(out[3].said[0] == SCENE_NONE && out[3].said[1] == 1);
    w.order = RANKING_CONFIDENCE;
    ranking_make(&a, &w, out);
    assert_true(out[0].sample == 12 && out[1].sample == 13 && out[3].sample == 11);
    w.wrong = true;
    assert_int_equal(ranking_make(&a, &w, out), 1);
    assert_int_equal(out[0].sample, 11);
    w = (ranking_wish){.order = RANKING_CLASS, .tau = 1, .label = 0, .side = 1, .class = 1};
    assert_int_equal(ranking_make(&a, &w, out), 2);
    assert_true(out[0].sample == 12 && fabs(out[0].value - 1 / (1 + exp(1))) < 1e-7);
    double means[4];
    assert_true(ranking_classes(&a, SCENE_STUDENT, 1, means));
    assert_true(fabs(means[0] - (1 / (1 + exp(-4)) + 1 / (1 + exp(-1))) / 2) < 1e-7);
    const scene_answers none = {0, 2, NULL, NULL, {NULL, NULL}};
    assert_false(ranking_classes(&none, SCENE_STUDENT, 1, means));
    assert_int_equal(ranking_make(&none, &w, out), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(distributions_are_as_by_hand),
        cmocka_unit_test(numbers_that_are_none_are_no_distribution),
        cmocka_unit_test(distances_are_divided_by_their_mean),
        cmocka_unit_test(colours_go_from_end_to_end),
        cmocka_unit_test(ticks_are_round_and_inside),
        cmocka_unit_test(curves_keep_their_peaks_and_their_gaps),
        cmocka_unit_test(tiles_cover_the_window_and_do_not_overlap),
        cmocka_unit_test(a_border_follows_the_mouse),
        cmocka_unit_test(a_layout_is_read_as_it_was_written),
        cmocka_unit_test(the_last_panel_stays),
        cmocka_unit_test(rankings_put_first_what_is_asked_for),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
