// SPDX-License-Identifier: Apache-2.0
/* Stages that read their teacher from a cache, and the command that makes one. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support/toy.h"

typedef struct bench {
    vkd_ctx *ctx;
    vkd_device *device;
    toy data;
} bench;

#define FEATURES                                                                                   \
    "stages.distil.losses=[{loss: kd_kl, weight: 0.9, tau: 3}, {loss: hint, weight: 0.1, "         \
    "regressor: linear, taps: [fc0]}]"
#define TOPK "stages.distil.losses=[{loss: kd_topk, tau: 3, k: 2}]"

static void run_to(const bench *b, const char *const *sets, const char *out, vkd_result want) {
    const vkd_result r = toy_run(b->ctx, b->device, &b->data, sets, NULL, out, NULL, NULL);
    if (r != want) fail_msg("%s: %s", out, r ? vkd_ctx_error(b->ctx) : "no error");
}

/* Runs `vkdistill cache` with "@" for the folder; returns the exit code. */
static int cache(const bench *b, const char *arguments) {
    char command[2048];
    int n = snprintf(command, sizeof command, "'%s' cache ", VKD_PROGRAM);
    for (const char *c = arguments; *c; c++)
        n += snprintf(command + n, sizeof command - (size_t)n, *c == '@' ? "%s" : "%.1s",
                      *c == '@' ? b->data.folder : c);
    snprintf(command + n, sizeof command - (size_t)n, " >'%s/said' 2>&1", b->data.folder);
    return system(command) >> 8;
}

static void made(const bench *b, const char *arguments) {
    if (!cache(b, arguments)) return;
    size_t size = 0;
    fail_msg("%s: %s", arguments, toy_read(toy_path(&b->data, "said"), &size));
}

/* What the command last said holds this. */
static void said(const bench *b, const char *text) {
    size_t size = 0;
    char *all = toy_read(toy_path(&b->data, "said"), &size);
    if (!strstr(all, text)) fail_msg("'%s' does not say '%s'", all, text);
    test_free(all);
}

/* The recipe as a file, a run with a live teacher, and caches of that teacher. */
static int open_bench(void **state) {
    bench *b = test_calloc(1, sizeof *b);
    b->ctx = test_ctx();
    b->device = test_device(b->ctx);
    toy_init(&b->data);
    vkd_recipe *recipe = toy_recipe(b->ctx, &b->data, NULL);
    char *text = vkd_recipe_print(recipe);
    FILE *file = fopen(toy_path(&b->data, "recipe.yaml"), "w");
    assert_non_null(file);
    assert_non_null(text);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
    vkd_free_text(b->ctx, text);
    vkd_recipe_destroy(recipe);
    run_to(b, (const char *const[]){"stages.distil.teacher_logits=live", NULL}, "live", VKD_OK);
#define MAKE "build '@/recipe.yaml' --teacher '@/live/teacher.safetensors' --out '@/"
    made(b, MAKE "dense.st' --taps fc0");
    made(b, MAKE "top.st' --top 2");
    made(b, MAKE "half.st' --dtype f16");
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

static const char *cached(const bench *b, const char *file) {
    static char set[400];
    snprintf(set, sizeof set, "stages.distil.teacher_cache=%s", toy_path(&b->data, file));
    return set;
}

static void a_dense_cache_gives_the_bits_of_the_live_teacher(void **state) {
    const bench *b = *state;
    run_to(b, (const char *const[]){cached(b, "dense.st"), NULL}, "dense", VKD_OK);
    assert_true(toy_same(&b->data, "live/student.safetensors", "dense/student.safetensors"));
    run_to(b, (const char *const[]){FEATURES, NULL}, "live_features", VKD_OK);
    run_to(b, (const char *const[]){FEATURES, cached(b, "dense.st"), NULL}, "features", VKD_OK);
    assert_true(
        toy_same(&b->data, "live_features/student.safetensors", "features/student.safetensors"));
    assert_false(toy_same(&b->data, "live/student.safetensors", "features/student.safetensors"));
}

/* The same loss from two of four probabilities and a rest: equal but for rounding. */
static void a_cache_of_the_top_k_is_enough_for_kd_topk(void **state) {
    const bench *b = *state;
    run_to(b, (const char *const[]){TOPK, NULL}, "live_top", VKD_OK);
    run_to(b, (const char *const[]){TOPK, cached(b, "top.st"), NULL}, "top", VKD_OK);
    const double want = toy_metric(&b->data, "live_top", "student", "kd_topk", 0);
    const double got = toy_metric(&b->data, "top", "student", "kd_topk", 0);
    assert_true(want > 0.01 && fabs(got - want) < 1e-4 * want);
}

static void a_cache_in_f16_is_near(void **state) {
    const bench *b = *state;
    run_to(b, (const char *const[]){cached(b, "half.st"), NULL}, "half", VKD_OK);
    assert_false(toy_same(&b->data, "live/student.safetensors", "half/student.safetensors"));
    const double want = toy_metric(&b->data, "live", "student", "kd_kl", 0);
    const double got = toy_metric(&b->data, "half", "student", "kd_kl", 0);
    assert_true(fabs(got - want) < 1e-2 * want);
}

/* Two teachers from files, of which the first may have a cache. */
static void run_taught_by_two(const bench *b, const char *cache, const char *out, vkd_result want) {
    char folder[300], models[1200], stages[1200];
    snprintf(folder, sizeof folder, "%s", b->data.folder);
    snprintf(models, sizeof models,
             "models={one: {arch: mlp, hidden: [33], dropout: 0.2, load: "
             "'%s/live/teacher.safetensors'}, "
             "other: {arch: mlp, hidden: [5], norm: layernorm, activation: gelu, load: "
             "'%s/live/student.safetensors'}, "
             "student: {arch: mlp, hidden: [5]}}",
             folder, folder);
    snprintf(stages, sizeof stages,
             "stages=[{name: distil, train: student, teachers: [{model: one%s%s%s}, other], "
             "losses: [{loss: kd_kl}], epochs: 1, batch: 24, optimiser: {name: sgd, lr: 0.1}%s}]",
             cache ? ", cache: '" : "", cache ? toy_path(&b->data, cache) : "", cache ? "'" : "",
             cache ? "" : ", teacher_logits: live");
    run_to(b, (const char *const[]){models, stages, NULL}, out, want);
}

static void one_of_several_teachers_may_be_cached(void **state) {
    const bench *b = *state;
    run_taught_by_two(b, NULL, "two_live", VKD_OK);
    run_taught_by_two(b, "dense.st", "two", VKD_OK);
    assert_true(toy_same(&b->data, "two_live/student.safetensors", "two/student.safetensors"));
    run_taught_by_two(b, "half.st", "two_half", VKD_OK);
    assert_false(toy_same(&b->data, "two/student.safetensors", "two_half/student.safetensors"));
    run_taught_by_two(b, "nowhere.st", "missing", VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(b->ctx), "nowhere.st"));
}

static void a_cache_for_something_else_is_refused(void **state) {
    const bench *b = *state;
    const struct {
        const char *file, *set, *says;
    } cases[] = {
        {"dense.st", "seed=77", "the hash of the teacher's parameters is"},
        {"dense.st", "data.mean=0.25", "the hash of the data is"},
        {"dense.st", "data.samples=240", "samples: 256 where this needs 240"},
        {"top.st", "stages.distil.losses=[{loss: kd_kl, tau: 2}]", "where this needs 2"},
        {"top.st", "stages.distil.losses=[{loss: kd_mse}]", "needs all logits"},
        {"top.st", "stages.distil.losses=[{loss: kd_topk, tau: 3, k: 3}]", "wants 3"},
        {"top.st", FEATURES, "does not hold 'fc0'"},
        {"recipe.yaml", "seed=3", "recipe.yaml"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const char *const sets[] = {cases[i].set, cached(b, cases[i].file), NULL};
        char out[16];
        snprintf(out, sizeof out, "other%zu", i);
        run_to(b, sets, out, i + 1 == VKD_COUNT(cases) ? VKD_E_FORMAT : VKD_E_DATA);
        if (!strstr(vkd_ctx_error(b->ctx), cases[i].says))
            fail_msg("'%s' does not say '%s'", vkd_ctx_error(b->ctx), cases[i].says);
    }
}

static void verify_computes_again(void **state) {
    const bench *b = *state;
#define TEACHER " '@/recipe.yaml' --teacher '@/live/teacher.safetensors'"
    made(b, "verify '@/dense.st'" TEACHER " --all");
    said(b, "9472 values computed again: the same bits"); /* 256 samples, 4 + 33 values */
    made(b, "verify '@/top.st'" TEACHER);
    made(b, "verify '@/half.st'" TEACHER);
    made(b, "info '@/top.st'");
    said(b, "classes kept 2 of each sample and the rest, at temperature 3");
    made(b, "info '@/dense.st' --json");
    said(b, "\"name\": \"tap.fc0\"");

    /* One value of the last sample's logits becomes another. */
    size_t size = 0;
    char *bytes = toy_read(toy_path(&b->data, "half.st"), &size);
    bytes[size - 1] ^= 0x20;
    FILE *file = fopen(toy_path(&b->data, "bad.st"), "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    assert_int_equal(fclose(file), 0);
    test_free(bytes);
    assert_int_equal(cache(b, "verify '@/bad.st'" TEACHER), 11);
    said(b, "'logits' of sample 255 is not what the teacher says now");
    assert_int_equal(cache(b, "verify '@/dense.st' '@/recipe.yaml' --teacher "
                              "'@/live/student.safetensors'"),
                     4);
    said(b, "the hash of the teacher's parameters");
}

static void the_command_says_what_it_wants(void **state) {
    const bench *b = *state;
    static const struct {
        const char *arguments;
        int code;
        const char *says;
    } cases[] = {
        {"", 2, "cache wants build, info or verify"},
        {"bake", 2, "not 'bake'"},
        {"build '@/recipe.yaml'", 2, "wants a recipe and --out"},
        {"build '@/recipe.yaml' --out '@/x'", 2, "give the trained one: --teacher"},
        {"build '@/recipe.yaml' --out '@/x' --stage nosuch", 2, "has no stage 'nosuch'"},
        {MAKE "x' --dtype f64", 2, "must be f32 or f16"},
        {MAKE "x' --top 5", 2, "--top is 5, must be at most 4"},
        {MAKE "x' --taps nosuch", 2, "has no tap 'nosuch'"},
        {MAKE "x' --top 2 --tau 0", 2, "tau"},
        {"info '@/live/teacher.safetensors'", 4, "is no cache of a teacher's outputs"},
        {"verify '@/top.st'", 2, "wants a file and a recipe"},
    };
    for (size_t i = 0; i < VKD_COUNT(cases); i++) {
        const int code = cache(b, cases[i].arguments);
        if (code != cases[i].code) fail_msg("%s: exit code %d", cases[i].arguments, code);
        said(b, cases[i].says);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_dense_cache_gives_the_bits_of_the_live_teacher),
        cmocka_unit_test(a_cache_of_the_top_k_is_enough_for_kd_topk),
        cmocka_unit_test(a_cache_in_f16_is_near),
        cmocka_unit_test(one_of_several_teachers_may_be_cached),
        cmocka_unit_test(a_cache_for_something_else_is_refused),
        cmocka_unit_test(verify_computes_again),
        cmocka_unit_test(the_command_says_what_it_wants),
    };
    return cmocka_run_group_tests(tests, open_bench, close_bench);
}
