// SPDX-License-Identifier: Apache-2.0
/* Losses on features, with their gradient: m maps of size x size with k channels of the student
 * beside n of the teacher. */
#include "cli/bench.h"
#include "losses/loss.h"

static void build(vkd_graph *g, const bench_row *r, const char *name) {
    max_align_t config[8];
    const vkd__loss_def *def = vkd__loss_find(name);
    VKD_ASSERT(def && def->config_size <= sizeof config);
    vkd__fields_init(def->fields, def->field_count, config);
    const vkd__loss_shapes shapes = {.N = r->m,
                                     .V = 10,
                                     .pair_count = 1,
                                     .student = {VKD__MAPS(r->m, r->size, r->size, r->k)},
                                     .teacher = {VKD__MAPS(r->m, r->size, r->size, r->n)}};
    /* Made first, so that it does not start as zeros. */
    const vkd_tensor student = vkd_param(g, VKD__LOSS_ALONE ".student", shapes.student[0],
                                         &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 1});
    const vkd_tensor loss = vkd__loss_alone(g, def, config, &shapes, 1, true);
    vkd_tensor gradient;
    vkd_backward(g, loss, &student, 1, &gradient);
    vkd_output(g, "loss", loss);
    bench_keep(g, "y", gradient);
}

void bench_build_at(vkd_graph *g, const bench_row *row) {
    build(g, row, "at");
}

void bench_build_similarity(vkd_graph *g, const bench_row *row) {
    build(g, row, "similarity");
}
