// SPDX-License-Identifier: Apache-2.0
/* Claims about reading kernels; no device is needed for them. */
#include <string.h>

#include "support/gpu.h"

static void every_kernel_of_the_table_is_understood(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    assert_true(vkd__kernel_count > 0);
    for (size_t i = 0; i < vkd__kernel_count; i++) {
        vkd__reflection r;
        if (vkd__reflect(ctx, &vkd__kernels[i], &r)) fail_msg("%s", vkd_ctx_error(ctx));
        assert_in_range(r.binding_count, 1, VKD__MAX_BINDINGS);
        assert_true(r.push_bytes % 4 == 0);
        bool width = false;
        for (uint32_t k = 0; k < r.spec_count; k++) {
            width |= r.spec_id[k] == 0;
            for (uint32_t m = 0; m < k; m++)
                assert_int_not_equal(r.spec_id[k], r.spec_id[m]);
        }
        if (!width) fail_msg("'%s' has a fixed workgroup width", vkd__kernels[i].name);
    }
    vkd_ctx_destroy(ctx);
}

static void a_kernel_is_read_as_it_was_written(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__reflection r;
    assert_int_equal(vkd__reflect(ctx, vkd__kernel_find("fill"), &r), VKD_OK);
    assert_int_equal(r.binding_count, 1);
    assert_int_equal(r.binding[0], VKD__SLOT_BUFFER);
    assert_int_equal(r.push_bytes, 8);
    assert_int_equal(r.spec_count, 2); /* its width, and GRID_X of lib/grid.glsl */
    /* Labels are integers in a buffer, logits floats behind a texel buffer. */
    assert_int_equal(vkd__reflect(ctx, vkd__kernel_find("row_softmax.direct"), &r), VKD_OK);
    assert_int_equal(r.binding[0], VKD__SLOT_TEXEL_FLOAT);
    assert_int_equal(r.binding[1], VKD__SLOT_BUFFER);
    assert_int_equal(vkd__reflect(ctx, vkd__kernel_find("row_softmax"), &r), VKD_OK);
    assert_int_equal(r.binding[0], VKD__SLOT_BUFFER);
    vkd_ctx_destroy(ctx);
}

/* The planner may give these ops' result the storage of their first input. */
static void kernels_that_work_in_place_do_not_promise_restrict(void **state) {
    (void)state;
    static const char *const names[] = {"unary",        "unary_grad",        "binary",
                                        "unary.direct", "unary_grad.direct", "binary.direct"};
    enum { MEMBER_DECORATE = 72, RESTRICT = 19 };
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        const vkd__kernel *k = vkd__kernel_find(names[i]);
        assert_non_null(k);
        for (size_t at = 5; at < k->word_count; at += k->words[at] >> 16)
            if ((k->words[at] & 0xffff) == MEMBER_DECORATE && k->words[at + 3] == RESTRICT)
                fail_msg("%s promises that its tensors do not overlap", names[i]);
    }
}

/* Cut or changed anywhere, a module is read or refused, never read outside its words. */
static void a_damaged_module_is_refused_or_read_in_bounds(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const vkd__kernel *good = vkd__kernel_find("fill");
    vkd__reflection r;
    for (size_t count = 0; count < good->word_count; count++) {
        uint32_t *words = vkd__alloc(ctx, count, sizeof *words); /* so that a sanitizer sees */
        memcpy(words, good->words, count * sizeof *words);
        const vkd__kernel cut = {"cut", words, count};
        if (vkd__reflect(ctx, &cut, &r))
            assert_non_null(strstr(vkd_ctx_error(ctx), "'cut'"));
        else
            assert_in_range(r.binding_count, 0, 1);
        vkd__free(ctx, words);
    }
    uint32_t *words = vkd__alloc(ctx, good->word_count, sizeof *words);
    const vkd__kernel changed = {"changed", words, good->word_count};
    for (size_t i = 0; i < good->word_count * 4; i++) {
        memcpy(words, good->words, good->word_count * sizeof *words);
        words[i / 4] ^= 0x8000000fu >> (i % 4 * 7);
        (void)vkd__reflect(ctx, &changed, &r);
    }
    words[0] = 0;
    assert_int_equal(vkd__reflect(ctx, &changed, &r), VKD_E_ARGUMENT);
    vkd__free(ctx, words);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kernel_of_the_table_is_understood),
        cmocka_unit_test(a_kernel_is_read_as_it_was_written),
        cmocka_unit_test(kernels_that_work_in_place_do_not_promise_restrict),
        cmocka_unit_test(a_damaged_module_is_refused_or_read_in_bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
