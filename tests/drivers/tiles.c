// SPDX-License-Identifier: Apache-2.0
#include "tiles.h"

#include <stdio.h>
#include <string.h>

#include "autodiff/autodiff.h"
#include "figures.h"

/* What is compiled for one tile, of one kernel. */
typedef struct group {
    const char *kernel;
    figures worst;
    double least, most; /* share of multiply-adds */
    uint32_t pipelines;
} group;

typedef struct tiling {
    vkd_device *device;
    vkd_profile profile; /* all classes have the tile */
    group *groups;
    uint32_t group_count;
} tiling;

typedef struct product {
    uint32_t size[3]; /* M, N, K; images x channels where it is a convolution */
    uint32_t layout;
    vkd_dtype compute;
} product;

/* ---- Graphs ---- */

static void build_matmul(vkd_graph *g, const product *p) {
    const uint32_t M = p->size[0], N = p->size[1], K = p->size[2];
    const bool ta = p->layout == 2, tb = p->layout == 1;
    g->compute = p->compute;
    const vkd_tensor a = vkd_param(g, "net.a", ta ? VKD_SHAPE(K, M) : VKD_SHAPE(M, K), NULL);
    const vkd_tensor b = vkd_param(g, "net.b", tb ? VKD_SHAPE(N, K) : VKD_SHAPE(K, N), NULL);
    const vkd_matmul_desc d = {.transpose_a = ta, .transpose_b = tb, .f32_result = true};
    vkd_output(g, "c", vkd_matmul(g, a, b, &d));
}

/* A layer of 3 x 3 taps, its two gradients with it: the image's gathers by the transposed weight.
 */
static void build_conv(vkd_graph *g, const product *p) {
    const uint32_t channels = p->size[0], out = p->size[1], side = p->size[2];
    const vkd_tensor of[] = {vkd_param(g, "net.x", VKD_SHAPE(8, side, side, channels), NULL),
                             vkd_param(g, "net.w", VKD_SHAPE(out, 3, 3, channels), NULL)};
    const vkd_tensor y = vkd_conv2d(g, of[0], of[1], &(vkd_conv2d_desc){.padding = {1, 1}});
    const vkd_tensor seed = vkd_input(g, "seed", VKD_F32, VKD_SHAPE(8, side, side, out));
    vkd_tensor gradient[2] = {{0}};
    vkd__backward_from(g, &y, &seed, 1, of, 2, gradient);
    vkd_output(g, "y", y);
    vkd_output(g, "dx", gradient[0]);
    vkd_output(g, "dw", gradient[1]);
}

/* ---- Pipelines ---- */

static group *group_for(tiling *t, const char *kernel) {
    for (uint32_t i = 0; i < t->group_count; i++)
        if (!strcmp(t->groups[i].kernel, kernel)) return &t->groups[i];
    group *g = &t->groups[t->group_count++];
    *g = (group){.kernel = kernel, .least = 1};
    return g;
}

static vkd_result look_at(tiling *t, const vkd__launch *launch) {
    vkd_device *d = t->device;
    vkd__pipeline p;
    figures f;
    char *code = NULL;
    const size_t before = d->pipeline_count;
    vkd_result r = vkd__pipeline_get(d, launch, &p);
    if (r || d->pipeline_count == before) return r;
    r = figures_of(d, &p, &f);
    if (!r) r = vkd__pipeline_code(d, &p, &code);
    if (r) return r;
    const double share = figures_products(code);
    vkd_free_text(d->ctx, code);
    group *g = group_for(t, launch->kernel);
    figures_worsen(&g->worst, &f, !g->pipelines++);
    if (share < g->least) g->least = share;
    if (share > g->most) g->most = share;
    return VKD_OK;
}

static bool has_tiles(const char *kernel) {
    return !strcmp(kernel, "matmul") || !strcmp(kernel, "matmul.coopmat") ||
           !strcmp(kernel, "conv2d") || !strcmp(kernel, "conv2d_weight");
}

static vkd_result compile(tiling *t, void (*build)(vkd_graph *g, const product *p),
                          const product *p) {
    vkd_ctx *ctx = t->device->ctx;
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, NULL, &g);
    if (!r) build(g, p);
    if (!r) r = vkd_plan_create(g, &t->profile, &plan);
    for (size_t i = 0; !r && i < plan->launch_count; i++)
        if (has_tiles(plan->launches[i].kernel)) r = look_at(t, &plan->launches[i]);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}

/* ---- Tiles ---- */

/* That every tile divides; that none does, in whole quads; that none does. */
static const uint32_t matmul_sizes[][3] = {{512, 512, 256}, {516, 516, 260}, {517, 515, 259}};
static const uint32_t conv_sizes[][3] = {{64, 128, 16}, {12, 20, 14}, {3, 10, 15}};

static vkd_result compile_tile(tiling *t, bool half) {
    vkd_result r = VKD_OK;
    for (uint32_t s = 0; s < VKD_COUNT(matmul_sizes) && !r; s++) {
        product p = {.compute = half ? VKD_F16 : VKD_F32};
        memcpy(p.size, matmul_sizes[s], sizeof p.size);
        for (; p.layout < 3 && !r; p.layout++)
            r = compile(t, build_matmul, &p);
        memcpy(p.size, conv_sizes[s], sizeof p.size);
        if (!r && !half) r = compile(t, build_conv, &p);
    }
    return r;
}

static void print(const tiling *t, const char *tile) {
    for (uint32_t i = 0; i < t->group_count; i++) {
        const group *g = &t->groups[i];
        printf("%s %s %.0f %.0f %.0f %.0f %.0f\n", g->kernel, tile, 100 * g->least, 100 * g->most,
               g->worst.vgprs, g->worst.waves, g->worst.shared);
    }
}

static vkd_result tile_rows(vkd_device *d, const vkd__knob *k, bool half) {
    vkd_result r = VKD_OK;
    for (uint32_t c = 0; c < k->count && !r; c++) {
        group groups[8];
        tiling t = {.device = d, .profile = *vkd_device_profile(d), .groups = groups};
        char text[VKD__SIZE_TEXT];
        if (!k->set(&t.profile, c)) continue;
        for (int n = 0; n < VKD__MATMUL_CLASSES; n++) {
            t.profile.tile[n] = t.profile.tile[VKD__MATMUL_LARGE];
            t.profile.coop.tile[n] = t.profile.coop.tile[VKD__MATMUL_LARGE];
        }
        k->text(&t.profile, text);
        *strchr(text, ' ') = '-'; /* "64x64x16 4x4" */
        r = compile_tile(&t, half);
        if (!r) print(&t, text);
    }
    return r;
}

vkd_result tiles_print(vkd_device *d) {
    vkd_result r = VKD_OK;
    for (size_t i = 0; i < vkd__knob_count && !r; i++) {
        if (!strcmp(vkd__knobs[i].name, "matmul tile, large"))
            r = tile_rows(d, &vkd__knobs[i], false);
        if (!strcmp(vkd__knobs[i].name, "coopmat matmul, large"))
            r = tile_rows(d, &vkd__knobs[i], true);
    }
    return r;
}
