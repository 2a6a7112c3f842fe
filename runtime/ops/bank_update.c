// SPDX-License-Identifier: Apache-2.0
/* bank_update: rows of a memory bank follow what was seen of their samples,
 *
 *   u = keep bank[i] + (1 - keep) v[n],  bank[i] = u / |u|   for i = samples[n]
 *
 * Of several n with one i the last one counts, on every device; an i outside the bank changes
 * nothing, nor does a u that is not finite or has no length: one bad step must not spoil the bank.
 * A bank beyond the device's largest binding is changed in windows of rows.
 * Wu, Xiong, Yu, Lin, arXiv:1805.01978, section 3.2. */
#include <math.h>

#include "ops/row.h"

enum { BANK, V, SAMPLES };

typedef struct update_params {
    float keep;
} update_params;

void vkd_bank_update(vkd_graph *g, vkd_tensor bank, vkd_tensor v, vkd_tensor samples, float keep) {
    vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_bank_update,
                                   .in_count = 3,
                                   .in = {bank, v, samples},
                                   .writes = 1u << BANK,
                                   .params = &(update_params){keep},
                                   .params_size = sizeof(update_params)});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const vkd__tensor *bank = vkd__tensor_get(g, n->in[BANK]);
    const vkd_shape v = vkd_tensor_shape(g, n->in[V]);
    const vkd_shape samples = vkd_tensor_shape(g, n->in[SAMPLES]);
    const float keep = ((const update_params *)n->params)->keep;
    if (!vkd__need_f32(g, n, BANK) || !vkd__need_f32(g, n, V)) return false;
    if (vkd_tensor_dtype(g, n->in[SAMPLES]) != VKD_I32)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "the samples are not i32");
    if (bank->shape.axes != 2 || v.axes != 2 || bank->shape.dim[1] != v.dim[1] || v.dim[1] % 4 ||
        samples.axes != 1 || samples.dim[0] != v.dim[0])
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "a bank (V, D), rows (N, D) and samples (N) are wanted, D a "
                               "multiple of 4, not %s, %s and %s",
                               vkd__shape_text(g, bank->shape), vkd__shape_text(g, v),
                               vkd__shape_text(g, samples));
    if (!(keep >= 0 && keep < 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "keep %g is not in 0 <= keep < 1",
                               (double)keep);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    vkd__rows bank;
    if (!vkd__rows_of(l, n->in[BANK], &bank)) return false;
    const vkd__tensor *v = vkd__tensor_get(l->g, n->in[V]);
    if (vkd__tensor_bytes(v) > l->profile->max_binding)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "'%s' exceeds one binding of %llu bytes on this device; use smaller "
                               "batches",
                               v->name, (unsigned long long)l->profile->max_binding);
    const uint32_t N = v->shape.dim[0];
    for (uint64_t first = 0; first < bank.rows; first += bank.rows_at_once) {
        const uint64_t rows = vkd__rows_count(&bank, first);
        vkd__launch *launch = vkd__row_launch(l, "bank_update", N, bank.length);
        if (!launch) return false;
        vkd__row_bind(launch, n->in[BANK], VKD__READ, first, rows, bank.length);
        vkd__bind(launch, n->in[V], VKD__READ);
        vkd__bind(launch, n->in[SAMPLES], VKD__READ);
        vkd__row_bind(launch, n->in[BANK], VKD__READ_WRITE, first, rows, bank.length);
        const struct vkd_bank_update_params push = {N, bank.length, (uint32_t)first, (uint32_t)rows,
                                                    ((const update_params *)n->params)->keep};
        vkd__push(launch, &push, sizeof push);
        vkd__cost(launch, 8.0 * N * bank.length, 12.0 * N * bank.length);
    }
    return true;
}

static bool comes_again(const double *samples, uint32_t N, uint32_t n) {
    for (uint32_t m = n + 1; m < N; m++)
        if (samples[m] == samples[n]) return true;
    return false;
}

static void reference(const vkd__ref *r) {
    const vkd_shape bank = r->in[BANK].tensor->shape;
    const uint32_t N = r->in[V].tensor->shape.dim[0], D = bank.dim[1];
    const double keep = (double)((const update_params *)r->node->params)->keep;
    for (uint32_t n = 0; n < N; n++) {
        const double i = r->in[SAMPLES].v[n];
        if (!(i >= 0 && i < bank.dim[0]) || comes_again(r->in[SAMPLES].v, N, n)) continue;
        double *row = r->in[BANK].v + (size_t)i * D, sum = 0;
        const double *v = r->in[V].v + (size_t)n * D;
        for (uint32_t d = 0; d < D; d++)
            sum += pow(keep * row[d] + (1 - keep) * v[d], 2);
        if (!isfinite(sum) || sum == 0) continue;
        for (uint32_t d = 0; d < D; d++)
            row[d] = (keep * row[d] + (1 - keep) * v[d]) / sqrt(sum);
    }
}

/* ---- Cases: bank, width, rows; samples are drawn a little beyond the bank ---- */

static const uint32_t sizes[][3] = {{1, 4, 1},   {5, 8, 9},    {40, 16, 7},
                                    {9, 64, 20}, {300, 8, 33}, {30, 128, 12}};

static void build_case(vkd__case *c) {
    const uint32_t *s = sizes[c->index % VKD_COUNT(sizes)];
    const bool bad = c->index >= VKD_COUNT(sizes);
    c->what = bad ? "rows that are not finite, or cancel" : "samples that come several times";
    const vkd_tensor bank = vkd__case_f32(c, VKD_SHAPE(s[0], s[1]), -1, 1);
    const vkd_tensor v = vkd__case_fixed(c, VKD_SHAPE(s[2], s[1]), -1, 1);
    if (bad) vkd__case_special(c, INFINITY, 3 * s[1]);
    const vkd_tensor samples = vkd__case_i32(c, VKD_SHAPE(s[2]), -1, (int32_t)s[0] + 1);
    vkd_bank_update(c->g, bank, v, samples, c->index % 2 ? 0.5f : 0.0f);
    vkd__case_output(c, bank);
}

const vkd_op_def vkd_op_bank_update = {
    .name = "bank_update",
    .summary = "rows of a memory bank follow their samples, at unit length",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = VKD_COUNT(sizes) + 2,
    .build_case = build_case,
    .no_difference_test = "changes the bank",
};
