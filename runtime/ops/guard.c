// SPDX-License-Identifier: Apache-2.0
/* guard: looks at a group's gradient once a step.
 *
 *   out[0] = norm = sqrt(sum_i gradient[i]^2) / s
 *   out[1] = factor = 0 where norm or loss is not finite,
 *                     else min(1, max_norm / (norm + 1e-6)) / s where max_norm > 0, else 1 / s
 *
 * and counts in the state (4) i32: steps applied, skipped, skipped in a row. s is the loss scale
 * that the gradient carries, 1 without one; the scale's own state is moved too (loss_scale.c). The
 * sum has two steps: chunks of 4096 elements, then the chunks. A sum of squares beyond f32 counts
 * as not finite. */
#include <math.h>

#include "ops/optimiser.h"

typedef struct guard_params {
    float max_norm;
    uint32_t growth_interval; /* 0: the loss is not scaled */
} guard_params;

enum { GRADIENT, LOSS, STATE, SCALE, SCALE_STATE };

vkd_tensor vkd_guard(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor loss,
                     float max_norm) {
    const vkd_tensor state = vkd__group_state(g, group, "guard", VKD_I32, VKD_SHAPE(4));
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_guard,
                                          .in_count = 3,
                                          .in = {gradient, loss, state},
                                          .writes = 1u << STATE,
                                          .params = &(guard_params){max_norm, 0},
                                          .params_size = sizeof(guard_params)});
}

vkd_tensor vkd_guard_scaled(vkd_graph *g, const char *group, vkd_tensor gradient, vkd_tensor loss,
                            float max_norm, vkd_tensor scale, uint32_t growth_interval) {
    const vkd_tensor state = vkd__group_state(g, group, "guard", VKD_I32, VKD_SHAPE(4));
    const vkd_tensor scale_state = vkd__group_state(g, group, "loss_scale", VKD_I32, VKD_SHAPE(4));
    if (!growth_interval) growth_interval = 2000;
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_guard,
                                          .in_count = 5,
                                          .in = {gradient, loss, state, scale, scale_state},
                                          .writes = 1u << STATE | 1u << SCALE_STATE,
                                          .params = &(guard_params){max_norm, growth_interval},
                                          .params_size = sizeof(guard_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd_shape gradient = vkd_tensor_shape(g, n->in[0]);
    if (!vkd__need_f32(g, n, 0) || !vkd__need_f32(g, n, 1)) return false;
    if (vkd_shape_count(gradient) % 4 || vkd_shape_count(vkd_tensor_shape(g, n->in[1])) != 1)
        return vkd__graph_fail(
            g, n, VKD_E_SHAPE, "a group's flat gradient and a () loss are wanted, not %s and %s",
            vkd__shape_text(g, gradient), vkd__shape_text(g, vkd_tensor_shape(g, n->in[1])));
    if (((const guard_params *)n->params)->growth_interval &&
        (!vkd__need_f32(g, n, SCALE) || vkd_shape_count(vkd_tensor_shape(g, n->in[SCALE])) != 1))
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the loss scale is () f32, not %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[SCALE])));
    vkd__node_out(g, n, 0, VKD_F32, VKD_SHAPE(2));
    return true;
}

static bool lower_squares(vkd__lower *l, const vkd__node *n, uint32_t scratch, uint64_t total) {
    const uint64_t chunk = 4 * VKD_SQUARES_CHUNK;
    const uint64_t window = vkd__window_elements(l->profile, sizeof(float)) / chunk * chunk;
    if (!window)
        return vkd__lower_fail(
            l, VKD_E_SHAPE, "a binding of %llu bytes does not hold %llu elements",
            (unsigned long long)l->profile->max_binding, (unsigned long long)chunk);
    for (uint64_t at = 0; at < total; at += window) {
        const uint64_t part = total - at < window ? total - at : window;
        const uint64_t chunks = vkd__div_up(part, chunk);
        vkd__launch *launch = vkd__row_launch(l, "squares", chunks, (uint32_t)chunk);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, at, part, 1);
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
        vkd__push(launch,
                  &(struct vkd_squares_params){(uint32_t)(part / 4), (uint32_t)chunks,
                                               (uint32_t)(at / chunk)},
                  sizeof(struct vkd_squares_params));
        vkd__cost(launch, 2.0 * (double)part, 4.0 * (double)part);
    }
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const guard_params *p = n->params;
    const uint64_t total = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0]));
    const uint64_t chunks = vkd__div_up(total, 4 * VKD_SQUARES_CHUNK);
    const uint32_t scratch = vkd__scratch_add(l, chunks * sizeof(float));
    if (!lower_squares(l, n, scratch, total)) return false;
    const bool scaled = p->growth_interval != 0;
    vkd__launch *launch = vkd__reduce_launch(l, scaled ? "guard.scaled" : "guard");
    if (!launch) return false;
    vkd__bind_scratch(launch, scratch, VKD__READ);
    vkd__bind(launch, n->in[1], VKD__READ);
    vkd__bind(launch, n->in[2], VKD__READ_WRITE);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    if (scaled) {
        vkd__bind(launch, n->in[SCALE], VKD__READ);
        vkd__bind(launch, n->in[SCALE_STATE], VKD__READ_WRITE);
    }
    vkd__push(launch, &(struct vkd_guard_params){(uint32_t)chunks, p->max_norm, p->growth_interval},
              sizeof(struct vkd_guard_params));
    vkd__cost(launch, (double)chunks, 4.0 * (double)chunks);
    return true;
}

static void move_scale(double *state, double scale, bool good, uint32_t interval) {
    state[1] = good ? state[1] + 1 : 0;
    if (!good) {
        state[2] += 1;
        if (scale > 1) state[0] -= 1;
    } else if (state[1] >= interval) {
        state[1] = 0;
        if (scale < 16777216) state[0] += 1;
    }
}

static void reference(const vkd__ref *r) {
    const guard_params *p = r->node->params;
    const double scale = p->growth_interval ? r->in[SCALE].v[0] : 1;
    double sum = 0, *state = r->in[2].v;
    for (uint64_t i = 0; i < vkd_shape_count(r->in[0].tensor->shape); i++)
        sum += r->in[0].v[i] * r->in[0].v[i];
    const double norm = sqrt(sum) / scale, limit = (double)p->max_norm;
    const bool finite = isfinite(norm) && isfinite(r->in[1].v[0]);
    r->out[0].v[0] = norm;
    r->out[0].v[1] = !finite ? 0 : limit > 0 && limit < norm + 1e-6 ? limit / (norm + 1e-6) : 1;
    r->out[0].v[1] /= scale;
    if (p->growth_interval) move_scale(r->in[SCALE_STATE].v, scale, finite, p->growth_interval);
    state[finite ? 0 : 1] += 1;
    state[2] = finite ? 0 : state[2] + 1;
}

static void build_case(vkd__case *c) {
    static const uint32_t sizes[] = {1, 33, 5000, 20000, 33, 33, 1000, 33};
    static const float limits[] = {0, 0.25f, 3, 1e6f, 1, 0, 0.001f, 1};
    const vkd_tensor w = vkd__case_f32(c, VKD_SHAPE(sizes[c->index]), -1, 1);
    const vkd_tensor flat = vkd__group_flat(c->g, "case");
    const vkd_tensor gradient = vkd__case_fixed(c, vkd_tensor_shape(c->g, flat), -1, 1);
    const vkd_tensor loss = vkd__case_fixed(c, VKD_SCALAR, 0, 1);
    c->what = limits[c->index] > 0 ? "clipped" : "not clipped";
    if (c->index == 4 || c->index == 7) {
        c->what = "a loss that is not finite";
        vkd__case_special(c, INFINITY, 1);
    }
    (void)w;
    if (c->index >= 5) {
        /* Two good steps or bad ones: the second doubles the scale, or both halve it. */
        const vkd_tensor scale = vkd_loss_scale(c->g, "case", 512);
        vkd__case_output(
            c, vkd_guard_scaled(c->g, "case", gradient, loss, limits[c->index], scale, 2));
        vkd_guard_scaled(c->g, "case", gradient, loss, limits[c->index], scale, 2);
        vkd__case_output(c, vkd_loss_scale(c->g, "case", 512));
    } else {
        vkd__case_output(c, vkd_guard(c->g, "case", gradient, loss, limits[c->index]));
    }
    vkd__case_output(c, vkd_state(c->g, "case.guard", VKD_I32, VKD_SHAPE(4)));
}

const vkd_op_def vkd_op_guard = {
    .name = "guard",
    .summary = "a gradient's norm, its clipping factor, and 0 where it is not finite",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = 8,
    .build_case = build_case,
    .no_difference_test = "counts steps",
};
