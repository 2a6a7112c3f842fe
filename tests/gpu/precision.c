// SPDX-License-Identifier: Apache-2.0
/* Mixed precision on the device: rounding, what the loss scale does, and what it leaves alone. A
 * network of two layers, cross-entropy, momentum. */
#include "support/support.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/half.h"
#include "base/philox.h"
#include "graph/plan.h"

enum { BATCH = 8, IN = 12, HIDDEN = 16, OUT = 5, WEIGHTS = HIDDEN * IN };

typedef struct setting {
    vkd_dtype compute;
    float scale; /* at first; 0: the loss is not scaled */
    uint32_t growth;
    float clip;
    float size; /* factor of the loss */
    bool tile;  /* kernels, also on a device of direct ones */
} setting;

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_store *store;
    vkd_program *program;
    uint64_t ticket;
} bench;

static vkd_tensor layer(vkd_graph *g, vkd_tensor x, const char *name, uint32_t out, bool last) {
    char weight[32], bias[32];
    snprintf(weight, sizeof weight, "net.%s.weight", name);
    snprintf(bias, sizeof bias, "net.%s.bias", name);
    const vkd_init init = {.kind = VKD_INIT_KAIMING_UNIFORM};
    const vkd_tensor w = vkd_param(g, weight, VKD_SHAPE(out, vkd_tensor_shape(g, x).dim[1]), &init);
    const vkd_tensor b = vkd_param(g, bias, VKD_SHAPE(out), &(vkd_init){.no_decay = true});
    return vkd_matmul(g, x, w,
                      &(vkd_matmul_desc){.transpose_b = true,
                                         .bias = b,
                                         .activation = last ? VKD_ACT_NONE : VKD_ACT_RELU,
                                         .f32_result = last});
}

static void build(vkd_graph *g, const setting *s) {
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(BATCH, IN));
    const vkd_tensor labels = vkd_input(g, "labels", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor hidden = layer(g, x, "fc0", HIDDEN, false);
    const vkd_tensor ce = vkd_ce(g, layer(g, hidden, "fc1", OUT, true), labels, 0);
    const vkd_tensor loss = vkd_mul(g, ce, vkd_setting(g, "size", s->size));
    vkd_tensor gradient, guard;
    if (s->scale > 0) {
        const vkd_tensor scale = vkd_loss_scale(g, "net", s->scale);
        gradient = vkd_gradient(g, vkd_mul(g, loss, scale), "net");
        guard = vkd_guard_scaled(g, "net", gradient, loss, s->clip, scale, s->growth);
        vkd_output(g, "scale", scale);
    } else {
        gradient = vkd_gradient(g, loss, "net");
        guard = vkd_guard(g, "net", gradient, loss, s->clip);
    }
    vkd_sgd(g, "net", gradient, guard, vkd_constant(g, 0.1f), &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_output(g, "guard", guard);
    vkd_output(g, "loss", loss);
}

static bench bench_open(vkd_dtype compute, vkd_graph **g) {
    bench t = {.ctx = test_ctx()};
    t.device = test_device(t.ctx);
    assert_int_equal(vkd_store_create(t.ctx, &t.store), VKD_OK);
    const vkd_graph_desc desc = {.seed = 7, .compute = compute};
    assert_int_equal(vkd_graph_create(t.ctx, t.store, &desc, g), VKD_OK);
    return t;
}

/* Takes the graph over. */
static void bench_start(bench *t, vkd_graph *g, bool tile) {
    vkd_plan *plan = NULL;
    vkd_profile profile = *vkd_device_profile(t->device);
    profile.direct = profile.direct && !tile;
    if (vkd_plan_create(g, &profile, &plan) || vkd_program_create(t->device, plan, &t->program))
        fail_msg("%s", vkd_ctx_error(t->ctx));
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
}

static bench bench_make(const setting *s) {
    vkd_graph *g = NULL;
    bench t = bench_open(s->compute, &g);
    build(g, s);
    bench_start(&t, g, s->tile);
    float *x = vkd_program_input(t.program, "x");
    int32_t *labels = vkd_program_input(t.program, "labels");
    for (uint32_t i = 0; i < BATCH * IN; i++)
        x[i] = vkd__philox_uniform(vkd__philox_at(5, 0, 0, i).v[0]) * 2 - 1;
    for (int32_t i = 0; i < BATCH; i++)
        labels[i] = i % OUT;
    return t;
}

static void bench_end(bench *t) {
    vkd_program_destroy(t->program);
    vkd_store_destroy(t->store);
    test_device_close(t->device);
    vkd_ctx_destroy(t->ctx);
}

static void step(bench *t) {
    if (vkd_program_submit(t->program, &t->ticket) || vkd_program_wait(t->program, t->ticket))
        fail_msg("%s", vkd_ctx_error(t->ctx));
}

/* Of the last step. */
static const float *output(const bench *t, const char *name) {
    const float *v = vkd_program_output(t->program, t->ticket, name, NULL);
    assert_non_null(v);
    return v;
}

static void get(const bench *t, const char *name, void *to, size_t bytes) {
    if (vkd_store_read(t->store, name, to, bytes)) fail_msg("%s", vkd_ctx_error(t->ctx));
}

/* All that an optimiser step changes. */
typedef struct snapshot {
    float flat[2][512];
    size_t bytes;
} snapshot;

static snapshot take(const bench *t) {
    snapshot s = {.bytes = 0};
    static const char *const names[] = {"net.fc0.weight", "net.fc0.bias", "net.fc1.weight",
                                        "net.fc1.bias"};
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        vkd_store_info info;
        assert_true(vkd_store_find(t->store, names[i], &info));
        const size_t bytes = vkd_shape_count(info.shape) * sizeof(float);
        get(t, names[i], (char *)s.flat[0] + s.bytes, bytes);
        s.bytes += bytes;
    }
    vkd_store_info info;
    assert_true(vkd_store_find(t->store, "net.momentum", &info));
    get(t, "net.momentum", s.flat[1], vkd_shape_count(info.shape) * sizeof(float));
    return s;
}

/* ---- Rounding ---- */

enum { VALUES = 0x10000, ROUNDED = 3 * VALUES + 1 };

/* Every 16-bit value, the middle between it and the next, and the float behind the middle. */
static void fill_values(float *x, float (*value)(uint16_t)) {
    for (uint32_t i = 0; i < VALUES; i++) {
        const float v = value((uint16_t)i), next = value((uint16_t)(i + 1));
        const float middle = (float)(((double)v + (double)next) / 2);
        x[3 * i] = v;
        x[3 * i + 1] = middle;
        x[3 * i + 2] = nextafterf(middle, next);
    }
    const uint32_t nan = 0x7f800001; /* what makes it one is cut off */
    memcpy(&x[3 * VALUES], &nan, sizeof nan);
}

/* Numbers with fewer digits than their type has may be flushed to zero by a device. */
static bool is_same(float got, float want, float least) {
    if (isnan(want)) return isnan(got);
    return got == want || (got == 0 && fabsf(want) < least);
}

static void check_rounding(bool bf16, bool tile) {
    vkd_graph *g = NULL;
    bench t = bench_open(VKD_F32, &g);
    const vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(ROUNDED));
    vkd_output(g, "y", vkd_cast(g, vkd_cast(g, x, bf16 ? VKD_BF16 : VKD_F16), VKD_F32));
    bench_start(&t, g, tile);
    static float values[ROUNDED];
    fill_values(values, bf16 ? vkd__bf16_to : vkd__f16_to);
    memcpy(vkd_program_input(t.program, "x"), values, sizeof values);
    step(&t);
    const float *y = output(&t, "y");
    for (uint32_t i = 0; i < ROUNDED; i++) {
        const float v = values[i];
        const float want = bf16 ? vkd__bf16_to(vkd__bf16_from(v)) : vkd__f16_to(vkd__f16_from(v));
        if (!is_same(y[i], want, bf16 ? 0x1p-126f : 0x1p-14f))
            fail_msg("%s of %a is %a, should be %a", bf16 ? "bf16" : "f16", (double)v, (double)y[i],
                     (double)want);
    }
    bench_end(&t);
}

static void the_device_rounds_as_the_host_does(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++)
        check_rounding(i & 1, i & 2);
}

/* ---- The scale moves ---- */

/* The largest scale overflows f16 in the gradients alone: the loss stays finite. Every step that
 * does is skipped to the bit and halves it, every third good one in a row doubles it. */
static void follow_the_scale(bool tile) {
    bench t = bench_make(
        &(setting){.compute = VKD_F16, .scale = 16777216, .growth = 3, .size = 1, .tile = tile});
    double scale = 16777216;
    int32_t good = 0, in_a_row = 0, halved = 0, doubled = 0;
    for (int i = 0; i < 24; i++) {
        const snapshot before = take(&t);
        step(&t);
        const snapshot after = take(&t);
        const float *guard = output(&t, "guard");
        assert_true(isfinite(*output(&t, "loss")));
        assert_true((double)*output(&t, "scale") == scale);
        const bool same = !memcmp(&before, &after, sizeof before);
        if (guard[1] == 0) {
            assert_false(isfinite(guard[0]));
            assert_true(same);
            scale /= 2;
            halved++;
            in_a_row = 0;
            continue;
        }
        assert_true(fabs((double)guard[1] * scale - 1) < 1e-6);
        assert_false(same);
        good++;
        if (++in_a_row < 3) continue;
        scale *= 2;
        doubled++;
        in_a_row = 0;
    }
    assert_true(halved > 4 && doubled > 2);
    int32_t counts[4];
    get(&t, "net.guard", counts, sizeof counts);
    assert_int_equal(counts[0], good);
    assert_int_equal(counts[1], halved);
    get(&t, "net.loss_scale", counts, sizeof counts);
    assert_int_equal(counts[0], doubled - halved);
    assert_int_equal(counts[1], in_a_row);
    assert_int_equal(counts[2], halved);
    bench_end(&t);
}

static void a_step_that_overflows_changes_no_bit_and_halves_the_scale(void **state) {
    (void)state;
    follow_the_scale(false);
    follow_the_scale(true);
}

static void a_bad_sample_is_skipped_in_bf16_too(void **state) {
    (void)state;
    const setting settings[] = {{.compute = VKD_F16, .scale = 1024, .growth = 100, .size = 1},
                                {.compute = VKD_BF16, .size = 1}};
    static const float bad[] = {INFINITY, NAN};
    for (size_t k = 0; k < VKD_COUNT(settings); k++) {
        bench t = bench_make(&settings[k]);
        step(&t);
        assert_true(output(&t, "guard")[1] > 0);
        for (size_t i = 0; i < VKD_COUNT(bad); i++) {
            const snapshot before = take(&t);
            ((float *)vkd_program_input(t.program, "x"))[IN + 3] = bad[i];
            step(&t);
            const snapshot after = take(&t);
            assert_true(output(&t, "guard")[1] == 0);
            assert_memory_equal(&before, &after, sizeof before);
        }
        ((float *)vkd_program_input(t.program, "x"))[IN + 3] = 0;
        step(&t);
        assert_true(output(&t, "guard")[1] > 0);
        if (settings[k].scale > 0) assert_true(*output(&t, "scale") == 256);
        bench_end(&t);
    }
}

static void the_scale_stays_between_its_bounds(void **state) {
    (void)state;
    int32_t moved[4];
    bench t = bench_make(&(setting){.compute = VKD_F16, .scale = 4, .growth = 1, .size = NAN});
    for (int i = 0; i < 5; i++) {
        step(&t);
        assert_true(*output(&t, "scale") == (i < 2 ? (float)(4 >> i) : 1));
    }
    get(&t, "net.loss_scale", moved, sizeof moved);
    assert_int_equal(moved[0], -2); /* so that the first good step doubles it again */
    assert_int_equal(moved[2], 5);
    bench_end(&t);
    t = bench_make(&(setting){.compute = VKD_F16, .scale = 4194304, .growth = 1, .size = 1e-9f});
    for (int i = 0; i < 5; i++) {
        step(&t);
        assert_true(*output(&t, "scale") == (i < 2 ? (float)(4194304 << i) : 16777216));
    }
    get(&t, "net.loss_scale", moved, sizeof moved);
    assert_int_equal(moved[0], 2);
    bench_end(&t);
}

/* ---- What it does not move ---- */

static void first_step(const setting *s, float *weights, float *norm) {
    bench t = bench_make(s);
    step(&t);
    assert_true(output(&t, "guard")[1] > 0);
    get(&t, "net.fc0.weight", weights, WEIGHTS * sizeof *weights);
    *norm = output(&t, "guard")[0];
    bench_end(&t);
}

/* With and without clipping. Powers of two only move exponents; a driver's division and root may
 * round by a few units in the last place. */
static void a_step_is_the_same_under_every_scale(void **state) {
    (void)state;
    static const float clips[] = {0, 0.1f};
    float small[WEIGHTS], large[WEIGHTS], norms[2];
    for (size_t k = 0; k < VKD_COUNT(clips); k++) {
        setting s = {.compute = VKD_F16, .scale = 64, .growth = 9, .clip = clips[k], .size = 1};
        first_step(&s, small, &norms[0]);
        s.scale = 8192;
        first_step(&s, large, &norms[1]);
        assert_true(norms[0] > 0.1f && fabsf(norms[0] / norms[1] - 1) < 1e-6f);
        for (int i = 0; i < WEIGHTS; i++)
            assert_true(fabsf(small[i] - large[i]) < 1e-6f);
    }
}

/* Half of f16's smallest number is 2^-25: without a scale such gradients are zeros. f16 keeps 11
 * bits, so with one they are those of f32 but for some thousandths. bf16 needs none; it has 8. */
static void small_gradients_need_the_scale_in_f16(void **state) {
    (void)state;
    float weights[WEIGHTS], f32, f16, bare, bf16;
    const float size = 0x1p-26f;
    first_step(&(setting){.compute = VKD_F32, .size = size}, weights, &f32);
    first_step(&(setting){.compute = VKD_F16, .scale = 65536, .growth = 9, .size = size}, weights,
               &f16);
    first_step(&(setting){.compute = VKD_F16, .size = size}, weights, &bare);
    first_step(&(setting){.compute = VKD_BF16, .size = size}, weights, &bf16);
    print_message("          norms: f32 %g, f16 %g, without a scale %g, bf16 %g\n", (double)f32,
                  (double)f16, (double)bare, (double)bf16);
    assert_true(f32 > 0 && fabsf(f16 / f32 - 1) < 0.005f && fabsf(bf16 / f32 - 1) < 0.03f);
    /* What is left is the last bias's, which no product rounds. */
    assert_true(bare < 0.9f * f32);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_device_rounds_as_the_host_does),
        cmocka_unit_test(a_step_that_overflows_changes_no_bit_and_halves_the_scale),
        cmocka_unit_test(a_bad_sample_is_skipped_in_bf16_too),
        cmocka_unit_test(the_scale_stays_between_its_bounds),
        cmocka_unit_test(a_step_is_the_same_under_every_scale),
        cmocka_unit_test(small_gradients_need_the_scale_in_f16),
    };
    return cmocka_run_group_tests_name("precision", tests, NULL, NULL);
}
