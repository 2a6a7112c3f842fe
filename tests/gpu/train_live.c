// SPDX-License-Identifier: Apache-2.0
/* A run that is watched while it trains, from its own progress calls. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
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

/* Long enough for probes: they begin half a second into a phase. */
#define STAGES                                                                                     \
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: "      \
    "0.1}, epochs: 2, batch: 24}, {name: distil, train: student, teacher: teacher, losses: "       \
    "[{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}], optimiser: {name: sgd, lr: "   \
    "0.01}, steps: 100000, batch: 24}]"

typedef struct watcher {
    const bench *b;
    const char *out;
    bool ask; /* for another temperature, once the first probe is there */
    vkd_live *live;
    uint32_t probes;
    uint64_t last;
    uint32_t samples;
    float student[64 * 4], teacher[64 * 4];
    int32_t indices[64];
    bool asked, done;
    uint64_t asked_at, seen_at; /* steps */
    float tau;
    double started;
} watcher;

static float setting(const vkd_live_frame *f, const char *name) {
    for (uint32_t i = 0; i < f->setting_count; i++)
        if (!strcmp(f->settings[i].name, name)) return f->settings[i].value;
    return NAN;
}

static void look(watcher *w) {
    const vkd_live_frame *f = NULL;
    if (!w->live && vkd_live_open(w->b->ctx, toy_path(&w->b->data, w->out), &w->live))
        fail_msg("%s", vkd_ctx_error(w->b->ctx));
    assert_int_equal(vkd_live_watch(w->live), VKD_OK);
    if (vkd_live_read(w->live, &f)) fail_msg("%s", vkd_ctx_error(w->b->ctx));
    if (strcmp(f->phase, "student") != 0 || f->sequence == w->last) return;
    w->last = f->sequence;
    assert_int_equal(f->state, VKD_LIVE_TRAINING);
    assert_string_equal(f->stage, "distil");
    assert_string_equal(f->teacher, "teacher");
    w->tau = setting(f, "tau.kd_kl");
    if (!f->samples) return;
    w->probes++;
    w->samples = f->samples;
    assert_int_equal(f->classes, 4);
    memcpy(w->student, f->student_logits, f->samples * 4 * sizeof(float));
    memcpy(w->teacher, f->teacher_logits, f->samples * 4 * sizeof(float));
    memcpy(w->indices, f->indices, f->samples * sizeof(int32_t));
    if (w->ask && !w->asked) {
        const vkd_live_setting wanted[] = {{"tau.kd_kl", 7},
                                           {"weight.ce", 0.25f},
                                           {"tau.ce", 2},
                                           {"weight.kd_kl", -1},
                                           {"weight.ce", NAN}};
        assert_int_equal(vkd_live_ask(w->live, wanted, 5), VKD_OK);
        w->asked = true;
        w->asked_at = f->step;
    } else if (w->asked && !f->pending && !w->seen_at) {
        w->seen_at = f->step;
        assert_true(w->tau == 7 && setting(f, "weight.ce") == 0.25f);
        assert_true(setting(f, "weight.kd_kl") == 0.9f);
    }
    w->done = w->probes >= 3 && (!w->ask || w->seen_at);
}

static void progress(void *user, const vkd_progress *p) {
    (void)p;
    look(user);
}

/* Ends the run when all was seen, or after a time in which it must have been. */
static bool stop(void *user) {
    watcher *w = user;
    if (w->started == 0) w->started = vkd__seconds();
    return w->done || vkd__seconds() - w->started > 60;
}

static void watch(watcher *w, const char *const *sets) {
    const vkd_run_desc desc = {.progress = progress, .stop = stop, .user = w};
    const vkd_result r =
        toy_run(w->b->ctx, w->b->device, &w->b->data, sets, &desc, w->out, NULL, NULL);
    if (r != VKD_E_INTERRUPTED) fail_msg("%s", r ? vkd_ctx_error(w->b->ctx) : "it ended");
}

/* The settings of a run that is resumed are those that it was left with. */
static void a_run_shows_itself_and_takes_requests(void **state) {
    const bench *b = *state;
    watcher w = {.b = b, .out = "watched", .ask = true};
    const char *const sets[] = {STAGES, "log_every=5", NULL};
    watch(&w, sets);
    assert_true(w.done);
    assert_int_equal(w.samples, 64);
    for (int i = 0; i < 64; i++)
        assert_int_equal(w.indices[i], i);
    /* It was applied within a few steps, and says so in the metrics. */
    const vkd_live_frame *f = NULL;
    assert_int_equal(vkd_live_read(w.live, &f), VKD_OK);
    assert_int_equal(f->state, VKD_LIVE_STOPPED);
    vkd_live_close(w.live);
    size_t size = 0;
    char *metrics = toy_read(toy_path(&b->data, "watched/metrics.jsonl"), &size);
    const char *event = strstr(metrics, "\"event\": \"setting\", \"name\": \"tau.kd_kl\"");
    assert_non_null(event);
    assert_non_null(strstr(event, "\"from\": 3, \"to\": 7"));
    assert_non_null(strstr(event, "\"name\": \"weight.ce\""));
    assert_null(strstr(event, "\"name\": \"weight.kd_kl\""));
    assert_non_null(strstr(event, "\"tau.kd_kl\": 7")); /* rows after it */
    test_free(metrics);

    watcher again = {.b = b, .out = "watched"};
    const vkd_run_desc desc = {.progress = progress, .stop = stop, .user = &again, .resume = true};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &desc, "watched", NULL, NULL),
                     VKD_E_INTERRUPTED);
    assert_true(again.done && again.tau == 7);
    vkd_live_close(again.live);
}

/* Logits of the probe batch are those of the model: the teacher's, from its file. */
static void the_probe_batch_is_what_the_models_say(void **state) {
    const bench *b = *state;
    watcher w = {.b = b, .out = "said"};
    const char *const sets[] = {STAGES, "log_every=5", NULL};
    watch(&w, sets);
    vkd_live_close(w.live);
    char one[400];
    snprintf(one, sizeof one,
             "stages=[{name: distil, train: student, teacher: teacher, losses: [{loss: kd_kl, tau: "
             "3}], optimiser: {name: sgd, lr: 0}, steps: 100000, batch: 24}]");
    char load[400];
    snprintf(load, sizeof load, "models.teacher.load=%s",
             toy_path(&b->data, "said/teacher.safetensors"));
    watcher other = {.b = b, .out = "said_again"};
    const char *const still[] = {one, load, "log_every=5", NULL};
    watch(&other, still);
    vkd_live_close(other.live);
    assert_memory_equal(w.teacher, other.teacher, sizeof w.teacher);
    assert_memory_not_equal(w.student, other.student, sizeof w.student); /* one has learned */
}

/* Watching changes no bit of what is trained. */
static void a_watched_run_ends_with_the_bits_of_another(void **state) {
    const bench *b = *state;
    watcher w = {.b = b, .out = "seen"};
    const char *const sets[] = {"stages.distil.epochs=60", "log_every=5", NULL};
    const vkd_run_desc desc = {.progress = progress, .user = &w};
    w.b = b;
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &desc, "seen", NULL, NULL), VKD_OK);
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, NULL, "unseen", NULL, NULL),
                     VKD_OK);
    assert_true(toy_same(&b->data, "seen/student.safetensors", "unseen/student.safetensors"));
    const vkd_live_frame *f = NULL;
    assert_int_equal(vkd_live_read(w.live, &f), VKD_OK);
    assert_int_equal(f->state, VKD_LIVE_FINISHED);
    vkd_live_close(w.live);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_run_shows_itself_and_takes_requests),
        cmocka_unit_test(the_probe_batch_is_what_the_models_say),
        cmocka_unit_test(a_watched_run_ends_with_the_bits_of_another),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}
