// SPDX-License-Identifier: Apache-2.0
/* Ops without arithmetic, for testing the planner alone: what matters is what they read and write.
 * They lower to the `fill` kernel, which nobody runs. */
#ifndef VKD_TEST_PLAN_OPS_H
#define VKD_TEST_PLAN_OPS_H

#include "graph/plan.h"

typedef struct plan_op_params {
    uint64_t offset;    /* op_put: bytes into in[1] */
    uint32_t count[2];  /* elements of each result */
    uint32_t outs;      /* results: 0 to 2 */
    uint32_t scratch;   /* elements; not 0: a first launch fills them, a second makes the results */
    bool refuse;        /* lower fails with a sentence */
    const char *kernel; /* default "fill" */
} plan_op_params;

extern const vkd_op_def op_plain, op_in_place, op_view, op_put, op_update;

/* Results of `count` elements. For op_update in[0] is a store tensor that changes. */
vkd_tensor plan_op(vkd_graph *g, const vkd_op_def *op, const vkd_tensor *in, uint32_t in_count,
                   const plan_op_params *params);
vkd_tensor plain(vkd_graph *g, vkd_tensor in, uint32_t count);
vkd_tensor in_place(vkd_graph *g, vkd_tensor in, uint32_t count);
vkd_tensor view(vkd_graph *g, vkd_tensor in);
void put(vkd_graph *g, vkd_tensor values, vkd_tensor into, uint64_t offset);
void update(vkd_graph *g, vkd_tensor state, vkd_tensor by);

#endif
