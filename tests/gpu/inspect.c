// SPDX-License-Identifier: Apache-2.0
/* A run's folder as a viewer opens it: what it says of itself, and what its models say. */
#include "vkdistill/inspect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"
#include "support/data.h"
#include "support/toy.h"
#include "train/predict.h"

enum { CLASSES = 4, BATCH = 40 };

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
    uint32_t warnings;
} bench;

/* Convolutions with batchnorm: their weights have another order in a model's file than in a
 * checkpoint, and there are buffers. `teach` has no schedule, so that one of fewer steps is the
 * beginning of one of more. */
#define MODELS                                                                                     \
    "models={teacher: {arch: plain_cnn, depth: 2, width: 6}, student: {arch: plain_cnn, depth: "   \
    "2, width: 3}}"
#define TEACH(rest)                                                                                \
    "{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: 0.1, "         \
    "momentum: 0.9}, batch: 24, " rest "}"
#define DISTIL                                                                                     \
    "{name: distil, train: student, teacher: teacher, control: true, losses: [{loss: kd_kl, "      \
    "weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}, {loss: at, name: maps, weight: 10, taps: "     \
    "[stage1.out, {student: stage1.out, teacher: stage2.out}]}], optimiser: {name: sgd, lr: "      \
    "0.05}, steps: 12, batch: 24}"
#define NAMES "data.classes=[ankle boot, bag, coat, dress]"
static const char *const whole[] = {MODELS, NAMES, "stages=[" TEACH("steps: 11") ", " DISTIL "]",
                                    NULL};

static void on_log(void *user, vkd_log_level level, const char *message) {
    bench *b = user;
    b->warnings += level == VKD_LOG_WARNING;
    if (getenv("VKD_TEST_VERBOSE")) print_message("%s\n", message);
}

static void run(const bench *b, const char *const *sets, const vkd_run_desc *desc, const char *out,
                vkd_result want) {
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, sets, desc, out, NULL, NULL);
    if (r != want) fail_msg("%s: %d, %s", out, (int)r, vkd_ctx_error(b->ctx));
}

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = on_log, .user = b}, &b->ctx), VKD_OK);
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    run(b, whole, NULL, "whole", VKD_OK);
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

/* ---- Steps that the tests share ---- */

static vkd_inspect *open_run(const bench *b, const char *name) {
    vkd_inspect *i = NULL;
    if (vkd_inspect_open(b->ctx, toy_path(&b->data, name), &i))
        fail_msg("%s: %s", name, vkd_ctx_error(b->ctx));
    return i;
}

static uint32_t index_of(const vkd_inspect *i, const char *name) {
    const vkd_inspect_info *info = vkd_inspect_get(i);
    for (uint32_t k = 0; k < info->model_count; k++)
        if (!strcmp(info->models[k].name, name)) return k;
    fail_msg("there is no model '%s'", name);
    return 0;
}

static const vkd_inspect_model *model_of(const vkd_inspect *i, const char *name) {
    return &vkd_inspect_get(i)->models[index_of(i, name)];
}

static vkd_predictor *predictor(const bench *b, vkd_inspect *i, const char *model,
                                vkd_predictor_desc desc) {
    vkd_predictor *p = NULL;
    desc.model = index_of(i, model);
    if (vkd_predictor_open(i, b->device, &desc, &p)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return p;
}

/* All logits of a model, through inspect. */
static float *logits_of(const bench *b, vkd_inspect *i, const char *model) {
    float *logits = test_malloc(TOY_TEST * CLASSES * sizeof *logits);
    vkd_predictor *p = predictor(b, i, model, (vkd_predictor_desc){.batch = BATCH});
    if (vkd_predictor_logits(p, 0, TOY_TEST, logits)) fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_true(vkd_predictor_version(p) == model_of(i, model)->version);
    vkd_predictor_close(p);
    return logits;
}

/* The same as the command eval computes them, from a model's file alone. */
static float *logits_of_file(const bench *b, const vkd_inspect *i, const char *file) {
    float *logits = test_malloc(TOY_TEST * CLASSES * sizeof *logits);
    vkd__predictor p;
    if (vkd__predictor_create(b->ctx, b->device,
                              &(vkd__predictor_desc){.path = toy_path(&b->data, file),
                                                     .input = VKD_U8,
                                                     .batch = BATCH},
                              &p) ||
        vkd__predictor_run(&p, vkd_inspect_get(i)->pixels, TOY_TEST, &logits))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    vkd__predictor_destroy(&p);
    return logits;
}

static void same(float *got, float *want) {
    assert_memory_equal(got, want, TOY_TEST * CLASSES * sizeof *got);
    test_free(got);
    test_free(want);
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* Runs until so many steps are done, and leaves a checkpoint. */
static void run_until(const bench *b, const char *const *sets, vkd_run_desc desc, int steps,
                      const char *out) {
    int left = steps;
    desc.stop = stop_at_zero;
    desc.user = &left;
    run(b, sets, &desc, out, VKD_E_INTERRUPTED);
}

/* ---- What a folder says ---- */

static void the_data_is_the_test_split(void **state) {
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_string_equal(info->folder, toy_path(&b->data, "whole"));
    assert_string_equal(info->recipe, "toy");
    assert_int_equal(info->seed, 3);
    assert_int_equal(info->seed_count, 0);
    assert_int_equal(info->tests, TOY_TEST);
    assert_int_equal(info->classes, CLASSES);
    assert_string_equal(info->class_names[3], "dress");
    assert_true(info->images && info->height == 6 && info->width == 6 && info->channels == 1);
    size_t size = 0;
    char *images = toy_read(toy_path(&b->data, "t10k-images-idx3-ubyte"), &size);
    assert_memory_equal(info->pixels, images + 16, TOY_TEST * 36);
    test_free(images);
    char *labels = toy_read(toy_path(&b->data, "t10k-labels-idx1-ubyte"), &size);
    for (int n = 0; n < TOY_TEST; n++)
        assert_int_equal(info->labels[n], labels[8 + n]);
    test_free(labels);
    vkd_inspect_close(i);
}

static void the_models_have_their_roles(void **state) {
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    static const struct {
        const char *name, *model;
        bool teaches, taught, control;
        uint64_t parameters;
    } want[] = {
        {"teacher", "teacher", true, false, false, 6 * 9 + 12 + 6 * 6 * 9 + 12 + 4 * 6 + 4},
        {"student", "student", false, true, false, 3 * 9 + 6 + 3 * 3 * 9 + 6 + 4 * 3 + 4},
        {"student_control", "student", false, false, true, 3 * 9 + 6 + 3 * 3 * 9 + 6 + 4 * 3 + 4},
    };
    assert_int_equal(info->model_count, VKD_COUNT(want));
    for (size_t k = 0; k < VKD_COUNT(want); k++) {
        const vkd_inspect_model *m = &info->models[k];
        assert_string_equal(m->name, want[k].name);
        assert_string_equal(m->model, want[k].model);
        assert_string_equal(m->arch, "plain_cnn");
        assert_int_equal(m->teaches, want[k].teaches);
        assert_int_equal(m->taught, want[k].taught);
        assert_int_equal(m->control, want[k].control);
        assert_int_equal(m->parameters, want[k].parameters);
        assert_int_equal(m->source, VKD_INSPECT_FILE);
        assert_true(vkd__file_exists(m->path) && strstr(m->path, want[k].name) && m->version);
        const vkd_shape first = m->taps[0].shape, last = m->taps[m->tap_count - 1].shape;
        assert_string_equal(m->taps[0].name, "stem");
        assert_true(first.axes == 3 && first.dim[0] == 6 && first.dim[2] == (k ? 3 : 6));
        assert_string_equal(m->taps[m->tap_count - 1].name, "logits");
        assert_true(last.axes == 1 && last.dim[0] == CLASSES);
    }
    vkd_inspect_close(i);
}

static void the_stages_have_their_losses(void **state) {
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_int_equal(info->stage_count, 3);
    assert_int_equal(info->stages[0].model, index_of(i, "teacher"));
    assert_int_equal(info->stages[0].teacher_count, 0);
    assert_true(isnan(info->stages[0].terms[0].tau));
    const vkd_inspect_stage *control = &info->stages[1], *s = &info->stages[2];
    assert_int_equal(control->model, index_of(i, "student_control"));
    assert_int_equal(control->term_count, 1);
    assert_true(control->terms[0].weight == 1 && !control->teacher_count);
    assert_string_equal(s->name, "distil");
    assert_int_equal(s->model, index_of(i, "student"));
    assert_int_equal(s->teacher_count, 1);
    assert_true(s->teachers[0].model == index_of(i, "teacher") && s->teachers[0].share == 1);
    assert_int_equal(s->term_count, 3);
    assert_string_equal(s->terms[0].loss, "kd_kl");
    assert_true(s->terms[0].tau == 3 && s->terms[0].weight == 0.9f);
    assert_true(s->terms[0].tau_low < 1 && s->terms[0].tau_high >= 50);
    assert_int_equal(s->terms[0].pair_count, 0);
    assert_string_equal(s->terms[2].name, "maps");
    assert_string_equal(s->terms[2].loss, "at");
    assert_int_equal(s->terms[2].pair_count, 2);
    assert_string_equal(s->terms[2].pairs[0].teacher, "stage1.out");
    assert_string_equal(s->terms[2].pairs[1].student, "stage1.out");
    assert_string_equal(s->terms[2].pairs[1].teacher, "stage2.out");
    assert_int_equal(s->terms[2].pairs[1].teacher_model, index_of(i, "teacher"));
    vkd_inspect_close(i);
}

static void one_of_several_teachers_is_named(void **state) {
    const bench *b = *state;
    char models[900];
    const char *file = toy_path(&b->data, "whole/teacher.safetensors");
    snprintf(models, sizeof models,
             "models={a: {arch: plain_cnn, depth: 2, width: 6, load: %s}, b: {arch: plain_cnn, "
             "depth: 2, width: 6, load: %s}, student: {arch: plain_cnn, depth: 2, width: 3}}",
             file, file);
    const char *const sets[] = {
        models, NAMES,
        "stages=[{name: s, train: student, teachers: [{model: a, weight: 1}, {model: b, weight: "
        "3}], combine: logits, losses: [{loss: kd_kl}, {loss: at, weight: 1, taps: [{student: "
        "stem, teacher: 'b:stem'}]}], optimiser: {name: sgd}, steps: 1, batch: 24}]",
        NULL};
    run(b, sets, NULL, "two", VKD_OK);
    vkd_inspect *i = open_run(b, "two");
    const vkd_inspect_stage *s = &vkd_inspect_get(i)->stages[0];
    assert_int_equal(s->teacher_count, 2);
    assert_true(s->combine_logits && s->teachers[1].share == 0.75f);
    assert_string_equal(s->terms[1].pairs[0].teacher, "stem");
    assert_int_equal(s->terms[1].pairs[0].teacher_model, index_of(i, "b"));
    vkd_inspect_close(i);
}

/* ---- What its models say ---- */

static void logits_are_those_of_eval(void **state) {
    const bench *b = *state;
    static const char *const models[] = {"teacher", "student", "student_control"};
    vkd_inspect *i = open_run(b, "whole");
    for (size_t k = 0; k < VKD_COUNT(models); k++) {
        char file[64];
        snprintf(file, sizeof file, "whole/%s.safetensors", models[k]);
        same(logits_of(b, i, models[k]), logits_of_file(b, i, file));
    }
    vkd_inspect_close(i);
}

static void slices_are_parts_of_the_whole(void **state) {
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
    float *all = logits_of(b, i, "student"), some[56 * CLASSES];
    vkd_predictor *p = predictor(b, i, "student", (vkd_predictor_desc){.batch = BATCH});
    assert_int_equal(vkd_predictor_logits(p, BATCH, 56, some), VKD_OK);
    assert_memory_equal(some, all + BATCH * CLASSES, sizeof some);
    assert_int_equal(vkd_predictor_logits(p, TOY_TEST, 0, some), VKD_OK);
    assert_int_equal(vkd_predictor_logits(p, 90, 7, some), VKD_E_ARGUMENT);
    assert_int_equal(vkd_predictor_logits(p, UINT32_MAX, 5, some), VKD_E_ARGUMENT);
    vkd_predictor_close(p);
    test_free(all);
    vkd_inspect_close(i);
}

/* A map out of the values of its tap, on the host, for samples in any order. */
static void maps_are_means_of_squares(void **state) {
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
    static const char *const taps[] = {"stem", "stage2.out", "logits"};
    static const uint32_t sizes[] = {36, 9}, channels = 6;
    uint32_t samples[19] = {7, 95, 0, 7};
    for (uint32_t n = 4; n < 19; n++)
        samples[n] = 3 * n;
    float *values[3], *maps[2], logits[19 * CLASSES];
    for (int k = 0; k < 2; k++) {
        values[k] = test_malloc(19 * sizes[k] * channels * sizeof(float));
        maps[k] = test_malloc(19 * sizes[k] * sizeof(float));
    }
    values[2] = test_malloc(sizeof logits);
    vkd_predictor *p =
        predictor(b, i, "teacher",
                  (vkd_predictor_desc){
                      .batch = BATCH, .maps = taps, .map_count = 2, .taps = taps, .tap_count = 3});
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
    float *all = logits_of(b, i, "teacher");
    for (uint32_t n = 0; n < 19 * CLASSES; n++) {
        const double want = (double)all[samples[n / CLASSES] * CLASSES + n % CLASSES];
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
    const bench *b = *state;
    vkd_inspect *i = open_run(b, "whole");
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

/* ---- A run under way ---- */

/* The checkpoint after 11 steps of 30 has what a stage of 11 steps ends with. */
static void a_checkpoint_is_the_model_so_far(void **state) {
    const bench *b = *state;
    const char *const longer[] = {MODELS, NAMES, "stages=[" TEACH("steps: 30") ", " DISTIL "]",
                                  NULL};
    run_until(b, longer, (vkd_run_desc){0}, 11, "longer");
    vkd_inspect *i = open_run(b, "longer");
    const vkd_inspect_model *m = model_of(i, "teacher");
    assert_int_equal(m->source, VKD_INSPECT_CHECKPOINT);
    assert_true(m->step == 11 && strstr(m->path, "checkpoint"));
    assert_int_equal(model_of(i, "student")->source, VKD_INSPECT_NONE);
    assert_int_equal(model_of(i, "student_control")->source, VKD_INSPECT_NONE);
    same(logits_of(b, i, "teacher"), logits_of_file(b, i, "whole/teacher.safetensors"));
    vkd_predictor *p = NULL;
    const vkd_predictor_desc none = {.model = index_of(i, "student")};
    assert_int_equal(vkd_predictor_open(i, b->device, &none, &p), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(b->ctx), "has no parameters of 'student' yet"));
    vkd_inspect_close(i);
}

/* A stage with a moving average ends with it, under the model's own running statistics; so that is
 * what a checkpoint shows. */
static void of_an_average_the_checkpoint_shows_the_average(void **state) {
    const bench *b = *state;
    const char *const shorter[] = {MODELS, "stages=[" TEACH("steps: 11, ema: 0.7") "]", NULL};
    const char *const longer[] = {MODELS, "stages=[" TEACH("steps: 30, ema: 0.7") "]", NULL};
    run(b, shorter, NULL, "ema", VKD_OK);
    run_until(b, longer, (vkd_run_desc){0}, 11, "ema_longer");
    vkd_inspect *i = open_run(b, "ema_longer");
    float *plain = logits_of_file(b, i, "whole/teacher.safetensors");
    float *average = logits_of_file(b, i, "ema/teacher.safetensors");
    assert_memory_not_equal(plain, average, TOY_TEST * CLASSES * sizeof *plain);
    test_free(plain);
    same(logits_of(b, i, "teacher"), average);
    vkd_inspect_close(i);
}

static vkd_inspect_news news_of(const bench *b, vkd_inspect *i) {
    vkd_inspect_news news = VKD_INSPECT_ANOTHER;
    if (vkd_inspect_refresh(i, &news)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return news;
}

/* The predictor keeps the parameters that it was opened with. */
static void a_run_is_followed(void **state) {
    const bench *b = *state;
    run_until(b, whole, (vkd_run_desc){0}, 5, "grows");
    vkd_inspect *i = open_run(b, "grows");
    float before[TOY_TEST * CLASSES], after[TOY_TEST * CLASSES];
    vkd_predictor *p = predictor(b, i, "teacher", (vkd_predictor_desc){0});
    assert_int_equal(vkd_predictor_logits(p, 0, TOY_TEST, before), VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_SAME);
    run_until(b, whole, (vkd_run_desc){.resume = true}, 4, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(news_of(b, i), VKD_INSPECT_SAME);
    assert_int_equal(model_of(i, "teacher")->step, 9);
    assert_true(model_of(i, "teacher")->version != vkd_predictor_version(p));
    uint32_t number = 3;
    float few[CLASSES];
    assert_int_equal(vkd_predictor_run(p, &number, 1, &(vkd_predictor_out){.logits = few}), VKD_OK);
    for (int k = 0; k < CLASSES; k++)
        assert_true(fabsf(few[k] - before[3 * CLASSES + k]) < 1e-4f * (1 + fabsf(few[k])));
    assert_int_equal(vkd_predictor_logits(p, 0, TOY_TEST, after), VKD_OK);
    assert_memory_equal(after, before, sizeof after);
    vkd_predictor_close(p);

    run_until(b, whole, (vkd_run_desc){.resume = true}, 2 + 12 + 3, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_FILE);
    assert_int_equal(model_of(i, "student_control")->source, VKD_INSPECT_FILE);
    assert_int_equal(model_of(i, "student")->source, VKD_INSPECT_CHECKPOINT);
    assert_int_equal(model_of(i, "student")->step, 3);
    same(logits_of(b, i, "teacher"), logits_of_file(b, i, "whole/teacher.safetensors"));
    run(b, whole, &(vkd_run_desc){.resume = true}, "grows", VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    same(logits_of(b, i, "student"), logits_of_file(b, i, "whole/student.safetensors"));

    /* Started over: the old files are not those of this run. */
    run_until(b, whole, (vkd_run_desc){.force = true}, 2, "grows");
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_CHECKPOINT);
    assert_int_equal(model_of(i, "student")->source, VKD_INSPECT_NONE);
    assert_int_equal(unlink(toy_path(&b->data, "grows/checkpoint.safetensors")), 0);
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_NONE);
    /* With another recipe: another run. */
    const char *const other[] = {MODELS, "stages=[" TEACH("steps: 3") "]", NULL};
    run(b, other, &(vkd_run_desc){.force = true}, "grows", VKD_OK);
    assert_int_equal(news_of(b, i), VKD_INSPECT_ANOTHER);
    vkd_inspect_close(i);
}

typedef struct looker {
    const bench *b;
    vkd_inspect *i;
    bool looked;
} looker;

/* At the fourth step of the control the newest checkpoint is the one of the teacher's end. */
static void look(void *user, const vkd_progress *p) {
    looker *l = user;
    if (strcmp(p->phase, "student_control") != 0 || p->step != 4) return;
    l->i = open_run(l->b, "looked");
    assert_int_equal(model_of(l->i, "teacher")->source, VKD_INSPECT_FILE);
    assert_int_equal(model_of(l->i, "student_control")->source, VKD_INSPECT_NONE);
    same(logits_of(l->b, l->i, "teacher"), logits_of_file(l->b, l->i, "whole/teacher.safetensors"));
    vkd_inspect_close(l->i);
    l->looked = true;
}

static void a_run_is_looked_at_while_it_trains(void **state) {
    const bench *b = *state;
    looker l = {.b = b};
    run(b, whole, &(vkd_run_desc){.progress = look, .user = &l}, "looked", VKD_OK);
    assert_true(l.looked);
    toy_same_file(toy_path(&b->data, "looked/student.safetensors"),
                  toy_path(&b->data, "whole/student.safetensors"));
}

/* Files alone are enough: someone may have thrown the checkpoint away. */
static void a_finished_run_needs_no_checkpoint(void **state) {
    const bench *b = *state;
    run(b, whole, NULL, "bare", VKD_OK);
    assert_int_equal(unlink(toy_path(&b->data, "bare/checkpoint.safetensors")), 0);
    vkd_inspect *i = open_run(b, "bare");
    assert_int_equal(model_of(i, "student")->source, VKD_INSPECT_FILE);
    same(logits_of(b, i, "student"), logits_of_file(b, i, "whole/student.safetensors"));
    vkd_inspect_close(i);
}

static void a_loaded_teacher_is_that_of_its_file(void **state) {
    const bench *b = *state;
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "whole/teacher.safetensors"));
    const char *const sets[] = {MODELS, NAMES, "stages=[" DISTIL "]", load, NULL};
    run_until(b, sets, (vkd_run_desc){0}, 3, "loaded");
    vkd_inspect *i = open_run(b, "loaded");
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_LOADED);
    same(logits_of(b, i, "teacher"), logits_of_file(b, i, "whole/teacher.safetensors"));
    vkd_inspect_close(i);
}

static void of_several_seeds_the_newest_is_opened(void **state) {
    const bench *b = *state;
    run(b, whole, &(vkd_run_desc){.seeds = 2}, "seeds", VKD_OK);
    vkd_inspect *i = open_run(b, "seeds/");
    const vkd_inspect_info *info = vkd_inspect_get(i);
    assert_int_equal(info->seed_count, 2);
    assert_string_equal(info->folder, toy_path(&b->data, "seeds/seed-4"));
    assert_string_equal(info->seeds[0], toy_path(&b->data, "seeds/seed-3"));
    assert_int_equal(info->seed, 4);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_OTHER_SEED);
    assert_int_equal(model_of(i, "student")->source, VKD_INSPECT_FILE);
    same(logits_of(b, i, "teacher"), logits_of_file(b, i, "seeds/seed-3/teacher.safetensors"));
    vkd_inspect_close(i);
    i = open_run(b, "seeds/seed-3");
    assert_int_equal(vkd_inspect_get(i)->seed_count, 2);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_FILE);
    vkd_inspect_close(i);
}

/* ---- What is no run, or damaged ---- */

static void refused(const bench *b, const char *path, vkd_result want, const char *says) {
    vkd_inspect *i = NULL;
    const vkd_result r = vkd_inspect_open(b->ctx, path, &i);
    if (r != want || i || !strstr(vkd_ctx_error(b->ctx), says))
        fail_msg("'%s': %d, %s", path, (int)r, vkd_ctx_error(b->ctx));
}

static void a_folder_that_is_no_run_gets_a_sentence(void **state) {
    const bench *b = *state;
    refused(b, "", VKD_E_ARGUMENT, "no folder");
    refused(b, toy_path(&b->data, "nowhere"), VKD_E_FILE, "nowhere");
    refused(b, toy_path(&b->data, "t10k-labels-idx1-ubyte"), VKD_E_FILE, "is a file");
    refused(b, toy_path(&b->data, ""), VKD_E_FILE, "holds no run");
    test_write(toy_path(&b->data, "noise/recipe.yaml"), "models: [", 9);
    refused(b, toy_path(&b->data, "noise"), VKD_E_RECIPE, "noise/recipe.yaml");
    test_write(toy_path(&b->data, "seedless/seed-x/recipe.yaml"), "", 0);
    test_write(toy_path(&b->data, "seedless/seed-/recipe.yaml"), "", 0);
    refused(b, toy_path(&b->data, "seedless"), VKD_E_FILE, "holds no run");
    const char *moved[] = {MODELS, "stages=[" TEACH("steps: 1") "]", NULL};
    run(b, moved, NULL, "moved", VKD_OK);
    size_t size = 0;
    char *recipe = toy_read(toy_path(&b->data, "moved/recipe.yaml"), &size);
    char *dir = strstr(recipe, "vkdistill-toy-");
    assert_non_null(dir);
    dir[0] = 'x';
    test_write(toy_path(&b->data, "moved/recipe.yaml"), recipe, size);
    test_free(recipe);
    refused(b, toy_path(&b->data, "moved"), VKD_E_FILE, "xkdistill-toy-");
}

static void damaged_models_are_refused_one_by_one(void **state) {
    bench *b = *state;
    const char *const short_run[] = {MODELS, NAMES, "stages=[" TEACH("steps: 2") "]", NULL};
    run(b, short_run, NULL, "damaged", VKD_OK);
    size_t size = 0;
    char *file = toy_read(toy_path(&b->data, "damaged/teacher.safetensors"), &size);
    const char *path = toy_path(&b->data, "damaged/teacher.safetensors");
    vkd_inspect *i = open_run(b, "damaged");
    vkd_predictor *p = NULL;
    for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
        test_write(path, file, cut);
        assert_int_equal(vkd_predictor_open(i, b->device, &(vkd_predictor_desc){0}, &p),
                         VKD_E_FORMAT);
        assert_null(p);
    }
    test_free(file);
    /* A checkpoint of another recipe, or noise, counts as none. */
    file = toy_read(toy_path(&b->data, "longer/checkpoint.safetensors"), &size);
    test_write(toy_path(&b->data, "damaged/checkpoint.safetensors"), file, size);
    b->warnings = 0;
    assert_int_equal(news_of(b, i), VKD_INSPECT_MODELS);
    assert_int_equal(b->warnings, 0);
    assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_FILE);
    for (size_t cut = 0; cut < size; cut += 1 + size / 40) {
        test_write(toy_path(&b->data, "damaged/checkpoint.safetensors"), file, cut);
        assert_int_not_equal(news_of(b, i), VKD_INSPECT_ANOTHER);
        assert_true(b->warnings > 0);
        assert_int_equal(model_of(i, "teacher")->source, VKD_INSPECT_FILE);
        b->warnings = 0;
    }
    test_free(file);
    vkd_inspect_close(i);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_data_is_the_test_split),
        cmocka_unit_test(the_models_have_their_roles),
        cmocka_unit_test(the_stages_have_their_losses),
        cmocka_unit_test(one_of_several_teachers_is_named),
        cmocka_unit_test(logits_are_those_of_eval),
        cmocka_unit_test(slices_are_parts_of_the_whole),
        cmocka_unit_test(maps_are_means_of_squares),
        cmocka_unit_test(what_a_model_does_not_have_is_refused),
        cmocka_unit_test(a_checkpoint_is_the_model_so_far),
        cmocka_unit_test(of_an_average_the_checkpoint_shows_the_average),
        cmocka_unit_test(a_run_is_followed),
        cmocka_unit_test(a_run_is_looked_at_while_it_trains),
        cmocka_unit_test(a_finished_run_needs_no_checkpoint),
        cmocka_unit_test(a_loaded_teacher_is_that_of_its_file),
        cmocka_unit_test(of_several_seeds_the_newest_is_opened),
        cmocka_unit_test(a_folder_that_is_no_run_gets_a_sentence),
        cmocka_unit_test(damaged_models_are_refused_one_by_one),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}
