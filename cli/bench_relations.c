// SPDX-License-Identifier: Apache-2.0
/* The benchmark's rows of losses over relations and over memory banks. */
#include <stdlib.h>

#include "base/philox.h"
#include "cli/bench.h"

static void keep_gradient(vkd_graph *g, vkd_tensor loss, vkd_tensor of) {
    vkd_tensor gradient;
    vkd_backward(g, loss, &of, 1, &gradient);
    vkd_output(g, "loss", loss);
    bench_keep(g, "y", gradient);
}

void bench_build_rkd_distance(vkd_graph *g, const bench_row *r) {
    const vkd_tensor student = bench_data(g, "b.student", r->m, r->n);
    const vkd_tensor teacher = vkd_stop_gradient(g, bench_data(g, "t.teacher", r->m, r->n));
    keep_gradient(g, vkd_rkd_distance(g, student, teacher), student);
}

void bench_build_rkd_angle(vkd_graph *g, const bench_row *r) {
    const vkd_tensor student = bench_data(g, "b.student", r->m, r->n);
    const vkd_tensor teacher = vkd_stop_gradient(g, bench_data(g, "t.teacher", r->m, r->n));
    keep_gradient(g, vkd_rkd_angle(g, student, teacher), student);
}

/* Rows of about unit length, as a score at temperature 0.07 wants them. */
static vkd_tensor unit_rows(vkd_graph *g, const char *name, uint32_t rows, uint32_t width) {
    return vkd_l2_normalize(g, bench_data(g, name, rows, width), 1e-12f);
}

void bench_build_bank_nce(vkd_graph *g, const bench_row *r) {
    const vkd_tensor v = unit_rows(g, "b.v", r->m, r->n);
    const vkd_tensor bank = vkd_param(g, "t.bank", VKD_SHAPE(r->size, r->n),
                                      &(vkd_init){.kind = VKD_INIT_NORMAL, .value = 0.09f});
    const vkd_tensor choices = vkd_state(g, "samples", VKD_I32, VKD_SHAPE(r->m, r->k + 1));
    const vkd_tensor constant = vkd_state(g, "constant", VKD_F32, VKD_SHAPE(1));
    keep_gradient(g, vkd_bank_nce(g, v, vkd_stop_gradient(g, bank), choices, constant, NULL), v);
}

void bench_build_negatives(vkd_graph *g, const bench_row *r) {
    const vkd_tensor table = vkd_state(g, "samples", VKD_I32, VKD_SHAPE(r->size));
    const vkd_tensor starts = vkd_state(g, "starts", VKD_I32, VKD_SHAPE(3));
    const vkd_tensor zeros = vkd_state(g, "zeros", VKD_I32, VKD_SHAPE(r->m));
    vkd_output(g, "y", vkd_negatives(g, table, starts, zeros, zeros, r->k, "bench"));
}

/* Samples of the bank, and where two classes of them begin, the first a tenth of all. */
vkd_result bench_fill_samples(vkd_store *store, const bench_row *r) {
    vkd_store_info info;
    const int32_t starts[] = {0, (int32_t)r->size / 10, (int32_t)r->size};
    vkd_result result = VKD_OK;
    if (vkd_store_find(store, "starts", &info))
        result = vkd_store_write(store, "starts", starts, sizeof starts);
    if (result || !vkd_store_find(store, "samples", &info)) return result;
    const uint64_t count = vkd_shape_count(info.shape);
    int32_t *samples = malloc(count * sizeof *samples);
    if (!samples) return VKD_E_MEMORY;
    for (uint64_t i = 0; i < count; i++)
        samples[i] = (int32_t)(vkd__philox_at(1, 1, 0, (uint32_t)i).v[0] % r->size);
    result = vkd_store_write(store, "samples", samples, count * sizeof *samples);
    free(samples);
    return result;
}
