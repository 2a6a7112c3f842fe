// SPDX-License-Identifier: Apache-2.0
/* What is drawn for each image: uniform over its range, what double precision makes of the same
 * words, and an option's numbers whatever the other options are. The device's are these to the bit,
 * which tests/gpu/ops.c and tests/gpu/augment.c see to. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/philox.h"
#include "ops/augment.h"

enum { SEED = 41, STEP = 7 };

static struct vkd_augment_draw_params most(const vkd_augment_desc *d, uint32_t height,
                                           uint32_t width) {
    struct vkd_augment_draw_params p = vkd__augment_most(d, VKD_SHAPE(1, height, width, 1));
    p.seed = SEED;
    p.stream = vkd__philox_stream("test");
    return p;
}

static void draw(const vkd_augment_desc *d, uint32_t side, uint32_t image,
                 int32_t out[VKD_AUGMENT_NUMBERS]) {
    const struct vkd_augment_draw_params p = most(d, side, side);
    vkd__augment_drawn(&p, STEP, image, out);
}

/* Of counts that should be equal. With the seed fixed this is a yes or no: the bounds leave out one
 * of a thousand seeds on either side. */
static void expect_uniform(const char *what, const uint32_t *counts, uint32_t bins, double low,
                           double high) {
    double total = 0, chi = 0;
    for (uint32_t i = 0; i < bins; i++)
        total += counts[i];
    for (uint32_t i = 0; i < bins; i++)
        chi += (counts[i] - total / bins) * (counts[i] - total / bins) / (total / bins);
    if (!(chi > low && chi < high))
        fail_msg("%s: chi-square of %u bins is %g, not between %g and %g", what, bins, chi, low,
                 high);
}

static void crops_are_uniform_over_all_places(void **state) {
    (void)state;
    uint32_t counts[81] = {0};
    for (uint32_t i = 0; i < 8100; i++) {
        int32_t n[VKD_AUGMENT_NUMBERS];
        draw(&(vkd_augment_desc){.crop = 4}, 32, i, n);
        const int32_t y = n[VKD__AUGMENT_Y_FIRST], x = n[VKD__AUGMENT_X_FIRST];
        assert_int_equal(y & 0xffff, 0);
        assert_int_equal(x & 0xffff, 0);
        assert_in_range(y / 65536 + 4, 0, 8);
        assert_in_range(x / 65536 + 4, 0, 8);
        counts[(y / 65536 + 4) * 9 + x / 65536 + 4]++;
    }
    expect_uniform("crop", counts, 81, 46.5, 124.8);
}

static void half_of_the_images_are_flipped(void **state) {
    (void)state;
    uint32_t flipped[2] = {0}, always = 0, never = 0;
    for (uint32_t i = 0; i < 10000; i++) {
        int32_t n[VKD_AUGMENT_NUMBERS];
        draw(&(vkd_augment_desc){.flip = 0.5f}, 28, i, n);
        const bool flip = n[VKD__AUGMENT_XX] < 0;
        assert_int_equal(n[VKD__AUGMENT_XX], flip ? -65536 : 65536);
        assert_int_equal(n[VKD__AUGMENT_X_FIRST], flip ? 27 * 65536 : 0);
        assert_int_equal(n[VKD__AUGMENT_YY], 65536);
        flipped[flip]++;
        draw(&(vkd_augment_desc){.flip = 1}, 28, i, n);
        always += n[VKD__AUGMENT_XX] < 0;
        draw(&(vkd_augment_desc){0}, 28, i, n);
        never += n[VKD__AUGMENT_XX] > 0;
    }
    expect_uniform("flip", flipped, 2, 0, 10.83);
    assert_int_equal(always, 10000);
    assert_int_equal(never, 10000);
}

/* Each of these alone, in sixteen bins of its range. */
static double shift_of(const int32_t *n) {
    return n[VKD__AUGMENT_Y_FIRST] / 65536.0 / -2.5;
}
static double angle_of(const int32_t *n) {
    return atan2(n[VKD__AUGMENT_YX], n[VKD__AUGMENT_YY]) * 180 / acos(-1) / 170;
}
static double scale_of(const int32_t *n) {
    return (65536.0 / n[VKD__AUGMENT_XX] - 1) / 0.5;
}
static double shear_of(const int32_t *n) {
    return n[VKD__AUGMENT_XY] / 65536.0 / -0.75;
}
static double brightness_of(const int32_t *n) {
    return n[VKD__AUGMENT_OFFSET] / 65536.0 / 0.25;
}
static double contrast_of(const int32_t *n) {
    return (n[VKD__AUGMENT_GAIN] / 65536.0 - 1) / 0.375;
}

static void numbers_are_uniform_over_their_ranges(void **state) {
    (void)state;
    static const struct {
        const char *what;
        vkd_augment_desc d;
        double (*of)(const int32_t *n); /* between -1 and 1 */
    } each[] = {
        {"shift", {.shift = 2.5f}, shift_of},
        {"rotate", {.rotate = 170}, angle_of},
        {"scale", {.scale = 0.5f}, scale_of},
        {"shear", {.shear = 0.75f}, shear_of},
        {"brightness", {.brightness = 0.25f}, brightness_of},
        {"contrast", {.contrast = 0.375f}, contrast_of},
    };
    for (size_t k = 0; k < VKD_COUNT(each); k++) {
        uint32_t counts[16] = {0};
        for (uint32_t i = 0; i < 8000; i++) {
            int32_t n[VKD_AUGMENT_NUMBERS];
            draw(&each[k].d, 28, i, n);
            const double v = each[k].of(n);
            if (!(fabs(v) <= 1.0001)) fail_msg("%s: %g of its range", each[k].what, v);
            const double bin = (v + 1) * 8;
            counts[bin < 0 ? 0 : bin > 15 ? 15 : (uint32_t)bin]++;
        }
        expect_uniform(each[k].what, counts, 16, 3.4, 37.7);
    }
}

/* ---- The same in double precision ---- */

typedef struct affine {
    double m[2][2], t[2];
} affine;

/* b after a. */
static affine after(affine b, affine a) {
    affine r = {{{0}}, {b.t[0], b.t[1]}};
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++) {
            r.t[i] += b.m[i][k] * a.t[k];
            for (int j = 0; j < 2; j++)
                r.m[i][j] += b.m[i][k] * a.m[k][j];
        }
    return r;
}

static affine inverse(affine a) {
    const double d = a.m[0][0] * a.m[1][1] - a.m[0][1] * a.m[1][0];
    affine r = {{{a.m[1][1] / d, -a.m[0][1] / d}, {-a.m[1][0] / d, a.m[0][0] / d}}, {0}};
    for (int i = 0; i < 2; i++)
        r.t[i] = -r.m[i][0] * a.t[0] - r.m[i][1] * a.t[1];
    return r;
}

static affine linear(double yy, double yx, double xy, double xx) {
    return (affine){{{yy, yx}, {xy, xx}}, {0}};
}
static affine moved(double y, double x) {
    return (affine){{{1, 0}, {0, 1}}, {y, x}};
}
static affine turned(double angle) {
    return linear(cos(angle), -sin(angle), sin(angle), cos(angle));
}

typedef struct meaning {
    affine forward; /* from the image to the result, both from the middle */
    double gain, offset;
} meaning;

static double whole(uint32_t word, uint32_t most_of) {
    return floor((double)word * (2.0 * most_of + 1) * 0x1p-32) - most_of;
}
static double real(uint32_t word, double most_of) {
    return (word * 0x1p-31 - 1) * most_of;
}

static const double degree = 0.017453292519943295;

static void random_operation(meaning *m, const vkd_augment_desc *d, uint32_t side, uint32_t choice,
                             uint32_t sign_word) {
    const double s = (sign_word >> 31 ? -1 : 1) * (d->randaugment_magnitude / 30.0);
    const affine maps[8] = {[0] = moved(0, 0),
                            [1] = turned(s * 30 * degree),
                            [2] = linear(1, 0, s * 0.3, 1),
                            [3] = linear(1, s * 0.3, 0, 1),
                            [4] = moved(0, s * 0.45 * side),
                            [5] = moved(s * 0.45 * side, 0),
                            [6] = moved(0, 0),
                            [7] = moved(0, 0)};
    const uint32_t which = choice >> 29;
    m->forward = after(maps[which], m->forward);
    if (which == 6) m->offset += 0.9 * s;
    if (which != 7) return;
    m->gain *= 1 + 0.9 * s;
    m->offset *= 1 + 0.9 * s;
}

/* The operations one after the other, as the header has them. */
static meaning meant(const vkd_augment_desc *d, uint32_t side, const uint32_t *w) {
    meaning m = {.forward = moved(whole(w[0], d->crop), whole(w[1], d->crop)), .gain = 1};
    const double s = 1 + real(w[4], (double)d->scale), k = real(w[5], (double)d->shear);
    if (w[2] * 0x1p-32 < (double)d->flip) m.forward = after(linear(1, 0, 0, -1), m.forward);
    m.forward = after(linear(s, 0, 0, s), m.forward);
    m.forward = after(linear(1, 0, k, 1), m.forward);
    m.forward = after(turned(real(w[6], (double)d->rotate * degree)), m.forward);
    m.forward = after(moved(real(w[8], (double)d->shift), real(w[9], (double)d->shift)), m.forward);
    for (uint32_t i = 0; i < d->randaugment_ops; i++)
        random_operation(&m, d, side, w[16 + 2 * i], w[17 + 2 * i]);
    const double factor = 1 + real(w[10], (double)d->contrast);
    m.gain *= factor;
    m.offset = m.offset * factor + real(w[11], (double)d->brightness);
    return m;
}

/* Where a corner of the result lies in the image, by the numbers and by their meaning. */
static void expect_place(const int32_t *n, affine back, uint32_t side, uint32_t y, uint32_t x) {
    const double middle = (side - 1) / 2.0;
    for (int i = 0; i < 2; i++) {
        const int32_t *row = n + (i ? VKD__AUGMENT_X_FIRST : VKD__AUGMENT_Y_FIRST);
        const double got = (row[0] + (double)row[1] * y + (double)row[2] * x) / 65536;
        const double want =
            back.m[i][0] * (y - middle) + back.m[i][1] * (x - middle) + back.t[i] + middle;
        /* Up to ten products rounded to 2^-17, times half a side. */
        if (!(fabs(got - want) < 10 * 0x1p-17 * side))
            fail_msg("pixel (%u, %u) reads axis %d at %g, should read at %g", y, x, i, got, want);
    }
}

static void integers_mean_what_double_precision_does(void **state) {
    (void)state;
    static const vkd_augment_desc descs[] = {
        {.crop = 4, .flip = 0.5f},
        {.shift = 3, .rotate = 180, .scale = 0.25f, .shear = 0.5f, .flip = 0.5f},
        {.randaugment_ops = 3, .randaugment_magnitude = 17},
        {.crop = 2,
         .flip = 0.25f,
         .shift = 1.5f,
         .rotate = 30,
         .scale = 0.2f,
         .shear = 0.2f,
         .brightness = 0.5f,
         .contrast = 0.5f,
         .randaugment_ops = 2,
         .randaugment_magnitude = 9},
    };
    const uint32_t side = 32;
    for (size_t k = 0; k < VKD_COUNT(descs); k++)
        for (uint32_t image = 0; image < 500; image++) {
            const struct vkd_augment_draw_params p = most(&descs[k], side, side);
            uint32_t w[32];
            for (uint32_t i = 0; i < 32; i++)
                w[i] = vkd__philox_at(SEED, p.stream, STEP, 8 * image + i / 4).v[i % 4];
            int32_t n[VKD_AUGMENT_NUMBERS];
            vkd__augment_drawn(&p, STEP, image, n);
            const meaning m = meant(&descs[k], side, w);
            const affine back = inverse(m.forward);
            for (int corner = 0; corner < 4; corner++)
                expect_place(n, back, side, corner / 2 ? side - 1 : 0, corner % 2 ? side - 1 : 0);
            assert_true(fabs(n[VKD__AUGMENT_GAIN] / 65536.0 - m.gain) < 1e-4);
            assert_true(fabs(n[VKD__AUGMENT_OFFSET] / 65536.0 - m.offset) < 1e-4);
        }
}

/* ---- Cutout ---- */

static void a_square_lies_anywhere_and_ends_at_the_edges(void **state) {
    (void)state;
    static const uint32_t sizes[] = {1, 7, 8, 40};
    const uint32_t side = 28;
    for (size_t k = 0; k < VKD_COUNT(sizes); k++) {
        const int32_t size = (int32_t)sizes[k];
        uint32_t middles[28] = {0};
        for (uint32_t i = 0; i < 2800; i++) {
            const struct vkd_augment_draw_params p =
                most(&(vkd_augment_desc){.cutout = sizes[k]}, side, side);
            const vkd__philox w = vkd__philox_at(SEED, p.stream, STEP, 8 * i + 3);
            int32_t n[VKD_AUGMENT_NUMBERS];
            vkd__augment_drawn(&p, STEP, i, n);
            for (int axis = 0; axis < 2; axis++) {
                const int32_t middle = (int32_t)floor(w.v[axis] * (28 * 0x1p-32));
                const int32_t first = middle - size / 2, end = first + size;
                assert_int_equal(n[VKD__AUGMENT_CUT_TOP + axis], first > 0 ? first : 0);
                assert_int_equal(n[VKD__AUGMENT_CUT_BOTTOM + axis], end < 28 ? end : 28);
                if (axis) middles[middle]++;
            }
        }
        expect_uniform("cutout", middles, side, 9.0, 55.5);
    }
    int32_t n[VKD_AUGMENT_NUMBERS];
    draw(&(vkd_augment_desc){0}, side, 5, n);
    assert_int_equal(n[VKD__AUGMENT_CUT_TOP], n[VKD__AUGMENT_CUT_BOTTOM]); /* no square, no pixel */
}

/* ---- What does not matter to a number ---- */

static void an_option_leaves_the_numbers_of_the_others(void **state) {
    (void)state;
    const vkd_augment_desc crop = {.crop = 3, .cutout = 5, .brightness = 0.5f};
    const vkd_augment_desc more = {.crop = 3,
                                   .cutout = 5,
                                   .brightness = 0.5f,
                                   .flip = 0.5f,
                                   .randaugment_ops = 1,
                                   .randaugment_magnitude = 0};
    for (uint32_t i = 0; i < 100; i++) {
        int32_t a[VKD_AUGMENT_NUMBERS], b[VKD_AUGMENT_NUMBERS];
        draw(&crop, 32, i, a);
        draw(&more, 32, i, b);
        assert_int_equal(a[VKD__AUGMENT_Y_FIRST], b[VKD__AUGMENT_Y_FIRST]);
        assert_int_equal(a[VKD__AUGMENT_OFFSET], b[VKD__AUGMENT_OFFSET]);
        assert_memory_equal(&a[VKD__AUGMENT_CUT_TOP], &b[VKD__AUGMENT_CUT_TOP], 4 * sizeof *a);
    }
}

static void seed_name_step_and_image_draw_other_numbers(void **state) {
    (void)state;
    const vkd_augment_desc d = {.shift = 100, .brightness = 16};
    const struct vkd_augment_draw_params p = most(&d, 32, 32);
    struct vkd_augment_draw_params seed = p, name = p;
    seed.seed++;
    name.stream = vkd__philox_stream("another");
    int32_t first[VKD_AUGMENT_NUMBERS], other[VKD_AUGMENT_NUMBERS];
    vkd__augment_drawn(&p, STEP, 0, first);
    const struct {
        const struct vkd_augment_draw_params *p;
        uint32_t step, image;
    } others[] = {{&seed, STEP, 0}, {&name, STEP, 0}, {&p, STEP + 1, 0}, {&p, STEP, 1}};
    for (size_t i = 0; i < VKD_COUNT(others); i++) {
        vkd__augment_drawn(others[i].p, others[i].step, others[i].image, other);
        assert_int_not_equal(first[VKD__AUGMENT_Y_FIRST], other[VKD__AUGMENT_Y_FIRST]);
        assert_int_not_equal(first[VKD__AUGMENT_X_FIRST], other[VKD__AUGMENT_X_FIRST]);
        assert_int_not_equal(first[VKD__AUGMENT_OFFSET], other[VKD__AUGMENT_OFFSET]);
    }
    vkd__augment_drawn(&p, STEP, 0, other);
    assert_memory_equal(first, other, sizeof first);
}

/* ---- Building ---- */

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static fixture start(void) {
    fixture f = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

static void stop(fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static void what_changes_nothing_makes_no_node(void **state) {
    (void)state;
    static const vkd_augment_desc nothing[] = {
        {0}, {.pad_mode = VKD_PAD_REFLECT}, {.randaugment_ops = 2}, {.randaugment_magnitude = 9}};
    fixture f = start();
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(2, 5, 4, 3));
    for (size_t i = 0; i < VKD_COUNT(nothing); i++)
        assert_int_equal(vkd_augment(f.g, x, &nothing[i], "a").id, x.id);
    assert_int_equal(f.g->node_count, 0);
    stop(&f);
}

static void mistakes_are_named(void **state) {
    (void)state;
    static const struct {
        vkd_augment_desc d;
        uint32_t shape[4];
        vkd_result want;
        const char *text;
    } cases[] = {
        {{.flip = 1.5f}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "flip is 1.5, and should be 0 to 1"},
        {{.flip = NAN}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "flip is nan"},
        {{.rotate = -1}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "rotate is -1, and should be 0 to 180"},
        {{.scale = 0.75f}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "scale is 0.75"},
        {{.shear = 2}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "shear is 2"},
        {{.shift = 5000}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "shift is 5000"},
        {{.crop = 2048}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "crop is 2048"},
        {{.randaugment_ops = 9}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "randaugment_ops is 9"},
        {{.randaugment_magnitude = 31}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "magnitude is 31"},
        {{.contrast = 1.25f}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "contrast is 1.25"},
        {{.brightness = 17}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "brightness is 17"},
        {{.cutout = 5000}, {2, 5, 4, 3}, VKD_E_ARGUMENT, "cutout is 5000"},
        {{.crop = 1}, {1, 2, 2049, 1}, VKD_E_SHAPE, "2 x 2049 pixels, more than 2048"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        fixture f = start();
        const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, vkd_shape_make(4, cases[i].shape));
        assert_int_equal(vkd_augment(f.g, x, &cases[i].d, "a").id, 0);
        assert_int_equal(vkd_graph_status(f.g), cases[i].want);
        if (!strstr(vkd_ctx_error(f.ctx), cases[i].text))
            fail_msg("the message lacks '%s': %s", cases[i].text, vkd_ctx_error(f.ctx));
        stop(&f);
    }
    fixture f = start();
    const vkd_tensor rows = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(2, 60));
    assert_int_equal(vkd_augment(f.g, rows, &(vkd_augment_desc){.crop = 1}, "a").id, 0);
    assert_non_null(strstr(vkd_ctx_error(f.ctx), "augment('x'): images (N, H, W, C) are wanted"));
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(crops_are_uniform_over_all_places),
        cmocka_unit_test(half_of_the_images_are_flipped),
        cmocka_unit_test(numbers_are_uniform_over_their_ranges),
        cmocka_unit_test(integers_mean_what_double_precision_does),
        cmocka_unit_test(a_square_lies_anywhere_and_ends_at_the_edges),
        cmocka_unit_test(an_option_leaves_the_numbers_of_the_others),
        cmocka_unit_test(seed_name_step_and_image_draw_other_numbers),
        cmocka_unit_test(what_changes_nothing_makes_no_node),
        cmocka_unit_test(mistakes_are_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
