// SPDX-License-Identifier: Apache-2.0
/* The losses on a device, in both kernel variants, against their references. */
#include "support/loss_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "graph/plan.h"

#include "../golden/losses.h"

typedef struct machine {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_profile profile[2]; /* direct where the device has it, and base */
    size_t profile_count;
} machine;

static int open_machine(void **state) {
    static machine m;
    m = (machine){.ctx = test_ctx()};
    m.device = test_device(m.ctx);
    m.profile[m.profile_count++] = *vkd_device_profile(m.device);
    if (m.profile[0].direct) {
        m.profile[1] = m.profile[0];
        m.profile[m.profile_count++].direct = false;
    }
    *state = &m;
    return 0;
}

static int close_machine(void **state) {
    machine *m = *state;
    test_device_close(m->device);
    vkd_ctx_destroy(m->ctx);
    return 0;
}

/* One step of the loss's graph on the device; the gradient goes into dx. */
static double run(const machine *m, const vkd_profile *profile, const loss_problem *p,
                  loss_form form, float weight, double *dx) {
    loss_graph lg;
    loss_graph_init_on(&lg, p, form, m->ctx);
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    loss_graph_write(&lg, p);
    if (vkd_plan_create(lg.g, profile, &plan) || vkd_program_create(m->device, plan, &program))
        fail_msg("%s", vkd_ctx_error(m->ctx));
    *(float *)vkd_program_input(program, "weight") = weight;
    uint64_t ticket;
    if (vkd_program_submit(program, &ticket) || vkd_program_wait(program, ticket))
        fail_msg("%s", vkd_ctx_error(m->ctx));
    const double loss = (double)*(const float *)vkd_program_output(program, ticket, "loss", NULL);
    for (uint32_t i = 0; i < p->variable_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "gradient.%u", (unsigned)i);
        const float *gradient = vkd_program_output(program, ticket, name, NULL);
        assert_non_null(gradient);
        for (size_t k = 0; k < p->variables[i].count; k++)
            dx[p->variables[i].first + k] = (double)gradient[k];
    }
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    loss_graph_term(&lg);
    return loss;
}

/* |got - want| <= bound * (|want| + the largest |want|): gradients of rare classes are tiny, and
 * what is lost on them is lost against the others. */
static void close_to_largest(const loss_problem *p, const char *what, const double *got,
                             const double *want, size_t count, double bound) {
    double largest = 0;
    for (size_t i = 0; i < count; i++)
        largest = fmax(largest, fabs(want[i]));
    for (size_t i = 0; i < count; i++)
        if (!(fabs(got[i] - want[i]) <= bound * (fabs(want[i]) + largest)))
            fail_msg("%s (%u, %u): %s[%zu] is %.9g, should be %.9g (largest %.3g)", p->def->name,
                     p->N, p->V, what, i, got[i], want[i], largest);
}

/* Single precision: a few units in the last place of a probability, times the sums over V. */
static const double loss_bound = 5e-6, gradient_bound = 5e-6;

static void check(const machine *m, const loss_problem *p, loss_form form) {
    double *want = malloc(p->count * sizeof *want), *got = malloc(p->count * sizeof *got);
    assert_true(want && got);
    const double loss = loss_problem_reference(p, want);
    for (size_t i = 0; i < m->profile_count; i++) {
        const double value = run(m, &m->profile[i], p, form, 1, got);
        const char *what = m->profile[i].direct ? "direct" : "base";
        close_to_largest(p, what, &value, &loss, 1, loss_bound);
        /* Each variable by itself: an adapter's gradient is no measure of the student's. */
        for (uint32_t k = 0; k < p->variable_count; k++) {
            const size_t first = p->variables[k].first;
            close_to_largest(p, what, got + first, want + first, p->variables[k].count,
                             gradient_bound);
        }
    }
    free(want);
    free(got);
}

static bool fused_on_logits(size_t l) {
    return vkd__losses[l]->fused && !(vkd__losses[l]->needs & VKD__LOSS_TAPS);
}

static void fused_kernels_agree_with_the_reference(void **state) {
    static const uint32_t sizes[][2] = {{1, 2},  {5, 3},   {130, 10}, {7, 31},   {3, 33},
                                        {2, 64}, {3, 100}, {2, 1000}, {3, 1001}, {1, 4096}};
    for (size_t l = 0; l < vkd__loss_count; l++)
        for (size_t i = 0; fused_on_logits(l) && i < VKD_COUNT(sizes); i++) {
            loss_problem p;
            loss_problem_init(&p, vkd__losses[l]->name, sizes[i][0], sizes[i][1], 5);
            if (sizes[i][0] > 2) p.labels[1] = -1;
            check(*state, &p, LOSS_FUSED);
            loss_problem_term(&p);
        }
}

static void vocabularies_agree_with_the_reference(void **state) {
    static const uint32_t sizes[][2] = {{3, 50257}, {1, 200000}};
    for (size_t l = 0; l < vkd__loss_count; l++)
        for (size_t i = 0; fused_on_logits(l) && i < VKD_COUNT(sizes); i++) {
            loss_problem p;
            loss_problem_init(&p, vkd__losses[l]->name, sizes[i][0], sizes[i][1], 8);
            check(*state, &p, LOSS_FUSED);
            loss_problem_term(&p);
        }
}

static void every_configuration_agrees_with_pytorch(void **state) {
    for (size_t i = 0; i < VKD_COUNT(golden_losses); i++) {
        const uint32_t N = golden_losses[i].N, V = golden_losses[i].V;
        if (V == 2) continue; /* the other sizes say enough */
        loss_problem p;
        loss_problem_init(&p, golden_losses[i].loss, N, V, 1);
        for (size_t k = 0; k < 4 && golden_losses[i].set[k][0]; k++)
            loss_problem_set(&p, golden_losses[i].set[k][0], golden_losses[i].set[k][1]);
        memcpy(p.student, golden_losses[i].student, (size_t)N * V * sizeof(double));
        memcpy(p.teacher, golden_losses[i].teacher, (size_t)N * V * sizeof(double));
        memcpy(p.labels, golden_losses[i].labels, N * sizeof *p.labels);
        double got[64];
        const machine *m = *state;
        const loss_form form = p.def->fused ? LOSS_FUSED : LOSS_COMPOSED;
        const double value = run(m, &m->profile[i % m->profile_count], &p, form, 1, got);
        close_to_largest(&p, "loss", &value, &golden_losses[i].value, 1, loss_bound);
        close_to_largest(&p, "gradient", got, golden_losses[i].gradient, (size_t)N * V,
                         gradient_bound);
        loss_problem_term(&p);
    }
}

static void composed_losses_agree_with_the_reference(void **state) {
    static const uint32_t sizes[][2] = {{3, 10}, {2, 129}};
    for (size_t l = 0; l < vkd__loss_count; l++)
        for (size_t i = 0; !vkd__losses[l]->case_count && i < VKD_COUNT(sizes); i++) {
            loss_problem p;
            loss_problem_init(&p, vkd__losses[l]->name, sizes[i][0], sizes[i][1], 4);
            if (sizes[i][0] > 2) p.labels[1] = -1;
            check(*state, &p, LOSS_COMPOSED);
            loss_problem_term(&p);
        }
}

static void cases_of_losses_agree_with_the_reference(void **state) {
    for (size_t l = 0; l < vkd__loss_count; l++) {
        const vkd__loss_def *d = vkd__losses[l];
        for (size_t i = 0; i < d->case_count; i++) {
            loss_problem p;
            loss_problem_init_case(&p, d, &d->cases[i], 2);
            check(*state, &p, LOSS_COMPOSED);
            if (d->fused) check(*state, &p, LOSS_FUSED);
            loss_problem_term(&p);
        }
    }
}

/* The fused op's own reference knows masks; here the device must agree with it, and nothing may be
 * NaN or infinite. Rows: student masked, teacher masked, both, and rows of nothing but masks. */
static void masks_agree_with_the_reference(void **state) {
    const machine *m = *state;
    static const uint32_t widths[] = {5, 67};
    for (size_t l = 0; l < vkd__loss_count; l++)
        for (size_t w = 0; fused_on_logits(l) && w < VKD_COUNT(widths); w++) {
            const uint32_t V = widths[w];
            loss_problem p;
            loss_problem_init(&p, vkd__losses[l]->name, 5, V, 3);
            for (uint32_t v = 0; v < V; v++) {
                if (v % 3 == 1) p.student[v] = p.teacher[2 * V + v] = -INFINITY;
                if (v % 3 == 2) p.teacher[V + v] = -INFINITY;
                if (v % 2 == 0) p.student[2 * V + v] = -INFINITY;
                p.student[3 * V + v] = -INFINITY;
                p.teacher[4 * V + v] = -INFINITY;
            }
            const size_t count = 5 * (size_t)V;
            double *want = malloc(count * sizeof *want), *got = malloc(count * sizeof *got);
            assert_true(want && got);
            loss_graph lg;
            loss_graph_init(&lg, &p, LOSS_FUSED);
            const double loss = loss_graph_host(&lg, &p, want);
            loss_graph_term(&lg);
            assert_true(isfinite(loss));
            for (size_t i = 0; i < m->profile_count; i++) {
                const double value = run(m, &m->profile[i], &p, LOSS_FUSED, 1, got);
                close_to_largest(&p, "masked loss", &value, &loss, 1, loss_bound);
                close_to_largest(&p, "masked gradient", got, want, count, gradient_bound);
            }
            free(want);
            free(got);
            loss_problem_term(&p);
        }
}

/* Cancellation: logits of some size that differ by little, or by a constant. The divergence is
 * about the variance of the difference; it must not come out negative, nor drown in rounding. */
static void near_equal_rows_neither_cancel_nor_turn_negative(void **state) {
    const machine *m = *state;
    static const char *const names[] = {"kd_kl", "kd_reverse_kl", "kd_jsd", "dkd"};
    for (size_t l = 0; l < VKD_COUNT(names); l++)
        for (uint32_t step = 0; step < 4; step++) {
            loss_problem p;
            loss_problem_init(&p, names[l], 2, 1000, 20);
            for (size_t i = 0; i < 2000; i++) {
                const double noise = (step < 2 ? 0 : step == 2 ? 1e-2 : 1e-4) * sin((double)i);
                p.student[i] = (double)(float)(p.teacher[i] + (step ? 3 : 0) + noise);
            }
            double *want = malloc(2000 * sizeof *want), *got = malloc(2000 * sizeof *got);
            assert_true(want && got);
            const double loss = loss_problem_reference(&p, want);
            for (size_t i = 0; i < m->profile_count; i++) {
                const double value = run(m, &m->profile[i], &p, LOSS_FUSED, 1, got);
                if (!(value >= -1e-10 && fabs(value - loss) <= 1e-11 + 1e-3 * loss))
                    fail_msg("%s, step %u: %.9g should be %.9g", names[l], step, value, loss);
                if (step == 0) assert_true(value == 0);
            }
            free(want);
            free(got);
            loss_problem_term(&p);
        }
}

static void the_weight_scales_the_gradient_and_zero_is_zero(void **state) {
    const machine *m = *state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!fused_on_logits(l)) continue;
        loss_problem p;
        loss_problem_init(&p, vkd__losses[l]->name, 3, 70, 4);
        double *want = malloc(210 * sizeof *want), *got = malloc(210 * sizeof *got);
        assert_true(want && got);
        loss_problem_reference(&p, want);
        for (size_t i = 0; i < m->profile_count; i++) {
            run(m, &m->profile[i], &p, LOSS_FUSED, -2.5f, got);
            for (size_t k = 0; k < 210; k++)
                got[k] /= -2.5;
            close_to_largest(&p, "scaled gradient", got, want, 210, gradient_bound);
            assert_true(run(m, &m->profile[i], &p, LOSS_FUSED, 0, got) == 0);
            for (size_t k = 0; k < 210; k++)
                assert_true(got[k] == 0);
        }
        free(want);
        free(got);
        loss_problem_term(&p);
    }
}

/* So that the guard sees it and the step is skipped. */
static void a_nan_shows_in_the_loss(void **state) {
    const machine *m = *state;
    static const uint32_t widths[] = {6, 300};
    for (size_t l = 0; l < vkd__loss_count; l++)
        for (size_t w = 0; fused_on_logits(l) && w < VKD_COUNT(widths); w++) {
            loss_problem p;
            loss_problem_init(&p, vkd__losses[l]->name, 2, widths[w], 4);
            double *got = malloc(2 * widths[w] * sizeof *got);
            assert_non_null(got);
            p.student[widths[w] + 3] = (double)NAN;
            for (size_t i = 0; i < m->profile_count; i++)
                assert_true(isnan(run(m, &m->profile[i], &p, LOSS_FUSED, 1, got)));
            free(got);
            loss_problem_term(&p);
        }
}

/* Bindings that hold only some of the rows: the same bits as in one piece. */
static void windows_change_nothing(void **state) {
    const machine *m = *state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!fused_on_logits(l)) continue;
        loss_problem p;
        loss_problem_init(&p, vkd__losses[l]->name, 200, 67, 4);
        const size_t count = 200 * 67;
        double *one = malloc(count * sizeof *one), *many = malloc(count * sizeof *many);
        assert_true(one && many);
        for (size_t i = 0; i < m->profile_count; i++) {
            vkd_profile narrow = m->profile[i];
            narrow.max_binding = 70 * 67 * 4; /* 64 rows at once: their offset is aligned again */
            const double whole = run(m, &m->profile[i], &p, LOSS_FUSED, 1, one);
            assert_true(run(m, &narrow, &p, LOSS_FUSED, 1, many) == whole);
            assert_memory_equal(one, many, count * sizeof *one);
        }
        free(one);
        free(many);
        loss_problem_term(&p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fused_kernels_agree_with_the_reference),
        cmocka_unit_test(vocabularies_agree_with_the_reference),
        cmocka_unit_test(every_configuration_agrees_with_pytorch),
        cmocka_unit_test(composed_losses_agree_with_the_reference),
        cmocka_unit_test(cases_of_losses_agree_with_the_reference),
        cmocka_unit_test(masks_agree_with_the_reference),
        cmocka_unit_test(near_equal_rows_neither_cancel_nor_turn_negative),
        cmocka_unit_test(the_weight_scales_the_gradient_and_zero_is_zero),
        cmocka_unit_test(a_nan_shows_in_the_loss),
        cmocka_unit_test(windows_change_nothing),
    };
    return cmocka_run_group_tests_name("losses on a device", tests, open_machine, close_machine);
}
