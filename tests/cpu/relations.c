// SPDX-License-Identifier: Apache-2.0
/* Losses over the relations between samples, without a device: published numbers, what no rotation,
 * shift or scale may change, and the draws of negatives. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/shuffle.h"
#include "ops/op.h"
#include "support/loss_problem.h"

static void near(double got, double want) {
    if (!(fabs(got - want) <= 1e-9)) fail_msg("%.10f should be %.9f", got, want);
}

/* ---- Distances and angles ---- */

static double relation(const char *loss, const double *s, uint32_t D, const double *t, uint32_t E,
                       uint32_t N) {
    const vkd__loss_case c = {
        .pair_count = 1, .student = {VKD__ROWS(N, D)}, .teacher = {VKD__ROWS(N, E)}};
    loss_problem p;
    loss_problem_init_case(&p, vkd__loss_find(loss), &c, 1);
    memcpy(p.x, s, (size_t)N * D * sizeof *s);
    memcpy(p.teacher, t, (size_t)N * E * sizeof *t);
    double *dx = calloc(p.count, sizeof *dx);
    assert_non_null(dx);
    const double value = loss_problem_reference(&p, dx);
    free(dx);
    loss_problem_term(&p);
    return value;
}

/* Computed once by a program of a few lines that shares nothing with this one. */
static void rkd_has_its_known_values(void **state) {
    (void)state;
    static const double s[] = {0, 0, 1, 0, 0, 2}, t[] = {0, 0, 1, 2, 0, 1, 1, 1, 0};
    const double d = relation("rkd_distance", s, 2, t, 3, 3);
    const double a = relation("rkd_angle", s, 2, t, 3, 3);
    near(d, 0.046976089);
    near(a, 0.024633156);
    assert_true(fabs(25 * d + 50 * a - 2.406060013) < 1e-8);
}

enum { N = 9, D = 4, E = 3 };

static void fill(double *x, size_t count, uint32_t stream) {
    for (size_t i = 0; i < count; i++)
        x[i] = 2 * (double)vkd__philox_uniform(vkd__philox_at(5, stream, 0, (uint32_t)i).v[0]) - 1;
}

/* All that a step with the loss keeps, gradient included: a few N x N, where N^3 angles would take
 * 64 MiB. */
static void angles_are_not_kept(void **state) {
    (void)state;
    const vkd__loss_case c = {
        .pair_count = 1, .student = {VKD__ROWS(256, 16)}, .teacher = {VKD__ROWS(256, 16)}};
    loss_problem p;
    loss_problem_init_case(&p, vkd__loss_find("rkd_angle"), &c, 1);
    static const char *const profiles[] = {"cpu", "gpu"};
    for (size_t i = 0; i < 2; i++) {
        loss_graph lg;
        vkd_plan *plan = NULL;
        loss_graph_init(&lg, &p, LOSS_FUSED);
        if (vkd_plan_create(lg.g, vkd_profile_find(profiles[i]), &plan))
            fail_msg("%s", vkd_ctx_error(lg.ctx));
        const uint64_t bytes = vkd_plan_get_info(plan).transient_bytes;
        print_message("          %s: %llu KiB\n", profiles[i], (unsigned long long)bytes / 1024);
        assert_true(bytes <= 8ull * 256 * 256 * sizeof(float));
        vkd_plan_destroy(plan);
        loss_graph_term(&lg);
    }
    loss_problem_term(&p);
}

/* Two rotations in planes of their own, one after the other. */
static void rotate(double *x) {
    for (size_t n = 0; n < N; n++)
        for (size_t plane = 0; plane + 1 < D; plane++) {
            double *a = x + n * D + plane, *b = a + 1;
            const double angle = 0.7 + (double)plane, c = cos(angle), s = sin(angle);
            const double turned = c * *a - s * *b;
            *b = s * *a + c * *b;
            *a = turned;
        }
}

static void relations_survive_scale_shift_and_rotation(void **state) {
    (void)state;
    static const char *const losses[] = {"rkd_distance", "rkd_angle"};
    double s[N * D], t[N * E];
    fill(t, N * E, 2);
    for (int l = 0; l < 2; l++) {
        fill(s, N * D, 1);
        const double plain = relation(losses[l], s, D, t, E, N);
        assert_true(plain > 1e-3);
        for (size_t i = 0; i < N * D; i++)
            s[i] *= 3.5;
        near(relation(losses[l], s, D, t, E, N), plain);
        for (size_t i = 0; i < N * D; i++)
            s[i] += (double)(i % D) - 7;
        near(relation(losses[l], s, D, t, E, N), plain);
        rotate(s);
        near(relation(losses[l], s, D, t, E, N), plain);
        s[0] += 0.1;
        assert_true(fabs(relation(losses[l], s, D, t, E, N) - plain) > 1e-6);
    }
}

static void the_same_figure_has_nothing_to_learn(void **state) {
    (void)state;
    double s[N * D], t[N * D];
    fill(s, N * D, 1);
    memcpy(t, s, sizeof t);
    rotate(t);
    for (size_t i = 0; i < N * D; i++)
        t[i] = 2 * t[i] + 1;
    near(relation("rkd_distance", s, D, t, D, N), 0);
    near(relation("rkd_angle", s, D, t, D, N), 0);
}

/* ---- Contrast ---- */

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

static vkd__host *host_of(fixture *f) {
    vkd__host *h = NULL;
    if (vkd_graph_status(f->g) || vkd__host_create(f->g, &h)) fail_msg("%s", vkd_ctx_error(f->ctx));
    return h;
}

/* One anchor with scores 0.9, 0.1, -0.2 and 0.3, the first of them its own, of ten samples. */
static void one_side_of_crd_has_its_known_value(void **state) {
    (void)state;
    static const double scores[] = {0.9, 0.1, -0.2, 0.3};
    fixture f = start();
    const vkd_tensor v = vkd_input(f.g, "v", VKD_F32, VKD_SHAPE(1, 4));
    const vkd_tensor bank = vkd_input(f.g, "bank", VKD_F32, VKD_SHAPE(4, 4));
    const vkd_tensor choices = vkd_input(f.g, "choices", VKD_I32, VKD_SHAPE(1, 4));
    const vkd_tensor constant = vkd_state(f.g, "constant", VKD_F32, VKD_SHAPE(1));
    const vkd_bank_nce_desc desc = {.samples = 10};
    const vkd_tensor loss = vkd_bank_nce(f.g, v, bank, choices, constant, &desc);
    vkd__host *h = host_of(&f);
    vkd__host_values(h, v)[0] = 1;
    for (int i = 0; i < 4; i++) {
        vkd__host_values(h, bank)[4 * i] = scores[i];
        vkd__host_values(h, choices)[i] = i;
    }
    for (int step = 0; step < 2; step++) {
        vkd__host_run(h);
        /* 0.07 as a float is 4e-9 more, which e^(0.9 / 0.07) makes 5e-8. */
        assert_true(fabs(vkd__host_values(h, loss)[0] - 0.559970054) < 1e-8);
        assert_true(fabs(vkd__host_values(h, constant)[0] - 958988.1917) < 0.06);
    }
    /* It stays as the first step has set it. */
    for (int i = 0; i < 4; i++)
        vkd__host_values(h, bank)[4 * i] = 0;
    vkd__host_run(h);
    assert_true(fabs(vkd__host_values(h, constant)[0] - 958988.1917) < 0.06);
    vkd__host_destroy(h);
    stop(&f);
}

/* 0.99 of what it was and 0.01 of what the step's scores say; the step itself uses the old one. */
static void a_moving_constant_follows_after_its_use(void **state) {
    (void)state;
    fixture f = start();
    const vkd_tensor v = vkd_input(f.g, "v", VKD_F32, VKD_SHAPE(1, 4));
    const vkd_tensor bank = vkd_input(f.g, "bank", VKD_F32, VKD_SHAPE(2, 4));
    const vkd_tensor choices = vkd_input(f.g, "choices", VKD_I32, VKD_SHAPE(1, 2));
    const vkd_tensor constant = vkd_state(f.g, "constant", VKD_F32, VKD_SHAPE(1));
    const vkd_bank_nce_desc desc = {.temperature = 1, .samples = 6, .decay = 0.75f};
    const vkd_tensor loss = vkd_bank_nce(f.g, v, bank, choices, constant, &desc);
    vkd__host *h = host_of(&f);
    vkd__host_values(h, v)[0] = 1;
    vkd__host_values(h, choices)[1] = 1;
    vkd__host_run(h); /* scores of 0: the constant is 6 */
    near(vkd__host_values(h, constant)[0], 6);
    vkd__host_values(h, bank)[0] = log(3);
    vkd__host_values(h, bank)[4] = log(5);
    vkd__host_run(h);
    const double noise = 1.0 / 6, c = noise + 1e-7;
    near(vkd__host_values(h, loss)[0], log((3.0 / 6 + c) / (3.0 / 6)) + log((5.0 / 6 + c) / noise));
    near(vkd__host_values(h, constant)[0], 0.75 * 6 + 0.25 * 6 * 4);
    vkd__host_destroy(h);
    stop(&f);
}

static void the_bank_keeps_the_last_of_equal_samples_at_unit_length(void **state) {
    (void)state;
    fixture f = start();
    const vkd_tensor bank = vkd_state(f.g, "bank", VKD_F32, VKD_SHAPE(3, 4));
    const vkd_tensor v = vkd_input(f.g, "v", VKD_F32, VKD_SHAPE(4, 4));
    const vkd_tensor samples = vkd_input(f.g, "samples", VKD_I32, VKD_SHAPE(4));
    vkd_bank_update(f.g, bank, v, samples, 0.5f);
    vkd__host *h = host_of(&f);
    static const int who[] = {2, 0, 2, 9};
    double *b = vkd__host_values(h, bank);
    b[1] = b[5] = b[9] = 1;
    for (int n = 0; n < 4; n++) {
        vkd__host_values(h, samples)[n] = who[n];
        vkd__host_values(h, v)[4 * n + n] = 1;
    }
    vkd__host_run(h);
    b = vkd__host_values(h, bank);
    near(b[1], 1); /* of row 1, the same direction */
    near(b[5], 1); /* nobody's */
    near(b[8], 0); /* of row 0, which row 2 has overruled */
    near(b[9], sqrt(0.5));
    near(b[10], sqrt(0.5));
    vkd__host_destroy(h);
    stop(&f);
}

/* ---- Draws ---- */

static void a_shuffle_is_a_permutation(void **state) {
    (void)state;
    static bool seen[5000];
    for (uint32_t n = 1; n <= 5000; n = n < 300 ? n + 1 : n * 2 - 1) {
        memset(seen, 0, sizeof seen);
        const vkd__philox key = vkd__philox_at(7, n, 0, 0);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t to = vkd__shuffle(key, n, i);
            assert_true(to < n && !seen[to]);
            seen[to] = true;
        }
    }
}

/* Chi-squared over many keys: where the first elements go, and two of them together. 99.99 % of
 * fair draws are below these bounds. */
static void a_shuffle_favours_no_place(void **state) {
    (void)state;
    enum { PLACES = 40, KEYS = 40000 };
    static uint32_t counts[PLACES], pairs[PLACES][PLACES];
    memset(counts, 0, sizeof counts);
    memset(pairs, 0, sizeof pairs);
    for (uint32_t k = 0; k < KEYS; k++) {
        const vkd__philox key = vkd__philox_at(1, 2, k, 3);
        const uint32_t a = vkd__shuffle(key, PLACES, 0), b = vkd__shuffle(key, PLACES, 1);
        counts[a]++;
        pairs[a][b]++;
    }
    double one = 0, two = 0;
    for (uint32_t a = 0; a < PLACES; a++) {
        const double fair = (double)KEYS / (double)PLACES, both = fair / (double)(PLACES - 1);
        one += pow(counts[a] - fair, 2) / fair;
        for (uint32_t b = 0; b < PLACES; b++)
            if (a != b) two += pow(pairs[a][b] - both, 2) / both;
    }
    assert_true(one < 39 + 4 * sqrt(2 * 39.0));
    assert_true(two < 1559 + 4 * sqrt(2 * 1559.0));
}

enum { SAMPLES = 30, CLASSES = 3, BATCH = 6, MOST = 80 };

/* Counts of each sample among the k draws of each row. */
static void draw(uint32_t k, double step, uint32_t counts[BATCH][SAMPLES]) {
    fixture f = start();
    const vkd_tensor table = vkd_input(f.g, "table", VKD_I32, VKD_SHAPE(SAMPLES));
    const vkd_tensor starts = vkd_input(f.g, "starts", VKD_I32, VKD_SHAPE(CLASSES + 1));
    const vkd_tensor samples = vkd_input(f.g, "samples", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor labels = vkd_input(f.g, "labels", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor y = vkd_negatives(f.g, table, starts, samples, labels, k, "draw");
    vkd__host *h = host_of(&f);
    static const int begin[] = {0, 5, 11, SAMPLES}; /* sample i of class c is at begin[c] */
    for (int i = 0; i < SAMPLES; i++)
        vkd__host_values(h, table)[i] = i;
    for (int c = 0; c <= CLASSES; c++)
        vkd__host_values(h, starts)[c] = begin[c];
    for (int n = 0; n < BATCH; n++) {
        vkd__host_values(h, labels)[n] = n % CLASSES;
        const int self = begin[n % CLASSES] + n / CLASSES;
        vkd__host_values(h, samples)[n] = self;
    }
    vkd__host_values(h, f.g->step)[0] = step;
    vkd__host_run(h);
    memset(counts, 0, BATCH * sizeof counts[0]);
    for (uint32_t n = 0; n < BATCH; n++) {
        const double *row = vkd__host_values(h, y) + (size_t)n * (k + 1);
        const int self = begin[n % CLASSES] + (int)(n / CLASSES);
        assert_true(row[0] == (double)self);
        for (uint32_t j = 1; j <= k; j++) {
            const int s = (int)row[j], own = (int)n % CLASSES;
            assert_true(s >= 0 && s < SAMPLES && (s < begin[own] || s >= begin[own + 1]));
            counts[n][s]++;
        }
    }
    vkd__host_destroy(h);
    stop(&f);
}

static void negatives_are_of_other_classes_and_come_once_before_any_comes_again(void **state) {
    (void)state;
    uint32_t counts[BATCH][SAMPLES], again[BATCH][SAMPLES];
    static const uint32_t others[] = {25, 24, 11};
    static const uint32_t ks[] = {1, 11, 24, 25, 30, MOST};
    for (size_t i = 0; i < VKD_COUNT(ks); i++) {
        draw(ks[i], 4, counts);
        for (uint32_t n = 0; n < BATCH; n++)
            for (uint32_t s = 0; s < SAMPLES; s++)
                assert_true(counts[n][s] <=
                            (ks[i] + others[n % CLASSES] - 1) / others[n % CLASSES]);
    }
    draw(10, 4, counts);
    draw(10, 4, again);
    assert_memory_equal(counts, again, sizeof counts);
    draw(10, 5, again);
    assert_memory_not_equal(counts, again, sizeof counts);
    /* Rows of one class draw for themselves. */
    assert_memory_not_equal(counts[0], counts[CLASSES], sizeof counts[0]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rkd_has_its_known_values),
        cmocka_unit_test(angles_are_not_kept),
        cmocka_unit_test(relations_survive_scale_shift_and_rotation),
        cmocka_unit_test(the_same_figure_has_nothing_to_learn),
        cmocka_unit_test(one_side_of_crd_has_its_known_value),
        cmocka_unit_test(a_moving_constant_follows_after_its_use),
        cmocka_unit_test(the_bank_keeps_the_last_of_equal_samples_at_unit_length),
        cmocka_unit_test(a_shuffle_is_a_permutation),
        cmocka_unit_test(a_shuffle_favours_no_place),
        cmocka_unit_test(negatives_are_of_other_classes_and_come_once_before_any_comes_again),
    };
    return cmocka_run_group_tests_name("relations", tests, NULL, NULL);
}
