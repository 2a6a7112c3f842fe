// SPDX-License-Identifier: Apache-2.0
/* What must hold for losses whatever their inputs are, and numbers small enough to be checked by
 * hand. */
#include "support/loss_problem.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static double *numbers(size_t count) {
    double *out = calloc(count, sizeof *out);
    assert_non_null(out);
    return out;
}

static void near(double got, double want, double bound) {
    if (!(fabs(got - want) <= bound)) fail_msg("%.12g should be %.12g", got, want);
}

/* A case of one pair. */
static void one_pair(loss_problem *p, const char *loss, const char *key, const char *value,
                     vkd_shape student, vkd_shape teacher) {
    const vkd__loss_def *d = vkd__loss_find(loss);
    assert_non_null(d);
    vkd__loss_case c = {.set = {{key, value}}, .pair_count = 1};
    c.student[0] = student;
    c.teacher[0] = teacher;
    loss_problem_init_case(p, d, &c, 2);
}

static double value_of(const loss_problem *p) {
    double *dx = numbers(p->count);
    const double value = loss_problem_reference(p, dx);
    free(dx);
    return value;
}

static void scale(double *v, size_t count, double factor) {
    for (size_t i = 0; i < count; i++)
        v[i] *= factor;
}

/* ---- Numbers that a few lines of another program gave ---- */

static void hints_are_half_a_sum_or_a_mean(void **state) {
    (void)state;
    static const double s[] = {1, 2, 3, 4}, t[] = {0, 2, 1, 5};
    loss_problem p;
    one_pair(&p, "hint", "regressor", "none", VKD_SHAPE(1, 4), VKD_SHAPE(1, 4));
    memcpy(p.x, s, sizeof s);
    memcpy(p.teacher, t, sizeof t);
    near(value_of(&p), 3, 0);
    loss_problem_set(&p, "reduction", "mean");
    near(value_of(&p), 1.5, 0);
    loss_problem_term(&p);
}

/* Two channels of the student, three of the teacher, 2 x 2 places; channels last here. */
static void attention_has_the_forms_of_code_and_paper(void **state) {
    (void)state;
    static const double s[] = {1, 0, 2, 1, 3, 0, 4, -1};
    static const double t[] = {2, 1, 0, 0, 1, 0, 1, 1, 2, 1, 3, 0};
    loss_problem p;
    one_pair(&p, "at", "mode", "code", VKD_SHAPE(1, 2, 2, 2), VKD_SHAPE(1, 2, 2, 3));
    memcpy(p.x, s, sizeof s);
    memcpy(p.teacher, t, sizeof t);
    near(value_of(&p), 0.038065115, 1e-9);
    loss_problem_set(&p, "mode", "paper");
    near(value_of(&p), 0.390205661, 1e-9);
    loss_problem_term(&p);
}

/* All logits of the student are 0, so that a labelled row costs its weight times log 4. */
static void confidence_weights_sum_to_one(void **state) {
    (void)state;
    static const double t[] = {3, 2.5, -1, 0, 0, 0.5, 2, -2};
    static const double want[] = {0.451194390, 0.548805610};
    for (int row = 0; row < 2; row++) {
        loss_problem p;
        loss_problem_init(&p, "cwtm", 2, 4, 1);
        loss_problem_set(&p, "tau", "1");
        scale(p.student, 8, 0);
        memcpy(p.teacher, t, sizeof t);
        p.labels[row] = 3;
        p.labels[1 - row] = -1;
        near(value_of(&p) / log(4), want[row], 1e-9);
        loss_problem_term(&p);
    }
}

/* The variance is log(1 + exp(log_scale)) + 1e-5, and the start value is what gives the one asked
 * for. */
static void variances_start_where_they_were_told_to(void **state) {
    (void)state;
    static const char *const asked[] = {"5", "0.5"};
    for (size_t i = 0; i < 2; i++) {
        loss_problem p;
        loss_graph lg;
        float values[8];
        one_pair(&p, "vid", "variance", asked[i], VKD_SHAPE(2, 5), VKD_SHAPE(2, 8));
        loss_graph_init(&lg, &p, LOSS_COMPOSED);
        if (vkd_store_read(lg.store, "alone.adapter.vid.0.log_scale", values, sizeof values))
            fail_msg("%s", vkd_ctx_error(lg.ctx));
        for (size_t k = 0; k < 8; k++)
            near(log1p(exp((double)values[k])) + 1e-5, strtod(asked[i], NULL), 1e-6);
        loss_graph_term(&lg);
        loss_problem_term(&p);
    }
}

/* ---- Invariances ---- */

static void attention_does_not_see_the_size_of_features(void **state) {
    (void)state;
    static const char *const modes[] = {"code", "paper"};
    for (size_t m = 0; m < 2; m++) {
        loss_problem p;
        one_pair(&p, "at", "mode", modes[m], VKD_SHAPE(3, 4, 5, 6), VKD_SHAPE(3, 2, 5, 7));
        const double plain = value_of(&p);
        assert_true(plain > 1e-3);
        scale(p.x, p.count / 3, 7.5); /* one sample of the student's, all of the teacher's */
        scale(p.teacher, 3 * 2 * 5 * 7, -0.3);
        near(value_of(&p), plain, 1e-13);
        loss_problem_term(&p);
    }
}

/* The plane of two features is turned, which leaves all products. */
static void turn(double *rows, uint32_t N, uint32_t D, uint32_t a, uint32_t b, double angle) {
    for (uint32_t n = 0; n < N; n++) {
        const double x = rows[n * D + a], y = rows[n * D + b];
        rows[n * D + a] = cos(angle) * x - sin(angle) * y;
        rows[n * D + b] = sin(angle) * x + cos(angle) * y;
    }
}

static void relations_between_samples_see_no_turn_and_no_size(void **state) {
    (void)state;
    static const char *const names[] = {"similarity", "pkt"};
    for (size_t l = 0; l < 2; l++) {
        loss_problem p;
        one_pair(&p, names[l], NULL, NULL, VKD_SHAPE(6, 5), VKD_SHAPE(6, 9));
        const double plain = value_of(&p);
        assert_true(plain > 1e-4);
        turn(p.x, 6, 5, 0, 3, 1.1);
        turn(p.x, 6, 5, 3, 4, -0.4);
        turn(p.teacher, 6, 9, 2, 7, 2.5);
        near(value_of(&p), plain, 1e-13);
        scale(p.x, p.count, 3);
        near(value_of(&p), plain, 1e-8); /* pkt adds 1e-7 to norms */
        p.x[0] += 1;
        assert_true(fabs(value_of(&p) - plain) > 1e-6);
        loss_problem_term(&p);
    }
}

static void a_student_like_its_teacher_has_nothing_to_learn(void **state) {
    (void)state;
    static const char *const names[] = {"at", "similarity", "pkt"};
    for (size_t l = 0; l < VKD_COUNT(names); l++) {
        loss_problem p;
        one_pair(&p, names[l], NULL, NULL, VKD_SHAPE(4, 3, 3, 2), VKD_SHAPE(4, 3, 3, 2));
        double *dx = numbers(p.count);
        assert_true(loss_problem_reference(&p, dx) > 1e-6);
        memcpy(p.x, p.teacher, p.count * sizeof *p.x);
        near(loss_problem_reference(&p, dx), 0, 1e-15);
        for (size_t i = 0; i < p.count; i++)
            near(dx[i], 0, 1e-8); /* pkt: p / (q + 1e-7) is not quite 1 */
        free(dx);
        loss_problem_term(&p);
    }
}

/* In the paper's form the norm of the difference is not squared: its own gradient would be 0/0. */
static void equal_attention_has_a_finite_gradient(void **state) {
    (void)state;
    loss_problem p;
    one_pair(&p, "at", "mode", "paper", VKD_SHAPE(2, 3, 3, 2), VKD_SHAPE(2, 3, 3, 2));
    memcpy(p.x, p.teacher, p.count * sizeof *p.x);
    scale(p.x, 9, 0); /* and places without any strength */
    memcpy(p.teacher, p.x, p.count * sizeof *p.x);
    double *dx = numbers(p.count);
    for (int host = 0; host < 2; host++) {
        double value;
        if (host) {
            loss_graph lg;
            loss_graph_init(&lg, &p, LOSS_COMPOSED);
            value = loss_graph_host(&lg, &p, dx);
            loss_graph_term(&lg);
        } else {
            value = loss_problem_reference(&p, dx);
        }
        near(value, 0, 2e-6);
        for (size_t i = 0; i < p.count; i++)
            near(dx[i], 0, 1e-6);
    }
    free(dx);
    loss_problem_term(&p);
}

/* Adding to all logits of a row, and naming the classes in another order, change nothing. */
static void correlations_see_neither_a_shift_nor_an_order_of_classes(void **state) {
    (void)state;
    loss_problem p;
    loss_problem_init(&p, "dist", 5, 6, 3);
    const double plain = value_of(&p);
    for (size_t n = 0; n < 5; n++)
        for (size_t v = 0; v < 6; v++)
            p.student[n * 6 + v] += (double)n - 2;
    near(value_of(&p), plain, 1e-13);
    for (size_t n = 0; n < 5; n++) {
        double *rows[] = {p.student + n * 6, p.teacher + n * 6};
        for (size_t k = 0; k < 2; k++) {
            const double first = rows[k][0];
            memmove(rows[k], rows[k] + 1, 5 * sizeof first);
            rows[k][5] = first;
        }
    }
    near(value_of(&p), plain, 1e-13);
    memcpy(p.student, p.teacher, p.count * sizeof *p.x);
    near(value_of(&p), 0, 1e-4);
    loss_problem_term(&p);
}

/* ---- Permuted predictions ---- */

/* What shuffle_rest makes of rows in one step, on the host. */
static void shuffle(const double *x, uint32_t N, uint32_t V, int32_t step, double *out) {
    vkd_ctx *ctx = test_ctx();
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd__host *h = NULL;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_tensor in = vkd_input(g, "x", VKD_F32, VKD_SHAPE(N, V));
    const vkd_tensor y = vkd_shuffle_rest(g, in, "test");
    if (vkd__host_create(g, &h)) fail_msg("%s", vkd_ctx_error(ctx));
    memcpy(vkd__host_values(h, in), x, (size_t)N * V * sizeof *x);
    vkd__host_values(h, vkd_step(g))[0] = step;
    vkd__host_run(h);
    memcpy(out, vkd__host_values(h, y), (size_t)N * V * sizeof *out);
    vkd__host_destroy(h);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    vkd_ctx_destroy(ctx);
}

/* Rows 0, 1, ..., V - 1 times a sign, so that the largest is the last or the first. */
static void a_shuffled_row_keeps_its_elements_and_its_largest(void **state) {
    (void)state;
    enum { N = 6, V = 10 };
    double x[N * V], one[N * V], two[N * V], again[N * V];
    for (uint32_t i = 0; i < N * V; i++)
        x[i] = i / V % 2 ? -(double)(i % V) : (double)(i % V);
    shuffle(x, N, V, 5, one);
    shuffle(x, N, V, 6, two);
    shuffle(x, N, V, 5, again);
    assert_memory_equal(one, again, sizeof one);
    assert_memory_not_equal(one, two, sizeof one);
    assert_memory_not_equal(one, one + 2 * (size_t)V, V * sizeof *one); /* two equal rows */
    for (uint32_t n = 0; n < N; n++) {
        bool seen[V] = {false};
        for (uint32_t v = 0; v < V; v++)
            seen[(uint32_t)fabs(one[n * V + v])] = true;
        for (uint32_t v = 0; v < V; v++)
            assert_true(seen[v]);
        const uint32_t largest = n % 2 ? 0 : V - 1;
        assert_true(one[n * V + largest] == x[n * V + largest]);
    }
}

/* Every element comes to every place but the largest's equally often: 8000 rows of nine others, 889
 * times each, standard deviation 28; six of them are allowed. */
static void the_others_are_dealt_out_evenly(void **state) {
    (void)state;
    enum { N = 8000, V = 10 };
    double *x = numbers((size_t)N * V), *y = numbers((size_t)N * V);
    uint32_t hits[V][V] = {{0}};
    for (uint32_t i = 0; i < N * V; i++)
        x[i] = i % V;
    shuffle(x, N, V, 1, y);
    for (uint32_t i = 0; i < N * V; i++)
        hits[i % V][(uint32_t)y[i]]++;
    for (uint32_t v = 0; v + 1 < V; v++)
        for (uint32_t k = 0; k + 1 < V; k++)
            assert_in_range(hits[v][k], 889 - 168, 889 + 168);
    assert_int_equal(hits[V - 1][V - 1], N);
    free(x);
    free(y);
}

/* At tau 1 the gradient is (q - p')/N: of a student that knows nothing, whose q is 1/V, it shows
 * what was dealt. A student that says just that has nothing to learn; the teacher itself has. */
static void permuted_labels_are_learnt_as_they_were_dealt(void **state) {
    (void)state;
    enum { N = 4, V = 9 };
    loss_problem p;
    loss_problem_init(&p, "dkpp", N, V, 3);
    loss_problem_set(&p, "tau", "1");
    double dx[N * V];
    memcpy(p.student, p.teacher, sizeof dx);
    assert_true(loss_problem_reference(&p, dx) > 0.1);
    scale(p.student, p.count, 0);
    loss_problem_reference(&p, dx);
    for (size_t i = 0; i < p.count; i++)
        p.student[i] = log(1.0 / (double)V - (double)N * dx[i]);
    near(loss_problem_reference(&p, dx), 0, 1e-14);
    for (size_t i = 0; i < p.count; i++)
        near(dx[i], 0, 1e-15);
    loss_problem_term(&p);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(hints_are_half_a_sum_or_a_mean),
        cmocka_unit_test(attention_has_the_forms_of_code_and_paper),
        cmocka_unit_test(confidence_weights_sum_to_one),
        cmocka_unit_test(variances_start_where_they_were_told_to),
        cmocka_unit_test(attention_does_not_see_the_size_of_features),
        cmocka_unit_test(relations_between_samples_see_no_turn_and_no_size),
        cmocka_unit_test(a_student_like_its_teacher_has_nothing_to_learn),
        cmocka_unit_test(equal_attention_has_a_finite_gradient),
        cmocka_unit_test(correlations_see_neither_a_shift_nor_an_order_of_classes),
        cmocka_unit_test(a_shuffled_row_keeps_its_elements_and_its_largest),
        cmocka_unit_test(the_others_are_dealt_out_evenly),
        cmocka_unit_test(permuted_labels_are_learnt_as_they_were_dealt),
    };
    return cmocka_run_group_tests_name("loss_properties", tests, NULL, NULL);
}
