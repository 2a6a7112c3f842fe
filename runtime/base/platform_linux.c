// SPDX-License-Identifier: Apache-2.0
#include "base/platform.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- Reading --------------------------------------------------------------------------------- */

static vkd_result cannot(vkd_ctx *ctx, const char *verb, const char *path, int reason) {
    return vkd__fail(ctx, VKD_E_FILE, "cannot %s '%s': %s", verb, path, strerror(reason));
}

static vkd_result map_open(vkd_ctx *ctx, const char *path, int fd, vkd__mapping *out) {
    struct stat info;
    if (fstat(fd, &info)) return cannot(ctx, "read", path, errno);
    if (S_ISDIR(info.st_mode)) return cannot(ctx, "read", path, EISDIR);
    if (!S_ISREG(info.st_mode))
        return vkd__fail(ctx, VKD_E_FILE, "cannot read '%s': it is not a regular file", path);
    if (!info.st_size) return VKD_OK; /* mmap refuses a length of zero */
    if ((uintmax_t)info.st_size > SIZE_MAX) return cannot(ctx, "read", path, EFBIG);
    void *bytes = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    if (bytes == MAP_FAILED) return cannot(ctx, "read", path, errno);
    *out = (vkd__mapping){.bytes = bytes, .size = (size_t)info.st_size};
    return VKD_OK;
}

vkd_result vkd__map_file(vkd_ctx *ctx, const char *path, vkd__mapping *out) {
    *out = (vkd__mapping){0};
    /* Without O_NONBLOCK, opening a named pipe would wait for a writer before it can be refused. */
    const int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0) return cannot(ctx, "open", path, errno);
    const vkd_result r = map_open(ctx, path, fd, out);
    close(fd); /* a mapping outlives its descriptor */
    return r;
}

void vkd__unmap_file(vkd__mapping *m) {
    if (m->bytes) munmap((void *)(uintptr_t)m->bytes, m->size);
    *m = (vkd__mapping){0};
}

bool vkd__file_exists(const char *path) {
    struct stat info;
    return !stat(path, &info);
}

bool vkd__file_stamp(const char *path, vkd__stamp *out) {
    struct stat info;
    *out = (vkd__stamp){0};
    if (stat(path, &info)) return false;
    out->changed = (uint64_t)info.st_mtim.tv_sec * 1000000000u + (uint64_t)info.st_mtim.tv_nsec;
    const uint64_t parts[] = {(uint64_t)info.st_dev, (uint64_t)info.st_ino, (uint64_t)info.st_size,
                              out->changed};
    out->id = vkd__hash(VKD__HASH_SEED, parts, sizeof parts);
    return true;
}

vkd_result vkd__is_folder(vkd_ctx *ctx, const char *path, bool *out) {
    struct stat info;
    *out = false;
    if (stat(path, &info)) return cannot(ctx, "look at", path, errno);
    *out = S_ISDIR(info.st_mode);
    return VKD_OK;
}

static bool ends_in(const char *name, const char *suffix) {
    const size_t length = strlen(name), tail = strlen(suffix);
    return length >= tail && !strcmp(name + length - tail, suffix);
}

static int by_name(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(vkd_ctx *ctx, char ***names, size_t *count) {
    for (size_t i = 0; i < *count; i++)
        vkd__free(ctx, (*names)[i]);
    vkd__free(ctx, *names);
    *names = NULL;
    *count = 0;
}

vkd_result vkd__list_folder(vkd_ctx *ctx, const char *path, const char *suffix, char ***names,
                            size_t *count) {
    *names = NULL;
    *count = 0;
    size_t capacity = 0;
    DIR *folder = opendir(path);
    if (!folder) return cannot(ctx, "read folder", path, errno);
    vkd_result r = VKD_OK;
    for (const struct dirent *e = readdir(folder); e && !r; e = readdir(folder)) {
        if (!ends_in(e->d_name, suffix)) continue;
        char *name = vkd__strdup(ctx, e->d_name);
        if (!name || !VKD__RESERVE(ctx, *names, *count, capacity)) {
            vkd__free(ctx, name);
            r = VKD_E_MEMORY;
        } else {
            (*names)[(*count)++] = name;
        }
    }
    closedir(folder);
    if (r)
        free_names(ctx, names, count);
    else if (*count)
        qsort(*names, *count, sizeof **names, by_name);
    return r;
}

/* ---- Writing --------------------------------------------------------------------------------- */

/* 0, or errno. */
static int write_part(int fd, const vkd__bytes *part) {
    const uint8_t *from = part->data;
    size_t left = part->size;
    while (left) {
        const ssize_t done = write(fd, from, left);
        if (done < 0 && errno == EINTR) continue;
        if (done < 0) return errno;
        if (!done) return EIO;
        from += done;
        left -= (size_t)done;
    }
    return 0;
}

/* Makes the file, which must not be there, and sees it onto the disk. 0, or errno. */
static int write_parts(const char *path, const vkd__bytes *parts, size_t count) {
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0) return errno;
    int reason = 0;
    for (size_t i = 0; i < count && !reason; i++)
        reason = write_part(fd, &parts[i]);
    if (!reason && fsync(fd)) reason = errno;
    if (close(fd) && !reason) reason = errno; /* network file systems report a full disk here */
    return reason;
}

/* The folder that holds path, opened, or -1 with errno. `copy` is path again, and is cut up. */
static int open_folder_of(char *copy) {
    char *slash = strrchr(copy, '/');
    if (slash) slash[slash == copy] = 0; /* "/name" lies in "/" */
    return open(slash ? copy : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Some file systems cannot sync a folder and say EINVAL; there is nothing left to do on those. */
static int sync_folder(int fd) {
    return fsync(fd) && errno != EINVAL ? errno : 0;
}

vkd_result vkd__write_file(vkd_ctx *ctx, const char *path, const vkd__bytes *parts, size_t count) {
    const size_t size = strlen(path) + sizeof ".tmp";
    char *temporary = vkd__alloc(ctx, size, 1);
    if (!temporary) return VKD_E_MEMORY;
    snprintf(temporary, size, "%s", path);
    /* The folder is opened first: if that is forbidden, nothing has been touched yet. */
    const int folder = open_folder_of(temporary);
    int reason = folder < 0 ? errno : 0;
    snprintf(temporary, size, "%s.tmp", path);
    if (!reason) {
        /* What an interrupted run left behind goes; O_EXCL then makes sure that a link which
         * someone puts there meanwhile is not followed. */
        if (unlink(temporary) && errno != ENOENT) reason = errno;
        if (!reason) {
            reason = write_parts(temporary, parts, count);
            if (!reason && rename(temporary, path)) reason = errno;
            if (reason) unlink(temporary);
        }
        if (!reason) reason = sync_folder(folder);
        close(folder);
    }
    vkd__free(ctx, temporary);
    return reason ? cannot(ctx, "write", path, reason) : VKD_OK;
}

int vkd__lock_file(vkd_ctx *ctx, const char *path, double seconds) {
    vkd__text name = {.ctx = ctx};
    vkd__text_add(&name, "%s.lock", path);
    const int fd = name.failed ? -1 : open(name.text, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    vkd__text_term(&name);
    if (fd < 0) return -1;
    const double end = vkd__seconds() + seconds;
    while (flock(fd, LOCK_EX | LOCK_NB)) {
        if ((errno == EWOULDBLOCK || errno == EINTR) && vkd__seconds() < end) {
            vkd__sleep(0.02);
            continue;
        }
        close(fd);
        return -1;
    }
    return fd;
}

void vkd__unlock_file(int lock) {
    if (lock >= 0) close(lock);
}

/* ---- Shared files ---------------------------------------------------------------------------- */

/* Takes the descriptor over. */
static int if_regular(int fd) {
    struct stat info;
    if (fd < 0) return -1;
    if (!fstat(fd, &info) && S_ISREG(info.st_mode)) return fd;
    close(fd);
    return -1;
}

int vkd__shared_open(const char *path, bool create) {
    return if_regular(open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK | (create ? O_CREAT : 0), 0666));
}

int vkd__shared_open_to_read(const char *path) {
    return if_regular(open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
}

uint64_t vkd__shared_size(int file) {
    struct stat info;
    return fstat(file, &info) || info.st_size < 0 ? 0 : (uint64_t)info.st_size;
}

void vkd__shared_close(int file) {
    if (file >= 0) close(file);
}

size_t vkd__shared_read(int file, uint64_t at, void *to, size_t size) {
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pread(file, (char *)to + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) break;
        done += (size_t)n;
    }
    return done;
}

bool vkd__shared_write(int file, uint64_t at, const void *from, size_t size) {
    size_t done = 0;
    while (done < size) {
        const ssize_t n = pwrite(file, (const char *)from + done, size - done, (off_t)(at + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

bool vkd__shared_resize(int file, uint64_t size) {
    return !ftruncate(file, (off_t)size);
}

bool vkd__shared_is(int file, const char *path) {
    struct stat here, there;
    return !fstat(file, &here) && !stat(path, &there) && here.st_ino == there.st_ino &&
           here.st_dev == there.st_dev;
}

uint32_t vkd__process_id(void) {
    return (uint32_t)getpid();
}

bool vkd__process_lives(uint32_t id) {
    return id && id <= INT32_MAX && (!kill((pid_t)id, 0) || errno == EPERM);
}

static bool is_folder(const char *path) {
    struct stat info;
    return !stat(path, &info) && S_ISDIR(info.st_mode);
}

/* Makes one folder; one that is there already will do. 0, or errno. */
static int make_one(const char *path) {
    if (!mkdir(path, 0777)) return 0;
    const int reason = errno;
    if (is_folder(path)) return 0;
    return reason == EEXIST ? ENOTDIR : reason;
}

vkd_result vkd__make_folder(vkd_ctx *ctx, const char *path) {
    char *copy = vkd__strdup(ctx, path);
    if (!copy) return VKD_E_MEMORY;
    int reason = *copy ? 0 : ENOENT;
    for (char *c = copy; *c && !reason; c++) {
        if (*c != '/' || c == copy) continue;
        *c = 0;
        reason = make_one(copy);
        *c = '/';
    }
    if (!reason) reason = make_one(copy);
    vkd__free(ctx, copy);
    return reason ? cannot(ctx, "make folder", path, reason) : VKD_OK;
}

bool vkd__cache_folder(char *out, size_t size) {
    /* The XDG base directory specification says to pass over a relative path. */
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int length = -1;
    if (cache && *cache == '/')
        length = snprintf(out, size, "%s/vkdistill", cache);
    else if (home && *home == '/')
        length = snprintf(out, size, "%s/.cache/vkdistill", home);
    return length >= 0 && (size_t)length < size;
}

/* ---- Time ------------------------------------------------------------------------------------ */

uint64_t vkd__clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

double vkd__seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

void vkd__sleep(double seconds) {
    if (!(seconds > 0)) return;
    const double most = 1e9; /* thirty years; keeps the conversion defined */
    if (seconds > most) seconds = most;
    struct timespec left = {.tv_sec = (time_t)seconds};
    left.tv_nsec = (long)((seconds - (double)left.tv_sec) * 1e9);
    while (nanosleep(&left, &left) && errno == EINTR)
        if (vkd__stop_asked()) return;
}

/* ---- Signals and the terminal ---------------------------------------------------------------- */

/* A variable that no object owns: a signal handler can reach nothing else. */
static volatile sig_atomic_t stop_asked;

static void ask_to_stop(int number) {
    (void)number;
    stop_asked = 1;
}

/* What the parent chose to ignore stays ignored: that is how shells start background jobs. */
static void catch_one(int number, void (*handler)(int), int flags) {
    struct sigaction old, action = {.sa_handler = handler, .sa_flags = SA_RESTART | flags};
    sigemptyset(&action.sa_mask);
    if (sigaction(number, NULL, &old) || old.sa_handler != SIG_DFL) return;
    sigaction(number, &action, NULL);
}

void vkd__catch_signals(void) {
    if (stop_asked) return; /* a late call must not disarm the second SIGINT */
    catch_one(SIGINT, ask_to_stop, (int)SA_RESETHAND); /* so the second one ends the process */
    catch_one(SIGTERM, ask_to_stop, 0);
    catch_one(SIGXFSZ, SIG_IGN, 0); /* a write beyond the user's limit fails, like a full disk */
}

bool vkd__stop_asked(void) {
    return stop_asked != 0;
}

bool vkd__is_terminal(int fd) {
    return isatty(fd) == 1;
}

uint32_t vkd__terminal_width(void) {
    struct winsize window;
    for (int fd = STDOUT_FILENO; fd <= STDERR_FILENO; fd++)
        if (!ioctl(fd, TIOCGWINSZ, &window) && window.ws_col) return window.ws_col;
    const char *columns = getenv("COLUMNS");
    const long width = columns ? strtol(columns, NULL, 10) : 0;
    return width > 0 && width <= 10000 ? (uint32_t)width : 80;
}
