// SPDX-License-Identifier: Apache-2.0
#include "support/look.h"

#include <stdlib.h>
#include <string.h>

#include "train/predict.h"

const char *const look_whole[] = {LOOK_MODELS, LOOK_NAMES,
                                  "stages=[" LOOK_TEACH("steps: 11") ", " LOOK_DISTIL "]", NULL};

static void on_log(void *user, vkd_log_level level, const char *message) {
    look_bench *b = user;
    b->warnings += level == VKD_LOG_WARNING;
    if (getenv("VKD_TEST_VERBOSE")) print_message("%s\n", message);
}

void look_run(const look_bench *b, const char *const *sets, const vkd_run_desc *desc,
              const char *out, vkd_result want) {
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, sets, desc, out, NULL, NULL);
    if (r != want) fail_msg("%s: %d, %s", out, (int)r, vkd_ctx_error(b->ctx));
}

int look_setup(void **state) {
    look_bench *b = test_calloc(1, sizeof *b);
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = on_log, .user = b}, &b->ctx), VKD_OK);
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    look_run(b, look_whole, NULL, "whole", VKD_OK);
    *state = b;
    return 0;
}

int look_teardown(void **state) {
    look_bench *b = *state;
    toy_term(&b->data);
    test_device_close(b->device);
    vkd_ctx_destroy(b->ctx);
    test_free(b);
    return 0;
}

vkd_inspect *look_open(const look_bench *b, const char *name) {
    vkd_inspect *i = NULL;
    if (vkd_inspect_open(b->ctx, toy_path(&b->data, name), &i))
        fail_msg("%s: %s", name, vkd_ctx_error(b->ctx));
    return i;
}

uint32_t look_index(const vkd_inspect *i, const char *name) {
    const vkd_inspect_info *info = vkd_inspect_get(i);
    for (uint32_t k = 0; k < info->model_count; k++)
        if (!strcmp(info->models[k].name, name)) return k;
    fail_msg("there is no model '%s'", name);
    return 0;
}

const vkd_inspect_model *look_model(const vkd_inspect *i, const char *name) {
    return &vkd_inspect_get(i)->models[look_index(i, name)];
}

vkd_predictor *look_predictor(const look_bench *b, vkd_inspect *i, const char *model,
                              vkd_predictor_desc desc) {
    vkd_predictor *p = NULL;
    desc.model = look_index(i, model);
    if (vkd_predictor_open(i, b->device, &desc, &p)) fail_msg("%s", vkd_ctx_error(b->ctx));
    return p;
}

float *look_logits(const look_bench *b, vkd_inspect *i, const char *model) {
    float *logits = test_malloc(TOY_TEST * LOOK_CLASSES * sizeof *logits);
    vkd_predictor *p = look_predictor(b, i, model, (vkd_predictor_desc){.batch = LOOK_BATCH});
    if (vkd_predictor_logits(p, 0, TOY_TEST, logits)) fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_true(vkd_predictor_version(p) == look_model(i, model)->version);
    vkd_predictor_close(p);
    return logits;
}

float *look_file_logits(const look_bench *b, const vkd_inspect *i, const char *file) {
    float *logits = test_malloc(TOY_TEST * LOOK_CLASSES * sizeof *logits);
    vkd__predictor p;
    if (vkd__predictor_create(b->ctx, b->device,
                              &(vkd__predictor_desc){.path = toy_path(&b->data, file),
                                                     .input = VKD_U8,
                                                     .batch = LOOK_BATCH},
                              &p) ||
        vkd__predictor_run(&p, vkd_inspect_get(i)->pixels, TOY_TEST, &logits))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    vkd__predictor_destroy(&p);
    return logits;
}

void look_same(float *got, float *want) {
    assert_memory_equal(got, want, TOY_TEST * LOOK_CLASSES * sizeof *got);
    test_free(got);
    test_free(want);
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

void look_run_until(const look_bench *b, const char *const *sets, vkd_run_desc desc, int steps,
                    const char *out) {
    int left = steps;
    desc.stop = stop_at_zero;
    desc.user = &left;
    look_run(b, sets, &desc, out, VKD_E_INTERRUPTED);
}
