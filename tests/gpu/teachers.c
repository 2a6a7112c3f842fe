// SPDX-License-Identifier: Apache-2.0
/* What several teachers say together, on the device against double precision. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/support.h"
#include "train/session.h"

enum { N = 3, V = 4, K = 3 };

/* Moderate values; values so far apart that f32 holds no such probability; masked classes, the last
 * of them by all. */
static const float logits[K][N * V] = {
    {1, 2, 3, .5f, 0, -500, 2, 1, 0, 1, -INFINITY, -INFINITY},
    {-1, .3f, 2, 7, 0, -700, 1, 3, 4, 1, 2, -INFINITY},
    {0, 0, 1, 0, 3, -600, -2, 0, 1, 1, 1, -INFINITY},
};
static const float weights[K] = {2, 1, 1};

static vkd__recipe_stage stage_of(uint32_t count, uint32_t combine) {
    vkd__recipe_stage s = {.teacher_count = count, .options.combine = combine};
    for (uint32_t k = 0; k < count; k++)
        s.teachers[k] = (vkd__recipe_teacher){.model = k, .weight = weights[k]};
    return s;
}

static double log_sum_exp(const float *z, double tau) {
    double sum = 0;
    for (int v = 0; v < V; v++)
        sum += exp((double)z[v] / tau);
    return log(sum);
}

/* From the formula in teachers.c; the sum is formed in logarithms, since 1e-300 is none. */
static double expected(uint32_t combine, double tau, int n, int v) {
    double shares[K] = {0.5, 0.25, 0.25}, terms[K], top = -INFINITY, sum = 0;
    for (int k = 0; k < K; k++) {
        const double z = (double)logits[k][n * V + v];
        if (combine == VKD__COMBINE_LOGITS) {
            sum += shares[k] * z;
            continue;
        }
        terms[k] = log(shares[k]) + z / tau - log_sum_exp(&logits[k][n * V], tau);
        top = fmax(top, terms[k]);
    }
    if (combine == VKD__COMBINE_LOGITS || top == -INFINITY)
        return combine == VKD__COMBINE_LOGITS ? sum : -INFINITY;
    for (int k = 0; k < K; k++)
        sum += exp(terms[k] - top);
    return tau * (top + log(sum));
}

static vkd_result build(vkd_ctx *ctx, vkd_store *store, vkd_device *device, uint32_t combine,
                        float tau, vkd_program **out) {
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_tensor parts[K];
    const vkd__recipe_stage s = stage_of(K, combine);
    vkd_result r = vkd_graph_create(ctx, store, NULL, &g);
    if (r) return r;
    for (int k = 0; k < K; k++) {
        char name[16];
        snprintf(name, sizeof name, "teacher%d", k);
        parts[k] = vkd_state(g, name, VKD_F32, VKD_SHAPE(N, V));
        r = vkd_store_write(store, name, logits[k], sizeof logits[k]);
        if (r) break;
    }
    const vkd_tensor t = tau > 0 ? vkd_constant(g, tau) : (vkd_tensor){0};
    vkd_output(g, "mean", vkd__teachers_combine(g, &s, parts, t));
    if (!r) r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    if (!r) r = vkd_program_create(device, plan, out);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    return r;
}

static void check(uint32_t combine, float tau) {
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    vkd_store *store = NULL;
    vkd_program *program = NULL;
    uint64_t ticket = 0;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    if (build(ctx, store, device, combine, tau, &program)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(vkd_program_submit(program, &ticket), VKD_OK);
    assert_int_equal(vkd_program_wait(program, ticket), VKD_OK);
    const float *mean = vkd_program_output(program, ticket, "mean", NULL);
    assert_non_null(mean);
    for (int i = 0; i < N * V; i++) {
        const double want = expected(combine, tau > 0 ? (double)tau : 1, i / V, i % V);
        const double got = (double)mean[i];
        /* The largest are a few hundred: f32 leaves a few 1e-5 of them. */
        const bool near = isinf(want) ? got == want : fabs(got - want) <= 1e-4 + 1e-6 * fabs(want);
        if (!near)
            fail_msg("combine %u, tau %g, %d: %g, not %g", combine, (double)tau, i, got, want);
    }
    vkd_program_destroy(program);
    vkd_store_destroy(store);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void probabilities_are_averaged_at_the_temperature(void **state) {
    (void)state;
    check(VKD__COMBINE_PROBABILITIES, 0);
    check(VKD__COMBINE_PROBABILITIES, 1);
    check(VKD__COMBINE_PROBABILITIES, 4);
}

static void logits_are_averaged_as_they_are(void **state) {
    (void)state;
    check(VKD__COMBINE_LOGITS, 0);
    check(VKD__COMBINE_LOGITS, 4);
}

static void the_host_says_the_same(void **state) {
    (void)state;
    const float *const parts[K] = {logits[0], logits[1], logits[2]};
    for (uint32_t combine = 0; combine < 2; combine++) {
        const vkd__recipe_stage s = stage_of(K, combine);
        float out[N * V];
        vkd__teachers_mix(&s, parts, N, V, out);
        for (int i = 0; i < N * V; i++) {
            const double want = expected(combine, 1, i / V, i % V);
            assert_true(isinf(want) ? (double)out[i] == want : fabs((double)out[i] - want) <= 1e-4);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(probabilities_are_averaged_at_the_temperature),
        cmocka_unit_test(logits_are_averaged_as_they_are),
        cmocka_unit_test(the_host_says_the_same),
    };
    return cmocka_run_group_tests_name("teachers", tests, NULL, NULL);
}
