// SPDX-License-Identifier: Apache-2.0
/* `vkdistill run --view`: the viewer is a program of its own that is started when there is
 * something to see. Here it is a script that leaves a note of what it finds. The program is a copy,
 * so that no viewer lies beside it but the test's. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/platform.h"
#include "support/data.h"
#include "support/toy.h"

/* @ is the folder of the notes. It goes on as a process that waits, under the same number. */
static const char script[] = "#!/bin/sh\n"
                             "echo \"$0\" >'@/name'\n"
                             "echo \"$#:$1\" >'@/words'\n"
                             "ls \"$1\" >'@/seen'\n"
                             "ls -l /proc/$$/fd >'@/files'\n"
                             "cat /proc/$$/stat >'@/stat'\n"
                             "echo loud; echo louder >&2\n"
                             "echo $$ >'@/number.new'\n"
                             "mv '@/number.new' '@/number'\n"
                             "exec sleep 30\n";

static toy data;

static void write_program(const char *name, const char *text, size_t size) {
    test_write(toy_path(&data, name), text, size);
    assert_int_equal(chmod(toy_path(&data, name), 0755), 0);
}

static void write_script(const char *name) {
    char text[2048];
    size_t length = 0;
    for (const char *at = script; *at; at++)
        length += (size_t)(*at == '@' ? snprintf(text + length, sizeof text - length, "%s/notes",
                                                 data.folder)
                                      : snprintf(text + length, sizeof text - length, "%c", *at));
    assert_true(length < sizeof text);
    write_program(name, text, length);
}

static int setup(void **state) {
    vkd_ctx *ctx = test_ctx();
    test_device_close(test_device(ctx));
    toy_init(&data);
    size_t size = 0;
    char *program = toy_read(VKD_PROGRAM, &size);
    write_program("app/vkdistill", program, size);
    test_free(program);
    vkd_recipe *recipe = toy_recipe(ctx, &data, NULL);
    char *text = vkd_recipe_print(recipe);
    assert_non_null(text);
    test_write(toy_path(&data, "r.yaml"), text, strlen(text));
    vkd_free_text(ctx, text);
    vkd_recipe_destroy(recipe);
    vkd_ctx_destroy(ctx);
    (void)state;
    return 0;
}

static int teardown(void **state) {
    (void)state;
    toy_term(&data);
    return 0;
}

static void clear_notes(void) {
    test_remove(toy_path(&data, "notes"));
    assert_int_equal(mkdir(toy_path(&data, "notes"), 0777), 0);
}

/* A note, or "" where there is none; valid until the next call. */
static const char *note(const char *name) {
    static char text[8192];
    char path[64];
    snprintf(path, sizeof path, "notes/%s", name);
    FILE *f = fopen(toy_path(&data, path), "rb");
    text[f ? fread(text, 1, sizeof text - 1, f) : 0] = 0;
    if (f) fclose(f);
    return text;
}

/* The viewer's process; 0: it was not started. It need not have come as far as its trainer. */
static pid_t viewer(double seconds) {
    const double end = vkd__seconds() + seconds;
    while (!*note("number") && vkd__seconds() < end)
        vkd__sleep(0.02);
    return (pid_t)atol(note("number"));
}

static bool lives(pid_t process) {
    char path[64], state[256] = "";
    snprintf(path, sizeof path, "/proc/%d/stat", (int)process);
    FILE *f = fopen(path, "rb");
    if (!f) return false;
    state[fread(state, 1, sizeof state - 1, f)] = 0;
    fclose(f);
    const char *end = strrchr(state, ')');
    return end && end[2] != 'Z';
}

typedef struct answer {
    int code;
    char out[1 << 14];
} answer;

/* Both outputs, up to their end. */
static const answer *ask(const char *variables, const char *arguments) {
    static answer a;
    char command[2048];
    a = (answer){0};
    snprintf(command, sizeof command, "cd '%s' && %s app/vkdistill run r.yaml %s 2>&1", data.folder,
             variables, arguments);
    FILE *out = popen(command, "r");
    assert_non_null(out);
    a.out[fread(a.out, 1, sizeof a.out - 1, out)] = 0;
    const int status = pclose(out);
    assert_true(WIFEXITED(status));
    a.code = WEXITSTATUS(status);
    return &a;
}

#define SHOWN "PATH=\"$PWD/bin:$PATH\" DISPLAY=:99"

static void expect(const char *variables, const char *arguments, const char *words) {
    const answer *a = ask(variables, arguments);
    if (a->code || !strstr(a->out, words) || !strstr(a->out, "student distilled"))
        fail_msg("run %s: %d\n%s", arguments, a->code, a->out);
}

/* One of the viewer's sets of signals, once the shell has become what waits; those of the C library
 * (32 and up) left out. */
static unsigned long mask(pid_t process, const char *name) {
    char path[64], text[4096] = "";
    snprintf(path, sizeof path, "/proc/%d/status", (int)process);
    for (int tries = 0; tries < 200 && !strstr(text, "Name:\tsleep"); tries++) {
        vkd__sleep(0.02);
        FILE *f = fopen(path, "rb");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = 0;
        fclose(f);
    }
    const char *at = strstr(text, name);
    assert_non_null(at);
    return strtoul(at + strlen(name), NULL, 16) & 0x7fffffff;
}

/* ---- Tests ---- */

static void the_viewer_is_opened_and_lives_on(void **state) {
    (void)state;
    clear_notes();
    write_script("bin/vkdistill-view");
    /* That the outputs end shows that the viewer does not hold them open. */
    expect(SHOWN, "--out first --view", "test accuracy");
    const pid_t process = viewer(20);
    assert_true(process > 0 && lives(process));
    assert_string_equal(note("words"), "1:first\n");
    assert_non_null(strstr(note("seen"), "recipe.yaml"));
    assert_non_null(strstr(note("seen"), "live"));
    assert_non_null(strstr(note("seen"), "metrics.jsonl"));
    /* Nothing of the trainer is open in it, and it has no terminal. */
    assert_null(strstr(note("files"), "first/"));
    assert_non_null(strstr(note("files"), "0 -> /dev/null"));
    assert_non_null(strstr(note("files"), "2 -> /dev/null"));
    assert_null(strstr(note("files"), "pipe:"));
    int parent = 0, group = 0, session = 0;
    assert_int_equal(
        sscanf(strrchr(note("stat"), ')'), ") %*c %d %d %d", &parent, &group, &session), 3);
    assert_true(session != getsid(0) && group != getpgrp());
    assert_int_equal(mask(process, "SigIgn:"), 0);
    assert_int_equal(mask(process, "SigBlk:"), 0);
    assert_int_equal(kill(process, SIGKILL), 0);
}

/* It is opened once, on a finished run too. */
static void a_finished_run_is_opened(void **state) {
    (void)state;
    clear_notes();
    expect(SHOWN, "--out first --resume --view", "test accuracy");
    const pid_t process = viewer(20);
    assert_true(process > 0);
    assert_string_equal(note("words"), "1:first\n");
    kill(process, SIGKILL);
    clear_notes();
    expect(SHOWN, "--out=-odd --view", "test accuracy");
    const pid_t other = viewer(20);
    assert_true(other > 0);
    assert_string_equal(note("words"), "1:./-odd\n");
    kill(other, SIGKILL);
    clear_notes();
    expect(SHOWN, "--out first --resume", "test accuracy");
    assert_int_equal(viewer(0.3), 0);
}

static void one_beside_the_program_goes_first(void **state) {
    (void)state;
    clear_notes();
    write_script("app/vkdistill-view");
    expect(SHOWN, "--out first --resume --view", "test accuracy");
    const pid_t process = viewer(20);
    assert_true(process > 0);
    assert_non_null(strstr(note("name"), "app/vkdistill-view"));
    kill(process, SIGKILL);
    unlink(toy_path(&data, "app/vkdistill-view"));
}

/* Ctrl-C in a terminal goes to the whole group of the trainer. */
static void an_interruption_leaves_the_viewer(void **state) {
    (void)state;
    clear_notes();
    const pid_t trainer = fork();
    if (!trainer) {
        setpgid(0, 0);
        char path[1024];
        snprintf(path, sizeof path, "%s/bin:%s", data.folder, getenv("PATH"));
        setenv("PATH", path, 1);
        setenv("DISPLAY", ":99", 1);
        const int nothing = open("/dev/null", O_RDWR);
        dup2(nothing, 1);
        dup2(nothing, 2);
        if (!chdir(data.folder))
            execl("app/vkdistill", "vkdistill", "run", "r.yaml", "--set",
                  "stages.teach.epochs=99999", "--out", "long", "--view", (char *)NULL);
        _exit(99);
    }
    const pid_t process = viewer(60);
    assert_true(process > 0);
    assert_int_equal(kill(-trainer, SIGINT), 0);
    int status = 0;
    assert_int_equal(waitpid(trainer, &status, 0), trainer);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 130);
    assert_true(vkd__file_exists(toy_path(&data, "long/checkpoint.safetensors")));
    assert_true(lives(process));
    assert_int_equal(kill(process, SIGKILL), 0);
}

static void without_a_viewer_training_goes_on(void **state) {
    (void)state;
    clear_notes();
    expect("env -u DISPLAY -u WAYLAND_DISPLAY PATH=\"$PWD/bin:$PATH\"",
           "--out first --resume --view", "there is no display for the viewer");
    expect("DISPLAY= WAYLAND_DISPLAY= PATH=\"$PWD/bin:$PATH\"", "--out first --resume --view",
           "there is no display for the viewer");
    expect("PATH=/nowhere::/at/all DISPLAY=:99", "--out first --resume --view",
           "there is no program vkdistill-view");
    assert_int_equal(viewer(0.3), 0);
    /* Where Wayland is, there need be no X. */
    expect("env -u DISPLAY WAYLAND_DISPLAY=wayland-9 PATH=\"$PWD/bin:$PATH\"",
           "--out first --resume --view", "test accuracy");
    const pid_t process = viewer(20);
    assert_true(process > 0);
    kill(process, SIGKILL);
    clear_notes();
    /* A viewer that cannot be started, and one that fails. */
    write_program("bin/vkdistill-view", "no program", 10);
    expect(SHOWN, "--out first --resume --view",
           "/bin/vkdistill-view': Exec format error; nothing is shown");
    write_program("bin/vkdistill-view", "#!/bin/sh\nkill -SEGV $$\n", 23);
    expect(SHOWN, "--out fails --view", "test accuracy");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_viewer_is_opened_and_lives_on),
        cmocka_unit_test(a_finished_run_is_opened),
        cmocka_unit_test(one_beside_the_program_goes_first),
        cmocka_unit_test(an_interruption_leaves_the_viewer),
        cmocka_unit_test(without_a_viewer_training_goes_on),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
