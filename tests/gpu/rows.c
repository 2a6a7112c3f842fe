// SPDX-License-Identifier: Apache-2.0
/* What the cases of the ops are too small or too tame to show: rows of 200,000 elements, more rows
 * than a grid has workgroups, tables cut into windows, NaN, masks drawn twice, skipped steps. */
#include "support/support.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "graph/plan.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_store *store;
    vkd_graph *g;
    vkd__host *host;
    vkd_program *program;
    uint64_t ticket;
} bench;

static bench bench_make(void) {
    bench t = {.ctx = test_ctx()};
    t.device = test_device(t.ctx);
    assert_int_equal(vkd_store_create(t.ctx, &t.store), VKD_OK);
    assert_int_equal(vkd_graph_create(t.ctx, t.store, NULL, &t.g), VKD_OK);
    return t;
}

/* Plans for the profile, and starts the host beside it. */
static void bench_start(bench *t, const vkd_profile *profile) {
    vkd_plan *plan = NULL;
    if (vkd_plan_create(t->g, profile, &plan) || vkd_program_create(t->device, plan, &t->program) ||
        vkd__host_create(t->g, &t->host))
        fail_msg("%s", vkd_ctx_error(t->ctx));
    vkd_plan_destroy(plan);
}

static void bench_step(bench *t) {
    if (vkd_program_submit(t->program, &t->ticket) || vkd_program_wait(t->program, t->ticket))
        fail_msg("%s", vkd_ctx_error(t->ctx));
    vkd__host_run(t->host);
}

/* Runs the same graph again under another profile. */
static void bench_stop(bench *t) {
    vkd_program_destroy(t->program);
    vkd__host_destroy(t->host);
    t->program = NULL;
    t->host = NULL;
}

static void bench_end(bench *t) {
    bench_stop(t);
    vkd_graph_destroy(t->g);
    vkd_store_destroy(t->store);
    test_device_close(t->device);
    vkd_ctx_destroy(t->ctx);
}

/* Numbers between -4 and 4, the same on both sides. */
static void fill(bench *t, const char *name, vkd_tensor tensor) {
    float *device = vkd_program_input(t->program, name);
    double *host = vkd__host_values(t->host, tensor);
    assert_non_null(device);
    for (uint64_t i = 0; i < vkd_shape_count(vkd_tensor_shape(t->g, tensor)); i++) {
        device[i] = vkd__philox_uniform(vkd__philox_at(3, tensor.id, 0, (uint32_t)i).v[0]) * 8 - 4;
        host[i] = (double)device[i];
    }
}

static void agree(bench *t, const char *name, vkd_tensor tensor, double rtol, double atol) {
    size_t count = 0;
    const float *got = vkd_program_output(t->program, t->ticket, name, &count);
    assert_non_null(got);
    assert_int_equal(count, vkd_shape_count(vkd_tensor_shape(t->g, tensor)));
    test_close(name, got, vkd__host_values(t->host, tensor), count, rtol, atol);
}

static vkd_profile variant(const bench *t, bool direct) {
    vkd_profile p = *vkd_device_profile(t->device);
    p.direct = p.direct && direct;
    return p;
}

/* Softmax, its logarithm and the gradient of both over (N, V). */
static void check_softmax(uint32_t N, uint32_t V, uint32_t most_groups) {
    bench t = bench_make();
    const vkd_tensor x = vkd_input(t.g, "x", VKD_F32, VKD_SHAPE(N, V));
    const vkd_tensor y = vkd_softmax(t.g, x), log_y = vkd_log_softmax(t.g, x);
    const vkd_tensor top = vkd_argmax(t.g, x);
    vkd_output(t.g, "y", y);
    vkd_output(t.g, "log_y", log_y);
    vkd_output(t.g, "top", top);
    for (int direct = 0; direct < 2; direct++) {
        vkd_profile p = variant(&t, direct);
        if (most_groups) p.max_groups[0] = most_groups;
        bench_start(&t, &p);
        fill(&t, "x", x);
        bench_step(&t);
        /* Sums of 200,000 terms keep five digits, and probabilities are as small as 1e-8. */
        agree(&t, "y", y, 2e-5, 1e-9);
        agree(&t, "log_y", log_y, 1e-5, 1e-5);
        const int32_t *got = vkd_program_output(t.program, t.ticket, "top", NULL);
        for (uint32_t n = 0; n < N; n++)
            assert_int_equal(got[n], (int32_t)vkd__host_values(t.host, top)[n]);
        bench_stop(&t);
    }
    bench_end(&t);
}

static void rows_of_200000_elements_keep_their_digits(void **state) {
    (void)state;
    check_softmax(2, 200000, 0);
    check_softmax(3, 49999, 0);
}

static void more_rows_than_workgroups_are_all_computed(void **state) {
    (void)state;
    check_softmax(70001, 1, 3);
    check_softmax(20001, 3, 3);
    check_softmax(301, 67, 3);
}

static void nan_reaches_the_result_and_stays_in_its_row(void **state) {
    (void)state;
    bench t = bench_make();
    const vkd_tensor x = vkd_input(t.g, "x", VKD_F32, VKD_SHAPE(3, 70));
    vkd_output(t.g, "y", vkd_softmax(t.g, x));
    vkd_output(t.g, "log_y", vkd_log_softmax(t.g, x));
    for (int direct = 0; direct < 2; direct++) {
        const vkd_profile p = variant(&t, direct);
        bench_start(&t, &p);
        fill(&t, "x", x);
        ((float *)vkd_program_input(t.program, "x"))[70 + 33] = NAN;
        bench_step(&t);
        const float *y = vkd_program_output(t.program, t.ticket, "y", NULL);
        const float *log_y = vkd_program_output(t.program, t.ticket, "log_y", NULL);
        for (int i = 0; i < 210; i++) {
            assert_int_equal(isnan(y[i]) != 0, i / 70 == 1);
            assert_int_equal(isnan(log_y[i]) != 0, i / 70 == 1);
        }
        bench_stop(&t);
    }
    bench_end(&t);
}

static void a_row_that_is_masked_throughout_is_zeros(void **state) {
    (void)state;
    bench t = bench_make();
    const vkd_tensor x = vkd_input(t.g, "x", VKD_F32, VKD_SHAPE(2, 33));
    vkd_output(t.g, "y", vkd_softmax(t.g, x));
    vkd_output(t.g, "log_y", vkd_log_softmax(t.g, x));
    for (int direct = 0; direct < 2; direct++) {
        const vkd_profile p = variant(&t, direct);
        bench_start(&t, &p);
        float *in = vkd_program_input(t.program, "x");
        for (int i = 0; i < 33; i++)
            in[i] = -INFINITY;
        bench_step(&t);
        const float *y = vkd_program_output(t.program, t.ticket, "y", NULL);
        const float *log_y = vkd_program_output(t.program, t.ticket, "log_y", NULL);
        for (int i = 0; i < 33; i++) {
            assert_true(y[i] == 0.0f && log_y[i] == -INFINITY);
            assert_true(fabsf(y[33 + i] * 33 - 1) < 1e-5f);
        }
        bench_stop(&t);
    }
    bench_end(&t);
}

static void dropout_draws_the_same_mask_backward_and_another_each_step(void **state) {
    (void)state;
    enum { COUNT = 4099 };
    bench t = bench_make();
    const vkd_tensor w =
        vkd_param(t.g, "net.w", VKD_SHAPE(COUNT), &(vkd_init){.kind = VKD_INIT_ONES});
    const vkd_tensor y = vkd_dropout(t.g, w, 0.25f, "drop");
    vkd_tensor gradient = {0};
    vkd_backward(t.g, vkd_sum(t.g, y, VKD_ALL_AXES, false), &w, 1, &gradient);
    vkd_output(t.g, "y", y);
    vkd_output(t.g, "dw", gradient);
    bench_start(&t, vkd_device_profile(t.device));
    float last[COUNT] = {0};
    for (uint32_t step = 0; step < 3; step++) {
        bench_step(&t);
        const float *out = vkd_program_output(t.program, t.ticket, "y", NULL);
        const float *dw = vkd_program_output(t.program, t.ticket, "dw", NULL);
        int kept = 0, changed = 0;
        for (uint32_t i = 0; i < COUNT; i++) {
            const vkd__philox bits = vkd__philox_at(0, vkd__philox_stream("drop"), step, i / 4);
            const bool keep = vkd__philox_uniform(bits.v[i % 4]) >= 0.25f;
            assert_true(keep ? fabsf(out[i] * 0.75f - 1) < 1e-6f : out[i] == 0);
            assert_true(out[i] == dw[i]); /* w is 1, so value and gradient are the same number */
            kept += keep;
            changed += out[i] != last[i];
        }
        /* 3074 are expected; the standard deviation is 28. */
        assert_in_range(kept, 3074 - 112, 3074 + 112);
        assert_true(changed > 1000);
        memcpy(last, out, sizeof last);
    }
    bench_end(&t);
}

/* The i-th index into the data and the table: some of them outside, many of them twice. */
static int32_t choice(int i) {
    return i % 10 == 9 ? -1 : (i * 379) % 1499 % (i < 50 ? 1500 : 40);
}

/* Ten pixels of three channels. */
static const vkd_batch_desc pixels = {
    .channels = 3, .mean = {0.1f, 0.2f, 0.3f}, .std = {0.5f, 1, 2}};

static void check_batch(const float *batch, const uint8_t *bytes) {
    for (int i = 0; i < 3000; i++) {
        const int32_t sample = choice(i / 30), c = i % 3;
        const float value = sample < 0 ? 0 : (float)bytes[sample * 30 + i % 30] / 255;
        const float want = sample < 0 ? 0 : (value - pixels.mean[c]) / pixels.std[c];
        assert_true(fabsf(batch[i] - want) < 1e-6f);
    }
}

static void windows_change_nothing(void **state) {
    (void)state;
    bench t = bench_make();
    const vkd_tensor data = vkd_state(t.g, "data", VKD_U8, VKD_SHAPE(1500, 30));
    const vkd_tensor chosen = vkd_input(t.g, "chosen", VKD_I32, VKD_SHAPE(100));
    const vkd_tensor table = vkd_param(t.g, "net.table", VKD_SHAPE(1000, 10),
                                       &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
    const vkd_tensor batch = vkd_batch(t.g, data, chosen, &pixels);
    const vkd_tensor rows = vkd_gather(t.g, table, chosen);
    vkd_tensor gradient = {0};
    vkd_backward(t.g, vkd_sum(t.g, vkd_mul(t.g, rows, rows), VKD_ALL_AXES, false), &table, 1,
                 &gradient);
    vkd_output(t.g, "batch", batch);
    vkd_output(t.g, "rows", rows);
    vkd_output(t.g, "dtable", gradient);
    static uint8_t bytes[1500 * 30];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 7 + i / 256);
    assert_int_equal(vkd_store_write(t.store, "data", bytes, sizeof bytes), VKD_OK);

    static float whole[3000 + 1000 + 10000];
    for (int cut = 0; cut < 2; cut++) {
        vkd_profile p = *vkd_device_profile(t.device);
        if (cut) p.max_binding = 16384; /* three windows of the data and of the table */
        bench_start(&t, &p);
        /* The first step leaves other numbers where the second one must write its zeros. */
        for (int step = 0; step < 2; step++) {
            int32_t *at = vkd_program_input(t.program, "chosen");
            for (int i = 0; i < 100; i++)
                at[i] = step ? choice(i) : i * 9;
            bench_step(&t);
        }
        const char *const names[] = {"batch", "rows", "dtable"};
        float *to = whole;
        for (int k = 0; k < 3; k++) {
            size_t count = 0;
            const float *got = vkd_program_output(t.program, t.ticket, names[k], &count);
            if (cut) assert_memory_equal(got, to, count * sizeof(float));
            memcpy(to, got, count * sizeof(float));
            to += count;
        }
        check_batch(whole, bytes);
        for (int i = 0; i < 1000; i++)
            if (choice(i / 10) < 0 || choice(i / 10) >= 1000) assert_true(whole[3000 + i] == 0);
        for (int i = 0; i < 10000; i++) {
            bool used = false;
            for (int k = 0; k < 100; k++)
                used |= choice(k) == i / 10;
            assert_int_equal(whole[4000 + i] != 0, used);
        }
        bench_stop(&t);
    }
    bench_end(&t);
}

static void a_step_that_is_not_finite_changes_no_bit_on_the_device(void **state) {
    (void)state;
    bench t = bench_make();
    vkd_param(t.g, "net.w", VKD_SHAPE(100, 3), &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
    const vkd_shape flat = vkd_tensor_shape(t.g, vkd__group_flat(t.g, "net"));
    const vkd_tensor gradient = vkd_input(t.g, "gradient", VKD_F32, flat);
    const vkd_tensor loss = vkd_input(t.g, "loss", VKD_F32, VKD_SCALAR);
    const vkd_tensor guard = vkd_guard(t.g, "net", gradient, loss, 1.0f);
    const vkd_tensor lr = vkd_constant(t.g, 0.1f);
    vkd_adamw(t.g, "net", gradient, guard, lr, &(vkd_adamw_desc){.weight_decay = 0.1f});
    vkd_sgd(t.g, "net", gradient, guard, lr, &(vkd_sgd_desc){.momentum = 0.9f, .nesterov = true});
    vkd_output(t.g, "guard", guard);
    static const char *const names[] = {"net.w", "net.momentum", "net.adam_m", "net.adam_v"};
    for (int direct = 0; direct < 2; direct++) {
        const vkd_profile p = variant(&t, direct);
        bench_start(&t, &p);
        float before[4][320], after[320];
        const float losses[4] = {1, 1, INFINITY, NAN};
        for (int step = 0; step < 4; step++) {
            float *g = vkd_program_input(t.program, "gradient");
            for (int i = 0; i < 300; i++)
                g[i] = (float)(i % 7) - 3;
            if (step == 1) g[299] = NAN;
            *(float *)vkd_program_input(t.program, "loss") = losses[step];
            bench_step(&t);
            const float *factor = vkd_program_output(t.program, t.ticket, "guard", NULL);
            assert_true(step ? factor[1] == 0 : factor[1] > 0 && factor[1] < 1);
            for (int k = 0; k < 4; k++) {
                const size_t bytes = (k ? 320 : 300) * sizeof(float);
                assert_int_equal(vkd_store_read(t.store, names[k], after, bytes), VKD_OK);
                if (step) assert_memory_equal(after, before[k], bytes);
                memcpy(before[k], after, bytes);
            }
        }
        int32_t counts[4];
        assert_int_equal(vkd_store_read(t.store, "net.guard", counts, sizeof counts), VKD_OK);
        assert_int_equal(counts[0], 1 + direct);
        assert_int_equal(counts[1], 3 + 3 * direct);
        assert_int_equal(counts[2], 3);
        bench_stop(&t);
    }
    bench_end(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_of_200000_elements_keep_their_digits),
        cmocka_unit_test(more_rows_than_workgroups_are_all_computed),
        cmocka_unit_test(nan_reaches_the_result_and_stays_in_its_row),
        cmocka_unit_test(a_row_that_is_masked_throughout_is_zeros),
        cmocka_unit_test(dropout_draws_the_same_mask_backward_and_another_each_step),
        cmocka_unit_test(windows_change_nothing),
        cmocka_unit_test(a_step_that_is_not_finite_changes_no_bit_on_the_device),
    };
    return cmocka_run_group_tests_name("rows", tests, NULL, NULL);
}
