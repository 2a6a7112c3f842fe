// SPDX-License-Identifier: Apache-2.0
/* What a run writes into metrics.jsonl, as a viewer reads it. */
#include <math.h>
#include <string.h>

#include "support/look.h"

static const vkd_metrics_view *read_all(const look_bench *b, const char *name, vkd_metrics **m) {
    const vkd_metrics_view *v = NULL;
    if (vkd_metrics_open(b->ctx, toy_path(&b->data, name), m) || vkd_metrics_read(*m, &v))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    assert_int_equal(v->noise, 0);
    assert_false(v->more);
    return v;
}

static const vkd_series *series(const vkd_metrics_view *v, uint32_t phase, const char *name) {
    assert_true(phase < v->phase_count);
    for (uint32_t i = 0; i < v->phases[phase].series_count; i++)
        if (!strcmp(v->phases[phase].series[i].name, name)) return &v->phases[phase].series[i];
    fail_msg("phase %u has no '%s'", phase, name);
    return NULL;
}

static uint32_t count(const vkd_metrics_view *v, vkd_event_kind kind) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < v->event_count; i++)
        found += v->events[i].kind == kind;
    return found;
}

static void a_run_has_its_stages_and_terms(void **state) {
    const look_bench *b = *state;
    static const char *const phases[] = {"teacher", "student_control", "student"};
    static const char *const texts[] = {"teacher: stage teach, 11 steps",
                                        "student_control: stage distil, 12 steps",
                                        "student: stage distil, 12 steps"};
    vkd_metrics *m = NULL;
    const vkd_metrics_view *v = read_all(b, "whole", &m);
    assert_string_equal(v->device, vkd_device_name(b->device));
    assert_int_equal(v->phase_count, 3);
    assert_int_equal(v->event_count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_string_equal(v->phases[i].phase, phases[i]);
        assert_int_equal(v->phases[i].step, i ? 12 : 11);
        assert_int_equal(v->events[i].kind, VKD_EVENT_STAGE);
        assert_int_equal(v->events[i].phase, i);
        assert_string_equal(v->events[i].text, texts[i]);
        const vkd_series *loss = series(v, i, "loss");
        assert_int_equal(loss->count, 3); /* every fourth, and the last */
        assert_true(loss->steps[0] == 4 && loss->steps[2] == (i ? 12 : 11));
        assert_true(loss->values[2] > 0);
    }
    static const char *const terms[] = {"kd_kl", "ce", "maps"};
    for (int i = 0; i < 3; i++)
        assert_int_equal(series(v, 2, terms[i])->kind, VKD_SERIES_TERM);
    assert_true(series(v, 2, "tau.kd_kl")->values[0] == 3);
    vkd_metrics_close(m);
}

static void evaluations_have_their_step(void **state) {
    const look_bench *b = *state;
    const char *const sets[] = {LOOK_MODELS, "stages=[" LOOK_TEACH("epochs: 3") "]",
                                "evaluation.every_epochs=1", NULL};
    look_run(b, sets, NULL, "evaluated", VKD_OK);
    vkd_metrics *m = NULL;
    const vkd_series *accuracy = series(read_all(b, "evaluated", &m), 0, "test_accuracy");
    assert_int_equal(accuracy->count, 3);
    for (int i = 0; i < 3; i++) {
        assert_true(accuracy->steps[i] == 10 * (i + 1)); /* 256 samples in batches of 24 */
        assert_true(accuracy->values[i] > 0 && accuracy->values[i] <= 1);
    }
    vkd_metrics_close(m);
}

/* A reader that is there follows an interruption, and finds what was there before it again. */
static void a_resumed_run_says_so(void **state) {
    const look_bench *b = *state;
    vkd_metrics *m = NULL;
    look_run_until(b, look_whole, (vkd_run_desc){0}, 9, "again");
    const vkd_metrics_view *v = read_all(b, "again", &m);
    assert_int_equal(v->event_count, 1);
    assert_int_equal(v->phases[0].step, 8);
    look_run(b, look_whole, &(vkd_run_desc){.resume = true}, "again", VKD_OK);
    assert_int_equal(vkd_metrics_read(m, &v), VKD_OK);
    assert_int_equal(v->restarts, 1);
    assert_int_equal(count(v, VKD_EVENT_RESUMED), 1);
    assert_int_equal(v->events[1].kind, VKD_EVENT_RESUMED);
    assert_int_equal(v->events[1].step, 9);
    assert_int_equal(count(v, VKD_EVENT_STAGE), 3);
    assert_int_equal(series(v, 0, "loss")->count, 3);
    assert_int_equal(v->phase_count, 3);
    vkd_metrics_close(m);
}

/* The first steps of the largest loss scale overflow; each is an event. */
static void steps_that_are_left_out_are_events(void **state) {
    const look_bench *b = *state;
    const char *const sets[] = {LOOK_MODELS,       "stages=[" LOOK_TEACH("steps: 16") "]",
                                "precision=mixed", "loss_scale=16777216",
                                "log_every=1",     NULL};
    look_run(b, sets, NULL, "overflows", VKD_OK);
    vkd_metrics *m = NULL;
    const vkd_metrics_view *v = read_all(b, "overflows", &m);
    const vkd_series *skipped = series(v, 0, "skipped");
    const uint32_t events = count(v, VKD_EVENT_SKIPPED);
    assert_int_equal(skipped->count, 16);
    assert_true(events > 0 && events < 16 && skipped->values[15] == events);
    for (uint32_t i = 0, at = 0; i < v->event_count; i++) {
        if (v->events[i].kind != VKD_EVENT_SKIPPED) continue;
        while (!(skipped->values[at] > (at ? skipped->values[at - 1] : 0)))
            at++;
        assert_true((double)v->events[i].step == skipped->steps[at++]);
    }
    vkd_metrics_close(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_has_its_stages_and_terms),
        cmocka_unit_test(evaluations_have_their_step),
        cmocka_unit_test(a_resumed_run_says_so),
        cmocka_unit_test(steps_that_are_left_out_are_events),
    };
    return cmocka_run_group_tests(tests, look_setup, look_teardown);
}
