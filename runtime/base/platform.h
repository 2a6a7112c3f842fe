// SPDX-License-Identifier: Apache-2.0
/* All that is neither C11 nor Vulkan. Files for each system: platform_linux.c and programs_linux.c
 * so far. */
#ifndef VKD_PLATFORM_H
#define VKD_PLATFORM_H

#include "base/base.h"

typedef struct vkd__mapping {
    const uint8_t *bytes; /* NULL for an empty file */
    size_t size;
} vkd__mapping;

/* A whole file, read only. Errors: VKD_E_FILE with path and reason. */
vkd_result vkd__map_file(vkd_ctx *ctx, const char *path, vkd__mapping *out);
void vkd__unmap_file(vkd__mapping *m);

/* Writes the parts to "<path>.tmp", syncs, renames over path, syncs the folder. On failure the
 * temporary file is removed and path is as it was; only when the last step fails, the syncing of
 * the folder, does path hold the whole new file already. Errors: VKD_E_FILE, VKD_E_MEMORY. */
typedef struct vkd__bytes {
    const void *data;
    size_t size;
} vkd__bytes;
vkd_result vkd__write_file(vkd_ctx *ctx, const char *path, const vkd__bytes *parts, size_t count);

/* Holds "<path>.lock" until vkd__unlock_file, against other processes that do the same; waits at
 * most `seconds` for them. The file stays, empty. -1: another has it still, or it cannot be made.
 */
int vkd__lock_file(vkd_ctx *ctx, const char *path, double seconds);
void vkd__unlock_file(int lock); /* -1 is allowed */

/* A file that two programs read and write at the same time, at places and never mapped: one that is
 * cut short meanwhile gives fewer bytes and ends nobody. -1: it cannot be opened. */
int vkd__shared_open(const char *path, bool create);
int vkd__shared_open_to_read(const char *path);
void vkd__shared_close(int file);                                      /* -1 is allowed */
uint64_t vkd__shared_size(int file);                                   /* 0: cannot be told */
size_t vkd__shared_read(int file, uint64_t at, void *to, size_t size); /* bytes that are there */
bool vkd__shared_write(int file, uint64_t at, const void *from, size_t size);
bool vkd__shared_resize(int file, uint64_t size);
/* Whether path is still this file, and not another that took its place. */
bool vkd__shared_is(int file, const char *path);

uint32_t vkd__process_id(void);
bool vkd__process_lives(uint32_t id);

/* Makes a folder and those above it. Errors: VKD_E_FILE. */
vkd_result vkd__make_folder(vkd_ctx *ctx, const char *path);
bool vkd__file_exists(const char *path);
typedef struct vkd__stamp {
    uint64_t id;      /* another number when the file is another, or was written to */
    uint64_t changed; /* nanoseconds since 1970 */
} vkd__stamp;
/* false, and zeros, where there is none. */
bool vkd__file_stamp(const char *path, vkd__stamp *out);
/* Links are followed. Errors: VKD_E_FILE: nothing is there, or a link that leads nowhere. */
vkd_result vkd__is_folder(vkd_ctx *ctx, const char *path, bool *out);
/* The names in a folder that end in `suffix`, in byte order. The caller frees each and the list,
 * which is NULL when there are none. On failure nothing is left. Errors: VKD_E_FILE, VKD_E_MEMORY.
 */
vkd_result vkd__list_folder(vkd_ctx *ctx, const char *path, const char *suffix, char ***names,
                            size_t *count);

/* "<user's cache folder>/vkdistill" (XDG_CACHE_HOME, else ~/.cache); false when there is none. */
bool vkd__cache_folder(char *out, size_t size);

double vkd__seconds(void); /* monotonic */
uint64_t vkd__clock(void); /* nanoseconds since 1970 */
void vkd__sleep(double seconds);

/* From the first call on, SIGINT and SIGTERM set a flag instead of ending the process; a second
 * SIGINT ends it at once. Writing beyond a limit on the size of files becomes an error. */
void vkd__catch_signals(void);
bool vkd__stop_asked(void);

/* Finds a program beside the one that runs, else in PATH. false: there is none. */
bool vkd__find_program(const char *name, char *out, size_t size);
/* Starts a program that lives on its own: the terminal's signals do not reach it, it outlives the
 * caller, and the caller need not wait for it. It has no input; what it prints goes where the
 * caller's messages go if that is a terminal, else nowhere. words: its arguments, the first its
 * name; NULL ends. Errors: VKD_E_FILE: it cannot be started. */
vkd_result vkd__start_program(vkd_ctx *ctx, const char *path, const char *const *words);
/* Whether a window can be opened, as far as the environment says. */
bool vkd__has_display(void);

bool vkd__is_terminal(int fd); /* 1 or 2 */
uint32_t vkd__terminal_width(void);

#endif
