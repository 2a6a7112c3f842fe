// SPDX-License-Identifier: Apache-2.0
/* The convolution with its batchnorm that all vision architectures are made of: in evaluation the
 * one is folded into the other. */
#include "support/model.h"

#include <math.h>
#include <stdio.h>

#include "graph/graph.h"
#include "models/layers.h"

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static fixture setup(void) {
    fixture f = {.ctx = test_ctx()};
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

static void teardown(fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    vkd_ctx_destroy(f->ctx);
}

static const vkd__conv folds[] = {
    {.name = "c", .norm = "n", .out = 6, .kernel = 3, .activation = VKD_ACT_RELU},
    {.at = "a.0", .name = "c", .norm = "n", .out = 5, .kernel = 3, .stride = 2, .bias = true},
    {.name = "c", .norm = "n", .out = 4, .kernel = 1, .activation = VKD_ACT_RELU6},
    {.name = "c", .norm = "n", .out = 4, .kernel = 3, .groups = 4, .activation = VKD_ACT_RELU6},
    {.name = "c", .norm = "n", .out = 4, .kernel = 3, .groups = 2, .bias = true},
};

/* The layer as training has it, but by the running statistics: over the same parameters. */
static vkd_tensor unfolded(fixture *f, const vkd__conv *c, vkd_tensor x, vkd_tensor residual) {
    const char *at = c->at ? c->at : "";
    char base[32], name[64];
    snprintf(base, sizeof base, TEST_MODEL ".%s%s", at, *at ? "." : "");
    const uint32_t groups = c->groups ? c->groups : 1;
    vkd_tensor p[6] = {{0}};
    static const char *const names[] = {"c.weight", "c.bias",         "n.weight",
                                        "n.bias",   "n.running_mean", "n.running_var"};
    for (int i = 0; i < 6; i++) {
        if (i == 1 && !c->bias) continue;
        snprintf(name, sizeof name, "%s%s", base, names[i]);
        const vkd_shape shape =
            i ? VKD_SHAPE(c->out) : VKD_SHAPE(c->out, c->kernel, c->kernel, 4 / groups);
        p[i] = i < 4 ? vkd_param(f->g, name, shape, NULL) : vkd_buffer(f->g, name, shape, NULL);
    }
    const vkd_conv2d_desc conv = {.stride = {c->stride, c->stride},
                                  .padding = {c->kernel / 2, c->kernel / 2},
                                  .groups = groups,
                                  .bias = p[1]};
    const vkd_batchnorm_desc norm = {.gamma = p[2],
                                     .beta = p[3],
                                     .running_mean = p[4],
                                     .running_var = p[5],
                                     .activation = c->activation,
                                     .residual = residual};
    return vkd_batchnorm(f->g, vkd_conv2d(f->g, x, p[0], &conv), &norm);
}

static void a_folded_batchnorm_computes_what_an_unfolded_one_does(void **state) {
    (void)state;
    for (size_t i = 0; i < VKD_COUNT(folds); i++)
        for (int with_residual = 0; with_residual < 2; with_residual++) {
            fixture f = setup();
            vkd__conv c = folds[i];
            const vkd__model_io io = {.group = TEST_MODEL};
            const uint32_t size = c.stride == 2 ? 4 : 7;
            const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(2, 7, 7, 4));
            if (with_residual)
                c.residual = vkd_input(f.g, "r", VKD_F32, VKD_SHAPE(2, size, size, c.out));
            const vkd_tensor a = vkd__layer_conv(f.g, &io, x, &c);
            const vkd_tensor b = unfolded(&f, &c, x, c.residual);
            vkd__host *h = NULL;
            if (vkd__host_create(f.g, &h)) fail_msg("%s", vkd_ctx_error(f.ctx));
            test_model_fill(f.g, h);
            vkd__host_run(h);
            const uint64_t count = vkd_shape_count(vkd_tensor_shape(f.g, a));
            double most = 0;
            for (uint64_t k = 0; k < count; k++) {
                const double u = vkd__host_values(h, a)[k], v = vkd__host_values(h, b)[k];
                assert_true(fabs(u - v) < 1e-12); /* both are doubles */
                most = fmax(most, fabs(u));
            }
            assert_true(most > 0.5);
            vkd__host_destroy(h);
            teardown(&f);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_folded_batchnorm_computes_what_an_unfolded_one_does),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
