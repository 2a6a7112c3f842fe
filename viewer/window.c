// SPDX-License-Identifier: Apache-2.0
/* The window: GLFW's events go into the gui, its frames onto the screen. A frame is drawn when the
 * user does something, or when there is something else to see: where the processor draws, while it
 * trains, so seldom that this takes a two-hundredth of the time, or once in five seconds. */
#define GLFW_INCLUDE_NONE
#include <math.h>
#include <string.h>

#include "base/platform.h"
#include "viewer/swapchain.h"
#include "viewer/window.h"

#include <GLFW/glfw3.h>

/* GLFW declares this one only after Vulkan's own header, whose prototypes volk replaces. */
VkResult glfwCreateWindowSurface(VkInstance instance, GLFWwindow *window,
                                 const VkAllocationCallbacks *allocator, VkSurfaceKHR *surface);

#define NEWS_EVERY 0.1   /* seconds between frames that nobody asked for */
#define SHARE 0.005      /* of the time for them, on a processor that trains */
#define SETTLE 3         /* frames after an event: widgets answer in the next ones */
#define NEWS_AT_MOST 5.0 /* seconds until something new is seen, however long a frame takes */
#define IDLE 0.5         /* seconds between looks at a run that is over */

typedef struct window {
    vkd_ctx *ctx;
    app *a;
    const view_options *o;
    GLFWwindow *handle;
    view_gpu *gpu;
    VkSurfaceKHR surface;
    view_swapchain chain;
    view_renderer *renderer;
    uint32_t frames;       /* to be drawn */
    uint64_t seen;         /* changes of the scene that are on the screen */
    double drawn, cost;    /* when the last frame was, and its seconds */
    char said[SCENE_TEXT]; /* on the terminal */
} window;

/* ---- Events ---- */

static window *wake(GLFWwindow *handle) {
    window *w = glfwGetWindowUserPointer(handle);
    w->frames = SETTLE;
    return w;
}

static void on_move(GLFWwindow *handle, double x, double y) {
    window *w = wake(handle);
    int width = 1, height = 1, pixels_x = 1, pixels_y = 1;
    glfwGetWindowSize(handle, &width, &height);
    glfwGetFramebufferSize(handle, &pixels_x, &pixels_y);
    if (width > 0 && height > 0)
        gui_event_move(w->a->g, (float)(x * pixels_x / width), (float)(y * pixels_y / height));
}

static void on_leave(GLFWwindow *handle, int entered) {
    if (!entered) gui_event_move(wake(handle)->a->g, -1e6f, -1e6f);
}

static void on_button(GLFWwindow *handle, int button, int action, int modifiers) {
    (void)modifiers;
    if (button == GLFW_MOUSE_BUTTON_LEFT)
        gui_event_button(wake(handle)->a->g, action == GLFW_PRESS);
}

static void on_scroll(GLFWwindow *handle, double x, double y) {
    (void)x;
    gui_event_wheel(wake(handle)->a->g, (float)y);
}

static int translate(int key) {
    static const int keys[][2] = {
        {GLFW_KEY_TAB, GUI_KEY_TAB},
        {GLFW_KEY_LEFT, GUI_KEY_LEFT},
        {GLFW_KEY_RIGHT, GUI_KEY_RIGHT},
        {GLFW_KEY_UP, GUI_KEY_UP},
        {GLFW_KEY_DOWN, GUI_KEY_DOWN},
        {GLFW_KEY_PAGE_UP, GUI_KEY_PAGE_UP},
        {GLFW_KEY_PAGE_DOWN, GUI_KEY_PAGE_DOWN},
        {GLFW_KEY_HOME, GUI_KEY_HOME},
        {GLFW_KEY_END, GUI_KEY_END},
        {GLFW_KEY_ENTER, GUI_KEY_ENTER},
        {GLFW_KEY_KP_ENTER, GUI_KEY_ENTER},
        {GLFW_KEY_ESCAPE, GUI_KEY_ESCAPE},
        {GLFW_KEY_BACKSPACE, GUI_KEY_BACKSPACE},
        {GLFW_KEY_DELETE, GUI_KEY_DELETE},
        {GLFW_KEY_LEFT_SHIFT, GUI_KEY_SHIFT},
        {GLFW_KEY_RIGHT_SHIFT, GUI_KEY_SHIFT},
        {GLFW_KEY_LEFT_CONTROL, GUI_KEY_CONTROL},
        {GLFW_KEY_RIGHT_CONTROL, GUI_KEY_CONTROL},
        {GLFW_KEY_F1, GUI_KEY_F1},
        {GLFW_KEY_KP_ADD, '+'},
        {GLFW_KEY_KP_SUBTRACT, '-'},
    };
    for (size_t i = 0; i < VKD_COUNT(keys); i++)
        if (keys[i][0] == key) return keys[i][1];
    return key > 0 && key < 128 ? key : 0; /* printing keys are ASCII there, too */
}

static void on_key(GLFWwindow *handle, int key, int scancode, int action, int modifiers) {
    (void)scancode;
    (void)modifiers;
    gui_event_key(wake(handle)->a->g, translate(key), action != GLFW_RELEASE);
}

static void on_character(GLFWwindow *handle, unsigned unicode) {
    gui_event_character(wake(handle)->a->g, unicode);
}

static void on_size(GLFWwindow *handle, int width, int height) {
    window *w = wake(handle);
    if (width < 200 || height < 150) return;
    w->a->l.width = (uint32_t)width;
    w->a->l.height = (uint32_t)height;
}

static void on_refresh(GLFWwindow *handle) {
    wake(handle);
}

/* ---- Opening ---- */

static vkd_result no_display(vkd_ctx *ctx) {
    const char *reason = NULL;
    glfwGetError(&reason);
    return vkd__fail(ctx, VKD_E_NO_DEVICE,
                     "no window can be opened (%s); --screenshot FILE draws without one",
                     reason ? reason : "no reason is given");
}

static vkd_result open_window(window *w) {
    const view_options *o = w->o;
    char title[1100];
    if (!glfwInit()) return no_display(w->ctx);
    if (!glfwVulkanSupported())
        return vkd__fail(w->ctx, VKD_E_NO_DEVICE,
                         "no Vulkan driver can draw on this display; --screenshot FILE draws "
                         "without one");
    glfwWindowHint(GLFW_CLIENT_API, GLFW_NO_API);
    glfwWindowHint(GLFW_SCALE_TO_MONITOR, o->width ? GLFW_FALSE : GLFW_TRUE);
    snprintf(title, sizeof title, "%s - vkdistill", o->folder);
    w->handle = glfwCreateWindow((int)(o->width ? o->width : w->a->l.width),
                                 (int)(o->height ? o->height : w->a->l.height), title, NULL, NULL);
    if (!w->handle) return no_display(w->ctx);
    glfwSetWindowUserPointer(w->handle, w);
    glfwSetCursorPosCallback(w->handle, on_move);
    glfwSetCursorEnterCallback(w->handle, on_leave);
    glfwSetMouseButtonCallback(w->handle, on_button);
    glfwSetScrollCallback(w->handle, on_scroll);
    glfwSetKeyCallback(w->handle, on_key);
    glfwSetCharCallback(w->handle, on_character);
    glfwSetWindowSizeCallback(w->handle, on_size);
    glfwSetWindowRefreshCallback(w->handle, on_refresh);
    return VKD_OK;
}

static vkd_result make_surface(window *w) {
    const VkResult result = glfwCreateWindowSurface(w->gpu->instance, w->handle, NULL, &w->surface);
    return view_check(w->gpu, result, "glfwCreateWindowSurface");
}

static void drop_surface(window *w) {
    if (!w->surface) return;
    const PFN_vkDestroySurfaceKHR drop =
        (PFN_vkDestroySurfaceKHR)vkGetInstanceProcAddr(w->gpu->instance, "vkDestroySurfaceKHR");
    drop(w->gpu->instance, w->surface, NULL);
    w->surface = VK_NULL_HANDLE;
}

static vkd_result open(window *w) {
    vkd_result r = open_window(w);
    if (r) return r;
    uint32_t count = 0;
    const char **extensions = glfwGetRequiredInstanceExtensions(&count);
    if (!extensions) return no_display(w->ctx);
    r = view_gpu_create(w->ctx, w->o->validate, extensions, count, &w->gpu);
    if (!r) r = make_surface(w);
    if (!r) r = view_gpu_open(w->gpu, w->o->device, w->surface);
    if (!r) r = view_swapchain_init(&w->chain, w->gpu, w->surface);
    if (!r) r = view_renderer_create(w->gpu, w->chain.format.format, &w->renderer);
    return r;
}

static void term(window *w) {
    view_renderer_destroy(w->renderer);
    view_swapchain_term(&w->chain);
    if (w->gpu) drop_surface(w);
    view_gpu_destroy(w->gpu);
    if (w->handle) glfwDestroyWindow(w->handle);
    glfwTerminate();
}

/* The display took the surface away, as when a driver is started anew: the window stays. */
static vkd_result renew_surface(window *w) {
    view_swapchain_term(&w->chain);
    drop_surface(w);
    vkd_result r = make_surface(w);
    if (!r) r = view_swapchain_init(&w->chain, w->gpu, w->surface);
    return r;
}

/* ---- Staying ---- */

static vkd_result draw(window *w) {
    int width = 0, height = 0;
    float scale = w->o->scale, unused = 1;
    glfwGetFramebufferSize(w->handle, &width, &height);
    if (width <= 0 || height <= 0) return VKD_OK;
    if (!(scale > 0)) glfwGetWindowContentScale(w->handle, &scale, &unused);
    const double start = vkd__seconds();
    view_shown shown = VIEW_NOT_NOW;
    w->seen = w->a->s->changes;
    const gui_frame *frame = app_frame(w->a, (float)width, (float)height, scale, start);
    vkd_result r = view_swapchain_show(&w->chain, w->renderer, frame, (uint32_t)width,
                                       (uint32_t)height, &shown);
    if (!r && shown == VIEW_SURFACE_LOST) r = renew_surface(w);
    if (shown != VIEW_SHOWN) {
        w->frames++;
        vkd__sleep(0.01); /* it may take a while until the display is ready */
    }
    /* What is drawn on the processor takes its time behind the call. */
    if (!r && w->gpu->cpu) r = view_renderer_wait(w->renderer);
    w->cost = vkd__seconds() - start;
    return r;
}

static void say(window *w) {
    const char *text = w->a->s->problem[0] ? w->a->s->problem : w->a->s->trouble;
    if (!strcmp(w->said, text)) return;
    snprintf(w->said, sizeof w->said, "%s", text);
    if (*text) fprintf(stderr, "vkdistill-view: %s\n", text);
}

/* Whether a frame may be drawn that nobody asked for. */
static bool news_due(const window *w, double now) {
    const bool shares = w->gpu->cpu && w->a->s->training;
    return now >=
           w->drawn + (shares ? fmin(fmax(NEWS_EVERY, w->cost / SHARE), NEWS_AT_MOST) : NEWS_EVERY);
}

static void wait(const window *w) {
    const scene *s = w->a->s;
    if (w->frames || gui_busy(w->a->g) || scene_busy(s))
        glfwPollEvents();
    else
        glfwWaitEventsTimeout(s->training ? NEWS_EVERY : IDLE);
}

vkd_result view_window_run(vkd_ctx *ctx, app *a, const view_options *o) {
    window w = {.ctx = ctx, .a = a, .o = o, .frames = SETTLE};
    vkd_result r = open(&w);
    vkd__catch_signals();
    while (!r && !glfwWindowShouldClose(w.handle) && !a->quit && !vkd__stop_asked()) {
        wait(&w);
        const double now = vkd__seconds();
        a->s->rest = w.frames > 0; /* what was pressed is seen first */
        scene_update(a->s, now);
        say(&w);
        if (a->s->changes != w.seen && news_due(&w, now) && !w.frames) w.frames = 1;
        if (gui_busy(a->g) && !w.frames) w.frames = 1;
        if (!w.frames) continue;
        w.frames--;
        r = draw(&w);
        w.drawn = vkd__seconds();
    }
    term(&w);
    return r;
}
