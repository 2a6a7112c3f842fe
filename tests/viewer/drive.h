// SPDX-License-Identifier: Apache-2.0
/* The viewer's interface as a user has it, without a window: frames, clicks and keys on widgets by
 * their names, pixels. */
#ifndef VKD_TEST_DRIVE_H
#define VKD_TEST_DRIVE_H

#include "support/support.h"

#include "viewer/app.h"
#include "viewer/offscreen.h"

enum { DRIVE_WIDTH = 1280, DRIVE_HEIGHT = 800 };

typedef struct drive {
    vkd_ctx *ctx;
    scene *s;
    gui *g;
    app a;
    view_offscreen out; /* gpu is NULL: nothing is drawn, frames are made all the same */
    const gui_frame *frame;
    bool drawn; /* the frame is in the pixels */
    double seconds;
} drive;

/* Fails the test, or skips it where there is no device to draw with. */
void drive_open(drive *d, const char *folder, bool draws);
/* Fails the test if a validation layer said anything. */
void drive_close(drive *d);

/* So many frames, 1/60 s apart, the scene up to date before each. */
void drive_frames(drive *d, int count);
/* Lets the models answer all that they are asked, then draws. */
void drive_settle(drive *d);
gui_rect drive_find(drive *d, const char *name); /* fails the test when there is no such widget */
bool drive_has(drive *d, const char *name);
void drive_click(drive *d, const char *name);
void drive_click_at(drive *d, float x, float y);
/* Presses at one share of a widget's width, and lets go at another. */
void drive_drag(drive *d, const char *name, float from, float to);
void drive_key(drive *d, int key);
/* Chooses from a list. */
void drive_choose(drive *d, const char *list, const char *item);
/* The panel alone. */
void drive_panel(drive *d, uint32_t panel);

/* 0xRRGGBBAA of the last frame, which is drawn when it is first asked for. */
uint32_t drive_pixel(drive *d, float x, float y);
/* Whether no channel is further away than so much. */
bool drive_near(uint32_t got, uint32_t want, int tolerance);

#endif
