// SPDX-License-Identifier: Apache-2.0
/* A pool of trained models: what two runs have in common is trained once, and nothing else is taken
 * for it. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
    char pool[512];
} bench;

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    snprintf(b->pool, sizeof b->pool, "%s", toy_path(&b->data, "pool"));
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

static uint32_t files_in(const char *folder) {
    uint32_t count = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *e = dir ? readdir(dir) : NULL; e; e = readdir(dir))
        count += strstr(e->d_name, ".safetensors") != NULL;
    if (dir) closedir(dir);
    return count;
}

/* Runs with the pool; returns how many models it has got more than before. */
static uint32_t grown(const bench *b, const char *const *sets, const char *out, vkd_row *rows) {
    const uint32_t before = files_in(b->pool);
    const vkd_run_desc desc = {.pool = b->pool};
    vkd_row own[8];
    uint32_t count = 0;
    if (toy_run(b->ctx, b->device, &b->data, sets, &desc, out, rows ? rows : own, &count))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    return files_in(b->pool) - before;
}

static void expect(const bench *b, const char *set, const char *out, uint32_t want) {
    const char *const sets[] = {set, NULL};
    const uint32_t got = grown(b, sets, out, NULL);
    if (got != want) fail_msg("%s: %u models more, not %u", set ? set : "-", got, want);
}

static bool trained(const bench *b, const char *out, const char *phase) {
    return !isnan(toy_metric(&b->data, out, phase, "loss", 0));
}

static void same_as_without(const bench *b, const char *const *sets, const char *out) {
    char with[64], without[64], plain[32];
    static const char *const models[] = {"teacher", "student_control", "student"};
    snprintf(plain, sizeof plain, "%s-plain", out);
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, NULL, plain, NULL, NULL), VKD_OK);
    for (size_t i = 0; i < VKD_COUNT(models); i++) {
        snprintf(with, sizeof with, "%s/%s.safetensors", out, models[i]);
        snprintf(without, sizeof without, "%s/%s.safetensors", plain, models[i]);
        toy_same_file(toy_path(&b->data, with), toy_path(&b->data, without));
    }
}

/* Teacher, control and student, then only what a setting reaches. */
static void only_what_a_setting_reaches_is_trained_again(void **state) {
    const bench *b = *state;
    vkd_row first[8], rows[8];
    assert_int_equal(grown(b, NULL, "first", first), 3);
    const char *const tau[] = {"stages.distil.losses.kd_kl.tau=5", NULL};
    assert_int_equal(grown(b, tau, "tau", rows), 1);
    assert_true(trained(b, "first", "teacher") && trained(b, "first", "student_control"));
    assert_false(trained(b, "tau", "teacher") || trained(b, "tau", "student_control"));
    assert_true(trained(b, "tau", "student"));
    same_as_without(b, tau, "tau");
    /* What was taken over says how long it took where it was trained. */
    for (int i = 0; i < 2; i++) {
        assert_true(rows[i].accuracy.mean == first[i].accuracy.mean);
        assert_true(fabs(rows[i].seconds.mean - first[i].seconds.mean) <
                    0.01 + 1e-3 * first[i].seconds.mean);
    }
    expect(b, NULL, "again", 0);
    expect(b, "stages.teach.optimiser.lr=0.05", "rate", 2); /* the control knows no teacher */
    expect(b, "models.student.hidden=[6]", "wider", 2);
    expect(b, "models.student.init_seed=1", "start", 2);
    /* Both are in the weight of the control's only loss, which is their sum. */
    expect(b, "stages.distil.losses.ce.weight=0.2", "weight", 2);
    expect(b, "stages.distil.losses.kd_kl.weight=0.6", "weight2", 2);
    expect(b, "stages.distil.batch=20", "batch", 2);
    expect(b, "data.mean=0.4", "data", 3);
    expect(b, "seed=5", "seed", 3);
    expect(b, "precision=mixed_bf16", "bf16", 3);
    expect(b, "evaluation.batch=7", "evaluation", 0);
    expect(b, "log_every=3", "log", 0);
    expect(b, "stages.distil.control=false", "alone", 0);
}

/* A teacher that goes on learning after it has taught is no one's final state when it teaches; its
 * student follows from the first of its stages alone. */
static void a_teacher_that_goes_on_is_trained_in_each_run(void **state) {
    const bench *b = *state;
#define CHAIN(first, tau, last)                                                                    \
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, "          \
    "lr: " first                                                                                   \
    "}, epochs: 1, batch: 24}, {name: learn, train: student, teacher: teacher, losses: "           \
    "[{loss: kd_kl, tau: " tau "}], optimiser: {name: sgd, lr: 0.1}, epochs: 1, batch: 24}, "      \
    "{name: more, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, lr: " last "}, "    \
    "epochs: 1, batch: 24}]"
    const char *const chain[] = {CHAIN("0.1", "2", "0.2"), NULL};
    const char *const other[] = {CHAIN("0.1", "3", "0.2"), NULL};
    const char *const later[] = {CHAIN("0.1", "2", "0.3"), NULL};
    assert_int_equal(grown(b, chain, "chain", NULL), 1);
    assert_int_equal(grown(b, other, "chain-tau", NULL), 1);
    assert_true(trained(b, "chain-tau", "teacher"));
    assert_int_equal(grown(b, later, "chain-later", NULL), 0);
    assert_false(trained(b, "chain-later", "student"));
    assert_true(toy_same(&b->data, "chain/student.safetensors", "chain-later/student.safetensors"));
}

/* Of a model with two stages the last file counts; labels follow from their teacher. */
static void models_of_several_stages_and_labels_are_shared(void **state) {
    const bench *b = *state;
#define LABELLED(teach, share, rate)                                                               \
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], optimiser: {name: sgd, "          \
    "lr: " teach                                                                                   \
    "}, samples: 48, epochs: 1, batch: 12}, {name: polish, train: teacher, losses: [{loss: "       \
    "ce}], optimiser: {name: adamw}, samples: 48, epochs: 1, batch: 12}, {name: p, label: "        \
    "{teacher: teacher, first: 48, threshold: " share "}}, {name: learn, train: student, data: "   \
    "{pseudo: p}, losses: [{loss: ce}], samples: 48, optimiser: {name: sgd, lr: " rate "}, "       \
    "epochs: 1, batch: 12, ema: 0.5}]"
    const char *const one[] = {LABELLED("0.1", "0", "0.1"), NULL};
    const char *const filtered[] = {LABELLED("0.1", "0.3", "0.1"), NULL};
    const char *const faster[] = {LABELLED("0.1", "0", "0.2"), NULL};
    const char *const other[] = {LABELLED("0.2", "0", "0.1"), NULL};
    assert_int_equal(grown(b, one, "l1", NULL), 2);
    assert_int_equal(grown(b, other, "l4", NULL), 2);
    assert_int_equal(grown(b, filtered, "l2", NULL), 1);
    assert_int_equal(grown(b, faster, "l3", NULL), 1);
    assert_false(trained(b, "l2", "teacher"));
    assert_true(toy_same(&b->data, "l1/teacher.safetensors", "l2/teacher.safetensors"));
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, faster, NULL, "l3-plain", NULL, NULL),
                     VKD_OK);
    assert_true(toy_same(&b->data, "l3/student.safetensors", "l3-plain/student.safetensors"));
}

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* Stopped within a model that the pool has by now, a run ends it itself; behind it, it goes on. */
static void a_run_with_a_pool_is_resumed(void **state) {
    const bench *b = *state;
    static const int stops[] = {7, 30, 33, 50, 61};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32], tau[64]; /* another student each time, which the pool has not got yet */
        snprintf(tau, sizeof tau, "stages.distil.losses.kd_kl.tau=%zu", 7 + i);
        const char *const sets[] = {tau, NULL};
        snprintf(out, sizeof out, "stop-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        const vkd_run_desc rest = {.resume = true, .pool = b->pool};
        if (toy_run(b->ctx, b->device, &b->data, sets, &rest, out, NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        same_as_without(b, sets, out);
    }
}

/* Turns the temperature of the student's loss once, and stops the run when that has been done. */
typedef struct hand {
    const bench *b;
    vkd_live *live;
    bool asked;
} hand;

static void turn(void *user, const vkd_progress *p) {
    hand *h = user;
    const vkd_live_setting wanted = {"tau.kd_kl", 9};
    if (strcmp(p->phase, "student") != 0 || h->asked) return;
    if (vkd_live_open(h->b->ctx, toy_path(&h->b->data, "turned"), &h->live))
        fail_msg("%s", vkd_ctx_error(h->b->ctx));
    assert_int_equal(vkd_live_watch(h->live), VKD_OK);
    assert_int_equal(vkd_live_ask(h->live, &wanted, 1), VKD_OK);
    h->asked = true;
}

static bool stop_when_turned(void *user) {
    const hand *h = user;
    const vkd_live_frame *f = NULL;
    if (!h->asked) return false;
    assert_int_equal(vkd_live_read(h->live, &f), VKD_OK);
    return !f->pending;
}

/* What a viewer has had a hand in does not follow from the recipe. */
static void a_run_that_was_turned_leaves_nothing(void **state) {
    const bench *b = *state;
    hand h = {.b = b};
    const char *const sets[] = {"seed=12", "log_every=1", "stages.distil.epochs=60", NULL};
    const uint32_t before = files_in(b->pool);
    const vkd_run_desc first = {
        .pool = b->pool, .progress = turn, .stop = stop_when_turned, .user = &h};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, "turned", NULL, NULL),
                     VKD_E_INTERRUPTED);
    vkd_live_close(h.live);
    size_t size = 0;
    char *metrics = toy_read(toy_path(&b->data, "turned/metrics.jsonl"), &size);
    assert_non_null(strstr(metrics, "\"event\": \"setting\""));
    test_free(metrics);
    const vkd_run_desc rest = {.pool = b->pool, .resume = true};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &rest, "turned", NULL, NULL),
                     VKD_OK);
    assert_int_equal(files_in(b->pool) - before, 2); /* teacher and control came before */
}

static void a_damaged_file_of_the_pool_is_refused(void **state) {
    const bench *b = *state;
    char path[1024] = "";
    DIR *dir = opendir(b->pool);
    assert_non_null(dir);
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!strstr(e->d_name, ".safetensors")) continue;
        snprintf(path, sizeof path, "%s/%s", b->pool, e->d_name);
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        fputs("nothing", f);
        fclose(f);
    }
    closedir(dir);
    const vkd_run_desc desc = {.pool = b->pool};
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, NULL, &desc, "damaged", NULL, NULL);
    assert_int_equal(r, VKD_E_FORMAT);
    assert_non_null(strstr(vkd_ctx_error(b->ctx), b->pool));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(only_what_a_setting_reaches_is_trained_again),
        cmocka_unit_test(a_teacher_that_goes_on_is_trained_in_each_run),
        cmocka_unit_test(models_of_several_stages_and_labels_are_shared),
        cmocka_unit_test(a_run_with_a_pool_is_resumed),
        cmocka_unit_test(a_run_that_was_turned_leaves_nothing),
        cmocka_unit_test(a_damaged_file_of_the_pool_is_refused),
    };
    return cmocka_run_group_tests_name("train_pool", tests, open_bench, close_bench);
}
