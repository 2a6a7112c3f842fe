// SPDX-License-Identifier: Apache-2.0
/* Losses over the relations between samples on a device, in both kernel variants, at the sizes of
 * real batches and banks: what no rotation, shift or scale may change, that near things do not
 * cancel, and what contrast keeps from step to step. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/philox.h"
#include "support/gpu.h"

enum { N = 66, D = 20, E = 12 };

typedef vkd_tensor (*relation)(vkd_graph *g, vkd_tensor student, vkd_tensor teacher);

static void fill(float *x, size_t count, uint32_t stream) {
    for (size_t i = 0; i < count; i++)
        x[i] = 2 * vkd__philox_uniform(vkd__philox_at(5, stream, 0, (uint32_t)i).v[0]) - 1;
}

static vkd_profile variant(const gpu_fixture *f, bool direct) {
    vkd_profile p = *vkd_device_profile(f->device);
    p.direct = direct;
    return p;
}

static vkd_program *program_with(gpu_fixture *f, bool direct) {
    const vkd_profile profile = variant(f, direct);
    vkd_plan *plan = NULL;
    if (vkd_plan_create(f->g, &profile, &plan)) fail_msg("%s", vkd_ctx_error(f->ctx));
    return gpu_program_of(f, plan);
}

/* One loss of N rows; ds gets the gradient where it is not NULL. */
static float value_of(relation loss_of, const float *s, const float *t, bool direct, float *ds) {
    gpu_fixture f = gpu_setup();
    const vkd_tensor student = vkd_param(f.g, "net.s", VKD_SHAPE(N, D), NULL);
    const vkd_tensor teacher = vkd_input(f.g, "t", VKD_F32, VKD_SHAPE(N, E));
    const vkd_tensor loss = loss_of(f.g, student, teacher);
    vkd_tensor gradient = {0};
    vkd_backward(f.g, loss, &student, 1, &gradient);
    vkd_output(f.g, "loss", loss);
    vkd_output(f.g, "ds", gradient);
    assert_int_equal(vkd_store_write(f.store, "net.s", s, N * D * sizeof *s), VKD_OK);
    vkd_program *p = program_with(&f, direct);
    memcpy(vkd_program_input(p, "t"), t, N * E * sizeof *t);
    const uint64_t ticket = gpu_step(&f, p);
    const float value = *(const float *)vkd_program_output(p, ticket, "loss", NULL);
    if (ds) memcpy(ds, vkd_program_output(p, ticket, "ds", NULL), N * D * sizeof *ds);
    vkd_program_destroy(p);
    gpu_teardown(&f);
    return value;
}

static void rotate(float *x) {
    for (size_t n = 0; n < N; n++)
        for (size_t plane = 0; plane + 1 < D; plane++) {
            float *a = x + n * D + plane, *b = a + 1;
            const float c = cosf(0.7f), s = sinf(0.7f), turned = c * *a - s * *b;
            *b = s * *a + c * *b;
            *a = turned;
        }
}

static void same(float got, float want, float bound) {
    if (!(fabsf(got - want) <= bound * fabsf(want)))
        fail_msg("%.9g should be %.9g", (double)got, (double)want);
}

static void check_invariance(relation loss_of, bool direct) {
    static float s[N * D], t[N * E], plain_ds[N * D], ds[N * D];
    fill(s, N * D, 1);
    fill(t, N * E, 2);
    const float plain = value_of(loss_of, s, t, direct, plain_ds);
    assert_true(plain > 1e-3f);
    /* The gradient neither moves, nor scales. */
    for (size_t d = 0; d < D; d++) {
        float along = 0;
        for (size_t n = 0; n < N; n++)
            along += plain_ds[n * D + d];
        assert_true(fabsf(along) < 1e-7f);
    }
    float outward = 0;
    for (size_t i = 0; i < N * D; i++)
        outward += plain_ds[i] * s[i];
    assert_true(fabsf(outward) < 1e-6f);
    for (size_t i = 0; i < N * D; i++)
        s[i] *= 8;
    same(value_of(loss_of, s, t, direct, ds), plain, 1e-6f);
    for (size_t i = 0; i < N * D; i++)
        assert_true(fabsf(8 * ds[i] - plain_ds[i]) < 1e-7f);
    rotate(s);
    same(value_of(loss_of, s, t, direct, NULL), plain, 3e-6f);
    /* A shift of 64 leaves 2^-18 of a number of size 8. */
    for (size_t i = 0; i < N * D; i++)
        s[i] += 64;
    same(value_of(loss_of, s, t, direct, NULL), plain, 3e-6f);
}

static void relations_survive_scale_rotation_and_shift(void **state) {
    (void)state;
    for (int direct = 0; direct < 2; direct++) {
        check_invariance(vkd_rkd_distance, direct);
        check_invariance(vkd_rkd_angle, direct);
    }
}

/* Half of the rows lie within a thousandth of one another: their angles and distances are as good
 * as the others', since distances are taken of differences. In double precision the same sums. */
static double angle_loss(const float *s, const float *t) {
    static double A[2][N][N];
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++) {
            A[0][i][j] = A[1][i][j] = 0;
            for (size_t d = 0; d < D; d++)
                A[0][i][j] += pow((double)s[i * D + d] - (double)s[j * D + d], 2);
            for (size_t d = 0; d < E; d++)
                A[1][i][j] += pow((double)t[i * E + d] - (double)t[j * E + d], 2);
        }
    double sum = 0;
    for (size_t i = 0; i < N; i++)
        for (size_t j = 0; j < N; j++)
            for (size_t k = 0; k < N; k++) {
                double e = 0;
                for (int side = 0; side < 2 && i != j && i != k; side++)
                    e += (side ? -1 : 1) * (A[side][i][j] + A[side][i][k] - A[side][j][k]) /
                         (2 * sqrt(A[side][i][j] * A[side][i][k]));
                sum += fabs(e) <= 1 ? e * e / 2 : fabs(e) - 0.5;
            }
    return sum / (double)(N * N * N);
}

static void angles_of_near_rows_do_not_cancel(void **state) {
    (void)state;
    static float s[N * D], t[N * E];
    fill(s, N * D, 1);
    fill(t, N * E, 2);
    for (size_t n = 0; n < N; n += 2)
        for (size_t d = 0; d < D; d++)
            s[n * D + d] = 0.75f + 1e-3f * s[n * D + d];
    const float want = (float)angle_loss(s, t);
    for (int direct = 0; direct < 2; direct++)
        same(value_of(vkd_rkd_angle, s, t, direct, NULL), want, 1e-5f);
}

static vkd_tensor triplets_of_student(vkd_graph *g, vkd_tensor student, vkd_tensor teacher) {
    return vkd_triplet(g, student, vkd_argmax(g, teacher), 0.2f); /* E classes */
}

static void a_nan_shows_in_the_loss(void **state) {
    (void)state;
    static float s[N * D], t[N * E];
    fill(s, N * D, 1);
    fill(t, N * E, 2);
    s[7 * D + 3] = (float)NAN;
    for (int direct = 0; direct < 2; direct++) {
        assert_true(isnan(value_of(vkd_rkd_distance, s, t, direct, NULL)));
        assert_true(isnan(value_of(vkd_rkd_angle, s, t, direct, NULL)));
        assert_true(isnan(value_of(triplets_of_student, s, t, direct, NULL)));
    }
}

/* ---- Contrast ---- */

enum { BATCH = 24, DIM = 64, BANK = 500, CLASSES = 5, K = 300 };

/* A loss of one side against the bank, which then moves, for a few steps; the bank in the end. */
typedef struct contrast {
    float losses[4], constants[4], bank[BANK * DIM], dv[BATCH * DIM];
} contrast;

static void run_contrast(contrast *out, bool direct, float decay) {
    gpu_fixture f = gpu_setup();
    static float bank[BANK * DIM];
    int32_t table[BANK], starts[CLASSES + 1];
    fill(bank, BANK * DIM, 3);
    for (int32_t c = 0, at = 0; c <= CLASSES; c++) {
        starts[c] = at;
        for (int32_t i = c; c < CLASSES && i < BANK; i += CLASSES)
            table[at++] = i;
    }
    const vkd_init normal = {.kind = VKD_INIT_NORMAL, .value = 1};
    const vkd_tensor x = vkd_param(f.g, "net.x", VKD_SHAPE(BATCH, DIM), &normal);
    const vkd_tensor v = vkd_l2_normalize(f.g, x, 1e-12f);
    const vkd_tensor b = vkd_state(f.g, "bank", VKD_F32, VKD_SHAPE(BANK, DIM));
    const vkd_tensor z = vkd_state(f.g, "constant", VKD_F32, VKD_SHAPE(1));
    const vkd_tensor samples = vkd_input(f.g, "samples", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor labels = vkd_input(f.g, "labels", VKD_I32, VKD_SHAPE(BATCH));
    const vkd_tensor choices = vkd_negatives(
        f.g, vkd_state(f.g, "table", VKD_I32, VKD_SHAPE(BANK)),
        vkd_state(f.g, "starts", VKD_I32, VKD_SHAPE(CLASSES + 1)), samples, labels, K, "draw");
    const vkd_bank_nce_desc desc = {.decay = decay};
    const vkd_tensor loss = vkd_bank_nce(f.g, v, b, choices, z, &desc);
    vkd_bank_update(f.g, b, vkd_stop_gradient(f.g, v), samples, 0.5f);
    vkd_tensor dx = {0};
    /* The weight is made after the bank has moved: the gradient is of the bank before. */
    const vkd_tensor late = vkd_sum(f.g, vkd_scale(f.g, v, 0), VKD_ALL_AXES, false);
    const vkd_tensor total = vkd_mul(f.g, loss, vkd_add(f.g, late, vkd_constant(f.g, 1)));
    vkd_backward(f.g, total, &v, 1, &dx);
    vkd_output(f.g, "loss", loss);
    vkd_output(f.g, "dv", dx);
    assert_int_equal(vkd_store_write(f.store, "bank", bank, sizeof bank), VKD_OK);
    assert_int_equal(vkd_store_write(f.store, "table", table, sizeof table), VKD_OK);
    assert_int_equal(vkd_store_write(f.store, "starts", starts, sizeof starts), VKD_OK);
    vkd_program *p = program_with(&f, direct);
    for (int step = 0; step < 4; step++) {
        int32_t *who = vkd_program_input(p, "samples"), *what = vkd_program_input(p, "labels");
        for (int32_t n = 0; n < BATCH; n++) {
            who[n] = (step * 40 + 7 * n) % BANK;
            what[n] = who[n] % CLASSES;
        }
        const uint64_t ticket = gpu_step(&f, p);
        out->losses[step] = *(const float *)vkd_program_output(p, ticket, "loss", NULL);
        if (step == 3) memcpy(out->dv, vkd_program_output(p, ticket, "dv", NULL), sizeof out->dv);
        assert_int_equal(vkd_store_read(f.store, "constant", &out->constants[step], 4), VKD_OK);
    }
    assert_int_equal(vkd_store_read(f.store, "bank", out->bank, sizeof out->bank), VKD_OK);
    vkd_program_destroy(p);
    gpu_teardown(&f);
}

static void contrast_repeats_bit_for_bit(void **state) {
    (void)state;
    static contrast a, b;
    for (int direct = 0; direct < 2; direct++) {
        run_contrast(&a, direct, 0);
        run_contrast(&b, direct, 0);
        assert_memory_equal(&a, &b, sizeof a);
    }
}

static void a_constant_stays_or_follows(void **state) {
    (void)state;
    static contrast once, ema;
    for (int direct = 0; direct < 2; direct++) {
        run_contrast(&once, direct, 0);
        run_contrast(&ema, direct, 0.9f);
        assert_true(once.constants[0] > 0);
        for (int step = 1; step < 4; step++) {
            assert_true(once.constants[step] == once.constants[0]);
            assert_true(ema.constants[step] != ema.constants[step - 1]);
        }
        assert_true(once.losses[0] == ema.losses[0] && once.losses[3] != ema.losses[3]);
    }
}

static void touched_rows_of_the_bank_have_unit_length(void **state) {
    (void)state;
    static contrast c;
    static float before[BANK * DIM];
    fill(before, BANK * DIM, 3);
    run_contrast(&c, true, 0);
    uint32_t touched = 0;
    for (size_t i = 0; i < BANK; i++) {
        float sum = 0;
        for (size_t d = 0; d < DIM; d++)
            sum += c.bank[i * DIM + d] * c.bank[i * DIM + d];
        if (!memcmp(&c.bank[i * DIM], &before[i * DIM], DIM * sizeof(float))) continue;
        same(sum, 1, 1e-6f);
        touched++;
    }
    assert_int_equal(touched, 4 * BATCH);
}

/* dv in both variants is one and the same, although the bank has moved since the score: and not
 * that of the moved bank, in which the positive of each row lies nearer. */
static void the_gradient_is_of_the_bank_that_was_scored(void **state) {
    (void)state;
    static contrast tile, direct;
    run_contrast(&tile, false, 0);
    run_contrast(&direct, true, 0);
    float largest = 0;
    for (size_t i = 0; i < BATCH * DIM; i++)
        largest = fmaxf(largest, fabsf(tile.dv[i]));
    for (size_t i = 0; i < BATCH * DIM; i++)
        assert_true(fabsf(tile.dv[i] - direct.dv[i]) < 1e-4f * largest);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(relations_survive_scale_rotation_and_shift),
        cmocka_unit_test(angles_of_near_rows_do_not_cancel),
        cmocka_unit_test(a_nan_shows_in_the_loss),
        cmocka_unit_test(contrast_repeats_bit_for_bit),
        cmocka_unit_test(a_constant_stays_or_follows),
        cmocka_unit_test(touched_rows_of_the_bank_have_unit_length),
        cmocka_unit_test(the_gradient_is_of_the_bank_that_was_scored),
    };
    return cmocka_run_group_tests_name("relations", tests, NULL, NULL);
}
