// SPDX-License-Identifier: Apache-2.0
#include "support/model.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/store.h"

test_model test_model_make(vkd_ctx *ctx, const char *arch, const char *options) {
    test_model m = {.def = vkd__model_find(arch)};
    assert_non_null(m.def);
    m.config = test_calloc(1, m.def->config_size);
    vkd__fields_init(m.def->fields, m.def->field_count, m.config);
    while (*options) {
        char word[64], *value;
        const size_t length = strcspn(options, " ");
        assert_true(length < sizeof word);
        snprintf(word, sizeof word, "%.*s", (int)length, options);
        value = strchr(word, '=');
        assert_non_null(value);
        *value++ = 0;
        if (vkd__fields_set(ctx, m.def->fields, m.def->field_count, m.config, arch, word, value))
            fail_msg("%s", vkd_ctx_error(ctx));
        options += length + strspn(options + length, " ");
    }
    return m;
}

void test_model_term(test_model *m) {
    test_free(m->config);
    *m = (test_model){0};
}

vkd__model_io *test_model_build(vkd_graph *g, const test_model *m, vkd_tensor input,
                                uint32_t classes, bool training) {
    vkd__model_io *io = test_calloc(1, sizeof *io);
    io->group = TEST_MODEL;
    io->input = input;
    io->classes = classes;
    io->training = training;
    m->def->build(g, io, m->config);
    return io;
}

static void fill_stored(const vkd_store *store, const vkd_store_info *info, double *v,
                        uint64_t count) {
    if (info->buffer)
        for (uint64_t k = 0; k < count; k++)
            v[k] = strstr(info->name, "var") ? 0.5 + 0.1 * (double)(k % 7) : 0.3 * sin((double)k);
    if (!info->parameter) return;
    float *start = test_calloc(count, sizeof *start);
    assert_int_equal(vkd_store_read((vkd_store *)store, info->name, start, count * sizeof *start),
                     VKD_OK);
    for (uint64_t k = 0; k < count; k++)
        v[k] = (double)start[k] + 0.05 * sin(0.7 * (double)k);
    test_free(start);
}

void test_model_fill(const vkd_graph *g, vkd__host *h) {
    for (size_t i = 1; i < g->tensor_count; i++) {
        const vkd__tensor *t = &g->tensors[i];
        const uint64_t count = vkd_shape_count(t->shape);
        double *v = vkd__host_values(h, (vkd_tensor){(uint32_t)i});
        const bool input = t->home == VKD__HOME_INPUT && count > 1;
        for (uint64_t k = 0; input && k < count; k++)
            v[k] = t->dtype == VKD_I32 ? (double)(k % 3)
                                       : sin(1.3 * (double)k + 0.2 * (double)(k * k % 17));
        if (t->home != VKD__HOME_STORE) continue;
        vkd_store_info info;
        if (vkd_store_find(g->store, g->store->entries[t->entry].name, &info))
            fill_stored(g->store, &info, v, count);
    }
}
