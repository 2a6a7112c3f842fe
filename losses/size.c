// SPDX-License-Identifier: Apache-2.0
/* Maps of two sizes: the larger one is averaged down to the smaller, axis by axis. */
#include "losses/loss.h"

vkd__loss_size vkd__loss_smaller(vkd_shape a, vkd_shape b) {
    const bool maps = a.axes == 4 && b.axes == 4;
    if (!maps) return (vkd__loss_size){1, 1};
    return (vkd__loss_size){a.dim[1] < b.dim[1] ? a.dim[1] : b.dim[1],
                            a.dim[2] < b.dim[2] ? a.dim[2] : b.dim[2]};
}

static vkd_tensor resize(vkd_graph *g, vkd_tensor map, vkd__loss_size to) {
    const vkd_shape s = vkd_tensor_shape(g, map);
    if (s.axes != 4 || (s.dim[1] == to.H && s.dim[2] == to.W)) return map;
    return vkd_adaptive_avg_pool2d(g, map, to.H, to.W);
}

void vkd__loss_same_size(vkd_graph *g, vkd_tensor *a, vkd_tensor *b) {
    const vkd__loss_size to = vkd__loss_smaller(vkd_tensor_shape(g, *a), vkd_tensor_shape(g, *b));
    *a = resize(g, *a, to);
    *b = resize(g, *b, to);
}

/* The elements of an axis that bin i of `bins` averages: first .. end - 1. */
typedef struct bin {
    uint32_t first, end;
} bin;

static bin bin_of(uint32_t i, uint32_t bins, uint32_t size) {
    return (bin){i * size / bins, ((i + 1) * size + bins - 1) / bins};
}

double vkd__loss_pooled(const double *map, vkd_shape shape, vkd__loss_size to, uint32_t place,
                        uint32_t channel) {
    const bool maps = shape.axes == 4;
    const uint32_t H = maps ? shape.dim[1] : 1, W = maps ? shape.dim[2] : 1;
    const uint32_t C = shape.dim[shape.axes - 1];
    const bin y = bin_of(place / to.W, to.H, H), x = bin_of(place % to.W, to.W, W);
    double sum = 0;
    for (uint32_t h = y.first; h < y.end; h++)
        for (uint32_t w = x.first; w < x.end; w++)
            sum += map[((size_t)h * W + w) * C + channel];
    return sum / ((y.end - y.first) * (x.end - x.first));
}

void vkd__loss_pooled_back(double d, vkd_shape shape, vkd__loss_size to, uint32_t place,
                           uint32_t channel, double *dmap) {
    const bool maps = shape.axes == 4;
    const uint32_t H = maps ? shape.dim[1] : 1, W = maps ? shape.dim[2] : 1;
    const uint32_t C = shape.dim[shape.axes - 1];
    const bin y = bin_of(place / to.W, to.H, H), x = bin_of(place % to.W, to.W, W);
    for (uint32_t h = y.first; h < y.end; h++)
        for (uint32_t w = x.first; w < x.end; w++)
            dmap[((size_t)h * W + w) * C + channel] += d / ((y.end - y.first) * (x.end - x.first));
}
