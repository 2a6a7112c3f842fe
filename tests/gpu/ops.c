// SPDX-License-Identifier: Apache-2.0
/* Every case of every registered op on the device, forward and backward, against the references: in
 * both kernel variants, with the smallest and the largest workgroup that a profile may choose, cut
 * into windows as if the device could bind only a few kilobytes, and into pieces as if it were far
 * too slow. Three tests for each op, and products in every tile; VKD_TEST_OP=<name> runs those of
 * one, and VKD_TEST_PART=<i>/<n> those of a part of the register, so that several processes share
 * the work. Most of it is compiling, so ops with kernels in common are better in one part, and
 * VKD_TEST_BRIEF leaves it at one size of workgroup: for one driver more, where the sizes have been
 * through another. */
#include "support/support.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "ops/op.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_device *device;
} fixture;

static fixture shared;

static int open_device(void **state) {
    (void)state;
    shared.ctx = test_ctx();
    shared.device = test_device(shared.ctx);
    return 0;
}

static int close_device(void **state) {
    (void)state;
    test_device_close(shared.device);
    vkd_ctx_destroy(shared.ctx);
    return 0;
}

/* The device's own profile with another choice of kernels and workgroups. */
static vkd_profile variant(bool direct, uint32_t workgroup) {
    vkd_profile p = *vkd_device_profile(shared.device);
    p.direct = direct;
    p.flat_workgroup = p.column_workgroup = workgroup;
    p.row_workgroup = p.short_workgroup = p.reduce_workgroup = workgroup;
    p.fill_groups = 64; /* as a GPU: long products are split */
    return p;
}

static void check_case(const vkd_op_def *op, const vkd_profile *p, uint32_t index) {
    if (vkd__check_case(shared.ctx, shared.device, p, op, index, NULL))
        fail_msg("%s", vkd_ctx_error(shared.ctx));
    assert_int_equal(vkd_device_validation_messages(shared.device), 0);
}

static void check_all_cases(const vkd_op_def *op, const vkd_profile *p) {
    for (uint32_t i = 0; i < op->case_count; i++)
        check_case(op, p, i);
}

/* Every case in the device's own sizes. In others not each of products and convolutions, which a
 * CPU driver compiles for a second: these take their sizes from tiles, so workgroups matter to what
 * adds the sums of a split K and a residual, and to zeros around a strided gradient. Windows: where
 * images are cut, with sums shared too, several groups, ragged channels. Pieces, which are
 * pipelines of their own: products of whole tiles, of a batch, with K split, of a batch too, and
 * with the sums for a bias; convolutions with all that may be added, several groups, ragged and
 * thin, with zeros in front and beside, depthwise, and with sums over many pixels. */
static const struct few {
    const vkd_op_def *op;
    uint32_t finished[4], windows[12], pieces[8]; /* numbers of cases, counted from 1 */
} few[] = {
    {&vkd_op_matmul, {23, 25}, {0}, {10, 11, 12, 25, 27, 29}},
    {&vkd_op_conv2d, {0}, {1, 4, 6, 12, 14, 23, 24, 25, 26, 27}, {2, 4, 12, 17, 21, 23}},
    {&vkd_op_conv2d_transpose,
     {6},
     {1, 4, 6, 7, 12, 14, 23, 24, 25, 26, 27},
     {2, 6, 7, 12, 17, 21}},
    {&vkd_op_conv2d_weight, {23, 28}, {1, 4, 6, 12, 14, 23, 24, 25, 26, 27}, {4, 12, 17, 21, 28}},
};

static const struct few *few_of(const vkd_op_def *op) {
    for (size_t i = 0; i < VKD_COUNT(few); i++)
        if (few[i].op == op) return &few[i];
    return NULL;
}

static void check_few(const vkd_op_def *op, const vkd_profile *p, const uint32_t *numbers) {
    for (size_t i = 0; numbers[i]; i++)
        check_case(op, p, numbers[i] - 1);
}

static void the_device_computes_what_the_reference_says(void **state) {
    static const uint32_t all[] = {8, 256}, one[] = {64}; /* that of the tests below */
    const bool brief = getenv("VKD_TEST_BRIEF") != NULL;
    const uint32_t *workgroups = brief ? one : all;
    for (size_t w = 0; w < (brief ? VKD_COUNT(one) : VKD_COUNT(all)); w++)
        for (int direct = 0; direct < 2; direct++) {
            const vkd_profile p = variant(direct, workgroups[w]);
            if (w && few_of(*state))
                check_few(*state, &p, few_of(*state)->finished);
            else
                check_all_cases(*state, &p);
        }
}

/* Ops that must cut any of their cases; the others may refuse rows that do not fit, in a sentence
 * that begins with the op's name. */
static bool refused_by_one_that_always_fits(const char *message) {
    static const char *const names[] = {"unary",  "unary_grad", "binary", "expand",
                                        "reduce", "slice",      "concat", "permute"};
    for (size_t i = 0; i < VKD_COUNT(names); i++)
        if (!strncmp(message, names[i], strlen(names[i])) && message[strlen(names[i])] == '(')
            return true;
    return false;
}

static void check_windows(const vkd_op_def *op, const vkd_profile *p, uint32_t index) {
    const vkd_result r = vkd__check_case(shared.ctx, shared.device, p, op, index, NULL);
    const char *message = vkd_ctx_error(shared.ctx);
    /* "<op>('<in>'): ..." is an op's sentence; the planner's own checks must find nothing. */
    const bool refused = r == VKD_E_SHAPE && strstr(message, "'): ") && strstr(message, "binding");
    if (r && (!refused || refused_by_one_that_always_fits(message))) fail_msg("%s", message);
}

static void a_small_binding_is_worked_on_in_windows(void **state) {
    const vkd_op_def *op = *state;
    const struct few *some = few_of(op);
    for (int direct = 0; direct < 2; direct++) {
        vkd_profile p = variant(direct, 64);
        p.max_binding = 2048;
        if (some && some->windows[0])
            for (size_t i = 0; some->windows[i]; i++)
                check_windows(op, &p, some->windows[i] - 1);
        else
            for (uint32_t i = 0; i < op->case_count; i++)
                check_windows(op, &p, i);
    }
    assert_int_equal(vkd_device_validation_messages(shared.device), 0);
}

/* A device so slow that every grid of more than one group is cut into its groups, each a launch and
 * a submission of its own. */
static void a_slow_launch_is_worked_on_in_pieces(void **state) {
    const struct few *some = few_of(*state);
    for (int direct = 0; direct < 2; direct++) {
        vkd_profile p = variant(direct, 64);
        p.launch_seconds = 2 * VKD__SPLIT_SECONDS;
        p.gflops = p.gbytes = 1e-9;
        if (some)
            check_few(*state, &p, some->pieces);
        else
            check_all_cases(*state, &p);
    }
}

/* Products with every tile that a profile may choose. A CPU driver compiles some of them for a
 * second, so not each case: one that every tile divides in both directions, or nearly, one with
 * nothing aligned, a residual and K split, one whose gradient sums up the bias's in parts. The
 * other tests run all cases in the device's own tile. */
static void products_agree_in_every_tile_and_split(void **state) {
    (void)state;
    uint32_t tried = 0;
    for (size_t k = 0; k < vkd__knob_count; k++) {
        if (strcmp(vkd__knobs[k].name, "matmul tile, large")) continue;
        for (uint32_t c = 0; c < vkd__knobs[k].count; c++) {
            vkd_profile p = variant(false, 64);
            if (!vkd__knobs[k].set(&p, c)) continue;
            for (int i = 0; i < VKD__MATMUL_CLASSES; i++)
                p.tile[i] = p.tile[VKD__MATMUL_LARGE];
            static const uint32_t cases[] = {10, 24, 27};
            for (size_t n = 0; n < VKD_COUNT(cases); n++)
                if (vkd__check_case(shared.ctx, shared.device, &p, &vkd_op_matmul, cases[n], NULL))
                    fail_msg("tile %u: %s", c, vkd_ctx_error(shared.ctx));
            tried++;
        }
    }
    assert_true(tried >= 8);
    assert_int_equal(vkd_device_validation_messages(shared.device), 0);
}

int main(void) {
    struct CMUnitTest tests[512] = {{0}};
    size_t count = 0;
    const char *only = getenv("VKD_TEST_OP"), *share = getenv("VKD_TEST_PART");
    unsigned part = 0, parts = 1;
    if (share && (sscanf(share, "%u/%u", &part, &parts) != 2 || part >= parts)) return 1;
    if (only ? !strcmp(only, "matmul") : !part)
        tests[count++] =
            (struct CMUnitTest)cmocka_unit_test(products_agree_in_every_tile_and_split);
    for (size_t i = 0; i < vkd__op_count && count + 3 <= VKD_COUNT(tests); i++) {
        if (only ? strcmp(only, vkd__ops[i]->name) != 0 : i * parts / vkd__op_count != part)
            continue;
        struct CMUnitTest test = {.name = vkd__ops[i]->name, .initial_state = (void *)vkd__ops[i]};
        test.test_func = the_device_computes_what_the_reference_says;
        tests[count++] = test;
        test.test_func = a_small_binding_is_worked_on_in_windows;
        tests[count++] = test;
        test.test_func = a_slow_launch_is_worked_on_in_pieces;
        tests[count++] = test;
    }
    return _cmocka_run_group_tests("ops", tests, count, open_device, close_device);
}
