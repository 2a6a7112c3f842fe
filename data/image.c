// SPDX-License-Identifier: Apache-2.0
/* The resize, along one axis from n to m pixels: in units of 1/m of a source pixel, source pixel i
 * is [i m, (i+1) m) and result pixel j is [j n, (j+1) n). What they share is a whole number, those
 * of a result pixel sum to n, and so the weights of two axes sum to height * width: integers
 * throughout. */
#include "data/image.h"

#include <string.h>

void vkd__image_interleave(const uint8_t *planes, size_t pixels, uint32_t channels, uint8_t *out) {
    for (size_t i = 0; i < pixels; i++)
        for (uint32_t c = 0; c < channels; c++)
            out[i * channels + c] = planes[c * pixels + i];
}

/* The source pixels that result pixel j of m shares something with: [first, end) of n. */
typedef struct span {
    uint64_t first, end, from, to; /* from and to in units of 1/m of a source pixel */
} span;

static span span_of(uint64_t j, uint64_t n, uint64_t m) {
    const uint64_t from = j * n, to = from + n;
    return (span){from / m, (to + m - 1) / m, from, to};
}

static uint64_t shared(const span *s, uint64_t i, uint64_t m) {
    const uint64_t from = i * m > s->from ? i * m : s->from;
    const uint64_t to = (i + 1) * m < s->to ? (i + 1) * m : s->to;
    return to - from;
}

/* A row of the result: the rows that it covers are added up first, then pieces of that sum. */
static void resize_row(const vkd__image *from, const span *rows, uint64_t m, uint32_t width,
                       uint64_t *sum, uint8_t *out) {
    const size_t H = from->height, W = from->width, C = from->channels;
    memset(sum, 0, W * C * sizeof *sum);
    for (uint64_t i = rows->first; i < rows->end; i++) {
        const uint64_t weight = shared(rows, i, m);
        const uint8_t *row = from->pixels + i * W * C;
        for (size_t k = 0; k < W * C; k++)
            sum[k] += weight * row[k];
    }
    for (uint32_t x = 0; x < width; x++) {
        const span columns = span_of(x, W, width);
        for (size_t c = 0; c < C; c++) {
            uint64_t all = H * W / 2;
            for (uint64_t k = columns.first; k < columns.end; k++)
                all += shared(&columns, k, width) * sum[k * C + c];
            *out++ = (uint8_t)(all / (H * W));
        }
    }
}

vkd_result vkd__image_resize(vkd_ctx *ctx, const vkd__image *from, uint32_t height, uint32_t width,
                             uint8_t *out) {
    const size_t row = (size_t)from->width * from->channels;
    uint64_t *sum = vkd__alloc(ctx, row, sizeof *sum);
    if (!sum) return VKD_E_MEMORY;
    for (uint32_t y = 0; y < height; y++) {
        const span rows = span_of(y, from->height, height);
        resize_row(from, &rows, height, width, sum, out + (size_t)y * width * from->channels);
    }
    vkd__free(ctx, sum);
    return VKD_OK;
}
