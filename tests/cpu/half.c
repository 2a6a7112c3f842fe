// SPDX-License-Identifier: Apache-2.0
/* The 16-bit types against what IEEE 754 says of them, in double arithmetic: a value is sign,
 * significand and exponent; rounding goes to the nearest multiple of the unit, ties to even. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "base/half.h"

typedef struct type {
    const char *name;
    int precision, exponent_bits;
    uint16_t (*from)(float v);
    float (*to)(uint16_t bits);
} type;

static const type types[] = {
    {"f16", 11, 5, vkd__f16_from, vkd__f16_to},
    {"bf16", 8, 8, vkd__bf16_from, vkd__bf16_to},
};

enum { SIGN = 0x8000 };

static int bias(const type *t) {
    return (1 << (t->exponent_bits - 1)) - 1;
}

static uint16_t infinity(const type *t) {
    return (uint16_t)(((1 << t->exponent_bits) - 1) << (t->precision - 1));
}

/* Of bits up to infinity's, which mean 2^(bias + 1) here: the value that would come next. */
static double value_of(const type *t, uint16_t bits) {
    const int fraction = bits & ((1 << (t->precision - 1)) - 1), field = bits >> (t->precision - 1);
    const int hidden = field ? 1 << (t->precision - 1) : 0, exponent = field ? field : 1;
    return ldexp(hidden + fraction, exponent - bias(t) - (t->precision - 1));
}

/* rint is to nearest even, which is how every program starts. */
static double rounded(const type *t, double v) {
    const double size = fabs(v);
    if (!(size > 0) || isinf(size)) return v;
    const int least = 1 - bias(t), own = ilogb(size);
    const int unit = (own < least ? least : own) - (t->precision - 1);
    const double near = ldexp(rint(ldexp(size, -unit)), unit);
    return copysign(near < ldexp(1, bias(t) + 1) ? near : INFINITY, v);
}

static void rounds(const type *t, float v) {
    const double want = rounded(t, (double)v), got = (double)t->to(t->from(v));
    if (got != want || signbit(got) != signbit(want))
        fail_msg("%s of %a is %a, should be %a", t->name, (double)v, got, want);
}

static void every_value_is_what_its_bits_say(void **state) {
    (void)state;
    for (size_t k = 0; k < VKD_COUNT(types); k++) {
        const type *t = &types[k];
        for (uint32_t i = 0; i < infinity(t); i++) {
            const double want = value_of(t, (uint16_t)i);
            const double got = (double)t->to((uint16_t)i),
                         mirrored = (double)t->to((uint16_t)(i | SIGN));
            if (got != want || mirrored != -want || signbit(got) || !signbit(mirrored))
                fail_msg("%s %#x is %a and %a, should be %a", t->name, (unsigned)i, got, mirrored,
                         want);
        }
        assert_true(t->to(infinity(t)) == INFINITY);
        assert_true(t->to(infinity(t) | SIGN) == -INFINITY);
    }
}

static void every_value_comes_back_with_its_bits(void **state) {
    (void)state;
    for (size_t k = 0; k < VKD_COUNT(types); k++) {
        const type *t = &types[k];
        for (uint32_t i = 0; i < 0x10000; i++) {
            const uint16_t bits = (uint16_t)i, back = t->from(t->to(bits));
            const bool nan = (bits & ~SIGN) > infinity(t);
            if (nan ? (back & ~SIGN) <= infinity(t) || (back & SIGN) != (bits & SIGN)
                    : back != bits)
                fail_msg("%s %#x comes back as %#x", t->name, (unsigned)bits, (unsigned)back);
        }
    }
}

/* Between each value and the next: the middle, and the floats on either side of it. */
static void the_middle_goes_to_the_even_neighbour(void **state) {
    (void)state;
    for (size_t k = 0; k < VKD_COUNT(types); k++) {
        const type *t = &types[k];
        for (uint32_t i = 0; i < infinity(t); i++) {
            const double low = value_of(t, (uint16_t)i), high = value_of(t, (uint16_t)(i + 1));
            const float middle = (float)((low + high) / 2);
            assert_true((double)middle == (low + high) / 2);
            assert_int_equal(t->from(middle), i + (i & 1));
            assert_int_equal(t->from(nextafterf(middle, 0)), i);
            assert_int_equal(t->from(nextafterf(middle, INFINITY)), i + 1);
            assert_int_equal(t->from(-middle), (i + (i & 1)) | SIGN);
            rounds(t, middle);
        }
    }
}

static void floats_of_every_size_are_rounded_to_the_nearest(void **state) {
    (void)state;
    for (size_t k = 0; k < VKD_COUNT(types); k++)
        for (uint64_t i = 0; i < 0x100000000; i += 2039) {
            const uint32_t bits = (uint32_t)i;
            float v;
            memcpy(&v, &bits, sizeof v);
            if (!isnan(v)) rounds(&types[k], v);
        }
}

static void zero_keeps_its_sign_and_what_is_too_small_becomes_zero(void **state) {
    (void)state;
    for (size_t k = 0; k < VKD_COUNT(types); k++) {
        assert_int_equal(types[k].from(0.0f), 0);
        assert_int_equal(types[k].from(-0.0f), SIGN);
        assert_int_equal(types[k].from(0x1p-149f), 0);
        assert_int_equal(types[k].from(-0x1p-149f), SIGN);
    }
    assert_int_equal(vkd__f16_from(0x1p-25f), 0);
    assert_int_equal(vkd__f16_from(0x1.000002p-25f), 1);
    assert_int_equal(vkd__bf16_from(0x1p-133f), 1);
}

static void beyond_the_range_is_infinity(void **state) {
    (void)state;
    assert_int_equal(vkd__f16_from(65504), 0x7bff);
    assert_int_equal(vkd__f16_from(0x1.ffdffep15f), 0x7bff);
    assert_int_equal(vkd__f16_from(65520), 0x7c00);
    assert_int_equal(vkd__f16_from(-65520), 0xfc00);
    assert_int_equal(vkd__bf16_from(0x1.fep127f), 0x7f7f);
    assert_int_equal(vkd__bf16_from(0x1.fefffep127f), 0x7f7f);
    assert_int_equal(vkd__bf16_from(0x1.fffffep127f), 0x7f80);
    for (size_t k = 0; k < VKD_COUNT(types); k++) {
        assert_int_equal(types[k].from(INFINITY), infinity(&types[k]));
        assert_int_equal(types[k].from(-INFINITY), infinity(&types[k]) | SIGN);
    }
}

/* Also one whose set bits all lie in what is cut off. */
static void a_nan_stays_one(void **state) {
    (void)state;
    static const uint32_t nans[] = {0x7fc00000, 0xffc00000, 0x7f800001, 0xff800001, 0x7fffffff,
                                    0xffffffff, 0x7f800fff, 0x7f80ffff, 0x7fa00000};
    for (size_t k = 0; k < VKD_COUNT(types); k++)
        for (size_t i = 0; i < VKD_COUNT(nans); i++) {
            float v;
            memcpy(&v, &nans[i], sizeof v);
            const uint16_t bits = types[k].from(v);
            assert_true((bits & ~SIGN) > infinity(&types[k]));
            assert_int_equal(bits & SIGN, nans[i] >> 16 & SIGN);
            assert_true(isnan(types[k].to(bits)));
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_value_is_what_its_bits_say),
        cmocka_unit_test(every_value_comes_back_with_its_bits),
        cmocka_unit_test(the_middle_goes_to_the_even_neighbour),
        cmocka_unit_test(floats_of_every_size_are_rounded_to_the_nearest),
        cmocka_unit_test(zero_keeps_its_sign_and_what_is_too_small_becomes_zero),
        cmocka_unit_test(beyond_the_range_is_infinity),
        cmocka_unit_test(a_nan_stays_one),
    };
    return cmocka_run_group_tests_name("half", tests, NULL, NULL);
}
