// SPDX-License-Identifier: Apache-2.0
/* What a device gives at best, measured on the spot: the yardstick of `vkdistill bench`. */
#ifndef VKD_CEILING_H
#define VKD_CEILING_H

#include "graph/graph.h"

/* Multiply-adds a second, counted as two, f32, in 1e9.
 * Both take below a second on a CPU device. Errors: those of planning and running a program. */
vkd_result vkd__ceiling_flops(vkd_ctx *ctx, vkd_device *device, double *gflops);
/* A copy that reads and writes `bytes` in all (rounded up to 64 KiB, at most
 * 128 MiB): bytes a second, in 1e9. By
 * size, because what fits into a cache is copied several times faster than what does not. */
vkd_result vkd__ceiling_copy(vkd_ctx *ctx, vkd_device *device, uint64_t bytes, double *gbytes);

/* The graphs that they measure, for whoever plans them and runs nothing. Return the work of the
 * probe's kernel: operations, bytes. */
double vkd__ceiling_flops_graph(vkd_graph *g, bool cpu);
double vkd__ceiling_copy_graph(vkd_graph *g, uint64_t bytes);

/* Seconds of one step of the graph: the median of `runs` steps after one to warm up, by the
 * device's own clock over the launches whose kernel begins with `kernel` (NULL: all). */
vkd_result vkd__measure(vkd_ctx *ctx, vkd_device *device, vkd_graph *g, const char *kernel,
                        uint32_t runs, double *seconds);

#endif
