// SPDX-License-Identifier: Apache-2.0
#include <stdlib.h>

#include "base/platform.h"
#include "viewer/offscreen.h"
#include "viewer/png.h"

vkd_result view_offscreen_init(view_offscreen *o, vkd_ctx *ctx, const char *choice, bool validate,
                               uint32_t width, uint32_t height) {
    *o = (view_offscreen){0};
    vkd_result r = view_gpu_create(ctx, validate, NULL, 0, &o->gpu);
    if (!r) r = view_gpu_open(o->gpu, choice, VK_NULL_HANDLE);
    if (!r) r = view_renderer_create(o->gpu, VK_FORMAT_R8G8B8A8_UNORM, &o->renderer);
    if (!r)
        r = view_image_create(o->gpu, width, height,
                              VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT | VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
                              &o->image);
    if (!r)
        r = view_buffer_create(o->gpu, (VkDeviceSize)width * height * 4,
                               VK_BUFFER_USAGE_TRANSFER_DST_BIT, &o->copy);
    o->pixels = o->copy.mapped;
    return r;
}

void view_offscreen_term(view_offscreen *o) {
    if (!o->gpu) return;
    view_renderer_destroy(o->renderer);
    if (o->gpu->device) {
        view_image_destroy(o->gpu, &o->image);
        view_buffer_destroy(o->gpu, &o->copy);
    }
    view_gpu_destroy(o->gpu);
    *o = (view_offscreen){0};
}

vkd_result view_offscreen_draw(view_offscreen *o, const gui_frame *frame) {
    const view_target target = {.image = o->image.image,
                                .view = o->image.view,
                                .width = o->image.width,
                                .height = o->image.height,
                                .copy = &o->copy};
    vkd_result r = view_renderer_draw(o->renderer, frame, &target);
    if (!r) r = view_renderer_wait(o->renderer);
    return r;
}

vkd_result view_offscreen_save(view_offscreen *o, const char *path) {
    size_t size = 0;
    uint8_t *png = view_png(o->image.width, o->image.height, o->pixels, &size);
    if (!png) return vkd__fail(o->gpu->ctx, VKD_E_MEMORY, "not enough memory for a picture");
    const vkd__bytes part = {png, size};
    const vkd_result r = vkd__write_file(o->gpu->ctx, path, &part, 1);
    free(png);
    return r;
}
