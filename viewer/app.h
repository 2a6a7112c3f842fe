// SPDX-License-Identifier: Apache-2.0
/* The viewer's interface: the bar above, the tiles with their panels, help, keys. The same for a
 * window, for a picture, and for tests. */
#ifndef VKD_VIEWER_APP_H
#define VKD_VIEWER_APP_H

#include "viewer/layout.h"
#include "viewer/panel.h"

typedef struct app {
    gui *g;
    scene *s;
    layout l;
    void *states[PANEL_COUNT];
    bool help;
    bool quit; /* the user wants to leave */
} app;

/* The scene and the gui stay the caller's. Errors: VKD_E_MEMORY. On failure a is to be terminated.
 */
vkd_result app_init(app *a, gui *g, scene *s);
void app_term(app *a);
/* One frame; as gui_end. */
const gui_frame *app_frame(app *a, float width, float height, float scale, double seconds);
/* The panel of this name, or PANEL_COUNT. */
uint32_t app_find_panel(const char *name);

#endif
