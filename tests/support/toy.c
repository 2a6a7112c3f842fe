// SPDX-License-Identifier: Apache-2.0
#include "support/toy.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "support/data.h"

static const char recipe_text[] =
    "name: toy\n"
    "seed: 3\n"
    "log_every: 4\n"
    "checkpoint_every: 5\n"
    "data: {format: idx, mean: 0.5, std: 0.25}\n"
    "models:\n"
    "  teacher: {arch: mlp, hidden: [33], dropout: 0.2}\n"
    "  student: {arch: mlp, hidden: [5], norm: layernorm, activation: gelu, dropout: 0.1}\n"
    "stages:\n"
    "  - name: teach\n"
    "    train: teacher\n"
    "    losses: [{loss: ce}]\n"
    "    optimiser: {name: sgd, lr: 0.1, momentum: 0.9}\n"
    "    epochs: 3\n"
    "    batch: 24\n"
    "  - name: distil\n"
    "    train: student\n"
    "    teacher: teacher\n"
    "    control: true\n"
    "    losses:\n"
    "      - {loss: kd_kl, weight: 0.9, tau: 3}\n"
    "      - {loss: ce, weight: 0.1}\n"
    "    optimiser: {name: adamw, lr: 0.01, clip: 1}\n"
    "    schedule: {name: cosine, warmup: 3}\n"
    "    epochs: 2\n"
    "    batch: 24\n"
    "evaluation: {batch: 40}\n";

static void write_be32(FILE *f, uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8)
        fputc((int)(v >> shift & 255u), f);
}

/* A class lights up one quarter of the image, under noise that hides it now and then. */
static int pixel(uint32_t label, uint32_t sample, uint32_t i) {
    const uint32_t y = i / 6, x = i % 6, quarter = y / 3 * 2 + x / 3;
    const vkd__philox noise = vkd__philox_at(11, 5, sample, i);
    return (int)(noise.v[0] % 170) + (quarter == label ? 70 : 0);
}

static void write_split(const toy *t, const char *name, uint32_t count, uint32_t first) {
    char file[64];
    snprintf(file, sizeof file, "%s-images-idx3-ubyte", name);
    FILE *images = fopen(toy_path(t, file), "wb");
    snprintf(file, sizeof file, "%s-labels-idx1-ubyte", name);
    FILE *labels = fopen(toy_path(t, file), "wb");
    assert_non_null(images);
    assert_non_null(labels);
    write_be32(images, 0x803);
    write_be32(labels, 0x801);
    write_be32(images, count);
    write_be32(labels, count);
    write_be32(images, 6);
    write_be32(images, 6);
    for (uint32_t n = 0; n < count; n++) {
        const uint32_t label = vkd__philox_at(11, 6, first + n, 0).v[0] % 4;
        fputc((int)label, labels);
        for (uint32_t i = 0; i < 36; i++)
            fputc(pixel(label, first + n, i), images);
    }
    assert_int_equal(fclose(images), 0);
    assert_int_equal(fclose(labels), 0);
}

void toy_init(toy *t) {
    const char *tmp = getenv("TMPDIR");
    snprintf(t->folder, sizeof t->folder, "%s/vkdistill-toy-XXXXXX", tmp ? tmp : "/tmp");
    assert_non_null(mkdtemp(t->folder));
    write_split(t, "train", TOY_TRAIN, 0);
    write_split(t, "t10k", TOY_TEST, TOY_TRAIN);
}

void toy_term(toy *t) {
    test_remove(t->folder);
}

const char *toy_path(const toy *t, const char *name) {
    static char ring[4][512];
    static unsigned next;
    char *text = ring[next++ % 4];
    snprintf(text, sizeof ring[0], "%s/%s", t->folder, name);
    return text;
}

vkd_recipe *toy_recipe(vkd_ctx *ctx, const toy *t, const char *const *sets) {
    const char *all[TOY_SETS] = {0};
    char dir[300];
    size_t count = 0;
    snprintf(dir, sizeof dir, "data.dir=%s", t->folder);
    all[count++] = dir;
    while (sets && *sets && count < TOY_SETS)
        all[count++] = *sets++;
    vkd_recipe *recipe = NULL;
    if (vkd_recipe_parse(ctx, "toy", recipe_text, strlen(recipe_text), all, count, &recipe))
        fail_msg("%s", vkd_ctx_error(ctx));
    return recipe;
}

vkd_result toy_run(vkd_ctx *ctx, vkd_device *device, const toy *t, const char *const *sets,
                   const vkd_run_desc *desc, const char *out, vkd_row *rows, uint32_t *row_count) {
    vkd_recipe *recipe = toy_recipe(ctx, t, sets);
    vkd_run_desc own = desc ? *desc : (vkd_run_desc){0};
    own.folder = toy_path(t, out);
    vkd_run *run = NULL;
    vkd_result r = vkd_run_create(ctx, device, recipe, &own, &run);
    if (!r) r = vkd_run_execute(run);
    if (!r && rows) {
        *row_count = vkd_run_row_count(run);
        assert_in_range(*row_count, 1, 8);
        for (uint32_t i = 0; i < *row_count; i++)
            rows[i] = *vkd_run_row(run, i);
    }
    vkd_run_destroy(run);
    vkd_recipe_destroy(recipe);
    return r;
}

char *toy_read(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) fail_msg("cannot open '%s'", path);
    assert_int_equal(fseek(f, 0, SEEK_END), 0);
    *size = (size_t)ftell(f);
    rewind(f);
    char *bytes = test_malloc(*size + 1);
    assert_int_equal(fread(bytes, 1, *size, f), *size);
    bytes[*size] = 0;
    fclose(f);
    return bytes;
}

void toy_same_file(const char *a, const char *b) {
    size_t n = 0, m = 0;
    char *first = toy_read(a, &n), *second = toy_read(b, &m);
    if (n != m || memcmp(first, second, n) != 0) fail_msg("'%s' and '%s' differ", a, b);
    test_free(first);
    test_free(second);
}

bool toy_same(const toy *t, const char *first, const char *second) {
    size_t n = 0, m = 0;
    char *x = toy_read(toy_path(t, first), &n);
    char *y = toy_read(toy_path(t, second), &m);
    const bool same = n == m && !memcmp(x, y, n);
    test_free(x);
    test_free(y);
    return same;
}

double toy_metric(const toy *t, const char *out, const char *phase, const char *key, int n) {
    char name[64], wanted[64], start[64];
    size_t size = 0;
    snprintf(name, sizeof name, "%s/metrics.jsonl", out);
    snprintf(start, sizeof start, "{\"phase\": \"%s\"", phase);
    snprintf(wanted, sizeof wanted, "\"%s\": ", key);
    char *text = toy_read(toy_path(t, name), &size);
    double value = NAN;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        const char *at = strstr(line, wanted);
        if (strncmp(line, start, strlen(start)) != 0 || !at || n--) continue;
        value = strtod(at + strlen(wanted), NULL);
        break;
    }
    test_free(text);
    return value;
}
