// SPDX-License-Identifier: Apache-2.0
/* The benchmark's rows do the work that they say they do. How fast is no test's business. */
#include "support/support.h"

#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "cli/bench.h"
#include "graph/plan.h"

typedef struct planned {
    vkd_store *store;
    vkd_graph *g;
    vkd_plan *plan;
} planned;

static planned planned_init(vkd_ctx *ctx, const bench_row *row, const char *profile) {
    planned p = {0};
    assert_int_equal(bench_graph(ctx, row, &p.store, &p.g), VKD_OK);
    if (vkd_plan_create(p.g, vkd_profile_find(profile), &p.plan))
        fail_msg("%s: %s", row->name, vkd_ctx_error(ctx));
    return p;
}

static void planned_term(planned *p) {
    vkd_plan_destroy(p->plan);
    vkd_graph_destroy(p->g);
    vkd_store_destroy(p->store);
}

static const char *const profiles[] = {"cpu", "gpu"};

/* Bias, activation, loss and optimiser come on top of what a row of multiply-adds counts. */
static void a_row_counts_the_work_that_is_planned(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < bench_row_count; i++) {
        const bench_row *row = &bench_rows[i];
        for (size_t k = 0; k < VKD_COUNT(profiles); k++) {
            planned p = planned_init(ctx, row, profiles[k]);
            const vkd_plan_info info = vkd_plan_get_info(p.plan);
            planned_term(&p);
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

static uint32_t launches_of(const planned *p, const char *kernel) {
    uint32_t count = 0;
    for (size_t i = 0; i < p->plan->launch_count; i++)
        count += !strncmp(p->plan->launches[i].kernel, kernel, strlen(kernel));
    return count;
}

/* Convolutions have kernels for one filter a channel; the rows named so are there to time them. */
static void depthwise_rows_take_the_kernels_for_it(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint32_t gathers = 0, weights = 0;
    for (size_t i = 0; i < bench_row_count; i++)
        for (size_t k = 0; k < VKD_COUNT(profiles); k++) {
            const bench_row *row = &bench_rows[i];
            planned p = planned_init(ctx, row, profiles[k]);
            const uint32_t depth = launches_of(&p, "conv2d_depth");
            const uint32_t weight = launches_of(&p, "conv2d_weight_depth");
            planned_term(&p);
            if ((depth + weight > 0) != (strstr(row->name, ", depthwise") != NULL))
                fail_msg("%s: %u launches of depthwise kernels", row->name, depth + weight);
            gathers += depth > 0;
            weights += weight > 0;
        }
    assert_true(gathers > 0 && weights > 0);
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
        cmocka_unit_test(depthwise_rows_take_the_kernels_for_it),
        cmocka_unit_test(names_are_unique_and_fit_into_the_table),
        cmocka_unit_test(only_takes_rows_by_a_part_of_their_name),
        cmocka_unit_test(the_peer_knows_every_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
