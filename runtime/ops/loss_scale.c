// SPDX-License-Identifier: Apache-2.0
/* loss_scale: the factor that keeps the gradients of a mixed graph inside f16's range.
 *
 *   out[0] = initial * 2^state[0], at least 1 and at most 2^24
 *
 * state (4) i32: the exponent, good steps since it last changed, halvings, unused. The guard that
 * is given this scale divides by it again, and moves the exponent: +1 after so many good steps in a
 * row, -1 after a step that was not finite. All on the device: the host never looks.
 * Micikevicius et al., arXiv:1710.03740, section 3.2; dynamic as in NVIDIA's Apex. */
#include <math.h>

#include "ops/optimiser.h"

typedef struct scale_params {
    float initial;
} scale_params;

vkd_tensor vkd_loss_scale(vkd_graph *g, const char *group, float initial) {
    const vkd_tensor state = vkd__group_state(g, group, "loss_scale", VKD_I32, VKD_SHAPE(4));
    return vkd__emit1(g, &vkd_op_loss_scale, state, &(scale_params){initial}, sizeof(scale_params));
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const float initial = ((const scale_params *)n->params)->initial;
    if (!(initial >= 1) || !(initial <= 16777216))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "a loss scale is 1 to 2^24, not %g",
                               (double)initial);
    vkd__node_out(g, n, 0, VKD_F32, VKD_SCALAR);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    vkd__launch *launch = vkd__launch_add(l, "loss_scale");
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    const struct vkd_loss_scale_params push = {((const scale_params *)n->params)->initial};
    vkd__push(launch, &push, sizeof push);
    vkd__cost(launch, 1, 20);
    return true;
}

static void reference(const vkd__ref *r) {
    const double initial = (double)((const scale_params *)r->node->params)->initial;
    r->out[0].v[0] = fmin(fmax(initial * exp2(r->in[0].v[0]), 1), 16777216);
}

static void build_case(vkd__case *c) {
    static const int32_t exponents[] = {0, 3, -5, -20, 30};
    static const float initials[] = {1024, 65536, 65536, 8, 3};
    const vkd_tensor state =
        vkd__case_i32(c, VKD_SHAPE(4), exponents[c->index], exponents[c->index] + 1);
    vkd__case_output(c, vkd__emit1(c->g, &vkd_op_loss_scale, state,
                                   &(scale_params){initials[c->index]}, sizeof(scale_params)));
}

const vkd_op_def vkd_op_loss_scale = {
    .name = "loss_scale",
    .summary = "what a mixed graph's loss is multiplied with, from a state that guard moves",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 5,
    .build_case = build_case,
    .no_difference_test = "reads integers",
};
