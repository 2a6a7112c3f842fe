// SPDX-License-Identifier: Apache-2.0
/* The losses without a device: references against central differences, published numbers and
 * PyTorch's; composed and fused form on the host against the reference; what must hold for any
 * logits. */
#include "support/loss_problem.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "check/check.h"
#include "ops/op.h"

#include "../golden/features.h"
#include "../golden/losses.h"

static double *numbers(size_t count) {
    double *out = malloc(count * sizeof *out);
    assert_non_null(out);
    return out;
}

/* ---- The formula is right ---- */

static bool on_logits(const vkd__loss_def *def) {
    return !(def->needs & VKD__LOSS_TAPS);
}

/* Losses with cases of their own are not tried at others. */
static bool at_usual_sizes(const vkd__loss_def *def) {
    return on_logits(def) && !def->case_count;
}

static void check_differences(loss_problem *p) {
    double *dx = numbers(p->count), *scratch = numbers(p->count);
    loss_problem_reference(p, dx);
    for (size_t i = 0; i < p->count; i += 1 + p->count / 500) {
        const double at = p->x[i], step = 1e-5;
        p->x[i] = at + step;
        const double up = loss_problem_reference(p, scratch);
        p->x[i] = at - step;
        const double down = loss_problem_reference(p, scratch);
        p->x[i] = at;
        const double want = (up - down) / (2 * step);
        loss_same(p, "difference", &dx[i], &want, 1, 1e-8);
    }
    free(dx);
    free(scratch);
}

static void every_reference_agrees_with_central_differences(void **state) {
    (void)state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        const vkd__loss_def *d = vkd__losses[l];
        loss_problem p;
        for (size_t i = 0; i < d->case_count; i++) {
            loss_problem_init_case(&p, d, &d->cases[i], 2);
            check_differences(&p);
            loss_problem_term(&p);
        }
        if (!at_usual_sizes(d)) continue;
        loss_problem_init(&p, d->name, 3, 7, 3);
        p.labels[1] = -1;
        check_differences(&p);
        loss_problem_term(&p);
    }
}

static void golden_logits(size_t i, loss_problem *p) {
    const size_t N = golden_losses[i].N, V = golden_losses[i].V;
    loss_problem_init(p, golden_losses[i].loss, golden_losses[i].N, golden_losses[i].V, 1);
    for (size_t k = 0; k < 4 && golden_losses[i].set[k][0]; k++)
        loss_problem_set(p, golden_losses[i].set[k][0], golden_losses[i].set[k][1]);
    memcpy(p->student, golden_losses[i].student, N * V * sizeof(double));
    memcpy(p->teacher, golden_losses[i].teacher, N * V * sizeof(double));
    memcpy(p->labels, golden_losses[i].labels, N * sizeof *p->labels);
}

static void golden_feature(size_t i, loss_problem *p) {
    const vkd__loss_def *d = vkd__loss_find(golden_features[i].loss);
    assert_non_null(d);
    loss_problem_init_case(p, d, &golden_features[i].shapes, 1);
    assert_int_equal(p->count, golden_features[i].count);
    memcpy(p->x, golden_features[i].x, p->count * sizeof(double));
    for (size_t k = 0; k < golden_features[i].teacher_count; k++)
        p->teacher[k] = golden_features[i].teacher[k];
}

static void check_golden(loss_problem *p, double value, const double *gradient, bool *seen) {
    double *dx = numbers(p->count);
    const double loss = loss_problem_reference(p, dx);
    loss_same(p, "loss", &loss, &value, 1, 1e-12);
    loss_same(p, "gradient", dx, gradient, p->count, 1e-12);
    for (size_t l = 0; l < vkd__loss_count; l++)
        seen[l] |= vkd__losses[l] == p->def;
    free(dx);
    loss_problem_term(p);
}

static void every_reference_gives_the_numbers_of_pytorch(void **state) {
    (void)state;
    bool seen[64] = {false};
    loss_problem p;
    for (size_t i = 0; i < VKD_COUNT(golden_losses); i++) {
        golden_logits(i, &p);
        check_golden(&p, golden_losses[i].value, golden_losses[i].gradient, seen);
    }
    for (size_t i = 0; i < VKD_COUNT(golden_features); i++) {
        golden_feature(i, &p);
        check_golden(&p, golden_features[i].value, golden_features[i].gradient, seen);
    }
    for (size_t l = 0; l < vkd__loss_count; l++)
        if (!seen[l]) fail_msg("no golden number for %s", vkd__losses[l]->name);
}

static const double known_student[] = {1, 2, 3, 0.5, 0.2, -1, 0.7, 1.5};
static const double known_teacher[] = {3, 2.5, -1, 0, 0, 0.5, 2, -2};

static double known(const char *loss, const char *const set[][2], size_t count, bool swap) {
    double ds[8];
    loss_problem p;
    loss_problem_init(&p, loss, 2, 4, 1);
    for (size_t i = 0; i < count; i++)
        loss_problem_set(&p, set[i][0], set[i][1]);
    memcpy(p.student, swap ? known_teacher : known_student, sizeof known_student);
    memcpy(p.teacher, swap ? known_student : known_teacher, sizeof known_teacher);
    const double value = loss_problem_reference(&p, ds);
    loss_problem_term(&p);
    return value;
}
#define KNOWN(loss, ...)                                                                           \
    known(loss, (const char *const[][2]){__VA_ARGS__},                                             \
          VKD_COUNT(((const char *const[][2]){__VA_ARGS__})), false)

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-9)) fail_msg("%.10f should be %.9f", got, want);
}

/* Computed once by a program of a few lines that shares nothing with this one. The values rule out
 * the mean over classes (a quarter of each) and the other direction. */
static void kl_is_summed_over_classes_and_has_its_direction(void **state) {
    (void)state;
    near(KNOWN("kd_kl", {"tau", "1"}), 1.076644504);
    near(KNOWN("kd_kl", {"tau", "4"}, {"t_squared", "false"}), 0.121969098);
    near(KNOWN("kd_kl", {"tau", "4"}), 1.951505569);
    near(KNOWN("kd_kl", {"tau", "20"}), 2.177444221);
    near(KNOWN("kd_reverse_kl", {"tau", "1"}), 2.062622225);
    near(known("kd_reverse_kl", (const char *const[][2]){{"tau", "1"}}, 1, true), 1.076644504);
}

static void jsd_has_the_numbers_of_the_literature(void **state) {
    (void)state;
    near(KNOWN("kd_jsd", {"beta", "0"}, {"tau", "1"}, {"form", "literature"}), 1.076644504);
    near(KNOWN("kd_jsd", {"beta", "0.5"}, {"tau", "1"}, {"form", "literature"}), 0.278823117);
    near(KNOWN("kd_jsd", {"beta", "1"}, {"tau", "1"}, {"form", "literature"}), 2.062622225);
    near(KNOWN("kd_jsd", {"beta", "0.5"}, {"tau", "1"}), 4 * 0.278823117327);
    /* A float's 0.1 and 0.9 are 1e-9 off, and the value as much. */
    assert_true(fabs(KNOWN("kd_jsd", {"beta", "0.1"}, {"tau", "1"}, {"form", "literature"}) -
                     0.095153808) < 5e-9);
    assert_true(fabs(KNOWN("kd_jsd", {"beta", "0.9"}, {"tau", "1"}, {"form", "literature"}) -
                     0.138065113) < 5e-8);
}

static void continuous_jsd_tends_to_the_plain_kls(void **state) {
    (void)state;
    const double forward = KNOWN("kd_kl", {"tau", "1"});
    const double reverse = KNOWN("kd_reverse_kl", {"tau", "1"});
    assert_true(fabs(KNOWN("kd_jsd", {"beta", "0.00001"}, {"tau", "1"}) - forward) < 2e-4);
    assert_true(fabs(KNOWN("kd_jsd", {"beta", "0.99999"}, {"tau", "1"}) - reverse) < 1e-3);
    near(KNOWN("kd_jsd", {"beta", "0"}, {"tau", "1"}), forward);
    near(KNOWN("kd_jsd", {"beta", "1"}, {"tau", "1"}), reverse);
}

static void hot_kl_tends_to_half_the_squared_difference(void **state) {
    (void)state;
    near(KNOWN("kd_kl", {"tau", "1"}), 1.076644504);
    assert_true(fabs(KNOWN("kd_kl", {"tau", "1000"}) - 2.220468750) < 2e-3);
}

/* ---- Both forms mean the same ---- */

static void check_forms(loss_problem *p, bool composed) {
    const size_t count = p->count;
    double *want = numbers(count), *got = numbers(count);
    const double loss = loss_problem_reference(p, want);
    for (loss_form form = composed ? LOSS_COMPOSED : LOSS_FUSED; form <= LOSS_FUSED; form++) {
        if (form == LOSS_FUSED && !p->def->fused) continue;
        loss_graph lg;
        loss_graph_init(&lg, p, form);
        const double value = loss_graph_host(&lg, p, got);
        loss_same(p, form == LOSS_FUSED ? "fused loss" : "composed loss", &value, &loss, 1, 1e-6);
        loss_same(p, form == LOSS_FUSED ? "fused gradient" : "composed gradient", got, want, count,
                  1e-6);
        loss_graph_term(&lg);
    }
    free(want);
    free(got);
}

static void composed_and_fused_agree_with_the_reference(void **state) {
    (void)state;
    static const uint32_t sizes[][2] = {{1, 2}, {3, 3}, {4, 10}, {2, 33}, {2, 129}};
    for (size_t l = 0; l < vkd__loss_count; l++) {
        const vkd__loss_def *d = vkd__losses[l];
        loss_problem p;
        for (size_t i = 0; i < d->case_count; i++) {
            loss_problem_init_case(&p, d, &d->cases[i], 2);
            check_forms(&p, true);
            loss_problem_term(&p);
        }
        for (size_t i = 0; at_usual_sizes(d) && i < VKD_COUNT(sizes); i++) {
            loss_problem_init(&p, d->name, sizes[i][0], sizes[i][1], 4);
            if (sizes[i][0] > 2) p.labels[1] = -1;
            check_forms(&p, true);
            loss_problem_term(&p);
        }
    }
}

static void every_configuration_agrees_with_the_reference(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(golden_losses); i++) {
        loss_problem p;
        loss_problem_init(&p, golden_losses[i].loss, 3, 5, 3);
        for (size_t k = 0; k < 4 && golden_losses[i].set[k][0]; k++)
            loss_problem_set(&p, golden_losses[i].set[k][0], golden_losses[i].set[k][1]);
        check_forms(&p, true);
        loss_problem_term(&p);
    }
    for (size_t i = 0; i < VKD_COUNT(golden_features); i++) {
        loss_problem p;
        golden_feature(i, &p);
        check_forms(&p, true);
        loss_problem_term(&p);
    }
}

/* Every case of every fused op: its reference against central differences. */
static void every_fused_op_agrees_with_central_differences(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!vkd__losses[l]->fused || !on_logits(vkd__losses[l])) continue;
        /* dkpp is kd_kl with another teacher. */
        const bool permuted = !strcmp(vkd__losses[l]->name, "dkpp");
        const vkd_op_def *op = vkd__op_find(permuted ? "kd_kl" : vkd__losses[l]->name);
        assert_non_null(op);
        for (uint32_t i = 0; i < op->case_count; i++)
            if (vkd__check_gradient(ctx, op, i)) fail_msg("%s", vkd_ctx_error(ctx));
    }
    vkd_ctx_destroy(ctx);
}

/* ---- What must hold for any logits ---- */

static void no_divergence_is_negative_and_gradients_sum_to_zero(void **state) {
    (void)state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!on_logits(vkd__losses[l])) continue;
        loss_problem p;
        loss_problem_init(&p, vkd__losses[l]->name, 6, 11, 6);
        double ds[66];
        assert_true(loss_problem_reference(&p, ds) > 0);
        for (size_t n = 0; n < 6 && strcmp(p.def->name, "kd_mse") != 0; n++) {
            double sum = 0;
            for (size_t v = 0; v < 11; v++)
                sum += ds[n * 11 + v];
            assert_true(fabs(sum) < 1e-14);
        }
        loss_problem_term(&p);
    }
}

/* Their least value lies at the labels, at probabilities that have changed places, or, for
 * correlations whose divisors have 1e-8 added, near the teacher (see loss_properties.c). */
static bool ends_elsewhere(const char *name) {
    return !strcmp(name, "cwtm") || !strcmp(name, "dkpp") || !strcmp(name, "dist");
}

static void a_student_equal_up_to_a_constant_has_nothing_to_learn(void **state) {
    (void)state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!(vkd__losses[l]->needs & VKD__LOSS_TEACHER)) continue;
        if (ends_elsewhere(vkd__losses[l]->name)) continue;
        loss_problem p;
        loss_problem_init(&p, vkd__losses[l]->name, 2, 9, 5);
        const double shift = strcmp(p.def->name, "kd_mse") == 0 ? 0 : 1.25;
        double ds[18];
        for (size_t i = 0; i < 18; i++)
            p.student[i] = p.teacher[i] + shift;
        assert_true(fabs(loss_problem_reference(&p, ds)) < 1e-14);
        for (size_t i = 0; i < 18; i++)
            assert_true(fabs(ds[i]) < 1e-14);
        p.student[4] += 0.5;
        assert_true(loss_problem_reference(&p, ds) > 1e-4);
        loss_problem_term(&p);
    }
}

static void jsd_at_one_half_is_symmetric_and_bounded(void **state) {
    (void)state;
    for (uint32_t size = 1; size < 100; size *= 3) {
        loss_problem p;
        loss_problem_init(&p, "kd_jsd", 4, 8, size);
        loss_problem_set(&p, "tau", "1");
        loss_problem_set(&p, "form", "literature");
        double ds[32];
        const double one = loss_problem_reference(&p, ds);
        double *student = p.student;
        p.student = p.teacher;
        p.teacher = student;
        const double other = loss_problem_reference(&p, ds);
        assert_true(fabs(one - other) < 1e-14);
        assert_true(one <= log(2) + 1e-14);
        loss_problem_term(&p);
    }
}

/* ---- Masks ---- */

/* The fused op's loss and gradient with classes masked, against the loss's reference on a problem
 * that never had the class: the last one, masked by either side or by both. */
static void check_masked(const char *loss, bool student, bool teacher) {
    loss_problem with, without;
    loss_problem_init(&with, loss, 2, 6, 3);
    loss_problem_init(&without, loss, 2, 5, 3);
    double got[12], want[10];
    for (size_t n = 0; n < 2; n++) {
        memcpy(without.student + 5 * n, with.student + 6 * n, 5 * sizeof(double));
        memcpy(without.teacher + 5 * n, with.teacher + 6 * n, 5 * sizeof(double));
        without.labels[n] = with.labels[n] = (int32_t)n;
        if (student) with.student[6 * n + 5] = -INFINITY;
        if (teacher) with.teacher[6 * n + 5] = -INFINITY;
    }
    loss_graph lg;
    loss_graph_init(&lg, &with, LOSS_FUSED);
    const double value = loss_graph_host(&lg, &with, got);
    const double right = loss_problem_reference(&without, want);
    loss_same(&with, "masked loss", &value, &right, 1, 1e-7);
    for (size_t n = 0; n < 2; n++) {
        loss_same(&with, "masked gradient", got + 6 * n, want + 5 * n, 5, 1e-7);
        assert_true(got[6 * n + 5] == 0);
    }
    loss_graph_term(&lg);
    loss_problem_term(&with);
    loss_problem_term(&without);
}

static void a_masked_class_is_as_if_it_were_not_there(void **state) {
    (void)state;
    check_masked("ce", true, false);
    check_masked("kd_kl", true, false);
    check_masked("kd_kl", true, true);
    check_masked("kd_reverse_kl", false, true);
    check_masked("kd_reverse_kl", true, true);
    check_masked("kd_jsd", true, true);
    check_masked("dkd", true, false);
    check_masked("dkd", true, true);
}

/* -inf on one side or the other, and rows of nothing else: finite, and 0 for such a row. */
static void masks_never_make_nan_or_infinity(void **state) {
    (void)state;
    for (size_t l = 0; l < vkd__loss_count; l++) {
        if (!vkd__losses[l]->fused || !on_logits(vkd__losses[l])) continue;
        loss_problem p;
        loss_problem_init(&p, vkd__losses[l]->name, 4, 5, 3);
        for (size_t v = 0; v < 5; v++) {
            if (v % 2) p.student[v] = -INFINITY;
            if (v % 2 == 0) p.teacher[5 + v] = -INFINITY;
            p.student[10 + v] = -INFINITY;
            p.teacher[15 + v] = -INFINITY;
        }
        double ds[20];
        loss_graph lg;
        loss_graph_init(&lg, &p, LOSS_FUSED);
        assert_true(isfinite(loss_graph_host(&lg, &p, ds)));
        for (size_t i = 0; i < 20; i++)
            assert_true(isfinite(ds[i]));
        const bool both = p.def->needs & VKD__LOSS_TEACHER;
        for (size_t i = 10; i < (both ? 20u : 15u); i++)
            assert_true(ds[i] == 0);
        loss_graph_term(&lg);
        loss_problem_term(&p);
    }
}

/* ---- The gradient in the graph ---- */

static size_t nodes_of(const vkd_graph *g, const char *op) {
    size_t count = 0;
    for (size_t i = 0; i < g->node_count; i++)
        count += strcmp(g->nodes[i].op->name, op) == 0;
    return count;
}

/* total = a * ce + b * kd_kl, with settings as weights: each loss stays one node. */
static void a_weighted_sum_costs_one_launch_a_loss(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor s = vkd_param(g, "net.s", VKD_SHAPE(2, 4), NULL);
    const vkd_tensor t = vkd_input(g, "t", VKD_F32, VKD_SHAPE(2, 4));
    const vkd_tensor y = vkd_input(g, "y", VKD_I32, VKD_SHAPE(2));
    const vkd_tensor a = vkd_setting(g, "a", 0.25f), b = vkd_setting(g, "b", 0);
    const vkd_tensor ce = vkd_ce(g, s, y, 0);
    const vkd_tensor kl = vkd_kd_kl(g, s, t, vkd_constant(g, 4), true);
    const vkd_tensor total = vkd_add(g, vkd_mul(g, a, ce), vkd_mul(g, kl, b));
    vkd_tensor ds = {0};
    vkd_backward(g, total, &s, 1, &ds);
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    assert_int_equal(nodes_of(g, "ce"), 1);
    assert_int_equal(nodes_of(g, "kd_kl"), 1);

    /* A weight of 0 leaves exactly the other loss. */
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(g, &h), VKD_OK);
    memcpy(vkd__host_values(h, s), known_student, sizeof known_student);
    memcpy(vkd__host_values(h, t), known_teacher, sizeof known_teacher);
    vkd__host_values(h, y)[0] = 2;
    vkd__host_run(h);
    assert_true(golden_losses[0].set[0][0] == NULL && !strcmp(golden_losses[0].loss, "ce"));
    for (size_t i = 0; i < 8; i++)
        assert_true(fabs(vkd__host_values(h, ds)[i] - 0.25 * golden_losses[0].gradient[i]) < 1e-15);
    vkd__host_destroy(h);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

/* total = kd_kl^2: the upstream gradient depends on the loss, so a second node is needed. */
static void a_gradient_that_needs_the_loss_takes_a_second_node(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor s = vkd_param(g, "net.s", VKD_SHAPE(2, 4), NULL);
    const vkd_tensor t = vkd_input(g, "t", VKD_F32, VKD_SHAPE(2, 4));
    const vkd_tensor kl = vkd_kd_kl(g, s, t, vkd_constant(g, 1), true);
    vkd_tensor ds = {0}, plain = {0};
    vkd_backward(g, vkd_square(g, kl), &s, 1, &ds);
    assert_int_equal(nodes_of(g, "kd_kl"), 2);
    vkd_backward(g, kl, &s, 1, &plain);
    assert_int_equal(vkd_graph_status(g), VKD_OK);
    vkd__host *h = NULL;
    assert_int_equal(vkd__host_create(g, &h), VKD_OK);
    memcpy(vkd__host_values(h, s), known_student, sizeof known_student);
    memcpy(vkd__host_values(h, t), known_teacher, sizeof known_teacher);
    vkd__host_run(h);
    for (size_t i = 0; i < 8; i++) {
        const double want = 2 * 1.076644503555182 * vkd__host_values(h, plain)[i];
        assert_true(fabs(vkd__host_values(h, ds)[i] - want) < 1e-12);
    }
    vkd__host_destroy(h);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

/* ---- Misuse ---- */

typedef enum misuse {
    OTHER_CLASSES,
    ONE_CLASS,
    THREE_AXES,
    LABELS_F32,
    TAU_ROW,
    BETA,
    SMOOTHING
} misuse;

static vkd_tensor build_misuse(vkd_graph *g, misuse m) {
    const vkd_tensor s = vkd_input(g, "s", VKD_F32, VKD_SHAPE(3, 4));
    const vkd_tensor y = vkd_input(g, "y", VKD_I32, VKD_SHAPE(3));
    const vkd_tensor tau = vkd_constant(g, 1);
    switch (m) {
    case OTHER_CLASSES:
        return vkd_kd_kl(g, s, vkd_input(g, "t", VKD_F32, VKD_SHAPE(3, 5)), tau, true);
    case ONE_CLASS:
        return vkd_ce(g, vkd_input(g, "x", VKD_F32, VKD_SHAPE(3, 1)), y, 0);
    case THREE_AXES:
        return vkd_kd_mse(g, vkd_input(g, "x", VKD_F32, VKD_SHAPE(3, 2, 2)), s);
    case LABELS_F32:
        return vkd_ce(g, s, vkd_input(g, "x", VKD_F32, VKD_SHAPE(3)), 0);
    case TAU_ROW:
        return vkd_kd_reverse_kl(g, s, s, vkd_input(g, "x", VKD_F32, VKD_SHAPE(3)), true);
    case BETA:
        return vkd_kd_jsd(g, s, s, tau, 1.5f, VKD_JSD_CONTINUOUS, true);
    case SMOOTHING:
        return vkd_ce(g, s, y, -0.1f);
    }
    return (vkd_tensor){0};
}

static void each_misuse_has_its_code(void **state) {
    (void)state;
    for (misuse m = OTHER_CLASSES; m <= SMOOTHING; m++) {
        vkd_ctx *ctx = test_ctx();
        vkd_store *store = NULL;
        vkd_graph *g = NULL;
        assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
        assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
        assert_int_equal(build_misuse(g, m).id, 0);
        assert_int_equal(vkd_graph_status(g), m < BETA ? VKD_E_SHAPE : VKD_E_ARGUMENT);
        vkd_graph_destroy(g);
        vkd_store_destroy(store);
        vkd_ctx_destroy(ctx);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_reference_agrees_with_central_differences),
        cmocka_unit_test(every_reference_gives_the_numbers_of_pytorch),
        cmocka_unit_test(kl_is_summed_over_classes_and_has_its_direction),
        cmocka_unit_test(jsd_has_the_numbers_of_the_literature),
        cmocka_unit_test(continuous_jsd_tends_to_the_plain_kls),
        cmocka_unit_test(hot_kl_tends_to_half_the_squared_difference),
        cmocka_unit_test(composed_and_fused_agree_with_the_reference),
        cmocka_unit_test(every_configuration_agrees_with_the_reference),
        cmocka_unit_test(every_fused_op_agrees_with_central_differences),
        cmocka_unit_test(no_divergence_is_negative_and_gradients_sum_to_zero),
        cmocka_unit_test(a_student_equal_up_to_a_constant_has_nothing_to_learn),
        cmocka_unit_test(jsd_at_one_half_is_symmetric_and_bounded),
        cmocka_unit_test(a_masked_class_is_as_if_it_were_not_there),
        cmocka_unit_test(masks_never_make_nan_or_infinity),
        cmocka_unit_test(a_weighted_sum_costs_one_launch_a_loss),
        cmocka_unit_test(a_gradient_that_needs_the_loss_takes_a_second_node),
        cmocka_unit_test(each_misuse_has_its_code),
    };
    return cmocka_run_group_tests_name("losses", tests, NULL, NULL);
}
