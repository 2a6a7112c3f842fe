// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/platform.h"

static char folder[] = "/tmp/vkd_platform_XXXXXX";

static int make_folder(void **state) {
    (void)state;
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state) {
    (void)state;
    return rmdir(folder);
}

typedef struct path {
    char text[128];
} path;

static path in_folder(const char *name) {
    path p;
    snprintf(p.text, sizeof p.text, "%s/%s", folder, name);
    return p;
}

static vkd_result write_text(vkd_ctx *ctx, const char *name, const char *text) {
    return vkd__write_file(ctx, name, &(vkd__bytes){text, strlen(text)}, 1);
}

static void assert_holds(vkd_ctx *ctx, const char *name, const char *text) {
    vkd__mapping m;
    assert_int_equal(vkd__map_file(ctx, name, &m), VKD_OK);
    assert_int_equal(m.size, strlen(text));
    if (m.size) assert_memory_equal(m.bytes, text, m.size);
    vkd__unmap_file(&m);
    assert_null(m.bytes);
}

static void parts_are_written_in_order_and_mapped(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const path p = in_folder("file");
    const vkd__bytes parts[] = {{"ab", 2}, {NULL, 0}, {"c", 1}};
    assert_int_equal(vkd__write_file(ctx, p.text, parts, 3), VKD_OK);
    assert_holds(ctx, p.text, "abc");
    assert_int_equal(vkd__write_file(ctx, p.text, NULL, 0), VKD_OK);
    assert_holds(ctx, p.text, "");
    assert_true(vkd__file_exists(p.text));
    unlink(p.text);
    assert_false(vkd__file_exists(p.text));
    vkd_ctx_destroy(ctx);
}

static void a_name_without_a_folder_is_written_here(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    char here[1024];
    assert_non_null(getcwd(here, sizeof here));
    assert_int_equal(chdir(folder), 0);
    const vkd_result r = write_text(ctx, "plain", "x");
    assert_int_equal(chdir(here), 0);
    assert_int_equal(r, VKD_OK);
    const path p = in_folder("plain");
    assert_holds(ctx, p.text, "x");
    unlink(p.text);
    vkd_ctx_destroy(ctx);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const path pipe = in_folder("pipe"), none = in_folder("none");
    vkd__mapping m;
    assert_int_equal(mkfifo(pipe.text, 0600), 0);
    assert_int_equal(vkd__map_file(ctx, pipe.text, &m), VKD_E_FILE); /* and does not wait */
    assert_non_null(strstr(vkd_ctx_error(ctx), "it is not a regular file"));
    assert_int_equal(vkd__map_file(ctx, folder, &m), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "Is a directory"));
    assert_int_equal(vkd__map_file(ctx, none.text, &m), VKD_E_FILE);
    char want[256];
    snprintf(want, sizeof want, "cannot open '%s': No such file or directory", none.text);
    assert_string_equal(vkd_ctx_error(ctx), want);
    unlink(pipe.text);
    vkd_ctx_destroy(ctx);
}

static void a_failed_write_leaves_everything_as_it_was(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const path p = in_folder("file"), temporary = in_folder("file.tmp"), sub = in_folder("sub");
    assert_int_equal(write_text(ctx, p.text, "old"), VKD_OK);
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit old, now; /* a full disk is refused in the same way, within a write */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    now = old;
    now.rlim_cur = 3;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &now), 0);
    const vkd_result r = write_text(ctx, p.text, "newer");
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(r, VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "cannot write '"));
    assert_holds(ctx, p.text, "old");
    assert_false(vkd__file_exists(temporary.text));

    assert_int_equal(mkdir(sub.text, 0700), 0); /* rename cannot replace a folder */
    assert_int_equal(write_text(ctx, sub.text, "x"), VKD_E_FILE);
    const path sub_temporary = in_folder("sub.tmp"), beyond = in_folder("none/file");
    assert_false(vkd__file_exists(sub_temporary.text));
    assert_int_equal(write_text(ctx, beyond.text, "x"), VKD_E_FILE);
    rmdir(sub.text);
    unlink(p.text);
    vkd_ctx_destroy(ctx);
}

static void a_link_left_as_temporary_file_is_not_followed(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const path p = in_folder("file"), temporary = in_folder("file.tmp"),
               victim = in_folder("other");
    assert_int_equal(write_text(ctx, victim.text, "mine"), VKD_OK);
    assert_int_equal(symlink(victim.text, temporary.text), 0);
    assert_int_equal(write_text(ctx, p.text, "new"), VKD_OK);
    assert_holds(ctx, victim.text, "mine");
    assert_holds(ctx, p.text, "new");
    unlink(victim.text);
    unlink(p.text);
    vkd_ctx_destroy(ctx);
}

static void folders_are_made_with_those_above(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const path deep = in_folder("a//b/c/"), file = in_folder("a/file"),
               below = in_folder("a/file/x");
    for (int i = 0; i < 2; i++)
        assert_int_equal(vkd__make_folder(ctx, deep.text), VKD_OK);
    struct stat info;
    assert_int_equal(stat(deep.text, &info), 0);
    assert_true(S_ISDIR(info.st_mode));
    assert_int_equal(write_text(ctx, file.text, ""), VKD_OK);
    assert_int_equal(vkd__make_folder(ctx, file.text), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "Not a directory"));
    assert_int_equal(vkd__make_folder(ctx, below.text), VKD_E_FILE);
    assert_int_equal(vkd__make_folder(ctx, ""), VKD_E_FILE);
    unlink(file.text);
    static const char *const made[] = {"a/b/c", "a/b", "a"};
    for (size_t i = 0; i < VKD_COUNT(made); i++)
        assert_int_equal(rmdir(in_folder(made[i]).text), 0);
    vkd_ctx_destroy(ctx);
}

static void a_folder_lists_the_names_with_an_ending_in_order(void **state) {
    (void)state;
    static const char *const files[] = {"b.yaml", "a.yaml", "c.yml", "yaml"};
    vkd_ctx *ctx = test_ctx();
    for (size_t i = 0; i < VKD_COUNT(files); i++)
        assert_int_equal(write_text(ctx, in_folder(files[i]).text, "x"), VKD_OK);
    char **names = NULL;
    size_t count = 0;
    assert_int_equal(vkd__list_folder(ctx, folder, ".yaml", &names, &count), VKD_OK);
    assert_int_equal(count, 2);
    assert_string_equal(names[0], "a.yaml");
    assert_string_equal(names[1], "b.yaml");
    for (size_t i = 0; i < count; i++)
        vkd__free(ctx, names[i]);
    vkd__free(ctx, names);
    assert_int_equal(vkd__list_folder(ctx, folder, ".none", &names, &count), VKD_OK);
    assert_true(!names && !count);
    assert_int_equal(vkd__list_folder(ctx, in_folder("gone").text, "", &names, &count), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "gone"));
    for (size_t i = 0; i < VKD_COUNT(files); i++)
        assert_int_equal(remove(in_folder(files[i]).text), 0);
    vkd_ctx_destroy(ctx);
}

static void the_cache_folder_follows_the_environment(void **state) {
    (void)state;
    char out[64];
    setenv("XDG_CACHE_HOME", "/c", 1);
    setenv("HOME", "/h", 1);
    assert_true(vkd__cache_folder(out, sizeof out));
    assert_string_equal(out, "/c/vkdistill");
    assert_false(vkd__cache_folder(out, sizeof "/c/vkdistill" - 1));
    setenv("XDG_CACHE_HOME", "relative", 1);
    assert_true(vkd__cache_folder(out, sizeof out));
    assert_string_equal(out, "/h/.cache/vkdistill");
    unsetenv("HOME");
    assert_false(vkd__cache_folder(out, sizeof out));
}

/* Runs in a process of its own, sends it the signals and returns its wait status. */
static int ended_by(void (*body)(void)) {
    fflush(NULL);
    const pid_t child = fork();
    assert_true(child >= 0);
    if (!child) {
        body();
        _exit(0);
    }
    int status = 0;
    assert_int_equal(waitpid(child, &status, 0), child);
    return status;
}

static void asked_twice(void) {
    vkd__catch_signals();
    if (vkd__stop_asked()) _exit(1);
    raise(SIGINT);
    if (!vkd__stop_asked()) _exit(2);
    vkd__catch_signals();
    raise(SIGINT);
    _exit(3); /* never reached */
}

static void asked_to_terminate(void) {
    vkd__catch_signals();
    raise(SIGTERM);
    raise(SIGTERM);
    _exit(vkd__stop_asked() ? 0 : 1);
}

static void ignored_before(void) {
    signal(SIGINT, SIG_IGN);
    vkd__catch_signals();
    raise(SIGINT);
    _exit(vkd__stop_asked() ? 1 : 0);
}

static void woken(void) {
    vkd__catch_signals();
    const pid_t sleeper = getpid();
    if (!fork()) {
        vkd__sleep(0.05);
        kill(sleeper, SIGTERM);
        _exit(0);
    }
    vkd__sleep(1000); /* the test's own time limit ends it when nothing wakes it */
    _exit(vkd__stop_asked() ? 0 : 1);
}

/* A write beyond the limit must be an error with a name, not the end of the process. */
static void limited(void) {
    signal(SIGXFSZ, SIG_DFL);
    vkd__catch_signals();
    const struct rlimit limit = {100, 100};
    if (setrlimit(RLIMIT_FSIZE, &limit)) _exit(2);
    static const char text[1000];
    const vkd__bytes whole = {text, sizeof text};
    vkd_ctx *ctx = test_ctx();
    const path p = in_folder("limited");
    const vkd_result r = vkd__write_file(ctx, p.text, &whole, 1);
    _exit(r == VKD_E_FILE && strstr(vkd_ctx_error(ctx), "limited'") ? 0 : 1);
}

static void signals_ask_first_and_the_second_sigint_ends(void **state) {
    (void)state;
    int status = ended_by(asked_twice);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGINT);
    status = ended_by(asked_to_terminate);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    status = ended_by(ignored_before);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    status = ended_by(woken);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
    status = ended_by(limited);
    assert_true(WIFEXITED(status) && !WEXITSTATUS(status));
}

static void the_clock_moves_on_and_the_terminal_has_a_width(void **state) {
    (void)state;
    const double before = vkd__seconds();
    vkd__sleep(0.002);
    assert_true(vkd__seconds() - before >= 0.002);
    vkd__sleep(-1);
    vkd__sleep(0);
    assert_true(vkd__terminal_width() > 0);
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_false(vkd__is_terminal(ends[0]));
    close(ends[0]);
    close(ends[1]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_written_in_order_and_mapped),
        cmocka_unit_test(a_name_without_a_folder_is_written_here),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(a_failed_write_leaves_everything_as_it_was),
        cmocka_unit_test(a_link_left_as_temporary_file_is_not_followed),
        cmocka_unit_test(folders_are_made_with_those_above),
        cmocka_unit_test(a_folder_lists_the_names_with_an_ending_in_order),
        cmocka_unit_test(the_cache_folder_follows_the_environment),
        cmocka_unit_test(signals_ask_first_and_the_second_sigint_ends),
        cmocka_unit_test(the_clock_moves_on_and_the_terminal_has_a_width),
    };
    return cmocka_run_group_tests_name("platform", tests, make_folder, remove_folder);
}
