// SPDX-License-Identifier: Apache-2.0
#include "base/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- Finding one ---- */

static bool can_run(const char *path) {
    struct stat info;
    return !stat(path, &info) && S_ISREG(info.st_mode) && !access(path, X_OK);
}

static bool beside_this(const char *name, char *out, size_t size) {
    char self[1024];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0 || (size_t)length >= sizeof self - 1) return false;
    self[length] = 0;
    char *slash = strrchr(self, '/');
    if (!slash) return false;
    *slash = 0;
    const int written = snprintf(out, size, "%s/%s", self, name);
    return written > 0 && (size_t)written < size && can_run(out);
}

/* An empty part of PATH is the working folder, which nobody means. */
static bool in_path(const char *name, char *out, size_t size) {
    const char *at = getenv("PATH");
    while (at && *at) {
        const size_t length = strcspn(at, ":");
        const int written = snprintf(out, size, "%.*s/%s", (int)length, at, name);
        if (length && written > 0 && (size_t)written < size && can_run(out)) return true;
        at += length + (at[length] == ':');
    }
    return false;
}

bool vkd__find_program(const char *name, char *out, size_t size) {
    return beside_this(name, out, size) || in_path(name, out, size);
}

/* ---- Starting one ---- */

enum { FILES = 1024 }; /* open ones that are looked for */

/* Everything from here to the program's start runs between fork and exec in a process that had
 * threads: nothing but what a signal handler may do. */
static void set_files(bool terminal, int report) {
    const int nothing = open("/dev/null", O_RDWR);
    dup2(nothing, STDIN_FILENO);
    dup2(terminal ? STDERR_FILENO : nothing, STDOUT_FILENO);
    if (!terminal) dup2(nothing, STDERR_FILENO);
    for (int i = STDERR_FILENO + 1; i < FILES; i++)
        if (i != report) close(i);
}

static void reset_signals(void) {
    const struct sigaction normal = {.sa_handler = SIG_DFL};
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < 32; number++)
        sigaction(number, &normal, NULL); /* two of them refuse */
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* A second fork: its child belongs to nobody, and no one need wait for it. errno goes back through
 * the pipe, which a start that works closes. */
static void become(const char *path, char *const *words, bool terminal, int report) {
    setsid();
    const pid_t child = fork();
    if (child > 0) _exit(0);
    if (!child) {
        set_files(terminal, report);
        reset_signals();
        execv(path, words);
    }
    const int reason = errno;
    (void)!write(report, &reason, sizeof reason);
    _exit(1);
}

static int open_pipe(int ends[2]) {
    if (pipe(ends)) return errno;
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    return 0;
}

/* 0, or errno. */
static int start(const char *path, char *const *words) {
    int ends[2], reason = open_pipe(ends);
    if (reason) return reason;
    const bool terminal = vkd__is_terminal(STDERR_FILENO);
    const pid_t first = fork();
    if (!first) become(path, words, terminal, ends[1]);
    if (first < 0) reason = errno;
    close(ends[1]);
    while (first > 0 && waitpid(first, NULL, 0) < 0 && errno == EINTR)
        continue;
    int said = 0;
    ssize_t got = -1;
    while (first > 0 && (got = read(ends[0], &said, sizeof said)) < 0 && errno == EINTR)
        continue;
    close(ends[0]);
    return got == (ssize_t)sizeof said ? said : reason;
}

vkd_result vkd__start_program(vkd_ctx *ctx, const char *path, const char *const *words) {
    size_t count = 0;
    while (words[count])
        count++;
    char **copies = vkd__alloc(ctx, count + 1, sizeof *copies);
    if (!copies) return VKD_E_MEMORY;
    for (size_t i = 0; i < count; i++)
        copies[i] = (char *)(uintptr_t)words[i]; /* execv wants them so, and changes nothing */
    const int reason = start(path, copies);
    vkd__free(ctx, copies);
    if (!reason) return VKD_OK;
    return vkd__fail(ctx, VKD_E_FILE, "cannot start '%s': %s", path, strerror(reason));
}

bool vkd__has_display(void) {
    const char *x = getenv("DISPLAY"), *wayland = getenv("WAYLAND_DISPLAY");
    return (x && *x) || (wayland && *wayland);
}
