// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "cli/bench.h"
#include "graph/graph.h"
#include "models/model.h"

static vkd_tensor mlp(vkd_graph *g, const char *group, vkd_tensor x, const uint32_t *widths) {
    for (uint32_t i = 0; widths[i + 1]; i++) {
        char weight[48], bias[48];
        snprintf(weight, sizeof weight, "%s.fc%u.weight", group, i);
        snprintf(bias, sizeof bias, "%s.fc%u.bias", group, i);
        const vkd_matmul_desc layer = {
            .transpose_b = true,
            .bias = vkd_param(g, bias, VKD_SHAPE(widths[i + 1]),
                              &(vkd_init){.kind = VKD_INIT_ZEROS, .no_decay = true}),
            .activation = widths[i + 2] ? VKD_ACT_RELU : VKD_ACT_NONE,
        };
        const vkd_tensor w = vkd_param(g, weight, VKD_SHAPE(widths[i + 1], widths[i]),
                                       &(vkd_init){.kind = VKD_INIT_XAVIER_UNIFORM});
        x = vkd_matmul(g, x, w, &layer);
    }
    return x;
}

/* 0.9 KD at temperature 4 and 0.1 cross-entropy, gradients of "s", SGD with momentum. */
static void distil(vkd_graph *g, vkd_tensor student, vkd_tensor teacher, uint32_t batch) {
    const vkd_tensor labels = vkd_state(g, "labels", VKD_I32, VKD_SHAPE(batch));
    const vkd_tensor kd =
        vkd_kd_kl(g, student, vkd_stop_gradient(g, teacher), vkd_constant(g, 4.0f), true);
    const vkd_tensor ce = vkd_ce(g, student, labels, 0.0f);
    const vkd_tensor loss = vkd_add(g, vkd_scale(g, kd, 0.9f), vkd_scale(g, ce, 0.1f));
    const vkd_tensor gradient = vkd_gradient(g, loss, "s");
    vkd_sgd(g, "s", gradient, vkd_guard(g, "s", gradient, loss, 0.0f), vkd_constant(g, 0.01f),
            &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_output(g, "loss", loss);
}

void bench_build_mlp_step(vkd_graph *g, const bench_row *r) {
    const vkd_tensor x = vkd_stop_gradient(g, bench_data(g, "d.x", r->m, r->student[0]));
    const vkd_tensor teacher = mlp(g, "t", x, r->teacher);
    distil(g, mlp(g, "s", x, r->student), teacher, r->m);
}

/* What the architecture makes of the images, with its defaults but for the depth. */
static vkd_tensor resnet(vkd_graph *g, const char *group, vkd_tensor x, uint32_t depth,
                         bool training) {
    const vkd__model_def *d = vkd__model_find("resnet");
    vkd_ctx *ctx = g->ctx;
    vkd__model_io *io = vkd__alloc(ctx, 1, sizeof *io);
    void *config = vkd__alloc(ctx, 1, d->config_size);
    vkd_tensor logits = {0};
    char text[16];
    snprintf(text, sizeof text, "%u", (unsigned)depth);
    if (io && config) {
        vkd__fields_init(d->fields, d->field_count, config);
        vkd__fields_set(ctx, d->fields, d->field_count, config, "bench", "depth", text);
        *io = (vkd__model_io){.group = group, .input = x, .classes = 10, .training = training};
        d->build(g, io, config);
        logits = vkd__tap_find(io, "logits");
    }
    vkd__free(ctx, config);
    vkd__free(ctx, io);
    return logits;
}

void bench_build_resnet_step(vkd_graph *g, const bench_row *r) {
    const vkd_init normal = {.kind = VKD_INIT_NORMAL, .value = 1};
    const vkd_shape shape = VKD_SHAPE(r->m, r->size, r->size, r->k);
    const vkd_tensor x = vkd_stop_gradient(g, vkd_param(g, "d.x", shape, &normal));
    const vkd_tensor teacher = resnet(g, "t", x, r->teacher[0], false);
    distil(g, resnet(g, "s", x, r->student[0], true), teacher, r->m);
}
