// SPDX-License-Identifier: Apache-2.0
#include "support/support.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/philox.h"
#include "base/platform.h"
#include "train/live.h"

static char folder[] = "/tmp/vkd_live_XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/live", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

enum { SAMPLES = 3, CLASSES = 2, HEIGHT = 2, WIDTH = 5 };
static const int32_t indices[SAMPLES] = {4, 5, 6}, labels[SAMPLES] = {1, 0, 1};
static const float student[SAMPLES * CLASSES] = {1, 2, 3, 4, 5, 6};
static const float teacher[SAMPLES * CLASSES] = {-1, -2, -3, -4, -5, -6};
static const float map[SAMPLES * HEIGHT * WIDTH] = {9, 8, 7};

static void fill(vkd__live_writer *w) {
    vkd__live_header *h = vkd__live_now(w);
    h->state = VKD_LIVE_TRAINING;
    h->samples = SAMPLES;
    h->classes = CLASSES;
    h->step = 7;
    h->steps = 70;
    h->loss = 0.5;
    snprintf(h->phase, sizeof h->phase, "student");
    h->setting_count = 1;
    h->settings[0] = (vkd__live_setting){"tau.kd_kl", 4};
    h->map_count = 1;
    h->maps[0] = (vkd__live_map){.name = "stage1.out", .height = HEIGHT, .width = WIDTH};
}

static void publish(vkd__live_writer *w) {
    const vkd__live_tables tables = {indices, labels, student, teacher, {map}};
    fill(w);
    vkd__live_publish(w, &tables);
}

static vkd__live_writer *writer(vkd_ctx *ctx) {
    vkd__live_writer *w = NULL;
    assert_int_equal(vkd__live_writer_create(ctx, path, &w), VKD_OK);
    assert_non_null(w);
    return w;
}

static const vkd_live_frame *look(vkd_live *l, vkd_ctx *ctx) {
    const vkd_live_frame *f = NULL;
    if (vkd_live_read(l, &f)) fail_msg("%s", vkd_ctx_error(ctx));
    return f;
}

static void what_is_written_is_read(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    vkd_live *l = NULL;
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_OK);
    const vkd_live_frame *f = look(l, ctx);
    assert_int_equal(f->state, VKD_LIVE_STARTING);
    assert_int_equal(f->samples, 0);
    assert_true(f->alive && f->test_accuracy < 0);
    const uint64_t before = f->sequence;
    publish(w);
    f = look(l, ctx);
    assert_true(f->sequence > before && f->sequence % 2 == 0);
    assert_int_equal(f->state, VKD_LIVE_TRAINING);
    assert_string_equal(f->phase, "student");
    assert_true(f->step == 7 && f->steps == 70 && f->loss == 0.5);
    assert_int_equal(f->samples, SAMPLES);
    assert_memory_equal(f->indices, indices, sizeof indices);
    assert_memory_equal(f->labels, labels, sizeof labels);
    assert_memory_equal(f->student_logits, student, sizeof student);
    assert_memory_equal(f->teacher_logits, teacher, sizeof teacher);
    assert_int_equal(f->map_count, 1);
    assert_string_equal(f->maps[0].tap, "stage1.out");
    assert_true(f->maps[0].height == HEIGHT && f->maps[0].width == WIDTH && !f->maps[0].teacher);
    assert_memory_equal(f->maps[0].values, map, sizeof map);
    assert_int_equal(f->setting_count, 1);
    assert_string_equal(f->settings[0].name, "tau.kd_kl");
    assert_true(f->settings[0].value == 4);
    /* Without a probe batch the tables go, and the file with them. */
    vkd__live_publish(w, NULL);
    f = look(l, ctx);
    assert_true(!f->samples && !f->student_logits && !f->map_count);
    vkd_live_close(l);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static void requests_reach_the_trainer_once(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    vkd_live *l = NULL;
    vkd__live_request q;
    publish(w);
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_OK);
    assert_false(vkd__live_watched(w));
    assert_false(vkd__live_take(w, &q));
    assert_int_equal(vkd_live_watch(l), VKD_OK);
    assert_true(vkd__live_watched(w));
    const vkd_live_setting wanted[] = {{"tau.kd_kl", 8}, {"weight.ce", 0.5f}};
    for (int again = 0; again < 2; again++) {
        assert_int_equal(vkd_live_ask(l, wanted, 2), VKD_OK);
        assert_true(look(l, ctx)->pending);
        assert_true(vkd__live_take(w, &q));
        assert_int_equal(q.count, 2);
        assert_string_equal(q.settings[1].name, "weight.ce");
        assert_true(q.settings[0].value == 8 && q.settings[1].value == 0.5f);
        assert_false(vkd__live_take(w, &q));
        publish(w);
        assert_false(look(l, ctx)->pending);
    }
    vkd_live_setting many[VKD__LIVE_SETTINGS + 1];
    for (size_t i = 0; i < VKD_COUNT(many); i++)
        many[i] = wanted[0];
    assert_int_equal(vkd_live_ask(l, many, VKD__LIVE_SETTINGS + 1), VKD_E_ARGUMENT);
    many[0].name = "a.name.that.is.longer.than.sixty.characters.and.so.names.nothing.at.all";
    assert_int_equal(vkd_live_ask(l, many, 1), VKD_E_ARGUMENT);
    vkd_live_close(l);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static void a_run_that_is_started_over_is_followed(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    vkd_live *l = NULL;
    publish(w);
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_OK);
    const uint64_t before = look(l, ctx)->sequence;
    /* In the same file: numbers go on. */
    vkd__live_writer_destroy(w);
    w = writer(ctx);
    assert_true(look(l, ctx)->sequence > before);
    assert_int_equal(look(l, ctx)->state, VKD_LIVE_STARTING);
    /* The file is gone: what was seen last stays; and then another one. */
    publish(w);
    assert_int_equal(look(l, ctx)->step, 7);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(look(l, ctx)->step, 7);
    vkd__live_writer_destroy(w);
    w = writer(ctx);
    assert_int_equal(look(l, ctx)->step, 0);
    vkd_live_close(l);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

/* ---- Files that are not what they should be ---- */

static size_t slurp(uint8_t **bytes) {
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    fseek(f, 0, SEEK_END);
    const size_t size = (size_t)ftell(f);
    rewind(f);
    *bytes = malloc(size);
    assert_non_null(*bytes);
    assert_int_equal(fread(*bytes, 1, size, f), size);
    fclose(f);
    return size;
}

static void spill(const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

static size_t good_file(uint8_t **bytes) {
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    publish(w);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
    return slurp(bytes);
}

static void every_beginning_of_a_file_is_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint8_t *bytes;
    const size_t size = good_file(&bytes);
    vkd_live *l = NULL;
    /* One that is open already keeps what it saw last. */
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_OK);
    const vkd_live_frame *f = look(l, ctx);
    for (size_t cut = 0; cut < size; cut += cut < 4096 || cut > VKD__LIVE_HEADER ? 1 : 61) {
        vkd_live *fresh = NULL;
        spill(bytes, cut);
        if (vkd_live_open(ctx, folder, &fresh) != VKD_E_FORMAT)
            fail_msg("%zu bytes are taken", cut);
        assert_null(fresh);
    }
    const vkd_live_frame *after = NULL;
    const vkd_result r = vkd_live_read(l, &after);
    assert_true(r == VKD_OK || r == VKD_E_FORMAT); /* as much of the header as was left */
    assert_ptr_equal(after, f);
    assert_memory_equal(after->student_logits, student, sizeof student);
    vkd_live_close(l);
    free(bytes);
    vkd_ctx_destroy(ctx);
}

static void lies_are_refused(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint8_t *good, *bad;
    const size_t size = good_file(&good);
    bad = malloc(size);
    assert_non_null(bad);
#define FIELD(field) offsetof(vkd__live_header, field)
    static const struct {
        size_t at;
        uint32_t value;
        const char *says;
    } lies[] = {
        {0, 0x21212121, "does not begin with VKDLIVE"},
        {FIELD(version), 2, "is of version 2, this viewer reads version 1"},
        {FIELD(header_bytes), 64, "sizes make no sense"},
        {FIELD(file_bytes), 3, "sizes make no sense"},
        {FIELD(file_bytes) + 4, 1, "sizes make no sense"},
        {FIELD(file_bytes), 1 << 20, "cut short"},
        {FIELD(samples), 65, "counts make no sense"},
        {FIELD(samples), 60, "outside it"},
        {FIELD(classes), 200001, "counts make no sense"},
        {FIELD(classes), 1000, "outside it"},
        {FIELD(setting_count), 33, "counts make no sense"},
        {FIELD(map_count), 33, "counts make no sense"},
        {FIELD(map_count), 2, "a map lies outside it"},
        {FIELD(state), 5, "counts make no sense"},
        {FIELD(labels), 4, "a table lies outside it"},
        {FIELD(labels), VKD__LIVE_HEADER + 2, "a table lies outside it"},
        {FIELD(student_logits) + 4, 0xffffffff, "a table lies outside it"},
        {FIELD(maps[0].height), 0, "a map lies outside it"},
        {FIELD(maps[0].width), 65536, "a map lies outside it"},
        {FIELD(maps[0].height), 65535, "a map lies outside it"},
    };
    for (size_t i = 0; i < VKD_COUNT(lies); i++) {
        vkd_live *l = NULL;
        memcpy(bad, good, size);
        memcpy(bad + lies[i].at, &lies[i].value, 4);
        spill(bad, size);
        const vkd_result r = vkd_live_open(ctx, folder, &l);
        if (r != VKD_E_FORMAT || !strstr(vkd_ctx_error(ctx), lies[i].says))
            fail_msg("lie %zu: %s", i, r ? vkd_ctx_error(ctx) : "taken");
    }
    /* A name without an end. */
    memcpy(bad, good, size);
    memset(bad + FIELD(stage), 'x', sizeof((vkd__live_header *)0)->stage);
    spill(bad, size);
    vkd_live *l = NULL;
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_E_FORMAT);
    /* A writer that was killed at work. */
    memcpy(bad, good, size);
    bad[FIELD(sequence)] |= 1;
    spill(bad, size);
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_E_FORMAT);
    assert_non_null(strstr(vkd_ctx_error(ctx), "never finished"));
    free(good);
    free(bad);
    vkd_ctx_destroy(ctx);
}

/* Bytes of a good file become others, a few at a time: it is read or refused, and nothing outside
 * it is touched (the sanitizers look). */
static void noise_is_survived(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    uint8_t *good, *bad;
    const size_t size = good_file(&good);
    bad = malloc(size);
    assert_non_null(bad);
    for (uint32_t n = 0; n < 2000; n++) {
        memcpy(bad, good, size);
        for (uint32_t k = 0; k < 1 + n % 5; k++) {
            const vkd__philox r = vkd__philox_at(5, n, k, 0);
            bad[r.v[0] % (n % 2 ? 700 : size)] = (uint8_t)r.v[1];
        }
        spill(bad, size);
        vkd_live *l = NULL;
        if (vkd_live_open(ctx, folder, &l)) continue;
        const vkd_live_frame *f = look(l, ctx);
        volatile float last = 0; /* every value is read */
        for (uint32_t i = 0; i < f->samples * f->classes && f->student_logits; i++)
            last = f->student_logits[i];
        for (uint32_t m = 0; m < f->map_count; m++)
            for (uint32_t i = 0; i < f->samples * f->maps[m].height * f->maps[m].width; i++)
                last = f->maps[m].values[i];
        (void)last;
        vkd_live_close(l);
    }
    free(good);
    free(bad);
    vkd_ctx_destroy(ctx);
}

/* Whoever may read a file and not write it can look on. Nothing is forbidden to root, who leaves
 * this out. */
static void a_file_that_may_only_be_read_is_read(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    publish(w);
    if (!geteuid()) {
        vkd__live_writer_destroy(w);
        vkd_ctx_destroy(ctx);
        skip();
    }
    assert_int_equal(chmod(path, 0400), 0);
    vkd_live *l = NULL;
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_OK);
    assert_int_equal(look(l, ctx)->step, 7);
    assert_int_equal(vkd_live_watch(l), VKD_E_FILE);
    vkd_live_close(l);
    assert_int_equal(chmod(path, 0600), 0);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static void a_folder_without_a_run_is_an_error(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_live *l = NULL;
    unlink(path);
    assert_int_equal(vkd_live_open(ctx, folder, &l), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "has no file 'live'"));
    assert_int_equal(vkd_live_open(ctx, "/nowhere/at/all", &l), VKD_E_FILE);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(requests_reach_the_trainer_once),
        cmocka_unit_test(a_run_that_is_started_over_is_followed),
        cmocka_unit_test(every_beginning_of_a_file_is_refused),
        cmocka_unit_test(lies_are_refused),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(a_file_that_may_only_be_read_is_read),
        cmocka_unit_test(a_folder_without_a_run_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
