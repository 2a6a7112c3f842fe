// SPDX-License-Identifier: Apache-2.0
/* dropout: y[i] = keep[i] x[i] / (1 - p).
 *
 * keep[i] = uniform(word i % 4 of Philox at counter (i / 4, step), key (seed, stream of name)) >=
 * p. dx[i] = keep[i] dy[i] / (1 - p): the same op on dy, which draws the same numbers again, so
 * that no mask is stored. Srivastava et al., JMLR 15 (2014), in the inverted form. */
#include <math.h>

#include "base/philox.h"
#include "ops/row.h"

typedef struct dropout_params {
    uint32_t seed, stream;
    float p;
} dropout_params;

static vkd_tensor emit(vkd_graph *g, vkd_tensor x, vkd_tensor step, const dropout_params *p) {
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_dropout,
                                          .in_count = 2,
                                          .in = {x, step},
                                          .params = p,
                                          .params_size = sizeof *p});
}

vkd_tensor vkd_dropout(vkd_graph *g, vkd_tensor x, float p, const char *name) {
    if (p == 0.0f) return x;
    return emit(g, x, vkd_step(g), &(dropout_params){g->seed, vkd__philox_stream(name), p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const dropout_params *p = n->params;
    if (!vkd__need_f32(g, n, 0)) return false;
    if (!(p->p > 0 && p->p < 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "p %g is not in 0 <= p < 1", (double)p->p);
    vkd__node_out(g, n, 0, VKD_F32, vkd_tensor_shape(g, n->in[0]));
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    /* A copy: the node's params stay where they are, but the node itself may move. */
    const dropout_params p = *(const dropout_params *)n->params;
    din[0] = emit(g, dout[0], n->in[1], &p);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const dropout_params *p = n->params;
    const uint64_t count = vkd_shape_count(vkd_tensor_shape(l->g, n->in[0]));
    const uint64_t window = vkd__window_elements(l->profile, sizeof(float));
    for (uint64_t at = 0; at < count; at += window) {
        const uint64_t part = count - at < window ? count - at : window;
        vkd__launch *launch = vkd__item_launch(l, "dropout", vkd__div_up(part, 4));
        if (!launch) return false;
        vkd__row_bind(launch, n->in[0], VKD__READ, at, part, 1);
        vkd__bind(launch, n->in[1], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, at, part, 1);
        vkd__push(launch,
                  &(struct vkd_dropout_params){.count = (uint32_t)part,
                                               .first = (uint32_t)at,
                                               .seed = p->seed,
                                               .stream = p->stream,
                                               .p = p->p,
                                               .scale = 1.0f / (1.0f - p->p)},
                  sizeof(struct vkd_dropout_params));
        vkd__cost(launch, 20.0 * (double)part, 8.0 * (double)part);
    }
    return true;
}

static void reference(const vkd__ref *r) {
    const dropout_params *p = r->node->params;
    const uint64_t count = vkd_shape_count(r->in[0].tensor->shape);
    const uint32_t step = (uint32_t)(int32_t)r->in[1].v[0];
    for (uint64_t i = 0; i < count; i++) {
        const vkd__philox bits = vkd__philox_at(p->seed, p->stream, step, (uint32_t)(i / 4));
        const bool keep = vkd__philox_uniform(bits.v[i % 4]) >= p->p;
        r->out[0].v[i] = keep ? r->in[0].v[i] / (1 - (double)p->p) : 0;
    }
}

static void build_case(vkd__case *c) {
    static const uint32_t counts[] = {1, 33, 127, 1000, 4096};
    static const float ps[] = {0.5f, 0.1f, 0.5f, 0.9f, 0.25f};
    if (c->index == VKD_COUNT(counts)) {
        c->what = "p = 0 keeps all";
        const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(5, 7), -1, 1);
        vkd__case_output(c, vkd_scale(c->g, vkd_dropout(c->g, x, 0.0f, "drop"), 2.0f));
        return;
    }
    c->what = "ragged counts";
    const vkd_tensor x = vkd__case_f32(c, VKD_SHAPE(counts[c->index]), -1, 1);
    vkd__case_output(c, vkd_dropout(c->g, x, ps[c->index], "drop"));
}

const vkd_op_def vkd_op_dropout = {
    .name = "dropout",
    .summary = "zeroes elements at random and scales the rest",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 6,
    .build_case = build_case,
};
