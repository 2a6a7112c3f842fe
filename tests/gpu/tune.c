// SPDX-License-Identifier: Apache-2.0
/* Claims about the tuner on a device: what it measures, what it keeps, and that a run goes on with
 * the sizes that it began with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "support/gpu.h"
#include "support/toy.h"

#include "check/tune.h"

/* ---- Shapes ---- */

static vkd_plan *plan_of(vkd_ctx *ctx, const vkd__knob *k, bool full, const vkd_profile *p,
                         const char **kernel, vkd_store **store, vkd_graph **g) {
    vkd_plan *plan = NULL;
    assert_int_equal(vkd_store_create(ctx, store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, *store, NULL, g), VKD_OK);
    if (!vkd__tune_build(*g, p, k->name, full, kernel)) fail_msg("nothing stands for %s", k->name);
    if (vkd_plan_create(*g, p, &plan)) fail_msg("%s", vkd_ctx_error(ctx));
    return plan;
}

static bool same_launch(const vkd__launch *a, const vkd__launch *b) {
    return !memcmp(a->groups, b->groups, sizeof a->groups) && a->spec_count == b->spec_count &&
           !memcmp(a->spec, b->spec, a->spec_count * sizeof *a->spec);
}

/* The next launch of the kernel or a variant of it, from i on: what adds up the parts of a split K
 * is timed with it, but whether there is one depends on the tile. */
static const vkd__launch *next_of(const vkd_plan *plan, const char *kernel, size_t *i) {
    const size_t length = strlen(kernel);
    while (*i < plan->launch_count) {
        const vkd__launch *l = &plan->launches[(*i)++];
        if (strncmp(l->kernel, kernel, length) == 0 && l->kernel[length] != '_') return l;
    }
    return NULL;
}

/* Every launch that is timed follows the knob: a shape of another class would not. */
static void look_at_shapes(vkd_ctx *ctx, const vkd__knob *k, const vkd_profile *table, bool full) {
    vkd_store *store[2];
    vkd_graph *g[2];
    vkd_plan *plan[2];
    const char *kernel = NULL;
    vkd_profile p[2] = {*table, *table};
    uint32_t first = 0, timed = 0;
    while (!k->set(&p[0], first))
        first++;
    uint32_t second = first + 1;
    while (!k->set(&p[1], second))
        second++;
    for (int i = 0; i < 2; i++)
        plan[i] = plan_of(ctx, k, full, &p[i], &kernel, &store[i], &g[i]);
    for (size_t i = 0, j = 0;;) {
        const vkd__launch *a = next_of(plan[0], kernel, &i), *b = next_of(plan[1], kernel, &j);
        assert_true(!a == !b);
        if (!a || !b) break;
        if (same_launch(a, b)) fail_msg("%s does not reach %s", k->name, a->kernel);
        timed++;
    }
    assert_true(timed >= (full ? 3 : 1)); /* a sum may have two stages */
    for (int i = 0; i < 2; i++) {
        vkd_plan_destroy(plan[i]);
        vkd_graph_destroy(g[i]);
        vkd_store_destroy(store[i]);
    }
}

static void every_knob_is_measured_where_it_matters(void **state) {
    (void)state;
    vkd_profile tables[] = {*vkd_profile_find("gpu"), *vkd_profile_find("cpu"),
                            *vkd_profile_find("gpu")};
    tables[2].large_product = 128 * 128 * 128; /* a device that takes 128 tiles of 128 x 128 */
    vkd_ctx *ctx = test_ctx();
    for (size_t n = 0; n < VKD_COUNT(tables); n++)
        for (size_t i = 0; i < vkd__knob_count; i++)
            for (int full = 0; full < 2; full++)
                if (vkd__knob_applies(&vkd__knobs[i], &tables[n]))
                    look_at_shapes(ctx, &vkd__knobs[i], &tables[n], full);
    vkd_ctx_destroy(ctx);
}

/* ---- Results ---- */

/* Column sums and an element-wise op with values whose order of addition would show. */
static void compute(vkd_ctx *ctx, vkd_device *device, const vkd_profile *p, float *out) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    uint64_t ticket = 0;
    size_t count = 0;
    assert_int_equal(vkd_store_create(ctx, &store), VKD_OK);
    assert_int_equal(vkd_graph_create(ctx, store, NULL, &g), VKD_OK);
    const vkd_init init = {.kind = VKD_INIT_NORMAL, .value = 1};
    const vkd_tensor x = vkd_gelu(g, vkd_param(g, "a.x", VKD_SHAPE(1500, 50), &init));
    vkd_output(g, "y", vkd_sum(g, x, 1u, false));
    assert_int_equal(vkd_plan_create(g, p, &plan), VKD_OK);
    if (vkd_program_create(device, plan, &program)) fail_msg("%s", vkd_ctx_error(ctx));
    assert_int_equal(vkd_program_submit(program, &ticket), VKD_OK);
    assert_int_equal(vkd_program_wait(program, ticket), VKD_OK);
    memcpy(out, vkd_program_output(program, ticket, "y", &count), 50 * sizeof *out);
    assert_int_equal(count, 50);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
}

static void a_knob_that_says_so_changes_no_bit(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    float want[50], got[50];
    uint32_t compared = 0;
    compute(ctx, device, vkd_device_profile(device), want);
    for (size_t i = 0; i < vkd__knob_count; i++)
        for (uint32_t c = 0; !vkd__knobs[i].changes_bits && c < vkd__knobs[i].count; c++) {
            vkd_profile p = *vkd_device_profile(device);
            if (!vkd__knobs[i].set(&p, c)) continue;
            compute(ctx, device, &p, got);
            assert_memory_equal(got, want, sizeof got);
            compared++;
        }
    assert_true(compared >= 10);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

/* ---- The cache ---- */

static vkd_device *open_in(vkd_ctx *ctx, const char *folder) {
    vkd_device *device = NULL;
    const vkd_device_desc desc = {.validate = true, .cache_dir = folder};
    if (vkd_device_open(ctx, &desc, &device)) fail_msg("%s", vkd_ctx_error(ctx));
    return device;
}

static void sizes_of(vkd_ctx *ctx, const vkd_device *device, char *out, size_t size) {
    char *text = vkd_device_sizes(device);
    assert_non_null(text);
    snprintf(out, size, "%s", text);
    vkd_free_text(ctx, text);
}

static void put(const char *path, const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

/* Writes a cache that chose the last candidate of each knob; tells the sizes. */
static void forge(vkd_ctx *ctx, const vkd_device *device, const char *path) {
    vkd__tuning *t = test_calloc(1, sizeof *t);
    *t = vkd__tuning_key(device);
    for (size_t i = 0; i < vkd__knob_count; i++) {
        const vkd__knob *k = &vkd__knobs[i];
        vkd_profile p = *vkd__device_table(device);
        if (!vkd__knob_applies(k, &p)) continue;
        vkd__tuned *out = &t->knob[t->count++];
        snprintf(out->name, sizeof out->name, "%s", k->name);
        k->text(&p, out->table);
        for (uint32_t c = 0; c < k->count; c++)
            k->set(&p, c);
        k->text(&p, out->chosen);
    }
    vkd__text text = {.ctx = ctx};
    vkd__tuning_print(t, &text);
    put(path, text.text, text.length);
    vkd__text_term(&text);
    test_free(t);
}

static void a_choice_is_kept_and_taken_again(void **state) {
    const toy *folder = *state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = open_in(ctx, folder->folder);
    char path[1200], table[1024], first[1024], again[1024];
    const char *why = "";
    vkd__tuning *t = test_calloc(1, sizeof *t);
    sizes_of(ctx, device, table, sizeof table);
    assert_true(vkd__tuning_path(device, path, sizeof path));
    assert_false(vkd__tuning_load(device, t, &why));
    assert_string_equal(why, "");
    if (vkd_device_tune(device, VKD_TUNE_QUICK)) fail_msg("%s", vkd_ctx_error(ctx));
    sizes_of(ctx, device, first, sizeof first);
    assert_true(vkd__tuning_load(device, t, &why));
    assert_false(t->full);
    assert_true(t->count > 3);
    for (uint32_t i = 0; i < t->count; i++)
        assert_true(t->knob[i].tried <= t->knob[i].candidates && t->knob[i].candidates >= 6);
    assert_int_equal(vkd_device_tune(device, VKD_TUNE_OFF), VKD_OK);
    sizes_of(ctx, device, again, sizeof again);
    assert_string_equal(again, table);
    test_device_close(device);

    device = open_in(ctx, folder->folder);
    size_t size = 0, size_again = 0;
    char *bytes = toy_read(path, &size);
    assert_int_equal(vkd_device_tune(device, VKD_TUNE_QUICK), VKD_OK);
    sizes_of(ctx, device, again, sizeof again);
    assert_string_equal(again, first);
    char *bytes_again = toy_read(path, &size_again);
    assert_int_equal(size, size_again);
    assert_memory_equal(bytes, bytes_again, size); /* times differ in each measurement */
    test_free(bytes);
    test_free(bytes_again);

    /* Not the measurement but the file decides. */
    forge(ctx, device, path);
    assert_int_equal(vkd_device_tune(device, VKD_TUNE_QUICK), VKD_OK);
    sizes_of(ctx, device, again, sizeof again);
    assert_string_not_equal(again, table);
    assert_non_null(strstr(again, "element-wise workgroup=8"));
    test_free(t);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void a_damaged_cache_is_ignored_and_written_anew(void **state) {
    const toy *folder = *state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = open_in(ctx, folder->folder);
    char path[1200];
    const char *why = "";
    vkd__tuning *t = test_calloc(1, sizeof *t);
    assert_true(vkd__tuning_path(device, path, sizeof path));
    put(path, "vkdistill sizes 1\ndevice", 24);
    assert_false(vkd__tuning_load(device, t, &why));
    assert_string_equal(why, "it is damaged");
    assert_int_equal(vkd_device_tune(device, VKD_TUNE_QUICK), VKD_OK);
    assert_true(vkd__tuning_load(device, t, &why));
    test_free(t);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static void without_a_cache_quick_stays_with_the_table(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = open_in(ctx, "");
    char table[1024], sizes[1024];
    sizes_of(ctx, device, table, sizeof table);
    assert_int_equal(vkd_device_set_sizes(device, "element-wise workgroup=16"), VKD_OK);
    assert_int_equal(vkd_device_tune(device, VKD_TUNE_QUICK), VKD_OK);
    sizes_of(ctx, device, sizes, sizeof sizes);
    assert_string_equal(sizes, table);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

/* ---- Runs ---- */

static bool stop_at_zero(void *user) {
    int *left = user;
    return --*left <= 0;
}

/* Other sizes for whatever device this is, of knobs that change sums. */
static const char *other_sizes(const vkd_device *device) {
    return vkd_device_profile(device)->direct
               ? "direct matmul, narrow=8x8; reduction workgroup=16"
               : "long rows workgroup=32; reduction workgroup=16; matmul tile, narrow=64x32x16 4x4";
}

static void run(vkd_ctx *ctx, vkd_device *device, const toy *t, const char *out, int steps,
                bool resume) {
    int left = steps;
    const vkd_run_desc desc = {
        .resume = resume, .stop = steps ? stop_at_zero : NULL, .user = &left};
    const vkd_result r = toy_run(ctx, device, t, NULL, &desc, out, NULL, NULL);
    if (r != (steps ? VKD_E_INTERRUPTED : VKD_OK)) fail_msg("%s", vkd_ctx_error(ctx));
}

static void a_run_goes_on_with_the_sizes_it_began_with(void **state) {
    const toy *t = *state;
    vkd_ctx *ctx = test_ctx();
    vkd_device *device = test_device(ctx);
    const char *others = other_sizes(device);
    char began[1024], now[1024];
    assert_int_equal(vkd_device_set_sizes(device, others), VKD_OK);
    sizes_of(ctx, device, began, sizeof began);
    run(ctx, device, t, "whole", 0, false);
    run(ctx, device, t, "stopped", 9, false);
    assert_int_equal(vkd_device_set_sizes(device, NULL), VKD_OK); /* as after a new tuning */
    run(ctx, device, t, "stopped", 0, true);
    sizes_of(ctx, device, now, sizeof now);
    assert_string_equal(now, began);
    toy_same_file(toy_path(t, "whole/teacher.safetensors"),
                  toy_path(t, "stopped/teacher.safetensors"));
    toy_same_file(toy_path(t, "whole/student.safetensors"),
                  toy_path(t, "stopped/student.safetensors"));
    size_t size = 0;
    char *metrics = toy_read(toy_path(t, "stopped/metrics.jsonl"), &size);
    char *end = memchr(metrics, '\n', size);
    assert_non_null(end);
    *end = 0;
    assert_non_null(strstr(metrics, "\"sizes\": \""));
    assert_non_null(strstr(metrics, began));
    assert_null(strstr(end + 1, "\"sizes\""));
    test_free(metrics);
    test_device_close(device);
    vkd_ctx_destroy(ctx);
}

static int setup(void **state) {
    static toy t;
    toy_init(&t);
    *state = &t;
    vkd_ctx *ctx = test_ctx();
    test_device_close(test_device(ctx)); /* or the program is skipped */
    vkd_ctx_destroy(ctx);
    return 0;
}

static int teardown(void **state) {
    toy_term(*state);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_knob_is_measured_where_it_matters),
        cmocka_unit_test(a_knob_that_says_so_changes_no_bit),
        cmocka_unit_test(a_choice_is_kept_and_taken_again),
        cmocka_unit_test(a_damaged_cache_is_ignored_and_written_anew),
        cmocka_unit_test(without_a_cache_quick_stays_with_the_table),
        cmocka_unit_test(a_run_goes_on_with_the_sizes_it_began_with),
    };
    return cmocka_run_group_tests_name("tune", tests, setup, teardown);
}
