// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "viewer/app.h"
#include "viewer/offscreen.h"
#include "viewer/options.h"
#include "viewer/window.h"

/* Failures of looking are the scene's business and are shown once, when they change. */
static void show(void *user, vkd_log_level level, const char *message) {
    (void)user;
    if (level == VKD_LOG_INFO) return;
    if (level == VKD_LOG_ERROR && strncmp(message, "validation:", 11) != 0) return;
    fprintf(stderr, "%s%s\n", level == VKD_LOG_WARNING ? "vkdistill-view: warning: " : "", message);
}

static void begin(app *a, const view_options *o) {
    a->s->tau = o->tau > 0 ? o->tau : a->s->tau;
    scene_choose(a->s, o->sample);
    if (o->panel) a->l.alone = app_find_panel(o->panel);
}

/* A picture of what could be known, with the reason where that is nothing. */
static vkd_result screenshot(vkd_ctx *ctx, app *a, const view_options *o) {
    view_offscreen out;
    const uint32_t width = o->width ? o->width : a->l.width;
    const uint32_t height = o->height ? o->height : a->l.height;
    const float scale = o->scale > 0 ? o->scale : 1;
    vkd_result r = view_offscreen_init(&out, ctx, o->device, o->validate, width, height);
    if (!r) scene_finish(a->s);
    if (!r) begin(a, o);
    const gui_frame *frame = NULL;
    /* Widgets know their sizes from the frame before; panels say in a frame what they want. */
    for (int i = 0; i < 3 && !r; i++) {
        frame = app_frame(a, (float)width, (float)height, scale, vkd__seconds());
        scene_finish(a->s);
    }
    if (!r) r = view_offscreen_draw(&out, frame);
    if (!r) r = view_offscreen_save(&out, o->screenshot);
    if (!r && a->s->problem[0]) r = vkd__fail(ctx, VKD_E_FILE, "%s", a->s->problem);
    view_offscreen_term(&out);
    return r;
}

static vkd_result run(vkd_ctx *ctx, const view_options *o) {
    app a = {0};
    scene *s = NULL;
    vkd_result r = scene_open(ctx, o->folder, o->device, &s);
    gui *g = gui_create(o->font, 1);
    if (!r && !g) r = vkd__fail(ctx, VKD_E_MEMORY, "not enough memory for the interface");
    if (!r) r = app_init(&a, g, s);
    if (!r && o->screenshot) {
        r = screenshot(ctx, &a, o);
    } else if (!r) {
        layout_load(ctx, &a.l);
        scene_update(s, vkd__seconds());
        begin(&a, o);
        r = view_window_run(ctx, &a, o);
        layout_save(ctx, &a.l);
    }
    app_term(&a);
    gui_destroy(g);
    scene_close(s);
    return r;
}

int main(int argc, char **argv) {
    vkd_ctx *ctx = NULL;
    view_options o;
    if (vkd_ctx_create(&(vkd_ctx_desc){.log = show}, &ctx)) {
        fprintf(stderr, "vkdistill-view: error: out of memory\n");
        return vkd_result_exit_code(VKD_E_MEMORY);
    }
    vkd_result r = view_options_read(ctx, argc - 1, argv + 1, &o);
    if (!r && o.help)
        view_options_help(stdout);
    else if (!r && o.version)
        printf("vkdistill-view %s\n", VKD_VERSION);
    else if (!r)
        r = run(ctx, &o);
    if (fflush(stdout) && !r) r = vkd__fail(ctx, VKD_E_FILE, "cannot write to standard output");
    if (r) {
        const char *text = vkd_ctx_error(ctx);
        fprintf(stderr, "vkdistill-view: error: %s\n", *text ? text : vkd_result_text(r));
    }
    vkd_ctx_destroy(ctx);
    return vkd_result_exit_code(r);
}
