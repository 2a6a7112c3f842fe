// SPDX-License-Identifier: Apache-2.0
/* Claims about programs: rings, inputs, order, several slices, faults. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"
#include "support/support.h"

enum { ROWS = 3, COLS = 5 };

typedef struct fixture {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_store *store;
    vkd_graph *g;
} fixture;

static fixture setup(void) {
    fixture f = {.ctx = test_ctx()};
    f.device = test_device(f.ctx);
    assert_int_equal(vkd_store_create(f.ctx, &f.store), VKD_OK);
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &f.g), VKD_OK);
    return f;
}

static void teardown(fixture *f) {
    vkd_graph_destroy(f->g);
    vkd_store_destroy(f->store);
    test_device_close(f->device);
    vkd_ctx_destroy(f->ctx);
}

static vkd_program *make_program(fixture *f) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(f->g, vkd_device_profile(f->device), &plan))
        fail_msg("%s", vkd_ctx_error(f->ctx));
    vkd_program *p = NULL;
    if (vkd_program_create(f->device, plan, &p)) fail_msg("%s", vkd_ctx_error(f->ctx));
    vkd_plan_destroy(plan);
    return p;
}

static void step(fixture *f, vkd_program *p, uint64_t *ticket) {
    if (vkd_program_submit(p, ticket)) fail_msg("%s", vkd_ctx_error(f->ctx));
}

static void wait(fixture *f, vkd_program *p, uint64_t ticket) {
    if (vkd_program_wait(p, ticket)) fail_msg("%s", vkd_ctx_error(f->ctx));
}

static void softmax_of_an_input_comes_back(void **state) {
    (void)state;
    fixture f = setup();
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(ROWS, COLS));
    vkd_output(f.g, "y", vkd_softmax(f.g, x));
    vkd_program *p = make_program(&f);
    float *in = vkd_program_input(p, "x");
    assert_non_null(in);
    double want[ROWS * COLS];
    for (int r = 0; r < ROWS; r++) {
        double sum = 0;
        for (int c = 0; c < COLS; c++) {
            in[r * COLS + c] = (float)(r * c) * 0.25f;
            sum += exp(r * c * 0.25);
        }
        for (int c = 0; c < COLS; c++)
            want[r * COLS + c] = exp(r * c * 0.25) / sum;
    }
    uint64_t ticket = 0;
    step(&f, p, &ticket);
    assert_int_equal(ticket, 1);
    wait(&f, p, ticket);
    size_t count = 0;
    const float *got = vkd_program_output(p, ticket, "y", &count);
    assert_non_null(got);
    assert_int_equal(count, ROWS * COLS);
    test_close("y", got, want, count, 1e-5, 1e-6);
    vkd_program_destroy(p);
    teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_of_an_input_comes_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
