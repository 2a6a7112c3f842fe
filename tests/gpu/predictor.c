// SPDX-License-Identifier: Apache-2.0
/* What the models of a run's folder say, from their files and from a checkpoint. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/look.h"

static void logits_are_those_of_eval(void **state) {
    const look_bench *b = *state;
    static const char *const models[] = {"teacher", "student", "student_control"};
    vkd_inspect *i = look_open(b, "whole");
    for (size_t k = 0; k < VKD_COUNT(models); k++) {
        char file[64];
        snprintf(file, sizeof file, "whole/%s.safetensors", models[k]);
        look_same(look_logits(b, i, models[k]), look_file_logits(b, i, file));
    }
    vkd_inspect_close(i);
}

static void slices_are_parts_of_the_whole(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    float *all = look_logits(b, i, "student"), some[56 * LOOK_CLASSES];
    vkd_predictor *p = look_predictor(b, i, "student", (vkd_predictor_desc){.batch = LOOK_BATCH});
    assert_int_equal(vkd_predictor_logits(p, LOOK_BATCH, 56, some), VKD_OK);
    assert_memory_equal(some, all + LOOK_BATCH * LOOK_CLASSES, sizeof some);
    assert_int_equal(vkd_predictor_logits(p, TOY_TEST, 0, some), VKD_OK);
    assert_int_equal(vkd_predictor_logits(p, 90, 7, some), VKD_E_ARGUMENT);
    assert_int_equal(vkd_predictor_logits(p, UINT32_MAX, 5, some), VKD_E_ARGUMENT);
    vkd_predictor_close(p);
    test_free(all);
    vkd_inspect_close(i);
}

/* A map out of the values of its tap, on the host, for samples in any order. */
static void maps_are_means_of_squares(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    static const char *const taps[] = {"stem", "stage2.out", "logits"};
    static const uint32_t sizes[] = {36, 9}, channels = 6;
    uint32_t samples[19] = {7, 95, 0, 7};
    for (uint32_t n = 4; n < 19; n++)
        samples[n] = 3 * n;
    float *values[3], *maps[2], logits[19 * LOOK_CLASSES];
    for (int k = 0; k < 2; k++) {
        values[k] = test_malloc(19 * sizes[k] * channels * sizeof(float));
        maps[k] = test_malloc(19 * sizes[k] * sizeof(float));
    }
    values[2] = test_malloc(sizeof logits);
    vkd_predictor *p = look_predictor(
        b, i, "teacher",
        (vkd_predictor_desc){
            .batch = LOOK_BATCH, .maps = taps, .map_count = 2, .taps = taps, .tap_count = 3});
    const vkd_predictor_out out = {.logits = logits, .maps = maps, .taps = values};
    if (vkd_predictor_run(p, samples, 19, &out)) fail_msg("%s", vkd_ctx_error(b->ctx));
    for (int k = 0; k < 2; k++)
        for (uint32_t at = 0; at < 19 * sizes[k]; at++) {
            double sum = 0;
            for (uint32_t c = 0; c < channels; c++)
                sum += pow((double)values[k][at * channels + c], 2) / channels;
            if (fabs((double)maps[k][at] - sum) > 1e-5 * (1e-3 + sum))
                fail_msg("%s at %u: %g, not %g", taps[k], at, (double)maps[k][at], sum);
        }
    float *all = look_logits(b, i, "teacher");
    for (uint32_t n = 0; n < 19 * LOOK_CLASSES; n++) {
        const double want =
            (double)all[samples[n / LOOK_CLASSES] * LOOK_CLASSES + n % LOOK_CLASSES];
        assert_true(fabs((double)logits[n] - want) < 1e-4 * (1 + fabs(want)));
    }
    assert_memory_equal(values[2], logits, sizeof logits);
    assert_int_equal(vkd_predictor_run(p, &(uint32_t){TOY_TEST}, 1, &out), VKD_E_ARGUMENT);
    assert_int_equal(vkd_predictor_run(p, samples, 1, &(vkd_predictor_out){0}), VKD_OK);
    vkd_predictor_close(p);
    for (int k = 0; k < 3; k++)
        test_free(values[k]);
    test_free(maps[0]);
    test_free(maps[1]);
    test_free(all);
    vkd_inspect_close(i);
}

static void what_a_model_does_not_have_is_refused(void **state) {
    const look_bench *b = *state;
    vkd_inspect *i = look_open(b, "whole");
    vkd_predictor *p = NULL;
    const char *none = "stage9.out", *row = "logits";
    const vkd_predictor_desc wrong[] = {{.model = 3},
                                        {.taps = &none, .tap_count = 1},
                                        {.maps = &none, .map_count = 1},
                                        {.maps = &row, .map_count = 1}};
    static const char *const says[] = {"model 3 of 3", "has no tap 'stage9.out'",
                                       "has no tap 'stage9.out'", "'logits' of 'teacher' is no"};
    for (size_t k = 0; k < VKD_COUNT(wrong); k++) {
        assert_int_equal(vkd_predictor_open(i, b->device, &wrong[k], &p), VKD_E_ARGUMENT);
        assert_null(p);
        assert_non_null(strstr(vkd_ctx_error(b->ctx), says[k]));
    }
    vkd_inspect_close(i);
}

/* The checkpoint after 11 steps of 30 has what a stage of 11 steps ends with. */
static void a_checkpoint_is_the_model_so_far(void **state) {
    const look_bench *b = *state;
    const char *const longer[] = {LOOK_MODELS, LOOK_NAMES,
                                  "stages=[" LOOK_TEACH("steps: 30") ", " LOOK_DISTIL "]", NULL};
    look_run_until(b, longer, (vkd_run_desc){0}, 11, "longer");
    vkd_inspect *i = look_open(b, "longer");
    const vkd_inspect_model *m = look_model(i, "teacher");
    assert_int_equal(m->source, VKD_INSPECT_CHECKPOINT);
    assert_true(m->step == 11 && strstr(m->path, "checkpoint"));
    assert_int_equal(look_model(i, "student")->source, VKD_INSPECT_NONE);
    assert_int_equal(look_model(i, "student_control")->source, VKD_INSPECT_NONE);
    look_same(look_logits(b, i, "teacher"), look_file_logits(b, i, "whole/teacher.safetensors"));
    vkd_predictor *p = NULL;
    const vkd_predictor_desc none = {.model = look_index(i, "student")};
    assert_int_equal(vkd_predictor_open(i, b->device, &none, &p), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(b->ctx), "has no parameters of 'student' yet"));
    vkd_inspect_close(i);
}

/* A stage with a moving average ends with it, under the model's own running statistics; so that is
 * what a checkpoint shows. */
static void of_an_average_the_checkpoint_shows_the_average(void **state) {
    const look_bench *b = *state;
    const char *const shorter[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("steps: 11, ema: 0.7") "]",
                                   NULL};
    const char *const longer[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("steps: 30, ema: 0.7") "]",
                                  NULL};
    look_run(b, shorter, NULL, "ema", VKD_OK);
    look_run_until(b, longer, (vkd_run_desc){0}, 11, "ema_longer");
    vkd_inspect *i = look_open(b, "ema_longer");
    float *plain = look_file_logits(b, i, "whole/teacher.safetensors");
    float *average = look_file_logits(b, i, "ema/teacher.safetensors");
    assert_memory_not_equal(plain, average, TOY_TEST * LOOK_CLASSES * sizeof *plain);
    test_free(plain);
    look_same(look_logits(b, i, "teacher"), average);
    vkd_inspect_close(i);
}

static void a_loaded_teacher_is_that_of_its_file(void **state) {
    const look_bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "whole/teacher.safetensors"));
    const char *const sets[] = {LOOK_MODELS, LOOK_NAMES, "stages=[" LOOK_DISTIL "]", load, NULL};
    look_run_until(b, sets, (vkd_run_desc){0}, 3, "loaded");
    vkd_inspect *i = look_open(b, "loaded");
    assert_int_equal(look_model(i, "teacher")->source, VKD_INSPECT_LOADED);
    look_same(look_logits(b, i, "teacher"), look_file_logits(b, i, "whole/teacher.safetensors"));
    vkd_inspect_close(i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(logits_are_those_of_eval),
        cmocka_unit_test(slices_are_parts_of_the_whole),
        cmocka_unit_test(maps_are_means_of_squares),
        cmocka_unit_test(what_a_model_does_not_have_is_refused),
        cmocka_unit_test(a_checkpoint_is_the_model_so_far),
        cmocka_unit_test(of_an_average_the_checkpoint_shows_the_average),
        cmocka_unit_test(a_loaded_teacher_is_that_of_its_file),
    };
    return cmocka_run_group_tests(tests, look_setup, look_teardown);
}
