// SPDX-License-Identifier: Apache-2.0
/* Claims about the pipeline cache on disk. Its payload is the driver's business; which files are
 * believed is ours. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/gpu.h"

typedef struct listener {
    bool ignored, complained;
    char why[256];
} listener;

static void listen(void *user, vkd_log_level level, const char *message) {
    listener *l = user;
    if (level != VKD_LOG_INFO) l->complained = true;
    if (!strstr(message, "is ignored")) return;
    l->ignored = true;
    snprintf(l->why, sizeof l->why, "%s", strrchr(message, ':'));
}

typedef struct file {
    char folder[64], path[512];
    unsigned char bytes[1 << 16];
    size_t size;
} file;

static void make_folder(file *f) {
    strcpy(f->folder, "/tmp/vkd-cache-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
}

static void find_file(file *f) {
    DIR *dir = opendir(f->folder);
    assert_non_null(dir);
    f->path[0] = 0;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (e->d_name[0] == '.') continue;
        assert_int_equal(f->path[0], 0); /* nothing beside the cache itself is left */
        snprintf(f->path, sizeof f->path, "%s/%s", f->folder, e->d_name);
    }
    closedir(dir);
}

static void read_file(file *f) {
    find_file(f);
    FILE *in = fopen(f->path, "rb");
    assert_non_null(in);
    f->size = fread(f->bytes, 1, sizeof f->bytes, in);
    fclose(in);
    assert_in_range(f->size, 1, sizeof f->bytes - 1);
}

static void write_file(const file *f, size_t size) {
    FILE *out = fopen(f->path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(f->bytes, 1, size, out), size);
    assert_int_equal(fclose(out), 0);
}

static void remove_all(file *f) {
    find_file(f);
    if (f->path[0]) unlink(f->path);
    assert_int_equal(rmdir(f->folder), 0);
}

/* Opens and closes a device; says what was heard while it opened. */
static listener visit(const char *folder) {
    listener l = {0};
    vkd_ctx *ctx = NULL;
    assert_int_equal(vkd_ctx_create(&(vkd_ctx_desc){.log = listen, .user = &l}, &ctx), VKD_OK);
    vkd_device *device = NULL;
    const vkd_device_desc desc = {.validate = true, .cache_dir = folder};
    if (vkd_device_open(ctx, &desc, &device)) fail_msg("%s", vkd_ctx_error(ctx));
    const bool none = !folder[0] || getenv("VKD_DISABLE");
    assert_true(none == !vkd__device_cache_path(device) || l.complained);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
    return l;
}

static void skip_without_a_device(void) {
    vkd_ctx *ctx = test_ctx();
    test_device_close(test_device(ctx));
    vkd_ctx_destroy(ctx);
}

static void a_good_cache_is_used_and_kept(void **state) {
    (void)state;
    skip_without_a_device();
    static file f;
    make_folder(&f);
    assert_false(visit(f.folder).ignored);
    read_file(&f);
    const listener l = visit(f.folder);
    assert_false(l.ignored);
    assert_false(l.complained);
    remove_all(&f);
}

static void a_damaged_cache_is_ignored_and_replaced(void **state) {
    (void)state;
    skip_without_a_device();
    static file f, after;
    make_folder(&f);
    visit(f.folder);
    read_file(&f);
    /* One byte in each of: magic, version, driver, device, shaders, size, hash, payload. */
    const size_t at[] = {0, 8, 12, 20, 33, 42, 50, f.size - 1};
    for (size_t i = 0; i < VKD_COUNT(at); i++) {
        f.bytes[at[i]] ^= 0x40;
        write_file(&f, f.size);
        f.bytes[at[i]] ^= 0x40;
        const listener l = visit(f.folder);
        if (!l.ignored) fail_msg("a changed byte %zu was not seen", at[i]);
        assert_false(l.complained);
        strcpy(after.folder, f.folder);
        read_file(&after);
        assert_int_equal(after.size, f.size);
        assert_memory_equal(after.bytes, f.bytes, f.size);
    }
    for (size_t size = 0; size < f.size; size += 7) {
        write_file(&f, size);
        assert_true(visit(f.folder).ignored);
    }
    remove_all(&f);
}

static void an_empty_name_or_the_switch_means_no_cache(void **state) {
    (void)state;
    skip_without_a_device();
    static file f;
    make_folder(&f);
    assert_int_equal(chdir(f.folder), 0);
    assert_false(visit("").complained);
    setenv("VKD_DISABLE", "cache", 1);
    visit(f.folder);
    unsetenv("VKD_DISABLE");
    find_file(&f);
    assert_string_equal(f.path, "");
    assert_int_equal(chdir("/"), 0);
    remove_all(&f);
}

static void a_folder_that_cannot_be_made_costs_only_a_warning(void **state) {
    (void)state;
    skip_without_a_device();
    assert_true(visit("/dev/null/cache").complained);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_cache_is_used_and_kept),
        cmocka_unit_test(a_damaged_cache_is_ignored_and_replaced),
        cmocka_unit_test(an_empty_name_or_the_switch_means_no_cache),
        cmocka_unit_test(a_folder_that_cannot_be_made_costs_only_a_warning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
