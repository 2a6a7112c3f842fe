// SPDX-License-Identifier: Apache-2.0
/* Lowering of depthwise convolutions, one filter a channel: as products of matrices they would be
 * as many products as channels, of one column each. */
#include "ops/conv2d.h"
#include "ops/matmul.h"

/* Taps beyond this, all of them unrolled, are left to the general kernels. */
#define MOST_TAPS 49u

bool vkd__conv2d_is_depth(const vkd__conv2d *p) {
    return p->groups == p->image[2] && p->groups == p->result[2] && p->groups % 4 == 0 &&
           p->kernel[0] * p->kernel[1] <= MOST_TAPS && p->dilation[1] == 1 && p->stride[1] <= 2;
}

/* As many pixels of a row as an invocation computes: a GPU hides its loads behind other
 * invocations, and has registers for few. */
static uint32_t run_of(const vkd__lower *l, uint32_t row) {
    if (!l->profile->direct) return row < 2 ? row : 2;
    return row < VKD__CONV2D_RUN_LEAST ? row : vkd__conv2d_run_length(row);
}

static void size(vkd__lower *l, vkd__launch *launch, uint64_t invocations) {
    const uint32_t workgroup = l->profile->flat_workgroup;
    vkd__spec(launch, 0, workgroup);
    vkd__grid(l, launch, vkd__div_up(invocations, workgroup));
}

void vkd__conv2d_size_depth(vkd__lower *l, vkd__launch *launch, const vkd__conv2d *p,
                            struct vkd_conv2d_params *push, uint32_t taps_w) {
    const uint32_t line = p->kernel[0] * p->kernel[1], run = run_of(l, push->grid_w);
    push->M = push->M / push->grid_w * (uint32_t)vkd__div_up(push->grid_w, run);
    vkd__spec(launch, 3, run);
    vkd__spec(launch, 22, push->K / taps_w);
    vkd__spec(launch, 23, (uint32_t)push->step_x);
    vkd__spec(launch, 24, line);
    vkd__spec(launch, 27, push->w_first);
    vkd__spec(launch, 28, push->w_row);
    vkd__spec(launch, 29, push->w_tap);
    size(l, launch, (uint64_t)push->M * (push->in_c / 4));
}

/* ---- The weight's gradient ---- */

/* Invocations that keep a device busy to the end, of runs enough to be worth the sums they leave.
 */
#define INVOCATIONS 4096u
#define SHORTEST_SHARE 8u

bool vkd__conv2d_weight_depth(vkd__lower *l, const vkd__node *n, uint32_t first, uint32_t images) {
    const vkd__conv2d *p = n->params;
    const uint32_t C = p->image[2], run = run_of(l, p->result[1]);
    const uint64_t image = 4ull * p->image[0] * p->image[1] * C;
    const uint64_t result = 4ull * p->result[0] * p->result[1] * C;
    const uint64_t count = (uint64_t)p->kernel[0] * p->kernel[1] * C;
    struct vkd_conv2d_weight_params push = {.M = 1,
                                            .N = p->kernel[0] * p->kernel[1],
                                            .K = images * p->result[0] *
                                                 (uint32_t)vkd__div_up(p->result[1], run),
                                            .groups = C,
                                            .in_h = p->image[0],
                                            .in_w = p->image[1],
                                            .in_c = C,
                                            .dy_c = C,
                                            .step_y = (int32_t)p->stride[0],
                                            .step_x = (int32_t)p->stride[1],
                                            .base_y = -(int32_t)p->padding[0],
                                            .base_x = -(int32_t)p->padding[1],
                                            .tap_y = (int32_t)p->dilation[0],
                                            .tap_x = 1};
    /* A GPU has registers for one row of taps. */
    const bool direct = vkd__direct(l, "conv2d_weight_depth");
    const uint32_t rows = direct ? p->kernel[0] : 1;
    const uint32_t invocations = C / 4 * (p->kernel[0] / rows);
    uint64_t splits = vkd__div_up(INVOCATIONS, invocations);
    if (splits > push.K / SHORTEST_SHARE) splits = push.K / SHORTEST_SHARE;
    if (splits > l->profile->max_binding / (4 * count))
        splits = l->profile->max_binding / (4 * count);
    push.chunk = splits > 1 ? (uint32_t)vkd__div_up(push.K, splits) : push.K;
    push.splits = (uint32_t)vkd__div_up(push.K, push.chunk);
    const bool apart = push.splits > 1;
    const uint32_t scratch = apart ? vkd__scratch_add(l, 4 * count * push.splits) : 0;
    vkd__launch *launch =
        vkd__launch_add(l, direct ? "conv2d_weight_depth.direct" : "conv2d_weight_depth");
    if (!launch) return false;
    vkd__bind_window(launch, n->in[1], VKD__READ, first * result, images * result);
    vkd__bind_window(launch, n->in[0], VKD__READ, first * image, images * image);
    if (apart)
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
    else
        vkd__bind(launch, n->out[0], first ? VKD__READ_WRITE : VKD__WRITE);
    vkd__spec(launch, 3, run);
    vkd__spec(launch, 5, rows);
    vkd__spec(launch, 13, first && !apart);
    vkd__spec(launch, 21, p->kernel[1]);
    vkd__spec(launch, 22, p->result[0]);
    vkd__spec(launch, 23, p->result[1]);
    vkd__spec(launch, 24, p->kernel[0]);
    vkd__spec(launch, 27, p->stride[1]);
    size(l, launch, (uint64_t)push.splits * invocations);
    vkd__push(launch, &push, sizeof push);
    vkd__cost(launch, 2.0 * (double)count * images * p->result[0] * p->result[1],
              (double)images * (double)(image + result) + 4.0 * (double)(count * push.splits));
    return !apart || vkd__matmul_add_splits(l, scratch, count, push.splits, n->out[0], first != 0);
}
