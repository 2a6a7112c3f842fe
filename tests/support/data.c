// SPDX-License-Identifier: Apache-2.0
#include "support/data.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/platform.h"

vkd_result test_load(vkd_ctx *ctx, const char *format, const char *const *pairs, vkd__dataset *d) {
    const vkd__dataset_def *def = vkd__dataset_find(format);
    assert_non_null(def);
    void *config = test_calloc(1, def->config_size);
    vkd__data_options options = {0};
    vkd__fields_init(def->fields, def->field_count, config);
    vkd__fields_init(vkd__data_fields, vkd__data_field_count, &options);
    for (; *pairs; pairs += 2) {
        bool shared = false;
        for (size_t i = 0; i < vkd__data_field_count; i++)
            shared = shared || !strcmp(vkd__data_fields[i].name, pairs[0]);
        const vkd_result r = shared ? vkd__fields_set(ctx, vkd__data_fields, vkd__data_field_count,
                                                      &options, "", pairs[0], pairs[1])
                                    : vkd__fields_set(ctx, def->fields, def->field_count, config,
                                                      "", pairs[0], pairs[1]);
        if (r) fail_msg("%s", vkd_ctx_error(ctx));
    }
    const vkd_result r = vkd__dataset_load(ctx, def, config, &options, d);
    test_free(config);
    if (r) assert_memory_equal(d, &(vkd__dataset){0}, sizeof *d);
    return r;
}

void test_write(const char *path, const void *bytes, size_t size) {
    vkd_ctx *ctx = test_ctx();
    char folder[512];
    snprintf(folder, sizeof folder, "%s", path);
    *strrchr(folder, '/') = 0;
    if (vkd__make_folder(ctx, folder)) fail_msg("%s", vkd_ctx_error(ctx));
    if (vkd__write_file(ctx, path, &(vkd__bytes){bytes, size}, 1))
        fail_msg("%s", vkd_ctx_error(ctx));
    vkd_ctx_destroy(ctx);
}

void test_remove(const char *path) {
    if (!unlink(path)) return;
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e = readdir(dir); e; e = readdir(dir)) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..")) continue;
        char below[1024];
        snprintf(below, sizeof below, "%s/%s", path, e->d_name);
        test_remove(below);
    }
    closedir(dir);
    rmdir(path);
}
