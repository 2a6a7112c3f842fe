// SPDX-License-Identifier: Apache-2.0
/* The viewer beside a trainer that is at work: what is turned in its window changes the training,
 * and shows in the metrics. And vkdistill-view as the program that it is. */
#include "support/toy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "base/platform.h"
#include "drive.h"
#include "stb/stb_image.h"

typedef struct fixture {
    toy t;
    vkd_ctx *ctx;
    vkd_device *device;
} fixture;

static int setup(void **state) {
    static fixture f;
    f.ctx = test_ctx();
    f.device = test_device(f.ctx);
    toy_init(&f.t);
    *state = &f;
    return 0;
}

static int teardown(void **state) {
    fixture *f = *state;
    test_device_close(f->device);
    toy_term(&f->t);
    vkd_ctx_destroy(f->ctx);
    return 0;
}

/* ---- A trainer at work ---- */

#define STAGES                                                                                     \
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: "      \
    "0.1}, epochs: 2, batch: 24}, {name: distil, train: student, teacher: teacher, losses: "       \
    "[{loss: kd_kl, weight: 0.9, tau: 3}, {loss: ce, weight: 0.1}], optimiser: {name: sgd, lr: "   \
    "0.01}, steps: 100000, batch: 24}]"

/* Turns the slider and presses the button, from the trainer's own progress calls. */
typedef struct user {
    const fixture *f;
    drive d;
    bool open, sent, seen;
    float tau;
    double started;
} user;

static void watch(user *u, const char *phase) {
    if (!u->open) drive_open(&u->d, toy_path(&u->f->t, "out"), false);
    u->open = true;
    u->d.a.l.alone = PANEL_soft_labels;
    u->d.s->live_due = u->d.s->metrics_due = 0;
    drive_frames(&u->d, 2);
    const bool probed = drive_has(&u->d, "soft_labels/bar.1.0");
    if (strcmp(phase, "student") != 0 || !probed) return;
    if (!u->sent) {
        drive_drag(&u->d, "soft_labels/tau", 0.5f, 0.7f);
        u->tau = u->d.s->tau;
        drive_click(&u->d, "soft_labels/Use in training");
        u->sent = true;
    }
    const vkd_metrics_view *v = u->d.s->view;
    for (uint32_t i = 0; v && i < v->event_count; i++)
        if (v->events[i].kind == VKD_EVENT_SETTING && !strcmp(v->events[i].name, "tau.kd_kl")) {
            assert_true(v->events[i].from == 3 && (float)v->events[i].to == u->tau);
            u->seen = true;
        }
}

static void on_progress(void *user_, const vkd_progress *p) {
    watch(user_, p->phase);
}

static bool on_stop(void *user_) {
    user *u = user_;
    if (u->started == 0) u->started = vkd__seconds();
    return u->seen || vkd__seconds() - u->started > 60;
}

/* The wheel keeps the step under the mouse where it is, and moves the others away from it. */
static void check_zoom(drive *d, gui_rect mark, gui_rect plot) {
    const float middle = plot.y + plot.h / 2;
    gui_event_move(d->g, mark.x + 0.5f, middle);
    gui_event_wheel(d->g, 2);
    drive_frames(d, 2);
    assert_true(fabsf(drive_find(d, "training/loss.mark.0").x - mark.x) <= 2);
    gui_event_move(d->g, fmaxf(plot.x + 1, mark.x - 20), middle);
    gui_event_wheel(d->g, 1);
    drive_frames(d, 2);
    /* Near the right edge, where it is on a fast machine, it moves out. */
    const bool inside = drive_has(d, "training/loss.mark.0");
    assert_true(inside || mark.x + 20 > plot.x + plot.w);
    if (inside) assert_true(drive_find(d, "training/loss.mark.0").x > mark.x + 3);
    drive_click(d, "training/All steps");
    assert_true(fabsf(drive_find(d, "training/loss.mark.0").x - mark.x) <= 1);
}

static void a_slider_changes_the_training(void **state) {
    const fixture *f = *state;
    user u = {.f = f};
    const char *const sets[] = {STAGES, "log_every=5", NULL};
    const vkd_run_desc desc = {.progress = on_progress, .stop = on_stop, .user = &u};
    assert_int_equal(toy_run(f->ctx, f->device, &f->t, sets, &desc, "out", NULL, NULL),
                     VKD_E_INTERRUPTED);
    assert_true(u.sent && u.seen);
    assert_true(u.tau > 4 && u.tau < 40);
    /* The mark stands on the curves, at its step. */
    u.d.a.l.alone = PANEL_training;
    u.d.s->metrics_due = u.d.s->live_due = 0;
    drive_frames(&u.d, 2);
    const gui_rect mark = drive_find(&u.d, "training/loss.mark.0");
    const gui_rect plot = drive_find(&u.d, "training/loss.plot");
    const vkd_metrics_view *v = u.d.s->view;
    const vkd_event *e = NULL;
    for (uint32_t i = 0; i < v->event_count; i++)
        if (v->events[i].kind == VKD_EVENT_SETTING) e = &v->events[i];
    const double last = fmax((double)v->phases[v->phase_count - 1].step, (double)e->step);
    const double share = (double)e->step / last;
    assert_true(fabs((double)(mark.x - plot.x) - share * (double)plot.w) <= 2);
    assert_false(u.d.s->training);
    check_zoom(&u.d, mark, plot);
    drive_close(&u.d);
}

static bool soon(void *user_) {
    return ++*(int *)user_ > 40;
}

/* A viewer that is there when a run goes on answers with what it is after that. */
static void a_new_checkpoint_is_answered_anew(void **state) {
    const fixture *f = *state;
    int calls = 0;
    drive d;
    float before[4];
    drive_open(&d, toy_path(&f->t, "out"), false);
    drive_settle(&d);
    assert_int_equal(d.s->tests.count, TOY_TEST);
    memcpy(before, d.s->tests.logits[SCENE_STUDENT], sizeof before);
    const char *const sets[] = {STAGES, "log_every=5", NULL};
    const vkd_run_desc desc = {.stop = soon, .user = &calls, .resume = true};
    assert_int_equal(toy_run(f->ctx, f->device, &f->t, sets, &desc, "out", NULL, NULL),
                     VKD_E_INTERRUPTED);
    drive_settle(&d);
    float logits[4];
    vkd_predictor *p = NULL;
    const uint32_t first = 0;
    const vkd_predictor_desc wanted = {.model = d.s->models[SCENE_STUDENT].model};
    assert_int_equal(vkd_predictor_open(d.s->inspect, d.s->device, &wanted, &p), VKD_OK);
    assert_int_equal(vkd_predictor_run(p, &first, 1, &(vkd_predictor_out){.logits = logits}),
                     VKD_OK);
    vkd_predictor_close(p);
    for (int i = 0; i < 4; i++)
        assert_true(fabsf(logits[i] - d.s->tests.logits[SCENE_STUDENT][i]) < 1e-5f);
    assert_memory_not_equal(before, d.s->tests.logits[SCENE_STUDENT], sizeof before);
    drive_close(&d);
}

/* ---- The program ---- */

typedef struct answer {
    int code;
    char text[8192];
} answer;

static const answer *ask(const fixture *f, const char *arguments) {
    static answer a;
    char command[2048];
    snprintf(command, sizeof command,
             "cd '%s' && XDG_STATE_HOME=. env -u DISPLAY -u WAYLAND_DISPLAY '%s' %s 2>&1",
             f->t.folder, VKD_VIEW_PROGRAM, arguments);
    FILE *p = popen(command, "r");
    assert_non_null(p);
    a.text[fread(a.text, 1, sizeof a.text - 1, p)] = 0;
    const int status = pclose(p);
    a.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return &a;
}

static void says(const answer *a, int code, const char *text) {
    if (a->code != code || !strstr(a->text, text)) fail_msg("%d: %s", a->code, a->text);
}

static void a_picture_is_drawn_without_a_window(void **state) {
    const fixture *f = *state;
    int width = 0, height = 0, channels = 0;
    says(ask(f, "out --screenshot a.png --size 640x400 --panel soft_labels --validate"), 0, "");
    unsigned char *pixels = stbi_load(toy_path(&f->t, "a.png"), &width, &height, &channels, 3);
    assert_non_null(pixels);
    assert_true(width == 640 && height == 400 && channels == 3);
    size_t teacher = 0, student = 0;
    for (size_t i = 0; i < (size_t)width * (size_t)height; i++) {
        const uint32_t c = (uint32_t)pixels[3 * i] << 24 | (uint32_t)pixels[3 * i + 1] << 16 |
                           (uint32_t)pixels[3 * i + 2] << 8 | 255;
        teacher += c == COLOUR_TEACHER;
        student += c == COLOUR_STUDENT;
    }
    assert_true(teacher > 200 && student > 200); /* its bars */
    stbi_image_free(pixels);
    assert_null(strstr(ask(f, "out --screenshot b.png --scale 2 --validate")->text, "validation"));
}

static void mistakes_are_sentences_and_exit_codes(void **state) {
    const fixture *f = *state;
    says(ask(f, "nowhere --screenshot c.png"), 5, "nowhere");
    assert_true(vkd__file_exists(toy_path(&f->t, "c.png"))); /* and in the picture */
    says(ask(f, ""), 2, "one run's folder is wanted");
    says(ask(f, "out --panle x"), 2, "did you mean '--panel'");
    says(ask(f, "out --panel clases"), 2, "did you mean 'classes'");
    says(ask(f, "out --tau 0.1"), 2, "--tau is '0.1', must be a number from 0.5 to 50");
    says(ask(f, "out --tau nan"), 2, "--tau is 'nan'");
    says(ask(f, "out --size 100x9"), 2, "--size is '100x9'");
    says(ask(f, "out --sample -1"), 2, "--sample is '-1'");
    says(ask(f, "out --font /nowhere.ttf"), 5, "/nowhere.ttf");
    says(ask(f, "out --screenshot /nowhere/at/all.png"), 5, "/nowhere/at/all.png");
    says(ask(f, "out"), 6, "--screenshot FILE draws without one"); /* no display */
    says(ask(f, "--help"), 0, "panels: soft_labels attention training");
    says(ask(f, "--version"), 0, VKD_VERSION);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_slider_changes_the_training),
        cmocka_unit_test(a_new_checkpoint_is_answered_anew),
        cmocka_unit_test(a_picture_is_drawn_without_a_window),
        cmocka_unit_test(mistakes_are_sentences_and_exit_codes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
