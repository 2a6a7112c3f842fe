// SPDX-License-Identifier: Apache-2.0
/* Batch normalisation's reference against PyTorch (tests/golden/make_batchnorm.py says how the
 * numbers are made), folding against normalising, and what a plan does with running statistics. The
 * device is compared with the reference elsewhere. */
#include "support/support.h"

#include <math.h>
#include <string.h>

#include "graph/plan.h"
#include "ops/op.h"

#include "../golden/batchnorm.h"

enum { N = 2, H = 3, W = 2, C = 5, COUNT = N * H * W * C };

typedef struct bench {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
    vkd__host *host;
    vkd_tensor x, residual;
    vkd_batchnorm_desc d;
} bench;

static bench bench_make(bool training) {
    bench t = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(t.ctx, &t.store), VKD_OK);
    assert_int_equal(vkd_graph_create(t.ctx, t.store, NULL, &t.g), VKD_OK);
    const vkd_shape image = VKD_SHAPE(N, H, W, C), channels = VKD_SHAPE(C);
    t.x = vkd_param(t.g, "net.x", image, NULL);
    t.residual = vkd_param(t.g, "net.residual", image, NULL);
    t.d = (vkd_batchnorm_desc){.gamma = vkd_param(t.g, "net.gamma", channels, NULL),
                               .beta = vkd_param(t.g, "net.beta", channels, NULL),
                               .running_mean = vkd_buffer(t.g, "net.mean", channels, NULL),
                               .running_var = vkd_buffer(t.g, "net.var", channels, NULL),
                               .momentum = 0.25f,
                               .eps = 1e-3f,
                               .training = training};
    return t;
}

static void bench_end(bench *t) {
    vkd__host_destroy(t->host);
    vkd_graph_destroy(t->g);
    vkd_store_destroy(t->store);
    vkd_ctx_destroy(t->ctx);
}

static void wave(bench *t, vkd_tensor to, int seed, double size, double shift) {
    for (uint64_t i = 0; i < vkd_shape_count(vkd_tensor_shape(t->g, to)); i++)
        vkd__host_values(t->host, to)[i] =
            (double)(float)(shift +
                            size * sin(0.7 * (double)i + (double)(i * i % 5) * 0.31 + seed));
}

static void bench_start(bench *t) {
    assert_int_equal(vkd_graph_status(t->g), VKD_OK);
    assert_int_equal(vkd__host_create(t->g, &t->host), VKD_OK);
    wave(t, t->x, 1, 3, 0.5);
    wave(t, t->d.gamma, 2, 0.5, 2);
    wave(t, t->d.beta, 3, 1, 1);
    wave(t, t->residual, 4, 4, 0);
    wave(t, t->d.running_mean, 5, 1, 0);
    wave(t, t->d.running_var, 6, 0.5, 1.5);
}

/* Both are double precision; they add in another order. */
static void expect(const bench *t, const char *what, vkd_tensor got, const double *want) {
    for (uint64_t i = 0; i < vkd_shape_count(vkd_tensor_shape(t->g, got)); i++) {
        const double v = vkd__host_values(t->host, got)[i];
        if (!(fabs(v - want[i]) <= 1e-12 * (1 + fabs(want[i]))))
            fail_msg("%s[%u] is %.17g, should be %.17g", what, (unsigned)i, v, want[i]);
    }
}

typedef struct golden {
    bool training, residual;
    vkd_activation activation;
    const double *y, *dx, *dgamma, *dbeta, *dresidual, *mean, *var;
} golden;

static void check(const golden *want) {
    bench t = bench_make(want->training);
    t.d.activation = want->activation;
    if (want->residual) t.d.residual = t.residual;
    const vkd_tensor y = vkd_batchnorm(t.g, t.x, &t.d);
    const vkd_tensor probe = vkd_input(t.g, "probe", VKD_F32, VKD_SHAPE(N, H, W, C));
    const vkd_tensor of[] = {t.x, t.d.gamma, t.d.beta, t.residual};
    vkd_tensor d[4];
    vkd_backward(t.g, vkd_sum(t.g, vkd_mul(t.g, y, probe), VKD_ALL_AXES, false), of, 4, d);
    bench_start(&t);
    wave(&t, probe, 7, 1, 0);
    for (int i = 0; i < (want->training ? 2 : 1); i++)
        vkd__host_run(t.host);
    expect(&t, "y", y, want->y);
    expect(&t, "dx", d[0], want->dx);
    expect(&t, "dgamma", d[1], want->dgamma);
    expect(&t, "dbeta", d[2], want->dbeta);
    if (want->residual) expect(&t, "dresidual", d[3], want->dresidual);
    expect(&t, "the running mean", t.d.running_mean, want->mean);
    expect(&t, "the running variance", t.d.running_var, want->var);
    bench_end(&t);
}

#define GOLDEN(name)                                                                               \
    .y = golden_##name##_y, .dx = golden_##name##_dx, .dgamma = golden_##name##_dgamma,            \
    .dbeta = golden_##name##_dbeta, .mean = golden_##name##_mean, .var = golden_##name##_var

static void values_gradients_and_statistics_are_those_of_pytorch(void **state) {
    (void)state;
    check(&(golden){.training = true, .activation = VKD_ACT_NONE, GOLDEN(training)});
    check(&(golden){.training = true, .activation = VKD_ACT_GELU, GOLDEN(training_gelu)});
    check(&(golden){.training = true,
                    .residual = true,
                    .activation = VKD_ACT_RELU,
                    .dresidual = golden_training_relu_dresidual,
                    GOLDEN(training_relu)});
    check(&(golden){.residual = true,
                    .activation = VKD_ACT_RELU6,
                    .dresidual = golden_running_relu6_dresidual,
                    GOLDEN(running_relu6)});
}

/* conv, normalise, add, relu; and the same with the fold, where the convolution does it all. */
static void a_folded_convolution_is_the_normalised_one(void **state) {
    (void)state;
    bench t = bench_make(false);
    const vkd_tensor w = vkd_param(t.g, "net.w", VKD_SHAPE(C, 3, 3, C), NULL);
    vkd_conv2d_desc conv = {.padding = {1, 1}};
    t.d.activation = VKD_ACT_RELU;
    t.d.residual = t.residual;
    const vkd_tensor plain = vkd_batchnorm(t.g, vkd_conv2d(t.g, t.x, w, &conv), &t.d);
    const vkd_tensor folded = vkd_batchnorm_fold(t.g, w, &t.d, &conv.bias);
    conv.activation = VKD_ACT_RELU;
    conv.residual = t.residual;
    const vkd_tensor once = vkd_conv2d(t.g, t.x, folded, &conv);
    bench_start(&t);
    wave(&t, w, 8, 0.3, 0);
    vkd__host_run(t.host);
    expect(&t, "the folded one", once, vkd__host_values(t.host, plain));
    bench_end(&t);
}

/* ---- Running statistics ---- */

static uint32_t launches(bench *t) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(t->g, vkd_profile_find("cpu"), &plan))
        fail_msg("%s", vkd_ctx_error(t->ctx));
    const uint32_t count = vkd_plan_get_info(plan).launches;
    vkd_plan_destroy(plan);
    return count;
}

/* A change of the store keeps a node alive, but not this one: a stage whose losses end at a hint
 * does not run the layers behind it for their statistics. */
static void running_statistics_alone_keep_no_node(void **state) {
    (void)state;
    bench t = bench_make(true);
    const vkd_tensor y = vkd_batchnorm(t.g, t.x, &t.d);
    assert_int_equal(launches(&t), 0);
    vkd_output(t.g, "mean", t.d.running_mean); /* what it is, not what it would become */
    assert_int_equal(launches(&t), 0);
    vkd_output(t.g, "y", y);
    assert_true(launches(&t) >= 3);
    bench_end(&t);
}

/* And neither does what is behind it, where nothing asks for that. */
static void a_chain_ends_where_its_last_reader_is(void **state) {
    (void)state;
    bench t = bench_make(true);
    const vkd_tensor first = vkd_batchnorm(t.g, t.x, &t.d);
    vkd_output(t.g, "first", first);
    const uint32_t alone = launches(&t);
    vkd_batchnorm_desc second = t.d;
    second.running_mean = vkd_buffer(t.g, "net.mean2", VKD_SHAPE(C), NULL);
    second.running_var = vkd_buffer(t.g, "net.var2", VKD_SHAPE(C), NULL);
    vkd_relu(t.g, vkd_batchnorm(t.g, first, &second));
    assert_int_equal(launches(&t), alone);
    bench_end(&t);
}

static void a_channel_that_is_not_finite_keeps_its_statistics(void **state) {
    (void)state;
    bench t = bench_make(true);
    vkd_batchnorm(t.g, t.x, &t.d);
    bench_start(&t);
    vkd__host_values(t.host, t.x)[2] = INFINITY;
    double before[2][C];
    memcpy(before[0], vkd__host_values(t.host, t.d.running_mean), sizeof before[0]);
    memcpy(before[1], vkd__host_values(t.host, t.d.running_var), sizeof before[1]);
    vkd__host_run(t.host);
    for (int c = 0; c < C; c++) {
        const bool kept = vkd__host_values(t.host, t.d.running_mean)[c] == before[0][c] &&
                          vkd__host_values(t.host, t.d.running_var)[c] == before[1][c];
        assert_true(kept == (c == 2));
    }
    bench_end(&t);
}

/* ---- Mistakes ---- */

static void make_mistake(bench *t, int kind) {
    vkd_tensor bias, x = t->x;
    if (kind == 0) t->d.running_mean = vkd_param(t->g, "net.mean3", VKD_SHAPE(C), NULL);
    if (kind == 1) t->d.running_var = vkd_input(t->g, "var", VKD_F32, VKD_SHAPE(C));
    if (kind == 2) t->d.gamma = vkd_param(t->g, "net.gamma2", VKD_SHAPE(C + 1), NULL);
    if (kind == 3) t->d.residual = t->d.beta;
    if (kind == 4) x = vkd_param(t->g, "net.row", VKD_SHAPE(1, C), NULL);
    if (kind == 5) t->d.momentum = 1.5f;
    if (kind == 6) t->d.eps = -1;
    if (kind == 7) x = vkd_input(t->g, "labels", VKD_I32, VKD_SHAPE(N, C));
    if (kind == 8) vkd_batchnorm_fold(t->g, t->x, &t->d, &bias);
    if (kind == 9) vkd_batchnorm_fold(t->g, t->d.gamma, &t->d, &bias);
    vkd_batchnorm(t->g, x, &t->d);
}

static void mistakes_are_told(void **state) {
    (void)state;
    static const char *const texts[] = {
        "batchnorm: training changes 'net.mean3' in place, so it must be made by vkd_buffer",
        "training changes 'var' in place",
        "for (2, 3, 2, 5) gamma must be (5), not (6)",
        "the residual is (5), should be (2, 3, 2, 5)",
        "training needs two or more",
        "momentum 1.5 in 0 < m <= 1",
        "eps -1 must be positive",
        "'labels' is not f32",
        "for a weight (2, 3, 2, 5) gamma must be (2), not (5)",
        "a weight (C, ...) is wanted, not (5)",
    };
    for (size_t i = 0; i < VKD_COUNT(texts); i++) {
        bench t = bench_make(true);
        make_mistake(&t, (int)i);
        assert_int_not_equal(vkd_graph_status(t.g), VKD_OK);
        if (!strstr(vkd_ctx_error(t.ctx), texts[i]))
            fail_msg("\"%s\" does not say \"%s\"", vkd_ctx_error(t.ctx), texts[i]);
        bench_end(&t);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_gradients_and_statistics_are_those_of_pytorch),
        cmocka_unit_test(a_folded_convolution_is_the_normalised_one),
        cmocka_unit_test(running_statistics_alone_keep_no_node),
        cmocka_unit_test(a_chain_ends_where_its_last_reader_is),
        cmocka_unit_test(a_channel_that_is_not_finite_keeps_its_statistics),
        cmocka_unit_test(mistakes_are_told),
    };
    return cmocka_run_group_tests_name("batchnorm", tests, NULL, NULL);
}
