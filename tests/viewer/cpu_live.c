// SPDX-License-Identifier: Apache-2.0
/* The whole interface, without drawing it, over a live file alone: one that is right, that ends, is
 * resumed and goes on to another stage; that is cut short or noise; and over folders that are none
 * of a run. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/philox.h"
#include "drive.h"
#include "support/data.h"
#include "train/live.h"

static char folder[] = "/tmp/vkd_viewer_XXXXXX";
static char path[64];

static int make_folder(void **state) {
    (void)state;
    if (!mkdtemp(folder)) return -1;
    snprintf(path, sizeof path, "%s/live", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    test_remove(folder);
    return 0;
}

enum { SAMPLES = 3, CLASSES = 4, SIDE = 2 };
static const int32_t indices[SAMPLES] = {0, 1, 2}, labels[SAMPLES] = {1, 0, 3};
static const float student[SAMPLES * CLASSES] = {1, 2, 0, 0, 3, 1, 0, 0, 0, 0, 1, 4};
static const float teacher[SAMPLES * CLASSES] = {0, 4, 1, 0, 5, 1, 0, 1, 0, 1, 2, 3};
static const float map[SAMPLES * SIDE * SIDE] = {9, 8, 7, 1, 2, 3, 1, 1, 1, 2, 2, 2};

static void publish(vkd__live_writer *w, uint64_t step, vkd_live_state state) {
    const vkd__live_tables tables = {indices, labels, student, teacher, {map, map}};
    vkd__live_header *h = vkd__live_now(w);
    h->state = state;
    h->samples = SAMPLES;
    h->classes = CLASSES;
    h->step = step;
    h->steps = 70;
    snprintf(h->phase, sizeof h->phase, "student");
    snprintf(h->stage, sizeof h->stage, "distil");
    snprintf(h->teacher, sizeof h->teacher, "teacher");
    h->setting_count = 2;
    h->settings[0] = (vkd__live_setting){"tau.kd_kl", 4};
    h->settings[1] = (vkd__live_setting){"weight.kd_kl", 0.5f};
    h->map_count = 2;
    for (uint32_t i = 0; i < 2; i++)
        h->maps[i] =
            (vkd__live_map){.name = "stage1.out", .teacher = i, .height = SIDE, .width = SIDE};
    vkd__live_publish(w, &tables);
}

static vkd__live_writer *writer(vkd_ctx *ctx) {
    vkd__live_writer *w = NULL;
    assert_int_equal(vkd__live_writer_create(ctx, path, &w), VKD_OK);
    return w;
}

static void look(drive *d) {
    d->s->live_due = d->s->inspect_due = 0;
    drive_frames(d, 2);
}

/* ---- Right ---- */

static void a_request_reaches_the_trainer(void **state) {
    (void)state;
    drive d;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    vkd__live_request q;
    publish(w, 7, VKD_LIVE_TRAINING);
    drive_open(&d, folder, false);
    d.a.l.alone = PANEL_soft_labels;
    look(&d);
    assert_true(d.s->training && vkd__live_watched(w));
    assert_false(vkd__live_take(w, &q));
    drive_drag(&d, "soft_labels/tau", 0.3f, 0.75f);
    drive_drag(&d, "soft_labels/weight.kd_kl", 0.25f, 0.9f);
    const float tau = d.s->tau;
    assert_true(tau > 5 && tau < 45);
    drive_click(&d, "soft_labels/Use in training");
    assert_true(vkd__live_take(w, &q));
    assert_int_equal(q.count, 2);
    for (uint32_t i = 0; i < 2; i++) {
        if (!strcmp(q.settings[i].name, "tau.kd_kl"))
            assert_true(q.settings[i].value == tau);
        else
            assert_true(q.settings[i].value > 1.5f && q.settings[i].value <= 2);
    }
    /* The button waits until the trainer has taken it. */
    look(&d);
    drive_click(&d, "soft_labels/Use in training");
    assert_false(vkd__live_take(w, &q));
    publish(w, 8, VKD_LIVE_TRAINING);
    look(&d);
    assert_false(d.s->frame->pending);
    drive_click(&d, "soft_labels/Use in training");
    assert_true(vkd__live_take(w, &q));
    drive_close(&d);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static void a_run_that_ends_and_goes_on_is_followed(void **state) {
    (void)state;
    drive d;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    publish(w, 7, VKD_LIVE_TRAINING);
    drive_open(&d, folder, false);
    d.a.l.alone = PANEL_soft_labels;
    look(&d);
    /* Bars and numbers are those of the probe batch. */
    assert_true(drive_has(&d, "soft_labels/bar.0.3") && drive_has(&d, "soft_labels/bar.1.3"));
    const float *logits = scene_logits(d.s, 2, SCENE_TEACHER, NULL);
    assert_memory_equal(logits, teacher + 2 * CLASSES, CLASSES * sizeof *logits);
    logits = scene_logits(d.s, 2, SCENE_STUDENT, NULL);
    assert_memory_equal(logits, student + 2 * CLASSES, CLASSES * sizeof *logits);
    const uint64_t before = d.s->changes;
    d.s->live_due = 0;
    drive_frames(&d, 1);
    assert_int_equal(d.s->changes, before); /* nothing new: nothing to draw */
    publish(w, 70, VKD_LIVE_FINISHED);
    vkd__live_writer_destroy(w);
    look(&d);
    assert_true(d.s->changes > before && !d.s->training);
    assert_int_equal(d.s->frame->state, VKD_LIVE_FINISHED);
    assert_false(drive_has(&d, "soft_labels/Use in training"));
    /* The file goes, another trainer comes, in another stage. */
    assert_int_equal(unlink(path), 0);
    look(&d);
    w = writer(ctx);
    look(&d);
    assert_int_equal(d.s->frame->state, VKD_LIVE_STARTING);
    publish(w, 1, VKD_LIVE_TRAINING);
    snprintf(vkd__live_now(w)->stage, 64, "again");
    publish(w, 2, VKD_LIVE_TRAINING);
    look(&d);
    assert_true(d.s->training && d.s->frame->step == 2);
    assert_true(drive_has(&d, "soft_labels/Use in training"));
    drive_close(&d);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static void panels_can_be_alone_left_out_and_moved(void **state) {
    (void)state;
    drive d;
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    publish(w, 7, VKD_LIVE_TRAINING);
    drive_open(&d, folder, false);
    const gui_rect border = drive_find(&d, "border0/move"), before = drive_find(&d, "attention/");
    drive_drag(&d, "border0/move", 0.5f, 0.5f + 80 / border.w);
    const gui_rect after = drive_find(&d, "attention/");
    assert_true(fabsf(after.x - before.x - 80) < 2 && fabsf(before.w - after.w - 80) < 2);
    drive_key(&d, '3');
    assert_true(drive_has(&d, "training/") && !drive_has(&d, "classes/"));
    drive_key(&d, '0');
    drive_click(&d, "classes/close");
    assert_false(drive_has(&d, "classes/"));
    drive_click(&d, "bar/5##panel4");
    assert_true(drive_has(&d, "classes/"));
    drive_click(&d, "training/alone");
    assert_true(drive_has(&d, "training/") && !drive_has(&d, "classes/"));
    drive_click(&d, "training/alone");
    assert_false(drive_has(&d, "help/"));
    drive_key(&d, GUI_KEY_F1);
    assert_true(d.a.help);
    drive_key(&d, GUI_KEY_ESCAPE);
    assert_true(!d.a.help && !d.a.quit);
    drive_key(&d, 'Q');
    assert_true(d.a.quit);
    drive_close(&d);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

/* ---- Wrong ---- */

static void a_folder_without_a_run_is_said_and_looked_at_again(void **state) {
    (void)state;
    const char *const folders[] = {"/nowhere/at/all", "/dev/null", folder, ""};
    drive d;
    unlink(path);
    for (size_t i = 0; i < VKD_COUNT(folders); i++) {
        drive_open(&d, folders[i], false);
        drive_frames(&d, 2);
        assert_true(d.s->problem[0] && !d.s->info);
        drive_close(&d);
    }
    /* One that becomes a run. */
    vkd_ctx *ctx = test_ctx();
    drive_open(&d, folder, false);
    assert_null(d.s->frame);
    vkd__live_writer *w = writer(ctx);
    publish(w, 7, VKD_LIVE_TRAINING);
    look(&d);
    assert_non_null(d.s->frame);
    drive_close(&d);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
}

static size_t good_file(uint8_t **bytes) {
    vkd_ctx *ctx = test_ctx();
    vkd__live_writer *w = writer(ctx);
    publish(w, 7, VKD_LIVE_TRAINING);
    vkd__live_writer_destroy(w);
    vkd_ctx_destroy(ctx);
    FILE *f = fopen(path, "rb");
    assert_non_null(f);
    *bytes = malloc(1 << 20);
    assert_non_null(*bytes);
    const size_t size = fread(*bytes, 1, 1 << 20, f);
    fclose(f);
    return size;
}

static void spill(const uint8_t *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(bytes, 1, size, f), size);
    fclose(f);
}

/* Opened on each beginning of a file, and held open while it is cut. */
static void every_beginning_of_a_live_file_is_survived(void **state) {
    (void)state;
    drive d;
    uint8_t *bytes;
    const size_t size = good_file(&bytes);
    for (size_t cut = 0; cut < size; cut += cut < 16000              ? 1999
                                            : cut < VKD__LIVE_HEADER ? 127
                                                                     : 29) {
        spill(bytes, cut);
        drive_open(&d, folder, false);
        assert_true(!d.s->frame && d.s->trouble[0]);
        drive_frames(&d, 1);
        drive_close(&d);
    }
    spill(bytes, size);
    drive_open(&d, folder, false);
    look(&d);
    for (size_t cut = size; cut-- > 0; cut -= cut < 97 ? cut : 97) {
        spill(bytes, cut);
        d.s->live_due = 0;
        drive_frames(&d, 1);
        assert_int_equal(d.s->frame->step, 7); /* what was seen last stays */
    }
    spill(bytes, size);
    bytes[8] = 2; /* another version */
    spill(bytes, size);
    drive_close(&d);
    drive_open(&d, folder, false);
    assert_non_null(strstr(d.s->trouble, "version 2"));
    drive_close(&d);
    free(bytes);
}

static void noise_is_survived(void **state) {
    (void)state;
    drive d;
    uint8_t *good, *bad;
    const size_t size = good_file(&good);
    bad = malloc(size);
    assert_non_null(bad);
    spill(good, size);
    drive_open(&d, folder, false);
    for (uint32_t n = 0; n < 250; n++) {
        memcpy(bad, good, size);
        for (uint32_t k = 0; k < 1 + n % 5; k++) {
            const vkd__philox r = vkd__philox_at(7, n, k, 0);
            bad[r.v[0] % (n % 3 ? 2600 : size)] = (uint8_t)r.v[1];
        }
        for (size_t i = VKD__LIVE_HEADER; n % 4 == 0 && i < size; i++)
            bad[i] = (uint8_t)vkd__philox_at(8, n, (uint32_t)i, 0).v[0];
        spill(bad, size);
        d.s->live_due = 0;
        drive_frames(&d, 1);
    }
    drive_close(&d);
    free(good);
    free(bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_reaches_the_trainer),
        cmocka_unit_test(a_run_that_ends_and_goes_on_is_followed),
        cmocka_unit_test(panels_can_be_alone_left_out_and_moved),
        cmocka_unit_test(a_folder_without_a_run_is_said_and_looked_at_again),
        cmocka_unit_test(every_beginning_of_a_live_file_is_survived),
        cmocka_unit_test(noise_is_survived),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
