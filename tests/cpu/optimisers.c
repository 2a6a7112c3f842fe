// SPDX-License-Identifier: Apache-2.0
/* What the optimisers' references compute, against numbers worked out by hand from PyTorch's rules.
 * The device is compared with the references elsewhere. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "graph/graph.h"

/* One decayed parameter of three elements, one that is not decayed; gradient and loss are inputs.
 */
typedef struct bench {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd__host *host;
    vkd_tensor w, b, flat, gradient, loss, guard;
} bench;

static bench bench_make(float max_norm) {
    bench t = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(t.ctx, &t.store), VKD_OK);
    assert_int_equal(vkd_graph_create(t.ctx, t.store, NULL, &t.g), VKD_OK);
    t.w = vkd_param(t.g, "net.w", VKD_SHAPE(3), NULL);
    t.b = vkd_param(t.g, "net.b", VKD_SHAPE(2), &(vkd_init){.no_decay = true});
    t.flat = vkd__group_flat(t.g, "net");
    t.gradient = vkd_input(t.g, "gradient", VKD_F32, vkd_tensor_shape(t.g, t.flat));
    t.loss = vkd_input(t.g, "loss", VKD_F32, VKD_SCALAR);
    t.guard = vkd_guard(t.g, "net", t.gradient, t.loss, max_norm);
    return t;
}

/* All parameters start at 1. */
static void bench_start(bench *t) {
    assert_int_equal(vkd_graph_status(t->g), VKD_OK);
    assert_int_equal(vkd__host_create(t->g, &t->host), VKD_OK);
    for (int i = 0; i < 3; i++)
        vkd__host_values(t->host, t->w)[i] = 1;
    for (int i = 0; i < 2; i++)
        vkd__host_values(t->host, t->b)[i] = 1;
}

/* A step in which every parameter has the gradient `value`; the padding has none. */
static void bench_step(bench *t, double value, double loss) {
    double *flat = vkd__host_values(t->host, t->flat), *w = vkd__host_values(t->host, t->w);
    double *b = vkd__host_values(t->host, t->b), *d = vkd__host_values(t->host, t->gradient);
    for (int i = 0; i < 3; i++)
        d[w - flat + i] = value;
    for (int i = 0; i < 2; i++)
        d[b - flat + i] = value;
    *vkd__host_values(t->host, t->loss) = loss;
    vkd__host_run(t->host);
}

static void bench_end(bench *t) {
    vkd__host_destroy(t->host);
    vkd_graph_destroy(t->g);
    vkd_store_destroy(t->store);
    vkd_ctx_destroy(t->ctx);
}

static void expect(double got, double want) {
    if (!(fabs(got - want) <= 2e-7)) fail_msg("%.12g instead of %.12g", got, want);
}

/* The gradients of three steps. Each table below was made with PyTorch's formulas in exact
 * arithmetic, lr 0.1, from w = 1. */
static const double gradients[3] = {0.5, -1.0, 0.25};

static void check_steps(bench *t, const double *decayed, const double *plain) {
    bench_start(t);
    for (int step = 0; step < 3; step++) {
        bench_step(t, gradients[step], 1);
        expect(vkd__host_values(t->host, t->w)[2], decayed[step]);
        expect(vkd__host_values(t->host, t->b)[1], plain[step]);
    }
    bench_end(t);
}

static void sgd_follows_the_hand_computed_steps(void **state) {
    (void)state;
    bench t = bench_make(0);
    vkd_sgd(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f), NULL);
    const double want[3] = {0.95, 1.05, 1.025};
    check_steps(&t, want, want);
}

static void momentum_starts_at_the_first_gradient(void **state) {
    (void)state;
    bench t = bench_make(0);
    vkd_sgd(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f),
            &(vkd_sgd_desc){.momentum = 0.9f});
    const double want[3] = {0.95, 1.005, 1.0295};
    check_steps(&t, want, want);
}

static void nesterov_looks_ahead_and_decay_spares_what_asks_for_it(void **state) {
    (void)state;
    bench t = bench_make(0);
    vkd_sgd(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f),
            &(vkd_sgd_desc){.momentum = 0.9f, .nesterov = true, .weight_decay = 0.1f});
    /* Without decay: v = 0.5, -0.55, -0.245; u = g + 0.9 v = 0.95, -1.495, 0.0295. */
    check_steps(&t, (const double[]){0.886, 1.010566, 0.973948646},
                (const double[]){0.905, 1.0545, 1.05155});
}

static void adamw_decays_first_and_divides_by_the_corrected_root(void **state) {
    (void)state;
    bench t = bench_make(0);
    vkd_adamw(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f),
              &(vkd_adamw_desc){.weight_decay = 0.1f});
    /* The first step is lr * sign(g): 1 - 0.01 - 0.1 with decay. */
    check_steps(&t, (const double[]){0.8900000020, 0.9177103542, 0.9222023168},
                (const double[]){0.9000000020, 0.9366103542, 0.9502794203});
}

static void adamw_adds_eps_after_the_correction(void **state) {
    (void)state;
    bench t = bench_make(0);
    vkd_adamw(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f),
              &(vkd_adamw_desc){.beta1 = 0.5f, .beta2 = 0.75f, .eps = 0.5f});
    const double want[3] = {0.95, 0.9877713550, 0.9940260538};
    check_steps(&t, want, want);
}

static void clipping_scales_to_the_largest_norm(void **state) {
    (void)state;
    bench t = bench_make(1.0f);
    vkd_sgd(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f), NULL);
    bench_start(&t);
    bench_step(&t, 2, 0); /* norm = 2 sqrt(5) */
    expect(vkd__host_values(t.host, t.guard)[0], 2 * sqrt(5));
    expect(vkd__host_values(t.host, t.guard)[1], 1 / (2 * sqrt(5) + 1e-6));
    expect(vkd__host_values(t.host, t.w)[0], 1 - 0.1 * 2 / (2 * sqrt(5) + 1e-6));
    bench_step(&t, 0.25, 0); /* below the limit: untouched */
    expect(vkd__host_values(t.host, t.guard)[1], 1);
    bench_end(&t);
}

static void a_step_that_is_not_finite_changes_no_bit_and_is_counted(void **state) {
    (void)state;
    bench t = bench_make(1.0f);
    const vkd_tensor lr = vkd_constant(t.g, 0.1f);
    vkd_adamw(t.g, "net", t.gradient, t.guard, lr, &(vkd_adamw_desc){.weight_decay = 0.1f});
    vkd_sgd(t.g, "net", t.gradient, t.guard, lr, &(vkd_sgd_desc){.momentum = 0.9f});
    const vkd_tensor counts = vkd_state(t.g, "net.guard", VKD_I32, VKD_SHAPE(4));
    const uint64_t size = vkd_shape_count(vkd_tensor_shape(t.g, t.flat));
    const char *const names[] = {"net.momentum", "net.adam_m", "net.adam_v"};
    vkd_tensor kept[4] = {t.flat};
    for (int i = 0; i < 3; i++)
        kept[i + 1] = vkd_state(t.g, names[i], VKD_F32, vkd_tensor_shape(t.g, t.flat));
    bench_start(&t);
    bench_step(&t, 0.5, 1);

    double before[4][256];
    assert_true(size <= 256);
    for (int i = 0; i < 4; i++)
        memcpy(before[i], vkd__host_values(t.host, kept[i]), size * sizeof(double));
    bench_step(&t, NAN, 1);
    bench_step(&t, 0.5, INFINITY);
    for (int i = 0; i < 4; i++)
        assert_memory_equal(before[i], vkd__host_values(t.host, kept[i]), size * sizeof(double));
    const double *count = vkd__host_values(t.host, counts);
    assert_true(count[0] == 1 && count[1] == 2 && count[2] == 2);

    bench_step(&t, 0.5, 1);
    assert_true(count[0] == 2 && count[1] == 2 && count[2] == 0);
    bench_end(&t);
}

static void padding_stays_zero(void **state) {
    (void)state;
    bench t = bench_make(1.0f);
    vkd_adamw(t.g, "net", t.gradient, t.guard, vkd_constant(t.g, 0.1f),
              &(vkd_adamw_desc){.weight_decay = 0.1f});
    bench_start(&t);
    for (int step = 0; step < 3; step++)
        bench_step(&t, gradients[step], 1);
    const double *flat = vkd__host_values(t.host, t.flat);
    int nonzero = 0;
    for (uint64_t i = 0; i < vkd_shape_count(vkd_tensor_shape(t.g, t.flat)); i++)
        nonzero += flat[i] != 0;
    assert_int_equal(nonzero, 5);
    bench_end(&t);
}

static void an_average_follows_its_source(void **state) {
    (void)state;
    bench t = bench_make(0);
    const vkd_tensor w = vkd_param(t.g, "slow.w", VKD_SHAPE(3), NULL);
    vkd_param(t.g, "slow.b", VKD_SHAPE(2), &(vkd_init){.no_decay = true});
    vkd_ema(t.g, "slow", "net", vkd_constant(t.g, 0.75f));
    bench_start(&t);
    bench_step(&t, 0, 0);
    expect(vkd__host_values(t.host, w)[0], 0.25);
    bench_step(&t, 0, 0);
    expect(vkd__host_values(t.host, w)[0], 0.4375);
    bench_end(&t);
}

/* Doubled after 2000 good steps where nothing else is said; halved at once by one that is not. */
static void a_loss_scale_follows_the_steps(void **state) {
    (void)state;
    bench t = bench_make(0);
    const vkd_tensor scale = vkd_loss_scale(t.g, "net", 1024);
    const vkd_tensor guard = vkd_guard_scaled(t.g, "net", t.gradient, t.loss, 1, scale, 0);
    vkd_sgd(t.g, "net", t.gradient, guard, vkd_constant(t.g, 0.1f), NULL);
    const vkd_tensor moved = vkd_state(t.g, "net.loss_scale", VKD_I32, VKD_SHAPE(4));
    bench_start(&t);
    bench_step(&t, 512, 1); /* 1024 times 0.5 */
    expect(vkd__host_values(t.host, guard)[0], 0.5 * sqrt(5));
    expect(vkd__host_values(t.host, guard)[1], 1 / (0.5 * sqrt(5) + 1e-6) / 1024);
    expect(vkd__host_values(t.host, t.w)[0], 1 - 0.1 * 0.5 / (0.5 * sqrt(5) + 1e-6));
    for (int i = 1; i < 2000; i++)
        bench_step(&t, 0, 1);
    expect(*vkd__host_values(t.host, scale), 1024);
    bench_step(&t, INFINITY, 1);
    expect(*vkd__host_values(t.host, scale), 2048);
    expect(vkd__host_values(t.host, guard)[1], 0);
    bench_step(&t, 0, NAN);
    expect(*vkd__host_values(t.host, scale), 1024);
    bench_step(&t, 0, 1);
    expect(*vkd__host_values(t.host, scale), 512);
    expect(vkd__host_values(t.host, moved)[0], -1);
    expect(vkd__host_values(t.host, moved)[1], 1);
    expect(vkd__host_values(t.host, moved)[2], 2);
    bench_end(&t);
}

static void mistakes_are_told(void **state) {
    (void)state;
    static const struct {
        int kind;
        vkd_result result;
        const char *text;
    } mistakes[] = {
        {0, VKD_E_ARGUMENT, "nesterov needs a momentum"},
        {1, VKD_E_ARGUMENT, "momentum 1.5"},
        {2, VKD_E_SHAPE, "the rate must be (), not (2)"},
        {3, VKD_E_SHAPE, "the gradient must be (128), not (3)"},
        {4, VKD_E_ARGUMENT, "betas 2 and 0.999"},
        {5, VKD_E_SHAPE, "the groups have different parameters"},
        {6, VKD_E_SHAPE, "the loss scale is () f32, not (2)"},
        {7, VKD_E_ARGUMENT, "a loss scale is 1 to 2^24, not 0.5"},
        {8, VKD_E_ARGUMENT, "a loss scale is 1 to 2^24, not 3.35544e+07"},
    };
    for (size_t i = 0; i < VKD_COUNT(mistakes); i++) {
        bench t = bench_make(0);
        const vkd_tensor lr = vkd_constant(t.g, 0.1f);
        const vkd_sgd_desc ahead = {.nesterov = true}, fast = {.momentum = 1.5f};
        switch (mistakes[i].kind) {
        case 0:
            vkd_sgd(t.g, "net", t.gradient, t.guard, lr, &ahead);
            break;
        case 1:
            vkd_sgd(t.g, "net", t.gradient, t.guard, lr, &fast);
            break;
        case 2:
            vkd_sgd(t.g, "net", t.gradient, t.guard, t.guard, NULL);
            break;
        case 3:
            vkd_sgd(t.g, "net", t.w, t.guard, lr, NULL);
            break;
        case 4:
            vkd_adamw(t.g, "net", t.gradient, t.guard, lr, &(vkd_adamw_desc){.beta1 = 2});
            break;
        case 5:
            vkd_param(t.g, "slow.w", VKD_SHAPE(3), NULL);
            vkd_ema(t.g, "slow", "net", lr);
            break;
        case 6:
            vkd_guard_scaled(t.g, "net", t.gradient, t.loss, 0, t.guard, 0);
            break;
        default:
            vkd_loss_scale(t.g, "net", mistakes[i].kind == 7 ? 0.5f : 33554432);
        }
        assert_int_equal(vkd_graph_status(t.g), mistakes[i].result);
        if (!strstr(vkd_ctx_error(t.ctx), mistakes[i].text))
            fail_msg("\"%s\" does not say \"%s\"", vkd_ctx_error(t.ctx), mistakes[i].text);
        bench_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sgd_follows_the_hand_computed_steps),
        cmocka_unit_test(momentum_starts_at_the_first_gradient),
        cmocka_unit_test(nesterov_looks_ahead_and_decay_spares_what_asks_for_it),
        cmocka_unit_test(adamw_decays_first_and_divides_by_the_corrected_root),
        cmocka_unit_test(adamw_adds_eps_after_the_correction),
        cmocka_unit_test(clipping_scales_to_the_largest_norm),
        cmocka_unit_test(a_step_that_is_not_finite_changes_no_bit_and_is_counted),
        cmocka_unit_test(padding_stays_zero),
        cmocka_unit_test(an_average_follows_its_source),
        cmocka_unit_test(a_loss_scale_follows_the_steps),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests_name("optimisers", tests, NULL, NULL);
}
