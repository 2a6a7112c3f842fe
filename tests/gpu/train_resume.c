// SPDX-License-Identifier: Apache-2.0
/* A run that was stopped, by a callback or by SIGKILL at any moment, ends with the same bits as one
 * that never was. The program runs itself as the child to be killed: "child FOLDER resume|force
 * whole|chain|noisy". */
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/philox.h"
#include "base/platform.h"
#include "support/toy.h"

static const char *program;

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

/* A student that two stages train, each with an optimiser of its own; the teacher goes on between
 * them. Phases of 30, 20, 10, 20 and 20 steps. */
static const char *const chain[] = {
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], "
    "optimiser: {name: sgd, lr: 0.1, momentum: 0.9}, epochs: 3, batch: 24}, "
    "{name: warm, train: student, teacher: teacher, losses: [{loss: kd_mse}], "
    "optimiser: {name: sgd, lr: 0.05, momentum: 0.9}, epochs: 2, batch: 24}, "
    "{name: more, train: teacher, losses: [{loss: ce}], "
    "optimiser: {name: adamw, lr: 0.001}, epochs: 1, batch: 24}, "
    "{name: distil, train: student, teacher: teacher, control: true, "
    "losses: [{loss: kd_kl, weight: 0.9, tau: 3, final_weight: 0.3}, {loss: ce, weight: 0.1}], "
    "optimiser: {name: adamw, lr: 0.01, clip: 1}, schedule: {name: cosine, warmup: 3}, "
    "epochs: 2, batch: 24}]",
    NULL};

/* A model that labels samples, learns from its own labels and labels again; a student of averaged
 * parameters. Phases of 12, 0, 8, 0, 16 and 16 steps. */
static const char *const noisy[] = {
    "stages=[{name: teach, train: teacher, losses: [{loss: ce}], samples: 48, "
    "optimiser: {name: sgd, lr: 0.1, momentum: 0.9}, epochs: 3, batch: 12}, "
    "{name: first, label: {teacher: teacher, first: 48, balance: true, per_class: 33}}, "
    "{name: again, train: teacher, data: {pseudo: first, ratio: 2}, losses: [{loss: ce}], "
    "samples: 48, optimiser: {name: adamw, lr: 0.005}, epochs: 2, batch: 12, ema: 0.7}, "
    "{name: second, label: {teacher: teacher, first: 48, labels: hard}}, "
    "{name: learn, train: student, data: {pseudo: second}, control: true, losses: [{loss: ce}], "
    "samples: 48, optimiser: {name: adamw, lr: 0.01}, epochs: 4, batch: 12, ema: 0.9}]",
    NULL};

static const char *const *sets_of(const char *name) {
    return !strcmp(name, "chain") ? chain : !strcmp(name, "noisy") ? noisy : NULL;
}

static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    if (toy_run(b->ctx, b->device, &b->data, NULL, NULL, "whole", NULL, NULL) ||
        toy_run(b->ctx, b->device, &b->data, chain, NULL, "chain", NULL, NULL) ||
        toy_run(b->ctx, b->device, &b->data, noisy, NULL, "noisy", NULL, NULL))
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

/* Takes the rows out that say where a run went on. */
static void leave_out_resumed(char *text) {
    for (char *at = strstr(text, "\"event\": \"resumed\""); at;
         at = strstr(text, "\"event\": \"resumed\"")) {
        char *next = strchr(at, '\n');
        while (at > text && at[-1] != '\n')
            at--;
        assert_non_null(next);
        memmove(at, next + 1, strlen(next + 1) + 1);
    }
}

/* metrics.jsonl without the speed, which no two runs share, and without those rows. */
static char *metrics_of(const char *path) {
    size_t size = 0;
    char *text = toy_read(path, &size);
    leave_out_resumed(text);
    for (char *at = strstr(text, "\"samples_per_second\""); at;
         at = strstr(at + 1, "\"samples_per_second\""))
        for (char *c = at + 20; *c && *c != ','; c++)
            *c = ' ';
    char *kept = test_malloc(size + 1), *end = kept;
    for (char *c = text; *c; c++)
        if (*c != ' ') *end++ = *c;
    *end = 0;
    test_free(text);
    return kept;
}

static void ended_alike(const bench *b, const char *whole, const char *out) {
    static const char *const models[] = {"teacher", "student_control", "student"};
    char first[128], second[128];
    for (size_t i = 0; i < VKD_COUNT(models); i++) {
        snprintf(first, sizeof first, "%s/%s.safetensors", whole, models[i]);
        snprintf(second, sizeof second, "%s/%s.safetensors", out, models[i]);
        toy_same_file(toy_path(&b->data, first), toy_path(&b->data, second));
    }
    snprintf(first, sizeof first, "%s/metrics.jsonl", whole);
    snprintf(second, sizeof second, "%s/metrics.jsonl", out);
    char *rows = metrics_of(toy_path(&b->data, first));
    char *others = metrics_of(toy_path(&b->data, second));
    assert_string_equal(rows, others);
    test_free(rows);
    test_free(others);
}

static void ended_like_the_whole_run(const bench *b, const char *out) {
    ended_alike(b, "whole", out);
}

/* ---- Stopped by a callback ---- */

static bool stop_at_zero(void *user) {
    return --*(int *)user <= 0;
}

/* Stops the run `name` when it has made so many steps in all, and goes on. */
static void stop_and_go_on(const bench *b, const char *name, int stop, vkd_result want) {
    int left = stop;
    char out[32];
    snprintf(out, sizeof out, "%s-%d", name, stop);
    const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets_of(name), &first, out, NULL, NULL),
                     want);
    const vkd_run_desc rest = {.resume = true};
    if (toy_run(b->ctx, b->device, &b->data, sets_of(name), &rest, out, NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    ended_alike(b, name, out);
}

static void an_interrupted_run_goes_on_to_the_same_bits(void **state) {
    /* The phases have 30, 20 and 20 steps: inside each, at checkpoints, at first and last steps. */
    static const int stops[] = {1, 5, 29, 30, 31, 43, 50, 57, 70, 71};
    for (size_t i = 0; i < VKD_COUNT(stops); i++)
        stop_and_go_on(*state, "whole", stops[i], stops[i] > 70 ? VKD_OK : VKD_E_INTERRUPTED);
}

static void a_model_of_two_stages_goes_on_in_either(void **state) {
    static const int stops[] = {7, 30, 31, 42, 50, 53, 60, 61, 75, 81, 88, 100};
    for (size_t i = 0; i < VKD_COUNT(stops); i++)
        stop_and_go_on(*state, "chain", stops[i], VKD_E_INTERRUPTED);
}

static void labels_and_averages_go_on_too(void **state) {
    static const int stops[] = {5, 12, 13, 17, 20, 21, 28, 36, 37, 43, 52};
    for (size_t i = 0; i < VKD_COUNT(stops); i++)
        stop_and_go_on(*state, "noisy", stops[i], VKD_E_INTERRUPTED);
}

static void a_run_stopped_after_every_step_ends_the_same(void **state) {
    const bench *b = *state;
    vkd_result r = VKD_E_INTERRUPTED;
    for (int turn = 0; r == VKD_E_INTERRUPTED; turn++) {
        assert_in_range(turn, 0, 60);
        int left = 3;
        const vkd_run_desc desc = {.resume = true, .stop = stop_at_zero, .user = &left};
        r = toy_run(b->ctx, b->device, &b->data, NULL, &desc, "steps", NULL, NULL);
    }
    assert_int_equal(r, VKD_OK);
    ended_like_the_whole_run(b, "steps");
}

/* ---- Mixed precision ---- */

/* The smallest and the largest value of a key in metrics.jsonl. */
static void range_of(const bench *b, const char *out, const char *key, double *low, double *high) {
    char name[64];
    size_t size = 0;
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    char *text = toy_read(toy_path(&b->data, name), &size);
    *low = INFINITY;
    *high = -INFINITY;
    for (const char *at = strstr(text, key); at; at = strstr(at + 1, key)) {
        const double v = strtod(at + strlen(key), NULL);
        *low = fmin(*low, v);
        *high = fmax(*high, v);
    }
    test_free(text);
}

/* The largest scale there is overflows at first; three good steps double it again. */
static void a_mixed_run_goes_on_with_its_loss_scale(void **state) {
    const bench *b = *state;
    static const char *const sets[] = {"precision=mixed", "loss_scale=16777216",
                                       "loss_scale_growth=3", NULL};
    if (toy_run(b->ctx, b->device, &b->data, sets, NULL, "mixed", NULL, NULL))
        fail_msg("%s", vkd_ctx_error(b->ctx));
    double least, most, skipped, none;
    range_of(b, "mixed", "\"skipped\":", &none, &skipped);
    assert_true(skipped > 0);
    range_of(b, "mixed", "\"loss_scale\":", &least, &most);
    print_message("          loss scale %g to %g, %g steps skipped\n", least, most, skipped);
    assert_true(least < most && most < 16777216);

    /* Among skipped steps, between them and the next doubling, and in each phase. */
    static const int stops[] = {2, 7, 12, 31, 44, 60};
    for (size_t i = 0; i < VKD_COUNT(stops); i++) {
        int left = stops[i];
        char out[32];
        snprintf(out, sizeof out, "mixed-%d", stops[i]);
        const vkd_run_desc first = {.stop = stop_at_zero, .user = &left};
        assert_int_equal(toy_run(b->ctx, b->device, &b->data, sets, &first, out, NULL, NULL),
                         VKD_E_INTERRUPTED);
        const vkd_run_desc rest = {.resume = true};
        if (toy_run(b->ctx, b->device, &b->data, sets, &rest, out, NULL, NULL))
            fail_msg("%s", vkd_ctx_error(b->ctx));
        ended_alike(b, "mixed", out);
    }
}

/* ---- Killed ---- */

static int child(const char *folder, bool resume, const char *name) {
    vkd_ctx *ctx = NULL;
    vkd_device *device = NULL;
    toy data;
    snprintf(data.folder, sizeof data.folder, "%s", folder);
    if (vkd_ctx_create(NULL, &ctx) || vkd_device_open(ctx, NULL, &device)) return 1;
    const vkd_run_desc desc = {.resume = resume, .force = !resume};
    const vkd_result r = toy_run(ctx, device, &data, sets_of(name), &desc, "killed", NULL, NULL);
    vkd_device_close(device);
    vkd_ctx_destroy(ctx);
    return r ? 1 : 0;
}

static pid_t start_child(const bench *b, bool resume, const char *name) {
    const pid_t pid = fork();
    assert_true(pid >= 0);
    if (!pid) {
        execl(program, program, "child", b->data.folder, resume ? "resume" : "force", name,
              (char *)NULL);
        _exit(127);
    }
    return pid;
}

/* Whether the child ended by itself, and well, before the time was over. */
static bool ends_within(pid_t pid, double seconds) {
    const double end = vkd__seconds() + seconds;
    int status = 0;
    while (vkd__seconds() < end) {
        if (waitpid(pid, &status, WNOHANG) == pid) {
            assert_true(WIFEXITED(status));
            assert_int_equal(WEXITSTATUS(status), 0);
            return true;
        }
        vkd__sleep(0.0005);
    }
    return false;
}

static void kill_at_random_moments(const bench *b, const char *name) {
    const double before = vkd__seconds();
    assert_true(ends_within(start_child(b, false, name), 120));
    const double whole = vkd__seconds() - before;
    ended_alike(b, name, "killed");

    const uint32_t seed = (uint32_t)time(NULL);
    print_message("          moments drawn with %u, a whole run takes %.2f s\n", (unsigned)seed,
                  whole);
    pid_t pid = start_child(b, false, name);
    for (uint32_t kills = 0; kills < 8; kills++) {
        const uint32_t bits = vkd__philox_at(seed, 0, 0, kills).v[0];
        if (ends_within(pid, (0.2 + 0.8 * (double)vkd__philox_uniform(bits)) * whole)) break;
        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        pid = start_child(b, true, name);
        if (kills == 7) assert_true(ends_within(pid, 120));
    }
    ended_alike(b, name, "killed");
}

static void a_run_killed_at_random_moments_ends_with_the_same_bits(void **state) {
    kill_at_random_moments(*state, "whole");
    kill_at_random_moments(*state, "chain");
    kill_at_random_moments(*state, "noisy");
}

/* ---- What resuming refuses ---- */

static void refuse(const bench *b, const char *const *sets, bool resume, const char *out,
                   vkd_result want, const char *words) {
    const vkd_run_desc desc = {.resume = resume};
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, sets, &desc, out, NULL, NULL);
    if (r != want) fail_msg("%s: %s", vkd_result_text(r), vkd_ctx_error(b->ctx));
    if (!strstr(vkd_ctx_error(b->ctx), words))
        fail_msg("'%s' should say '%s'", vkd_ctx_error(b->ctx), words);
}

static void a_folder_with_a_run_is_not_overwritten(void **state) {
    refuse(*state, NULL, false, "whole", VKD_E_FILE, "holds a run already");
}

static void another_recipe_does_not_resume(void **state) {
    const char *const sets[] = {"stages.distil.losses.kd_kl.tau=5", NULL};
    refuse(*state, sets, true, "whole", VKD_E_RECIPE, "another recipe");
}

static void copy(const bench *b, const char *from, const char *to, size_t cut) {
    size_t size = 0;
    char *bytes = toy_read(toy_path(&b->data, from), &size);
    FILE *f = fopen(toy_path(&b->data, to), "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size - cut, f), size - cut);
    assert_int_equal(fclose(f), 0);
    test_free(bytes);
}

static void a_damaged_or_foreign_checkpoint_is_refused(void **state) {
    const bench *b = *state;
    int left = 20;
    const vkd_run_desc desc = {.stop = stop_at_zero, .user = &left};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, NULL, &desc, "damaged", NULL, NULL),
                     VKD_E_INTERRUPTED);
    copy(b, "whole/teacher.safetensors", "damaged/checkpoint.safetensors", 0);
    refuse(b, NULL, true, "damaged", VKD_E_FORMAT, "not a checkpoint");
    copy(b, "whole/checkpoint.safetensors", "damaged/checkpoint.safetensors", 5);
    refuse(b, NULL, true, "damaged", VKD_E_FORMAT, "checkpoint.safetensors");
    /* Under a recipe that was edited by hand to look right, the checkpoint still knows. */
    left = 20;
    const char *const wider[] = {"models.teacher.hidden=[34]", NULL};
    assert_int_equal(toy_run(b->ctx, b->device, &b->data, wider, &desc, "wider", NULL, NULL),
                     VKD_E_INTERRUPTED);
    copy(b, "wider/checkpoint.safetensors", "damaged/checkpoint.safetensors", 0);
    refuse(b, NULL, true, "damaged", VKD_E_RECIPE, "belongs to another recipe");
}

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "child"))
        return child(argv[2], !strcmp(argv[3], "resume"), argv[4]);
    program = argv[0];
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interrupted_run_goes_on_to_the_same_bits),
        cmocka_unit_test(a_model_of_two_stages_goes_on_in_either),
        cmocka_unit_test(labels_and_averages_go_on_too),
        cmocka_unit_test(a_run_stopped_after_every_step_ends_the_same),
        cmocka_unit_test(a_mixed_run_goes_on_with_its_loss_scale),
        cmocka_unit_test(a_run_killed_at_random_moments_ends_with_the_same_bits),
        cmocka_unit_test(a_folder_with_a_run_is_not_overwritten),
        cmocka_unit_test(another_recipe_does_not_resume),
        cmocka_unit_test(a_damaged_or_foreign_checkpoint_is_refused),
    };
    return cmocka_run_group_tests_name("train_resume", tests, open_bench, close_bench);
}
