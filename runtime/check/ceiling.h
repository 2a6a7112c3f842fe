// SPDX-License-Identifier: Apache-2.0
/* What a device gives at best, measured on the spot: the yardstick of `vkdistill bench`. */
#ifndef VKD_CEILING_H
#define VKD_CEILING_H

#include "graph/graph.h"

typedef struct vkd__ceiling {
    double gflops; /* multiply-adds counted as two, f32 */
    double gbytes; /* a copy of 64 MiB: bytes read plus bytes written, 1e9 a second */
} vkd__ceiling;

/* Takes about a second on a CPU device. Errors: those of planning and running a program. */
vkd_result vkd__ceiling_measure(vkd_ctx *ctx, vkd_device *device, vkd__ceiling *out);

/* Seconds of one step of the graph: the median of `runs` steps after one to warm up, by the
 * device's own clock over the launches whose kernel begins with `kernel` (NULL: all). */
vkd_result vkd__measure(vkd_ctx *ctx, vkd_device *device, vkd_graph *g, const char *kernel,
                        uint32_t runs, double *seconds);

#endif
