// SPDX-License-Identifier: Apache-2.0
/* The benchmark's rows do the work that they say they do. How fast is no test's business. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "cli/bench.h"

static vkd_plan_info plan(vkd_ctx *ctx, const bench_row *row, const char *profile) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *p = NULL;
    assert_int_equal(bench_graph(ctx, row, &store, &g), VKD_OK);
    if (vkd_plan_create(g, vkd_profile_find(profile), &p))
        fail_msg("%s: %s", row->name, vkd_ctx_error(ctx));
    const vkd_plan_info info = vkd_plan_get_info(p);
    vkd_plan_destroy(p);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return info;
}

/* Bias, activation, loss and optimiser come on top of what a row of multiply-adds counts. */
static void a_row_counts_the_work_that_is_planned(void **state) {
    static const char *const profiles[] = {"cpu", "gpu"};
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < bench_row_count; i++) {
        const bench_row *row = &bench_rows[i];
        for (size_t k = 0; k < VKD_COUNT(profiles); k++) {
            const vkd_plan_info info = plan(ctx, row, profiles[k]);
            if (row->flops > 0 && !(info.flops >= row->flops && info.flops <= 1.1 * row->flops))
                fail_msg("%s: %g multiply-adds are planned, %g counted", row->name, info.flops,
                         row->flops);
            /* Nothing is counted that is not moved; how often it is, is the kernel's affair. */
            if (!(info.bytes >= 0.95 * row->bytes))
                fail_msg("%s: %g bytes are planned, %g counted", row->name, info.bytes, row->bytes);
        }
    }
    vkd_ctx_destroy(ctx);
}

static void names_are_unique_and_fit_into_the_table(void **state) {
    (void)state;
    for (size_t i = 0; i < bench_row_count; i++) {
        assert_true(strlen(bench_rows[i].name) < 48);
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(bench_rows[i].name, bench_rows[k].name);
    }
}

static void only_takes_rows_by_a_part_of_their_name(void **state) {
    (void)state;
    size_t all = 0, none = 0, matmuls = 0;
    for (size_t i = 0; i < bench_row_count; i++) {
        all += bench_wants(&bench_rows[i], NULL);
        none += bench_wants(&bench_rows[i], "nonesuch");
        matmuls += bench_wants(&bench_rows[i], "matmul T");
    }
    assert_int_equal(all, bench_row_count);
    assert_int_equal(none, 0);
    assert_true(matmuls > 0 && matmuls < all / 2);
}

/* The peer has a function for the work of every row. */
static void the_peer_knows_every_row(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__mapping file = {0};
    assert_int_equal(vkd__map_file(ctx, "tests/peers/torch_peer.py", &file), VKD_OK);
    char *text = test_calloc(1, file.size + 1);
    memcpy(text, file.bytes, file.size);
    vkd__unmap_file(&file);
    for (size_t i = 0; i < bench_row_count; i++) {
        char function[96];
        snprintf(function, sizeof function, "\n@work\ndef %s(row):\n", bench_rows[i].work);
        if (!strstr(text, function))
            fail_msg("%s: the peer has no %s", bench_rows[i].name, bench_rows[i].work);
    }
    test_free(text);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_row_counts_the_work_that_is_planned),
        cmocka_unit_test(names_are_unique_and_fit_into_the_table),
        cmocka_unit_test(only_takes_rows_by_a_part_of_their_name),
        cmocka_unit_test(the_peer_knows_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
