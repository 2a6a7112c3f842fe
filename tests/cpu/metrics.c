// SPDX-License-Identifier: Apache-2.0
/* metrics.jsonl as a viewer reads it: rows become series and events, a file that grows, is cut or
 * replaced is followed, and what is no row is passed over. */
#include "vkdistill/inspect.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "support/data.h"
#include "support/support.h"
#include "train/metrics_rows.h"

static char folder[] = "/tmp/vkdistill-metrics-XXXXXX", path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/metrics.jsonl", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    test_remove(folder);
    return 0;
}

/* As a run writes them. */
static const char good[] =
    "{\"device\": \"llvmpipe\", \"sizes\": \"matmul=8x8\"}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 0, \"event\": \"stage\", \"steps\": "
    "8}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 0, \"scale.ce\": 2.5, "
    "\"gradient_norm.ce\": 4}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 4, \"loss\": 1.5, \"ce\": 1.5, "
    "\"gradient_norm\": 3, \"learning_rate\": 0.1, \"samples_per_second\": 800, \"skipped\": 0}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 7, \"event\": \"skipped\"}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 8, \"loss\": null, \"ce\": 1.25, "
    "\"gradient_norm\": 2, \"learning_rate\": 0.1, \"samples_per_second\": 900, \"skipped\": 1}\n"
    "{\"phase\": \"teacher\", \"stage\": \"teach\", \"epoch\": 2, \"step\": 8, \"test_accuracy\": "
    "0.75, \"calibration_error\": 0.125}\n"
    "{\"phase\": \"student\", \"stage\": \"distil\", \"step\": 0, \"event\": \"stage\", \"steps\": "
    "6, \"teacher\": \"teacher\"}\n"
    "{\"phase\": \"student\", \"stage\": \"distil\", \"warning\": \"a \\\"loss\\\"\\nis odd\"}\n"
    "{\"phase\": \"student\", \"stage\": \"distil\", \"step\": 3, \"event\": \"resumed\"}\n"
    "{\"phase\": \"student\", \"stage\": \"distil\", \"step\": 4, \"event\": \"setting\", "
    "\"name\": \"tau.kd_kl\", \"from\": 3, \"to\": 7.5}\n"
    "{\"phase\": \"student\", \"stage\": \"distil\", \"step\": 6, \"loss\": 0.5, \"kd_kl\": 0.25, "
    "\"tau.kd_kl\": 7.5, \"gradient_norm\": 1, \"learning_rate\": 0.01, \"samples_per_second\": "
    "700, \"loss_scale\": 4096, \"skipped\": 0}\n"
    "{\"phase\": \"label\", \"stage\": \"label\", \"samples\": 40, \"kept\": 30, \"entries\": 35, "
    "\"labels_right\": 0.5}\n";
enum { ROWS = 13 };

static vkd_metrics *open_folder(vkd_ctx *ctx) {
    vkd_metrics *m = NULL;
    if (vkd_metrics_open(ctx, folder, &m)) fail_msg("%s", vkd_ctx_error(ctx));
    return m;
}

static const vkd_metrics_view *look(vkd_metrics *m) {
    const vkd_metrics_view *v = NULL;
    assert_int_equal(vkd_metrics_read(m, &v), VKD_OK);
    assert_non_null(v);
    return v;
}

static void append(const char *text, size_t size) {
    FILE *f = fopen(path, "ab");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

static const vkd_series *series(const vkd_metrics_view *v, uint32_t phase, const char *name) {
    assert_true(phase < v->phase_count);
    for (uint32_t i = 0; i < v->phases[phase].series_count; i++)
        if (!strcmp(v->phases[phase].series[i].name, name)) return &v->phases[phase].series[i];
    fail_msg("phase %u has no series '%s'", phase, name);
    return NULL;
}

static void check_event(const vkd_metrics_view *v, uint32_t index, vkd_event_kind kind,
                        uint32_t phase, uint64_t step, const char *text) {
    const vkd_event *e = &v->events[index];
    if (index >= v->event_count || e->kind != kind || e->phase != phase || e->step != step ||
        strcmp(e->text, text) != 0)
        fail_msg("event %u is %d of phase %u at %llu: %s", index, (int)e->kind, e->phase,
                 (unsigned long long)e->step, e->text);
}

/* All that the good file says. */
static void check_good(const vkd_metrics_view *v) {
    assert_int_equal(v->rows, ROWS);
    assert_false(v->more);
    assert_string_equal(v->device, "llvmpipe");
    assert_int_equal(v->phase_count, 3);
    assert_string_equal(v->phases[0].phase, "teacher");
    assert_string_equal(v->phases[1].stage, "distil");
    assert_int_equal(v->phases[0].step, 8);
    assert_int_equal(v->phases[1].step, 6);
    const vkd_series *loss = series(v, 0, "loss"), *ce = series(v, 0, "ce");
    assert_true(loss->count == 2 && loss->steps[0] == 4 && loss->steps[1] == 8);
    assert_true(loss->values[0] == 1.5 && isnan(loss->values[1]));
    assert_true(ce->count == 2 && ce->values[1] == 1.25);
    const vkd_series *accuracy = series(v, 0, "test_accuracy");
    assert_true(accuracy->count == 1 && accuracy->steps[0] == 8 && accuracy->values[0] == 0.75);
    assert_true(series(v, 0, "scale.ce")->steps[0] == 0);
    static const struct {
        const char *name;
        uint32_t phase;
        vkd_series_kind kind;
    } kinds[] = {{"loss", 0, VKD_SERIES_LOSS},
                 {"ce", 0, VKD_SERIES_TERM},
                 {"kd_kl", 1, VKD_SERIES_TERM},
                 {"tau.kd_kl", 1, VKD_SERIES_OTHER},
                 {"loss_scale", 1, VKD_SERIES_OTHER},
                 {"skipped", 1, VKD_SERIES_OTHER},
                 {"test_accuracy", 0, VKD_SERIES_ACCURACY},
                 {"calibration_error", 0, VKD_SERIES_OTHER},
                 {"gradient_norm", 1, VKD_SERIES_NORM},
                 {"gradient_norm.ce", 0, VKD_SERIES_OTHER},
                 {"learning_rate", 1, VKD_SERIES_RATE},
                 {"samples_per_second", 1, VKD_SERIES_SPEED}};
    for (size_t i = 0; i < VKD_COUNT(kinds); i++)
        assert_int_equal(series(v, kinds[i].phase, kinds[i].name)->kind, kinds[i].kind);
    assert_int_equal(v->event_count, 7);
    check_event(v, 0, VKD_EVENT_STAGE, 0, 0, "teacher: stage teach, 8 steps");
    check_event(v, 1, VKD_EVENT_SKIPPED, 0, 7, "a step was skipped, its gradient was not finite");
    check_event(v, 2, VKD_EVENT_STAGE, 1, 0, "student: stage distil, 6 steps");
    check_event(v, 3, VKD_EVENT_WARNING, 1, 0, "a \"loss\" is odd");
    check_event(v, 4, VKD_EVENT_RESUMED, 1, 3, "resumed at step 3");
    check_event(v, 5, VKD_EVENT_SETTING, 1, 4, "tau.kd_kl from 3 to 7.5");
    check_event(v, 6, VKD_EVENT_LABELS, 2, 0, "label: 30 of 40 samples are labelled");
    assert_string_equal(v->events[5].name, "tau.kd_kl");
    assert_true(v->events[5].from == 3 && v->events[5].to == 7.5 && isnan(v->events[0].to));
}

static void rows_become_series_and_events(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    test_write(path, good, sizeof good - 1);
    vkd_metrics *m = open_folder(ctx);
    const vkd_metrics_view *v = look(m);
    check_good(v);
    assert_int_equal(v->noise, 0);
    const uint64_t sequence = v->sequence;
    assert_true(sequence > 0);
    assert_int_equal(look(m)->sequence, sequence);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

/* Byte by byte: a line counts with its end and no sooner. */
static void a_file_that_grows_is_followed(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    unlink(path);
    vkd_metrics *m = open_folder(ctx);
    assert_int_equal(look(m)->rows, 0);
    assert_string_equal(look(m)->device, "");
    uint64_t rows = 0, sequence = 0;
    for (size_t i = 0; i < sizeof good - 1; i++) {
        append(good + i, 1);
        rows += good[i] == '\n';
        const vkd_metrics_view *v = look(m);
        assert_int_equal(v->rows, rows);
        assert_int_equal(v->noise, 0);
        assert_int_equal(v->sequence > sequence, good[i] == '\n');
        sequence = v->sequence;
    }
    check_good(look(m));
    assert_int_equal(look(m)->restarts, 0);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

/* What a fresh reader makes of the file. */
static void check_fresh(vkd_ctx *ctx, const vkd_metrics_view *v) {
    vkd_metrics *m = open_folder(ctx);
    const vkd_metrics_view *want = look(m);
    assert_int_equal(v->rows, want->rows);
    assert_int_equal(v->noise, want->noise);
    assert_int_equal(v->phase_count, want->phase_count);
    assert_int_equal(v->event_count, want->event_count);
    for (uint32_t i = 0; i < v->phase_count; i++)
        for (uint32_t k = 0; k < v->phases[i].series_count; k++) {
            const vkd_series *x = &v->phases[i].series[k], *y = &want->phases[i].series[k];
            assert_int_equal(x->count, y->count);
            assert_memory_equal(x->steps, y->steps, x->count * sizeof *x->steps);
        }
    vkd_metrics_close(m);
}

/* A resumed run replaces the file by a shorter one; other programs may cut it in place, or write
 * over it. */
static void a_file_that_is_cut_or_replaced_is_read_again(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    const char *third = strchr(strchr(good, '\n') + 1, '\n') + 1;
    const size_t part = (size_t)(third - good);
    test_write(path, good, sizeof good - 1);
    vkd_metrics *m = open_folder(ctx);
    check_good(look(m));
    /* Another file, shorter and then longer again. */
    uint32_t restarts = 0;
    for (size_t size = part; size < sizeof good; size += sizeof good - 1 - part) {
        unlink(path);
        assert_int_equal(look(m)->restarts, restarts); /* gone: what was seen stays */
        assert_true(look(m)->rows > 0);
        test_write(path, good, size);
        assert_int_equal(look(m)->restarts, ++restarts);
        check_fresh(ctx, look(m));
    }
    check_good(look(m));
    /* The same file, cut. */
    assert_int_equal(truncate(path, (off_t)part), 0);
    assert_int_equal(look(m)->restarts, ++restarts);
    assert_int_equal(look(m)->rows, 2);
    /* The same file, written over with as many bytes and more. */
    FILE *f = fopen(path, "r+b");
    assert_non_null(f);
    fputs(third, f);
    fclose(f);
    assert_int_equal(look(m)->restarts, ++restarts);
    check_fresh(ctx, look(m));
    /* Empty, as at the start of a run. */
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(look(m)->restarts, ++restarts);
    assert_int_equal(look(m)->phase_count, 0);
    append(good, sizeof good - 1);
    check_good(look(m));
    assert_int_equal(look(m)->restarts, restarts);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

static void every_beginning_of_a_file_is_read(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    for (size_t cut = 0; cut < sizeof good - 1; cut++) {
        test_write(path, good, cut);
        vkd_metrics *m = open_folder(ctx);
        uint64_t rows = 0;
        for (size_t i = 0; i < cut; i++)
            rows += good[i] == '\n';
        const vkd_metrics_view *v = look(m);
        if (v->rows != rows || v->noise || v->more) fail_msg("%zu bytes: %d", cut, (int)v->rows);
        append(good + cut, sizeof good - 1 - cut);
        check_good(look(m));
        assert_int_equal(look(m)->restarts, 0);
        vkd_metrics_close(m);
    }
    vkd_ctx_destroy(ctx);
}

static void lines_that_are_no_rows_are_counted(void **state) {
    (void)state;
    static const char *const noise[] = {
        "",
        "hello",
        "[1, 2]",
        "{\"step\": 3, \"loss\": 1}",
        "{\"phase\": \"teacher\", \"step\": 9, \"loss\": 1}",
        "{\"phase\": \"\", \"stage\": \"x\", \"step\": 9, \"loss\": 1}",
        "{\"phase\": \"teacher\", \"stage\": \"teach\", \"loss\": 1}",
        "{\"phase\": \"new\", \"stage\": \"teach\", \"step\": -1, \"loss\": 1}",
        "{\"phase\": \"new\", \"stage\": \"teach\", \"step\": 1.5, \"loss\": 1}",
        "{\"phase\": \"new\", \"stage\": \"teach\", \"step\": 9007199254740994, \"loss\": 1}",
        "{\"phase\": \"new\", \"stage\": \"teach\", \"loss\": 1}",
        "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 7, \"loss\": 1}", /* goes back */
        "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 99, \"loss\": 1e999}",
        "{\"phase\": \"teacher\", \"stage\": \"teach\", \"step\": 99, \"loss\": 1",
    };
    vkd_ctx *ctx = test_ctx();
    test_write(path, good, sizeof good - 1);
    for (size_t i = 0; i < VKD_COUNT(noise); i++) {
        append(noise[i], strlen(noise[i]));
        append("\n", 1);
    }
    append("a\0b\n", 4);
    vkd_metrics *m = open_folder(ctx);
    const vkd_metrics_view *v = look(m);
    assert_int_equal(v->noise, VKD_COUNT(noise) + 1);
    check_good(v);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

/* Beyond any limit something is left out, and the rest is as ever. */
static void what_is_too_much_is_left_out(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd__metrics_rows *m = vkd__metrics_rows_create(ctx);
    vkd_metrics_view v = {0};
    char *line = test_malloc(VKD__METRICS_LINE + 2), text[256];
    memset(line, 'x', VKD__METRICS_LINE + 1);
    line[VKD__METRICS_LINE + 1] = '\n';
    for (int part = 1; part <= 3; part++) { /* whole, in halves, in thirds */
        for (int i = 0; i < part; i++) {
            const size_t from = (size_t)(VKD__METRICS_LINE + 2) * (size_t)i / (size_t)part;
            const size_t to = (size_t)(VKD__METRICS_LINE + 2) * (size_t)(i + 1) / (size_t)part;
            assert_int_equal(vkd__metrics_rows_feed(m, line + from, to - from), VKD_OK);
        }
        vkd__metrics_rows_view(m, &v);
        assert_int_equal(v.noise, part);
    }
    for (int i = 0; i < VKD__METRICS_PHASES + 3; i++) {
        snprintf(text, sizeof text,
                 "{\"phase\": \"p%d\", \"stage\": \"s\", \"step\": 1, \"loss\": 1}\n", i);
        assert_int_equal(vkd__metrics_rows_feed(m, text, strlen(text)), VKD_OK);
    }
    for (int i = 0; i < VKD__METRICS_SERIES + 3; i++) {
        snprintf(text, sizeof text,
                 "{\"phase\": \"p1\", \"stage\": \"s\", \"step\": 1, \"n%d\": 1}\n", i);
        assert_int_equal(vkd__metrics_rows_feed(m, text, strlen(text)), VKD_OK);
    }
    assert_int_equal(vkd__metrics_rows_feed(m, good, sizeof good - 1), VKD_OK);
    vkd__metrics_rows_view(m, &v);
    assert_int_equal(v.phase_count, VKD__METRICS_PHASES);
    assert_int_equal(v.phases[1].series_count, VKD__METRICS_SERIES);
    assert_string_equal(v.device, "llvmpipe");
    vkd__metrics_rows_reset(m);
    assert_int_equal(vkd__metrics_rows_feed(m, good, sizeof good - 1), VKD_OK);
    v = (vkd_metrics_view){0};
    vkd__metrics_rows_view(m, &v);
    check_good(&v);
    vkd__metrics_rows_destroy(m);
    test_free(line);
    vkd_ctx_destroy(ctx);
}

/* Bytes of a good file become others: whatever is read can be used. */
static void noise_is_survived(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    char bad[sizeof good];
    for (uint32_t n = 0; n < 3000; n++) {
        memcpy(bad, good, sizeof good);
        for (uint32_t k = 0; k < 1 + n % 7; k++) {
            const vkd__philox r = vkd__philox_at(5, n, k, 0);
            bad[r.v[0] % (sizeof good - 1)] = (char)r.v[1];
        }
        vkd__metrics_rows *m = vkd__metrics_rows_create(ctx);
        vkd_metrics_view v = {0};
        assert_int_equal(vkd__metrics_rows_feed(m, bad, sizeof bad - 1), VKD_OK);
        vkd__metrics_rows_view(m, &v);
        size_t lines = 0;
        for (size_t i = 0; i < sizeof bad - 1; i++)
            lines += bad[i] == '\n';
        assert_int_equal(v.rows + v.noise, lines);
        vkd__metrics_rows_destroy(m);
    }
    vkd_ctx_destroy(ctx);
}

/* A file of many megabytes comes in several calls. */
static void a_large_file_comes_in_parts(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    for (int i = 0; i < 100000; i++)
        fprintf(f,
                "{\"phase\": \"p\", \"stage\": \"s\", \"step\": %d, \"loss\": %d.5, \"ce\": 1}\n",
                i, i);
    assert_int_equal(fclose(f), 0);
    vkd_metrics *m = open_folder(ctx);
    const vkd_metrics_view *v = look(m);
    assert_true(v->more && v->rows > 0 && v->rows < 100000);
    for (int calls = 0; v->more && calls < 10; calls++)
        v = look(m);
    assert_false(v->more);
    const vkd_series *loss = series(v, 0, "loss");
    assert_int_equal(loss->count, 100000);
    for (int i = 0; i < 100000; i++)
        assert_true(loss->steps[i] == i && loss->values[i] == i + 0.5);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

/* Older files have no step in the rows of evaluations, and later ones have events of their own. */
static void files_of_other_versions_are_read(void **state) {
    (void)state;
    static const char text[] =
        "{\"phase\": \"p\", \"stage\": \"s\", \"step\": 40, \"loss\": 1}\n"
        "{\"phase\": \"p\", \"stage\": \"s\", \"epoch\": 2, \"test_accuracy\": 0.5}\n"
        "{\"phase\": \"p\", \"stage\": \"s\", \"event\": \"unheard of\", \"x\": 1}\n"
        "{\"phase\": \"p\", \"stage\": \"s\", \"step\": -7, \"event\": \"resumed\"}\n";
    vkd_ctx *ctx = test_ctx();
    test_write(path, text, sizeof text - 1);
    vkd_metrics *m = open_folder(ctx);
    const vkd_metrics_view *v = look(m);
    assert_true(v->rows == 4 && !v->noise && v->event_count == 1);
    check_event(v, 0, VKD_EVENT_RESUMED, 0, 40, "resumed at step 40");
    assert_int_equal(v->phases[0].step, 40);
    assert_int_equal(v->phases[0].series_count, 2);
    assert_true(series(v, 0, "test_accuracy")->steps[0] == 40);
    vkd_metrics_close(m);
    vkd_ctx_destroy(ctx);
}

static void a_folder_must_be_there(void **state) {
    (void)state;
    vkd_ctx *ctx = test_ctx();
    vkd_metrics *m = NULL;
    test_write(path, good, sizeof good - 1);
    assert_int_equal(vkd_metrics_open(ctx, "/nowhere/at/all", &m), VKD_E_FILE);
    assert_int_equal(vkd_metrics_open(ctx, path, &m), VKD_E_FILE);
    assert_non_null(strstr(vkd_ctx_error(ctx), "is a file"));
    assert_null(m);
    vkd_ctx_destroy(ctx);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_become_series_and_events),
        cmocka_unit_test(a_file_that_grows_is_followed),
        cmocka_unit_test(a_file_that_is_cut_or_replaced_is_read_again),
        cmocka_unit_test(every_beginning_of_a_file_is_read),
        cmocka_unit_test(lines_that_are_no_rows_are_counted),
        cmocka_unit_test(what_is_too_much_is_left_out),
        cmocka_unit_test(noise_is_survived),
        cmocka_unit_test(a_large_file_comes_in_parts),
        cmocka_unit_test(files_of_other_versions_are_read),
        cmocka_unit_test(a_folder_must_be_there),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
