// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>

#include "cli/bench.h"

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

void bench_build_mlp_step(vkd_graph *g, const bench_row *r) {
    const vkd_tensor x = vkd_stop_gradient(g, bench_data(g, "d.x", r->m, r->student[0]));
    const vkd_tensor labels = vkd_state(g, "labels", VKD_I32, VKD_SHAPE(r->m));
    const vkd_tensor teacher = vkd_stop_gradient(g, mlp(g, "t", x, r->teacher));
    const vkd_tensor student = mlp(g, "s", x, r->student);
    const vkd_tensor kd = vkd_kd_kl(g, student, teacher, vkd_constant(g, 4.0f), true);
    const vkd_tensor ce = vkd_ce(g, student, labels, 0.0f);
    const vkd_tensor loss = vkd_add(g, vkd_scale(g, kd, 0.9f), vkd_scale(g, ce, 0.1f));
    const vkd_tensor gradient = vkd_gradient(g, loss, "s");
    vkd_sgd(g, "s", gradient, vkd_guard(g, "s", gradient, loss, 0.0f), vkd_constant(g, 0.01f),
            &(vkd_sgd_desc){.momentum = 0.9f});
    vkd_output(g, "loss", loss);
}
