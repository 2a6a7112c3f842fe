// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "drive.h"

void drive_open(drive *d, const char *folder, bool draws) {
    *d = (drive){.ctx = test_ctx()};
    vkd_result r = VKD_OK;
    if (draws) r = view_offscreen_init(&d->out, d->ctx, NULL, true, DRIVE_WIDTH, DRIVE_HEIGHT);
    if (r == VKD_E_NO_DEVICE && !getenv("VKD_REQUIRE_GPU")) {
        fprintf(stderr, "skipped: %s\n", vkd_ctx_error(d->ctx));
        exit(77);
    }
    if (r) fail_msg("%s", vkd_ctx_error(d->ctx));
    assert_int_equal(scene_open(d->ctx, folder, NULL, &d->s), VKD_OK);
    d->g = gui_create(NULL, 1);
    assert_non_null(d->g);
    assert_int_equal(app_init(&d->a, d->g, d->s), VKD_OK);
    scene_update(d->s, vkd__seconds());
    drive_frames(d, 2);
}

void drive_close(drive *d) {
    app_term(&d->a);
    gui_destroy(d->g);
    scene_close(d->s);
    const uint32_t messages = d->out.gpu ? d->out.gpu->messages.count : 0;
    view_offscreen_term(&d->out);
    vkd_ctx_destroy(d->ctx);
    assert_int_equal(messages, 0);
}

void drive_frames(drive *d, int count) {
    for (int i = 0; i < count; i++) {
        scene_update(d->s, vkd__seconds());
        d->seconds += 1.0 / 60;
        d->frame = app_frame(&d->a, DRIVE_WIDTH, DRIVE_HEIGHT, 1, d->seconds);
        assert_non_null(d->frame);
    }
    d->drawn = false;
}

void drive_settle(drive *d) {
    for (int i = 0; i < 3; i++) {
        scene_finish(d->s);
        drive_frames(d, 1);
    }
}

bool drive_has(drive *d, const char *name) {
    gui_rect r;
    return gui_find(d->g, name, &r);
}

gui_rect drive_find(drive *d, const char *name) {
    gui_rect r = {0};
    if (!gui_find(d->g, name, &r)) fail_msg("nothing is called '%s'", name);
    return r;
}

void drive_click_at(drive *d, float x, float y) {
    gui_event_move(d->g, x, y);
    drive_frames(d, 1);
    gui_event_button(d->g, true);
    gui_event_button(d->g, false);
    drive_frames(d, 3);
    assert_false(gui_busy(d->g));
}

void drive_click(drive *d, const char *name) {
    const gui_rect r = drive_find(d, name);
    drive_click_at(d, r.x + r.w / 2, r.y + r.h / 2);
}

void drive_drag(drive *d, const char *name, float from, float to) {
    const gui_rect r = drive_find(d, name);
    gui_event_move(d->g, r.x + from * r.w, r.y + r.h / 2);
    drive_frames(d, 1);
    gui_event_button(d->g, true);
    drive_frames(d, 1);
    gui_event_move(d->g, r.x + to * r.w, r.y + r.h / 2);
    drive_frames(d, 1);
    gui_event_button(d->g, false);
    drive_frames(d, 2);
}

void drive_key(drive *d, int key) {
    gui_event_key(d->g, key, true);
    if (key < 128) gui_event_character(d->g, (uint32_t)key);
    gui_event_key(d->g, key, false);
    drive_frames(d, 3);
}

void drive_choose(drive *d, const char *list, const char *item) {
    drive_click(d, list);
    drive_click(d, item);
}

void drive_panel(drive *d, uint32_t panel) {
    d->a.l.alone = panel;
    drive_frames(d, 2);
    gui_event_move(d->g, -1, -1);
    drive_settle(d);
}

uint32_t drive_pixel(drive *d, float x, float y) {
    if (!d->drawn && view_offscreen_draw(&d->out, d->frame)) fail_msg("%s", vkd_ctx_error(d->ctx));
    d->drawn = true;
    assert_true(x >= 0 && y >= 0 && x < (float)DRIVE_WIDTH && y < (float)DRIVE_HEIGHT);
    const uint8_t *p = d->out.pixels + ((size_t)y * DRIVE_WIDTH + (size_t)x) * 4;
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

bool drive_near(uint32_t got, uint32_t want, int tolerance) {
    for (int shift = 8; shift < 32; shift += 8)
        if (abs((int)(got >> shift & 255) - (int)(want >> shift & 255)) > tolerance) return false;
    return true;
}
