// SPDX-License-Identifier: Apache-2.0
/* Running statistics of batch normalisation through whole runs: they follow training, are resumed,
 * saved, loaded, shared between seeds, and make a saved model answer as it did in its run. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "data/safetensors.h"
#include "support/toy.h"
#include "train/predict.h"
#include "train/session.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
    vkd_row rows[8]; /* of the run "whole" */
    uint32_t row_count;
} bench;

#define NORMS "models.teacher.norm=batchnorm", "models.student.norm=batchnorm"

static void run(bench *b, const char *const *sets, const vkd_run_desc *desc, const char *out,
                vkd_result want) {
    static const char *const norms[] = {NORMS, NULL};
    uint32_t count = 0;
    vkd_row rows[8];
    const vkd_result r =
        toy_run(b->ctx, b->device, &b->data, sets ? sets : norms, desc, out, rows, &count);
    if (r != want) fail_msg("%s", vkd_ctx_error(b->ctx));
}

static int open_bench(void **state) {
    static const char *const norms[] = {NORMS, NULL};
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    if (toy_run(b->ctx, b->device, &b->data, norms, NULL, "whole", b->rows, &b->row_count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    *state = b;
    return 0;
}

static int close_bench(void **state) {
    bench *b = *state;
    toy_term(&b->data);
    test_device_close(b->device);
    vkd_ctx_destroy(b->ctx);
    test_free(b);
    return 0;
}

static void same(const bench *b, const char *first, const char *second, const char *model) {
    char one[64], two[64];
    snprintf(one, sizeof one, "%s/%s.safetensors", first, model);
    snprintf(two, sizeof two, "%s/%s.safetensors", second, model);
    toy_same_file(toy_path(&b->data, one), toy_path(&b->data, two));
}

/* The values of a tensor of a saved model. */
static void values_of(const bench *b, const char *file, const char *name, float *out,
                      size_t count) {
    vkd__st_file *f = NULL;
    if (vkd__st_open(b->ctx, toy_path(&b->data, file), &f)) fail_msg("%s", vkd_ctx_error(b->ctx));
    const vkd__st_tensor *t = vkd__st_find(f, name);
    if (!t) fail_msg("'%s' has no '%s'", file, name);
    assert_int_equal(t->bytes, count * sizeof *out);
    memcpy(out, t->data, t->bytes);
    vkd__st_close(f);
}

static void a_saved_model_holds_statistics_that_moved(void **state) {
    const bench *b = *state;
    float mean[5], var[5];
    values_of(b, "whole/student.safetensors", "norm0.running_mean", mean, 5);
    values_of(b, "whole/student.safetensors", "norm0.running_var", var, 5);
    for (int i = 0; i < 5; i++) {
        assert_true(isfinite(mean[i]) && mean[i] != 0);
        assert_true(isfinite(var[i]) && var[i] > 0 && var[i] != 1);
    }
}

/* The batch normalisation's layer has a weight and two vectors, its statistics are no parameters.
 */
static void statistics_are_not_counted(void **state) {
    const bench *b = *state;
    assert_int_equal(b->row_count, 3);
    assert_int_equal(b->rows[2].parameters, 36 * 5 + 2 * 5 + 5 * 4 + 4);
}

static void a_saved_model_answers_as_it_did_in_its_run(void **state) {
    bench *b = *state;
    static const char *const names[] = {"teacher", "student_control", "student"};
    vkd_recipe *recipe = toy_recipe(b->ctx, &b->data, NULL);
    vkd__dataset data = {0};
    assert_int_equal(vkd__recipe_load_data(b->ctx, recipe, &data), VKD_OK);
    for (size_t i = 0; i < VKD_COUNT(names); i++) {
        char file[64];
        snprintf(file, sizeof file, "whole/%s.safetensors", names[i]);
        const vkd__predictor_desc desc = {
            .path = toy_path(&b->data, file), .input = VKD_U8, .batch = 40};
        vkd__predictor p = {0};
        if (vkd__predictor_create(b->ctx, b->device, &desc, &p))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        float logits[TOY_TEST * 4], *outs[] = {logits};
        assert_int_equal(vkd__predictor_run(&p, data.test.bytes, TOY_TEST, outs), VKD_OK);
        const uint32_t right = vkd__correct_count(logits, data.test.labels, TOY_TEST, 4);
        assert_true(fabs(b->rows[i].accuracy.mean * (double)TOY_TEST - right) < 1e-6);
        assert_int_equal(p.parameters, b->rows[i].parameters);
        vkd__predictor_destroy(&p);
    }
    assert_true(b->rows[0].accuracy.mean > 0.5);
    vkd__dataset_term(b->ctx, &data);
    vkd_recipe_destroy(recipe);
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

static void an_interrupted_run_goes_on_to_the_same_bits(void **state) {
    bench *b = *state;
    /* The phases have 30, 20 and 20 steps. */
    static const int stops[] = {1, 17, 30, 44, 50, 61};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32];
        snprintf(out, sizeof out, "stop-%d", stops[i]);
        run(b, NULL, &(vkd_run_desc){.stop = stop_at_zero, .user = &left}, out, VKD_E_INTERRUPTED);
        run(b, NULL, &(vkd_run_desc){.resume = true}, out, VKD_OK);
        same(b, "whole", out, "teacher");
        same(b, "whole", out, "student_control");
        same(b, "whole", out, "student");
    }
}

static void seeds_share_the_teachers_statistics(void **state) {
    bench *b = *state;
    const char *const second[] = {NORMS, "seed=4", NULL};
    run(b, NULL, &(vkd_run_desc){.seeds = 2}, "seeds", VKD_OK);
    same(b, "whole", "seeds/seed-3", "student");
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "whole/teacher.safetensors"));
    const char *const stage = "stages=[{name: distil, train: student, teacher: teacher, control: "
                              "true, losses: [{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, "
                              "weight: 0.1}], optimiser: {name: adamw, lr: 0.01, clip: 1}, "
                              "schedule: {name: cosine, warmup: 3}, epochs: 2, batch: 24}]";
    const char *const loaded[] = {second[0], second[1], second[2], load, stage, NULL};
    run(b, loaded, NULL, "loaded", VKD_OK);
    same(b, "loaded", "seeds/seed-4", "student");
}

static void a_control_has_statistics_of_its_own(void **state) {
    bench *b = *state;
    const char *const equal[] = {NORMS, "stages.distil.losses=[{loss: ce}]", NULL};
    run(b, equal, NULL, "equal", VKD_OK);
    size_t n = 0, m = 0;
    char *x = toy_read(toy_path(&b->data, "equal/student.safetensors"), &n);
    char *y = toy_read(toy_path(&b->data, "equal/student_control.safetensors"), &m);
    assert_int_equal(n, m);
    assert_memory_equal(x, y, n);
    test_free(x);
    test_free(y);
    float own[5], control[5];
    values_of(b, "whole/student.safetensors", "norm0.running_mean", own, 5);
    values_of(b, "whole/student_control.safetensors", "norm0.running_mean", control, 5);
    assert_memory_not_equal(own, control, sizeof own);
}

/* A live teacher normalises by its running statistics, which nothing moves. */
static void a_live_teacher_keeps_its_statistics(void **state) {
    bench *b = *state;
    const char *const live[] = {NORMS, "stages.distil.teacher_logits=live", NULL};
    run(b, live, NULL, "live", VKD_OK);
    same(b, "whole", "live", "teacher");
    float cached[5], alive[5];
    values_of(b, "whole/student.safetensors", "norm0.running_mean", cached, 5);
    values_of(b, "live/student.safetensors", "norm0.running_mean", alive, 5);
    for (int i = 0; i < 5; i++)
        assert_true(fabsf(cached[i] - alive[i]) <= 1e-3f * (1 + fabsf(cached[i])));
}

static void a_mixed_run_has_statistics_too(void **state) {
    bench *b = *state;
    const char *const mixed[] = {NORMS, "precision=mixed", NULL};
    run(b, mixed, NULL, "mixed", VKD_OK);
    float whole[5], half[5];
    values_of(b, "whole/student.safetensors", "norm0.running_mean", whole, 5);
    values_of(b, "mixed/student.safetensors", "norm0.running_mean", half, 5);
    for (int i = 0; i < 5; i++)
        assert_true(fabsf(whole[i] - half[i]) <= 0.05f * (1 + fabsf(whole[i])));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_saved_model_holds_statistics_that_moved),
        cmocka_unit_test(statistics_are_not_counted),
        cmocka_unit_test(a_saved_model_answers_as_it_did_in_its_run),
        cmocka_unit_test(an_interrupted_run_goes_on_to_the_same_bits),
        cmocka_unit_test(seeds_share_the_teachers_statistics),
        cmocka_unit_test(a_control_has_statistics_of_its_own),
        cmocka_unit_test(a_live_teacher_keeps_its_statistics),
        cmocka_unit_test(a_mixed_run_has_statistics_too),
    };
    return cmocka_run_group_tests_name("running_statistics", tests, open_bench, close_bench);
}
