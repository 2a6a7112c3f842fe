// SPDX-License-Identifier: Apache-2.0
/* Claims about replaying a program: inputs, rings, order, slices, times. Its faults are in
 * program_faults.c. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/gpu.h"

enum { ROWS = 3, COLS = 5, WIDE = 16384 };

static void softmax_of_an_input_comes_back(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(ROWS, COLS));
    vkd_output(f.g, "y", vkd_softmax(f.g, x));
    vkd_program *p = gpu_program(&f);
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
    const uint64_t ticket = gpu_step(&f, p);
    assert_int_equal(ticket, 1);
    size_t count = 0;
    const float *got = vkd_program_output(p, ticket, "y", &count);
    assert_non_null(got);
    assert_int_equal(count, ROWS * COLS);
    test_close("y", got, want, count, 1e-5, 1e-6);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* One small and one large input: they reach the device by different ways. */
static void inputs_start_as_zeros_and_keep_their_values(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "small", vkd_neg(f.g, vkd_input(f.g, "s", VKD_F32, VKD_SHAPE(COLS))));
    vkd_output(f.g, "large", vkd_neg(f.g, vkd_input(f.g, "l", VKD_F32, VKD_SHAPE(WIDE))));
    vkd_program *p = gpu_program(&f);
    for (int i = 0; i < 3 * VKD_PROGRAM_RING; i++) {
        if (i == 2) ((float *)vkd_program_input(p, "s"))[3] = 7;
        if (i == 3) ((float *)vkd_program_input(p, "l"))[WIDE - 1] = 9;
        if (i == 8) ((float *)vkd_program_input(p, "l"))[0] = 5; /* the last element stays */
        const uint64_t t = gpu_step(&f, p);
        const float *small = vkd_program_output(p, t, "small", NULL);
        const float *large = vkd_program_output(p, t, "large", NULL);
        assert_true(small[3] == (i >= 2 ? -7.0f : 0.0f));
        assert_true(small[0] == 0);
        assert_true(large[WIDE - 1] == (i >= 3 ? -9.0f : 0.0f));
        assert_true(large[0] == (i >= 8 ? -5.0f : 0.0f));
    }
    assert_null(vkd_program_input(p, "nothing"));
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void outputs_stay_until_the_ring_has_turned(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "y", vkd_neg(f.g, vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(1))));
    vkd_program *p = gpu_program(&f);
    uint64_t ticket = 0;
    for (int i = 1; i <= VKD_PROGRAM_RING; i++) {
        *(float *)vkd_program_input(p, "x") = (float)i;
        gpu_submit(&f, p, &ticket);
        assert_int_equal(ticket, i);
        assert_null(vkd_program_output(p, ticket, "y", NULL)); /* nobody has waited for it */
    }
    gpu_wait(&f, p, ticket);
    for (uint64_t t = 1; t <= VKD_PROGRAM_RING; t++)
        assert_true(*(const float *)vkd_program_output(p, t, "y", NULL) == -(float)t);
    assert_null(vkd_program_output(p, 0, "y", NULL));
    assert_null(vkd_program_output(p, ticket + 1, "y", NULL));
    assert_null(vkd_program_output(p, 1, "nothing", NULL));
    const float *second = vkd_program_output(p, 2, "y", NULL);
    gpu_step(&f, p);
    assert_null(vkd_program_output(p, 1, "y", NULL));
    assert_ptr_equal(vkd_program_output(p, 2, "y", NULL), second);
    assert_true(*second == -2);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void the_step_counter_counts_and_can_be_set(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    vkd_output(f.g, "step", vkd_step(f.g));
    vkd_output(f.g, "rate", vkd_setting(f.g, "rate", 0.25f));
    vkd_program *p = gpu_program(&f);
    for (int i = 0; i < 6; i++) {
        if (i == 4) vkd_program_set_step(p, 1000);
        if (i == 5) *(float *)vkd_program_input(p, "rate") = 0.5f;
        const uint64_t t = gpu_step(&f, p);
        const int32_t *step = vkd_program_output(p, t, "step", NULL);
        const float *rate = vkd_program_output(p, t, "rate", NULL);
        assert_int_equal(*step, i < 4 ? i : 996 + i);
        assert_true(*rate == (i < 5 ? 0.25f : 0.5f));
    }
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* ---- Training steps: what one step writes, the next one reads ---- */

enum { STEPS = 13, W = 3 * 4 };

typedef struct result {
    float loss[STEPS], w[W];
} result;

static void feed(vkd_program *p, int step) {
    float *x = vkd_program_input(p, "x");
    int32_t *labels = vkd_program_input(p, "labels");
    for (int i = 0; i < 8; i++) {
        labels[i] = (i + step) % 3;
        for (int k = 0; k < 4; k++)
            x[i * 4 + k] =
                (k == labels[i] ? 1.0f : 0.0f) + (float)((i * 7 + step * 3) % 11) * 0.05f;
    }
}

/* `slices` cuts the plan into as many submissions as there are launches; `hurry` waits for nothing
 * until the end, when only the ring's losses are left to read. */
static result train(bool slices, bool hurry, bool timed) {
    gpu_fixture f = gpu_setup();
    gpu_linear(&f);
    vkd_plan *plan = gpu_plan(&f);
    assert_true(plan->launch_count > 3);
    for (size_t i = 0; slices && i < plan->launch_count; i++)
        plan->launches[i].slice = (uint32_t)i;
    if (slices) plan->slice_count = (uint32_t)plan->launch_count;
    vkd_program *p = gpu_program_of(&f, plan);
    if (timed) assert_int_equal(vkd_program_profile(p, true), VKD_OK);
    result out = {0};
    const uint32_t before = p->slice_count;
    for (int i = 0; i < STEPS; i++) {
        feed(p, i);
        uint64_t t = 0;
        gpu_submit(&f, p, &t);
        if (hurry && i + 1 < STEPS) continue;
        gpu_wait(&f, p, t);
        for (uint64_t k = 0; k < VKD_PROGRAM_RING && k < t; k++)
            out.loss[t - k - 1] = *(const float *)vkd_program_output(p, t - k, "loss", NULL);
    }
    /* Many slices that are far too short are joined while the steps run. */
    assert_int_equal(p->slice_count, timed || p->check ? before : 1);
    assert_int_equal(vkd_store_read(f.store, "net.weight", out.w, sizeof out.w), VKD_OK);
    vkd_program_destroy(p);
    gpu_teardown(&f);
    return out;
}

static void assert_same_end(const result *a, const result *b) {
    assert_memory_equal(a->w, b->w, sizeof a->w);
    const size_t first = STEPS - VKD_PROGRAM_RING;
    assert_memory_equal(a->loss + first, b->loss + first, VKD_PROGRAM_RING * sizeof(float));
}

static void steps_follow_each_other_in_order_and_repeat_in_every_bit(void **state) {
    (void)state;
    const result one = train(false, false, false);
    assert_true(one.loss[STEPS - 1] < one.loss[0]);
    const result again = train(false, false, false), hurried = train(false, true, false);
    assert_memory_equal(&one, &again, sizeof one);
    assert_same_end(&one, &hurried);
}

static void a_step_cut_into_slices_gives_the_same_bits(void **state) {
    (void)state;
    const result one = train(false, false, false), cut = train(true, true, false);
    assert_same_end(&one, &cut);
}

/* Every kind of work that a group may do: rows, tiles, elements, and a change of the store, which
 * a group that did another's share again would do twice. */
static void step_in_pieces(bool slow, float *out, size_t bytes) {
    gpu_fixture f = gpu_setup();
    vkd_profile profile = *vkd_device_profile(f.device);
    if (slow) profile.gflops = profile.gbytes = 1e-9;
    const vkd_tensor x = vkd_input(f.g, "x", VKD_F32, VKD_SHAPE(37, 50));
    const vkd_init init = {.kind = VKD_INIT_XAVIER_UNIFORM};
    const vkd_tensor w = vkd_param(f.g, "net.weight", VKD_SHAPE(150, 50), &init);
    const vkd_tensor y =
        vkd_softmax(f.g, vkd_matmul(f.g, x, w, &(vkd_matmul_desc){.transpose_b = true}));
    const vkd_tensor loss = vkd_mean(f.g, vkd_square(f.g, y), 3u, false);
    const vkd_tensor grad = vkd_gradient(f.g, loss, "net");
    vkd_sgd(f.g, "net", grad, vkd_guard(f.g, "net", grad, loss, 0.0f), vkd_constant(f.g, 0.1f),
            &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_plan *plan = NULL;
    assert_int_equal(vkd_plan_create(f.g, &profile, &plan), VKD_OK);
    size_t pieces = 0;
    for (size_t i = 0; i < plan->launch_count; i++)
        pieces += plan->launches[i].piece;
    assert_true(slow ? pieces > 20 : pieces == 0);
    vkd_program *p = gpu_program_of(&f, plan);
    float *in = vkd_program_input(p, "x");
    for (int i = 0; i < 37 * 50; i++)
        in[i] = (float)(i * 7 % 23) * 0.25f - 2;
    for (int i = 0; i < 3; i++)
        gpu_step(&f, p);
    assert_int_equal(vkd_store_read(f.store, "net.weight", out, bytes), VKD_OK);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void a_step_cut_into_pieces_gives_the_same_bits(void **state) {
    (void)state;
    static float whole[150 * 50], cut[150 * 50];
    step_in_pieces(false, whole, sizeof whole);
    step_in_pieces(true, cut, sizeof cut);
    assert_memory_equal(whole, cut, sizeof whole);
}

/* A measurement that nobody made: what it says is a second for the whole step. */
static void a_slice_that_took_too_long_is_cut_and_the_bits_stay(void **state) {
    (void)state;
    const result one = train(false, false, false);
    gpu_fixture f = gpu_setup();
    gpu_linear(&f);
    vkd_program *p = gpu_program(&f);
    assert_int_equal(p->slice_count, 1);
    const double rate = f.device->profile.gflops;
    result out = {0};
    for (int i = 0; i < STEPS; i++) {
        feed(p, i);
        if (i == 1) assert_int_equal(vkd__pace_apply(p, &(double){1.0}), VKD_OK);
        if (i == 1) assert_true(p->slice_count > 5);
        const uint64_t t = gpu_step(&f, p);
        out.loss[t - 1] = *(const float *)vkd_program_output(p, t, "loss", NULL);
    }
    assert_true(p->submitted == STEPS && p->done == STEPS);
    /* In truth the slices are short, so the next measurements have joined them again. */
    assert_int_equal(p->slice_count, 1);
    assert_true(f.device->profile.gflops < rate);
    assert_int_equal(vkd_store_read(f.store, "net.weight", out.w, sizeof out.w), VKD_OK);
    assert_memory_equal(&one, &out, sizeof one);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

/* A device without timestamps is measured by the host. */
static void slices_that_are_too_short_are_joined(void **state) {
    (void)state;
    const result one = train(false, false, false);
    const result joined = train(true, false, false);
    setenv("VKD_DISABLE", "timestamps", 1);
    const result waited = train(true, false, false);
    unsetenv("VKD_DISABLE");
    assert_memory_equal(&one, &joined, sizeof one);
    assert_memory_equal(&one, &waited, sizeof one);
}

/* Shadow mode runs the same kernels, and every op here agrees with its reference. */
static void a_step_in_shadow_mode_gives_the_same_bits(void **state) {
    (void)state;
    const result one = train(false, false, false);
    setenv("VKD_CHECK", "1", 1);
    const result checked = train(false, false, false);
    unsetenv("VKD_CHECK");
    assert_memory_equal(&one, &checked, sizeof one);
}

static void a_timed_step_gives_the_same_bits(void **state) {
    (void)state;
    const result one = train(false, false, false), timed = train(true, false, true);
    assert_memory_equal(&one, &timed, sizeof one);
}

static void times_are_summed_by_launch(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    gpu_linear(&f);
    vkd_plan *plan = gpu_plan(&f);
    const uint32_t launches = (uint32_t)plan->launch_count;
    const double flops = vkd_plan_get_info(plan).flops;
    vkd_program *p = gpu_program_of(&f, plan);
    assert_int_equal(vkd_program_profile_rows(p, NULL, 0), 0);
    gpu_step(&f, p); /* kernels are compiled at their first run: not part of what is timed */
    assert_int_equal(vkd_program_profile(p, true), VKD_OK);
    for (int i = 0; i < 3; i++)
        gpu_step(&f, p);
    vkd_profile_row rows[64];
    assert_int_equal(vkd_program_profile_rows(p, rows, 64), launches);
    double seconds = 0, sum = 0;
    for (uint32_t i = 0; i < launches; i++) {
        assert_int_equal(rows[i].calls, 3);
        assert_non_null(vkd__kernel_find(rows[i].kernel));
        assert_true(rows[i].seconds >= 0);
        seconds += rows[i].seconds;
        sum += rows[i].flops;
    }
    assert_true(seconds > 0 && seconds < 10);
    assert_true(fabs(sum - 3 * flops) <= 1e-6 * sum);
    assert_int_equal(vkd_program_profile(p, false), VKD_OK);
    gpu_step(&f, p);
    assert_int_equal(vkd_program_profile_rows(p, rows, 64), launches);
    assert_int_equal(rows[0].calls, 3);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void two_programs_share_a_store(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    gpu_linear(&f);
    vkd_program *train_step = gpu_program(&f);
    /* A second graph reads the weight that the first one trains, and adds a state of its own. */
    vkd_graph *other = NULL;
    assert_int_equal(vkd_graph_create(f.ctx, f.store, NULL, &other), VKD_OK);
    const vkd_init init = {.kind = VKD_INIT_XAVIER_UNIFORM};
    vkd_output(other, "w", vkd_neg(other, vkd_param(other, "net.weight", VKD_SHAPE(3, 4), &init)));
    vkd_output(other, "s", vkd_neg(other, vkd_state(other, "late", VKD_F32, VKD_SHAPE(2))));
    vkd_plan *plan = NULL;
    assert_int_equal(vkd_plan_create(other, vkd_device_profile(f.device), &plan), VKD_OK);
    vkd_program *look = gpu_program_of(&f, plan);
    const float late[2] = {3, 4};
    assert_int_equal(vkd_store_write(f.store, "late", late, sizeof late), VKD_OK);
    for (int i = 0; i < 3; i++) {
        feed(train_step, i);
        uint64_t t = 0;
        gpu_submit(&f, train_step, &t); /* nobody waits: the device keeps the order */
        t = gpu_step(&f, look);
        float w[W];
        assert_int_equal(vkd_store_read(f.store, "net.weight", w, sizeof w), VKD_OK);
        const float *seen = vkd_program_output(look, t, "w", NULL);
        for (int k = 0; k < W; k++)
            assert_true(seen[k] == -w[k]);
        assert_true(((const float *)vkd_program_output(look, t, "s", NULL))[1] == -4);
    }
    vkd_program_destroy(train_step);
    vkd_program_destroy(look);
    vkd_graph_destroy(other);
    gpu_teardown(&f);
}

static void tensors_of_a_store_do_not_touch(void **state) {
    (void)state;
    gpu_fixture f = gpu_setup();
    enum { TENSORS = 5, MOST = 700 };
    char names[TENSORS][16];
    for (int i = 0; i < TENSORS; i++) {
        snprintf(names[i], sizeof names[i], "state%d", i);
        const vkd_tensor s = vkd_state(f.g, names[i], VKD_F32, VKD_SHAPE((uint32_t)(MOST - i)));
        vkd_output(f.g, names[i], vkd_neg(f.g, s));
    }
    vkd_program *p = gpu_program(&f);
    float values[MOST], back[MOST];
    for (int i = 0; i < TENSORS; i++) {
        for (int k = 0; k < MOST; k++)
            values[k] = (float)(i * MOST + k);
        const size_t bytes = (size_t)(MOST - i) * sizeof(float);
        assert_int_equal(vkd_store_write(f.store, names[i], values, bytes), VKD_OK);
    }
    const uint64_t t = gpu_step(&f, p);
    for (int i = 0; i < TENSORS; i++) {
        const size_t bytes = (size_t)(MOST - i) * sizeof(float);
        assert_int_equal(vkd_store_read(f.store, names[i], back, bytes), VKD_OK);
        const float *negated = vkd_program_output(p, t, names[i], NULL);
        for (int k = 0; k < MOST - i; k++) {
            assert_true(back[k] == (float)(i * MOST + k));
            assert_true(negated[k] == -back[k]);
        }
    }
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(softmax_of_an_input_comes_back),
        cmocka_unit_test(inputs_start_as_zeros_and_keep_their_values),
        cmocka_unit_test(outputs_stay_until_the_ring_has_turned),
        cmocka_unit_test(the_step_counter_counts_and_can_be_set),
        cmocka_unit_test(steps_follow_each_other_in_order_and_repeat_in_every_bit),
        cmocka_unit_test(a_step_cut_into_slices_gives_the_same_bits),
        cmocka_unit_test(a_step_cut_into_pieces_gives_the_same_bits),
        cmocka_unit_test(a_slice_that_took_too_long_is_cut_and_the_bits_stay),
        cmocka_unit_test(slices_that_are_too_short_are_joined),
        cmocka_unit_test(a_step_in_shadow_mode_gives_the_same_bits),
        cmocka_unit_test(a_timed_step_gives_the_same_bits),
        cmocka_unit_test(times_are_summed_by_launch),
        cmocka_unit_test(two_programs_share_a_store),
        cmocka_unit_test(tensors_of_a_store_do_not_touch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
