// SPDX-License-Identifier: Apache-2.0
/* Launches of conv2d and conv2d_transpose, both of which gather an image's pixels for each result
 * pixel, and the lowering of the first. */
#include "ops/conv2d.h"

/* ---- Sizes ---- */

void vkd__conv2d_size_tile(vkd__lower *l, vkd__launch *launch, uint32_t M, uint32_t N, uint32_t Z) {
    const vkd_profile *f = l->profile;
    const vkd__tile *t = &f->tile[vkd__matmul_classify(f, M, N, Z)];
    vkd__spec(launch, 0, (uint32_t)(t->m / t->tm) * (t->n / t->tn));
    vkd__spec(launch, 3, t->m);
    vkd__spec(launch, 4, t->n);
    vkd__spec(launch, 5, t->k);
    vkd__spec(launch, 6, t->tm);
    vkd__spec(launch, 7, t->tn);
    const uint64_t groups[3] = {vkd__div_up(N, t->n), vkd__div_up(M, t->m), Z};
    for (uint32_t i = 0; i < 3; i++)
        launch->groups[i] = (uint32_t)(groups[i] < f->max_groups[i] ? groups[i] : f->max_groups[i]);
}

/* A tile costs its rows, and as much as so many for what it fetches. */
enum { DIRECT_ROWS = 24, DIRECT_FETCH = 8 };

uint32_t vkd__conv2d_rows(uint32_t M, uint32_t preferred) {
    if (M > 8 * preferred) return preferred;
    const uint32_t most = preferred > DIRECT_ROWS ? preferred : DIRECT_ROWS;
    uint32_t best = 0;
    uint64_t least = UINT64_MAX;
    for (uint64_t tiles = vkd__div_up(M, preferred); tiles >= vkd__div_up(M, most); tiles--) {
        const uint32_t rows = (uint32_t)vkd__align_up(vkd__div_up(M, tiles), 4);
        if (tiles * (rows + DIRECT_FETCH) >= least) continue;
        best = rows;
        least = tiles * (rows + DIRECT_FETCH);
    }
    return best;
}

uint32_t vkd__conv2d_size_direct(vkd__lower *l, vkd__launch *launch, uint32_t M, uint32_t N,
                                 uint32_t Z, uint32_t channels) {
    const uint32_t lanes = l->profile->subgroup;
    uint32_t columns = lanes;
    while (columns > 1 && 2 * columns >= N)
        columns /= 2;
    const vkd__direct_tile *t = &l->profile->direct_tile[vkd__matmul_classify(l->profile, M, N, Z)];
    const uint32_t rows = vkd__conv2d_rows(M, t->rows);
    /* A chunk of k lies within one tap. */
    uint32_t chunk = t->chunk;
    if (channels % 4 == 0 && channels % chunk != 0) chunk = channels % 8 == 0 ? 8 : 4;
    vkd__spec(launch, 0, lanes);
    vkd__spec(launch, 3, rows);
    vkd__spec(launch, 4, columns);
    vkd__spec(launch, 5, chunk);
    /* A workgroup has a price on a CPU, so there are a few dozen, each with an equal share of
     * tiles. */
    const uint64_t tiles = vkd__div_up(M, rows) * vkd__div_up(N, 4 * columns) * Z;
    vkd__grid(l, launch, vkd__div_up(tiles, vkd__div_up(tiles, 64)));
    return lanes / columns * chunk;
}

bool vkd__conv2d_window(vkd__lower *l, const vkd__conv2d *p, bool direct, uint32_t *images) {
    const uint64_t image = 4ull * p->image[0] * p->image[1] * p->image[2];
    const uint64_t result = 4ull * p->result[0] * p->result[1] * p->result[2];
    const uint64_t weight =
        4ull * p->result[2] * p->kernel[0] * p->kernel[1] * (p->image[2] / p->groups);
    const uint64_t larger = image > result ? image : result;
    const uint64_t most = direct && l->profile->max_texels < l->profile->max_binding / 16
                              ? 16 * l->profile->max_texels
                              : l->profile->max_binding;
    uint64_t window = vkd__window_rows(l->profile, larger, p->images);
    if (larger && window > most / larger) window = most / larger;
    /* 64 images of whole elements lie at a multiple of 256 bytes in both tensors. */
    if (window < p->images) window = window / 64 * 64;
    if (!window || weight > most)
        return vkd__lower_fail(
            l, VKD_E_SHAPE,
            "images of %u x %u x %u and a weight of %llu bytes cannot be cut to fit into bindings "
            "of %llu bytes, the most on this device; make the images or the layer smaller",
            p->image[0], p->image[1], p->image[2], (unsigned long long)weight,
            (unsigned long long)most);
    *images = (uint32_t)window;
    return true;
}

/* ---- Launches ---- */

/* ---- Runs: taps one apart ---- */

enum { RUN_MOST = 8, THIN_TERMS = 160, THIN_COLS = 24 };

static bool is_run(const vkd__gather *q) {
    const struct vkd_conv2d_params *p = &q->push;
    return q->direct && p->groups == 1 && p->K && p->tap_x == (q->transposed ? -1 : 1) &&
           q->taps_w <= VKD__CONV2D_RUN_TAPS;
}

/* Whole quads, read one apart. */
static bool is_plain_run(const vkd__gather *q) {
    const struct vkd_conv2d_params *p = &q->push;
    return is_run(q) && q->taps_w > 1 && q->channels % 4 == 0 && p->N % 4 == 0 && p->step_x == 1 &&
           p->step_y == 1 && p->grid_w >= VKD__CONV2D_RUN_LEAST;
}

static bool is_thin_run(const vkd__gather *q) {
    return is_run(q) && (q->channels % 4 != 0 || q->push.N % 4 != 0) && q->push.step_x <= 2 &&
           q->taps_w * q->channels <= THIN_TERMS;
}

/* The length that a row fills best, of those the longest. */
uint32_t vkd__conv2d_run_length(uint32_t row) {
    uint32_t best = RUN_MOST;
    for (uint32_t k = RUN_MOST; k >= VKD__CONV2D_RUN_LEAST; k--)
        if (vkd__div_up(row, k) * k < vkd__div_up(row, best) * best) best = k;
    return best;
}

/* Pixels and channels of the result that a lane computes. */
typedef struct block {
    uint32_t run, cols;
} block;

/* Eight channels; twelve where these fill the last tile better and the run is short. */
static block plain_block(const vkd__gather *q) {
    const uint32_t N = q->push.N, run = vkd__conv2d_run_length(q->push.grid_w);
    const uint64_t by_8 = vkd__align_up(N, 8), by_12 = vkd__align_up(N, 12);
    const bool wide = run < RUN_MOST && (by_12 < by_8 || (by_12 == by_8 && run <= 4));
    return (block){run, N <= 4 ? 4 : wide ? 12 : 8};
}

/* Multiply-adds of a lane for a row of taps, which are unrolled and should stay within the
 * instruction cache; how many of them cost as much as a fetch. */
enum { THIN_PRODUCTS = 4800, THIN_FETCH = 24 };

/* The block with which a row of the result costs the least. */
static block thin_block(const vkd__gather *q, uint32_t lanes) {
    const struct vkd_conv2d_params *p = &q->push;
    const uint32_t terms = q->taps_w * q->channels, unit = vkd__conv2d_ragged(p->N) ? 1 : 4;
    block best = {1, unit};
    uint64_t least = UINT64_MAX;
    for (uint32_t run = 1; run <= RUN_MOST && run <= p->grid_w; run++)
        for (uint32_t cols = unit; cols <= vkd__align_up(p->N, unit) && cols <= THIN_COLS;
             cols += unit) {
            const uint64_t products = (uint64_t)terms * run * cols;
            const uint64_t floats = ((run - 1ull) * (uint32_t)p->step_x + q->taps_w) * q->channels;
            const uint64_t stretch = q->transposed ? cols : terms;
            const uint64_t stretches = vkd__div_up(q->transposed ? terms : cols, lanes);
            const uint64_t fetches = (floats + 6) / 4 + stretches * ((stretch + 6) / 4);
            const uint64_t tiles = vkd__div_up(p->grid_w, run) * vkd__div_up(p->N, cols);
            const uint64_t cost = tiles * (products + THIN_FETCH * fetches);
            if ((products > THIN_PRODUCTS && (run > 1 || cols > unit)) || cost >= least) continue;
            best = (block){run, cols};
            least = cost;
        }
    return best;
}

/* Fills in how the kernels count: runs instead of pixels. */
static void size_run(vkd__lower *l, vkd__launch *launch, const vkd__gather *q, bool thin,
                     struct vkd_conv2d_params *push) {
    const uint32_t lanes = l->profile->subgroup;
    const block b = thin ? thin_block(q, lanes) : plain_block(q);
    push->M = push->M / push->grid_w * (uint32_t)vkd__div_up(push->grid_w, b.run);
    vkd__spec(launch, 0, lanes);
    vkd__spec(launch, 3, b.run);
    vkd__spec(launch, 4, b.cols);
    vkd__spec(launch, 22, push->K / q->channels / q->taps_w);
    if (thin) {
        vkd__spec(launch, 15, vkd__conv2d_ragged(push->N));
        vkd__spec(launch, 23, (uint32_t)push->step_x);
    }
    const uint64_t tiles = vkd__div_up(push->M, lanes) * vkd__div_up(push->N, b.cols);
    vkd__grid(l, launch, vkd__div_up(tiles, vkd__div_up(tiles, 64)));
}

static void size_gather(vkd__lower *l, vkd__launch *launch, const vkd__gather *q) {
    const struct vkd_conv2d_params *push = &q->push;
    const bool image_ragged = vkd__conv2d_ragged(q->channels);
    const bool result_ragged = vkd__conv2d_ragged(push->N);
    vkd__spec(launch, 14, image_ragged);
    if (q->gap[0]) {
        vkd__spec(launch, 18, q->gap[0]);
        vkd__spec(launch, 19, q->gap[1]);
    }
    if (q->direct) {
        const uint32_t step =
            vkd__conv2d_size_direct(l, launch, push->M, push->N, push->groups, q->channels);
        vkd__spec(launch, 15, result_ragged);
        vkd__spec(launch, 17, !push->K || push->K % step != 0);
    } else {
        vkd__spec(launch, 15, q->transposed ? result_ragged : image_ragged);
        vkd__spec(launch, 16, result_ragged);
        vkd__conv2d_size_tile(l, launch, push->M, push->N, push->groups);
    }
}

bool vkd__gather_lower(vkd__lower *l, const vkd__node *n, const vkd__gather *q) {
    const vkd__conv2d *p = n->params;
    struct vkd_conv2d_params push = q->push;
    const bool run = is_plain_run(q), thin = is_thin_run(q);
    const bool depth = push.K && vkd__conv2d_is_depth(p);
    const char *const kernel = run         ? "conv2d_run.direct"
                               : thin      ? "conv2d_thin.direct"
                               : depth     ? vkd__variant(l, "conv2d_depth")
                               : q->direct ? "conv2d.direct"
                                           : "conv2d";
    vkd__launch *launch = vkd__launch_add(l, kernel);
    if (!launch) return false;
    vkd__bind_window(launch, n->in[0], VKD__READ, q->in_offset, q->in_bytes);
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind(launch, n->in[CONV2D_BIAS], VKD__READ);
    vkd__bind_window(launch, n->out[0], VKD__WRITE, q->out_offset, q->out_bytes);
    const vkd_tensor residual = n->in[CONV2D_RESIDUAL];
    if (residual.id)
        vkd__bind_window(launch, residual, VKD__READ, q->out_offset, q->out_bytes);
    else
        vkd__bind(launch, residual, VKD__READ);
    vkd__spec(launch, 10, q->transposed);
    vkd__spec(launch, 11, p->activation);
    vkd__spec(launch, 12, n->in[CONV2D_BIAS].id != 0);
    vkd__spec(launch, 13, residual.id != 0);
    vkd__spec(launch, 20, q->channels);
    vkd__spec(launch, 21, q->taps_w);
    if (run || thin)
        size_run(l, launch, q, thin, &push);
    else if (depth)
        vkd__conv2d_size_depth(l, launch, p, &push, q->taps_w);
    else
        size_gather(l, launch, q);
    vkd__push(launch, &push, sizeof push);
    const uint64_t weight = 4ull * push.N * push.K * push.groups;
    const double pixels = (double)q->push.M * (q->gap[0] ? q->gap[0] * q->gap[1] : 1);
    vkd__cost(launch, 2.0 * (double)q->push.M * push.N * push.K * push.groups,
              (double)(q->in_bytes + weight) + 4.0 * pixels * push.N * push.groups);
    return true;
}

vkd__gather vkd__gather_begin(const vkd__conv2d *p, const uint32_t in[3], uint32_t out_channels,
                              bool direct, uint32_t first, uint32_t images) {
    const uint64_t in_image = 4ull * in[0] * in[1] * in[2];
    const uint32_t line = p->kernel[0] * p->kernel[1] * (p->image[2] / p->groups);
    return (vkd__gather){.push = {.N = out_channels / p->groups,
                                  .groups = p->groups,
                                  .in_h = in[0],
                                  .in_w = in[1],
                                  .in_c = in[2],
                                  .w_line = line,
                                  .w_group = p->result[2] / p->groups * line},
                         .channels = in[2] / p->groups,
                         .direct = direct,
                         .in_offset = first * in_image,
                         .in_bytes = images * in_image};
}

/* ---- conv2d ---- */

static bool lower_images(vkd__lower *l, const vkd__node *n, uint32_t first, uint32_t images,
                         bool direct) {
    const vkd__conv2d *p = n->params;
    vkd__gather q = vkd__gather_begin(p, p->image, p->result[2], direct, first, images);
    const uint32_t pixels = p->result[0] * p->result[1];
    struct vkd_conv2d_params *push = &q.push;
    push->M = images * pixels;
    push->K = p->kernel[0] * p->kernel[1] * q.channels;
    push->grid_h = p->result[0];
    push->grid_w = p->result[1];
    push->step_y = (int32_t)p->stride[0];
    push->step_x = (int32_t)p->stride[1];
    push->base_y = -(int32_t)p->padding[0];
    push->base_x = -(int32_t)p->padding[1];
    push->tap_y = (int32_t)p->dilation[0];
    push->tap_x = (int32_t)p->dilation[1];
    push->out_pixel = p->result[2];
    push->out_row = p->result[1] * p->result[2];
    push->out_image = pixels * p->result[2];
    push->w_row = p->kernel[1] * q.channels;
    push->w_tap = q.channels;
    q.taps_w = p->kernel[1];
    q.out_offset = 4ull * first * push->out_image;
    q.out_bytes = 4ull * images * push->out_image;
    return vkd__gather_lower(l, n, &q);
}

bool vkd__conv2d_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__conv2d *p = n->params;
    const bool direct = vkd__direct(l, "conv2d");
    uint32_t window;
    if (!vkd__conv2d_window(l, p, direct, &window)) return false;
    for (uint32_t at = 0; at < p->images; at += window) {
        const uint32_t images = p->images - at < window ? p->images - at : window;
        if (!lower_images(l, n, at, images, direct)) return false;
    }
    return true;
}
