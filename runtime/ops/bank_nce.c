// SPDX-License-Identifier: Apache-2.0
/* bank_nce: noise-contrastive estimation over a memory bank, value and gradient in one pass. Row n
 * of v (N, D) is to tell choice 0, its positive, from choices 1..k, its negatives, all rows of the
 * bank. With n_s samples of which the negatives are drawn, P_n = 1 / n_s,
 *
 *   s_nj = v_n . bank[choices[n,j]],  P_nj = exp(s_nj / T) / Z,  c = k P_n + 1e-7
 *   loss = 1/N sum_n [ log((P_n0 + c) / P_n0) + sum_j>0 log((P_nj + c) / (k P_n)) ]
 *   dloss/ds_n0 = -1/(N T) c / (P_n0 + c),  dloss/ds_nj = 1/(N T) P_nj / (P_nj + c)
 *   dv_n = sum_j dloss/ds_nj bank[choices[n,j]]
 *
 * summed over the choices, averaged over the rows. A choice outside the bank counts as nothing. Z,
 * a state, is a constant to the gradient: the mean of exp(s / T) over all rows and choices, times
 * n_s, of the first step; with a decay d it then moves, after its use in each step,
 *
 *   Z = d Z + (1 - d) n_s mean exp(s / T).
 *
 * The bank, a state too, is changed later in a step, and its rows before that change are what the
 * gradient is made of; so it is computed here, with the value, and only multiplied with dout when
 * backward asks for it. A row of the bank is read once in a step, and no (N, k, D) or (N, k) is
 * held. A bank beyond the device's largest binding is read in windows of rows, and where N rows are
 * too few for a device each falls into chunks of choices; the parts are summed in order.
 *
 * Tian, Krishnan, Isola, arXiv:1910.10699, section 3.2; Wu, Xiong, Yu, Lin, arXiv:1805.01978. */
#include <math.h>
#include <string.h>

#include "ops/row.h"

enum { ROWS, BANK, CHOICES, CONSTANT };
enum { GRADIENT_SPEC = 11, ONLY_SUMS_SPEC, SPAN_SPEC, QUADS_SPEC };
#define WIDEST 512u
#define LITTLE 1e-7 /* what the authors' code adds to denominators */

typedef struct nce_params {
    float temperature, decay;
    uint32_t samples;
} nce_params;

vkd_tensor vkd_bank_nce(vkd_graph *g, vkd_tensor v, vkd_tensor bank, vkd_tensor choices,
                        vkd_tensor constant, const vkd_bank_nce_desc *desc) {
    nce_params p = {.temperature = 0.07f};
    if (desc && desc->temperature != 0) p.temperature = desc->temperature;
    if (desc) p.decay = desc->decay;
    if (desc) p.samples = desc->samples;
    if (!p.samples && !g->status && bank.id) p.samples = vkd_tensor_shape(g, bank).dim[0];
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_bank_nce,
                                          .in_count = 4,
                                          .in = {v, bank, choices, constant},
                                          .writes = 1u << CONSTANT,
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    const nce_params *p = n->params;
    const vkd_shape v = vkd_tensor_shape(g, n->in[ROWS]), bank = vkd_tensor_shape(g, n->in[BANK]);
    const vkd_shape choices = vkd_tensor_shape(g, n->in[CHOICES]);
    if (!vkd__need_f32(g, n, ROWS) || !vkd__need_f32(g, n, BANK) || !vkd__need_f32(g, n, CONSTANT))
        return false;
    if (v.axes != 2 || bank.axes != 2 || v.dim[1] != bank.dim[1] || v.dim[1] % 4 ||
        v.dim[1] > WIDEST)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "rows (N, D) and a bank (V, D) are wanted, D a multiple of 4 up to "
                               "%u, not %s and %s",
                               WIDEST, vkd__shape_text(g, v), vkd__shape_text(g, bank));
    if (vkd_tensor_dtype(g, n->in[CHOICES]) != VKD_I32 || choices.axes != 2 ||
        choices.dim[0] != v.dim[0] || choices.dim[1] < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "the choices must be (%u, 1 + k) i32 with k > 0, not %s", v.dim[0],
                               vkd__shape_text(g, choices));
    if (vkd_shape_count(vkd_tensor_shape(g, n->in[CONSTANT])) != 1)
        return vkd__graph_fail(g, n, VKD_E_SHAPE, "the constant is one number, not %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[CONSTANT])));
    if (!(p->temperature > 0) || !(p->decay >= 0 && p->decay < 1))
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT,
                               "the temperature, %g, must be above 0 and the decay, %g, from 0 to "
                               "below 1",
                               (double)p->temperature, (double)p->decay);
    vkd__node_out(g, n, 0, VKD_F32, VKD_SCALAR);
    if (vkd__tensor_get(g, n->in[ROWS])->needs_grad) vkd__node_out(g, n, 1, VKD_F32, v);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    if (dout[0].id) din[ROWS] = vkd_mul(g, n->out[1], dout[0]);
}

/* ---- Launches ---- */

typedef struct work {
    uint32_t N, D, choices, splits, chunk, parts; /* parts: splits of all windows */
    vkd__rows bank;
    uint32_t sums, values, gradients; /* scratch; with one part the gradient goes to its place */
} work;

/* Chunks long enough for a workgroup to have work; as many as fill the device, and no part longer
 * than what a GPU computes in a fraction of a millisecond. */
static void split(const vkd_profile *p, work *w) {
    uint64_t splits = 1;
    if (p->fill_groups > 1) {
        splits = vkd__div_up(p->fill_groups, w->N);
        if (splits < w->choices / 512) splits = w->choices / 512;
        if (splits > w->choices / 64) splits = w->choices / 64;
    }
    w->chunk = (uint32_t)vkd__div_up(w->choices, splits ? splits : 1);
    w->splits = (uint32_t)vkd__div_up(w->choices, w->chunk);
}

static bool plan_work(vkd__lower *l, const vkd__node *n, work *w) {
    const vkd_shape v = vkd_tensor_shape(l->g, n->in[ROWS]);
    *w = (work){
        .N = v.dim[0], .D = v.dim[1], .choices = vkd_tensor_shape(l->g, n->in[CHOICES]).dim[1]};
    if (!vkd__rows_of(l, n->in[BANK], &w->bank)) return false;
    split(l->profile, w);
    w->parts = w->splits * (uint32_t)vkd__div_up(w->bank.rows, w->bank.rows_at_once);
    const uint64_t most = l->profile->max_binding / sizeof(float);
    if ((uint64_t)w->N * w->choices > most || (uint64_t)w->parts * w->N * w->D > most)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "%u rows of %u in %u parts, with %u choices each, exceed one "
                               "binding of %llu bytes on this device; use smaller batches",
                               w->N, w->D, w->parts, w->choices,
                               (unsigned long long)l->profile->max_binding);
    const uint64_t values = sizeof(float) * (uint64_t)w->parts * w->N;
    w->sums = vkd__scratch_add(l, values);
    w->values = vkd__scratch_add(l, values);
    if (n->out_count > 1 && w->parts > 1) w->gradients = vkd__scratch_add(l, values * w->D);
    return true;
}

static void set_sizes(vkd__lower *l, vkd__launch *launch, const work *w, bool direct) {
    const uint32_t quads = w->D / 4;
    const uint32_t workgroup = direct ? l->profile->subgroup : l->profile->row_workgroup;
    uint32_t span = 1;
    while (span < workgroup && span < quads)
        span *= 2;
    vkd__spec(launch, 0, workgroup);
    vkd__spec(launch, QUADS_SPEC, quads);
    if (!direct) {
        vkd__spec(launch, 3, workgroup);
        vkd__spec(launch, SPAN_SPEC, span);
    }
    vkd__grid(l, launch, (uint64_t)w->N * w->splits);
}

/* The choices into one window of the bank. */
static bool lower_window(vkd__lower *l, const vkd__node *n, const work *w, uint64_t first,
                         uint32_t part, bool only_sums) {
    const nce_params *p = n->params;
    const bool direct = vkd__direct(l, "bank_nce"), gradient = n->out_count > 1 && !only_sums;
    const uint64_t rows = vkd__rows_count(&w->bank, first);
    vkd__launch *launch = vkd__launch_add(l, direct ? "bank_nce.direct" : "bank_nce");
    if (!launch) return false;
    vkd__bind(launch, n->in[ROWS], VKD__READ);
    vkd__row_bind(launch, n->in[BANK], VKD__READ, first, rows, w->D);
    vkd__bind(launch, n->in[CHOICES], VKD__READ);
    vkd__bind(launch, n->in[CONSTANT], VKD__READ);
    vkd__bind_scratch(launch, w->sums, VKD__WRITE);
    vkd__bind_scratch(launch, w->values, VKD__WRITE);
    if (!gradient)
        vkd__bind_scratch(launch, w->values, VKD__WRITE); /* declared, not touched */
    else if (w->parts > 1)
        vkd__bind_scratch(launch, w->gradients, VKD__WRITE);
    else
        vkd__bind(launch, n->out[1], VKD__WRITE);
    set_sizes(l, launch, w, direct);
    vkd__spec(launch, GRADIENT_SPEC, gradient);
    vkd__spec(launch, ONLY_SUMS_SPEC, only_sums);
    const double noise = (w->choices - 1.0) / p->samples;
    const struct vkd_bank_nce_params push = {.N = w->N,
                                             .choices = w->choices,
                                             .first = (uint32_t)first,
                                             .rows = (uint32_t)rows,
                                             .splits = w->splits,
                                             .chunk = w->chunk,
                                             .part = part,
                                             .sharpness = 1 / p->temperature,
                                             .noise = (float)noise,
                                             .floor = (float)(noise + LITTLE),
                                             .share = 1.0f / (float)w->N};
    vkd__push(launch, &push, sizeof push);
    /* The pass for the constant alone is over at once in all steps but the first. */
    const double reads = only_sums ? 0 : (double)w->N * w->choices * w->D;
    vkd__cost(launch, (gradient ? 4 : 2) * reads, 4 * reads);
    return true;
}

static bool lower_windows(vkd__lower *l, const vkd__node *n, const work *w, bool only_sums) {
    uint32_t part = 0;
    for (uint64_t first = 0; first < w->bank.rows; first += w->bank.rows_at_once) {
        if (!lower_window(l, n, w, first, part, only_sums)) return false;
        part += w->splits;
    }
    return true;
}

static bool lower_constant(vkd__lower *l, const vkd__node *n, const work *w, float keep) {
    const nce_params *p = n->params;
    vkd__launch *launch = vkd__reduce_launch(l, "bank_constant");
    if (!launch) return false;
    vkd__bind_scratch(launch, w->sums, VKD__READ);
    vkd__bind(launch, n->in[CONSTANT], VKD__READ_WRITE);
    const struct vkd_bank_constant_params push = {
        w->parts * w->N, (float)p->samples / ((float)w->N * (float)w->choices), keep};
    vkd__push(launch, &push, sizeof push);
    vkd__cost(launch, (double)w->parts * w->N, 4.0 * w->parts * w->N);
    return true;
}

static bool lower_total(vkd__lower *l, const vkd__node *n, const work *w) {
    const uint32_t count = w->parts * w->N;
    vkd__launch *sum = vkd__row_launch(l, "loss_sum", 1, count);
    if (!sum) return false;
    vkd__bind_scratch(sum, w->values, VKD__READ);
    vkd__bind(sum, n->out[0], VKD__WRITE);
    vkd__push(sum, &(struct vkd_row_params){.N = 1, .V = count}, sizeof(struct vkd_row_params));
    vkd__cost(sum, count, 4.0 * count);
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const nce_params *p = n->params;
    work w;
    if (!plan_work(l, n, &w)) return false;
    if (!lower_windows(l, n, &w, true) || !lower_constant(l, n, &w, 0) ||
        !lower_windows(l, n, &w, false) || !lower_total(l, n, &w) ||
        (p->decay > 0 && !lower_constant(l, n, &w, p->decay)))
        return false;
    if (n->out_count == 1 || w.parts == 1) return true;
    return vkd__sum_scratch_rows(l, w.gradients, n->out[1], w.parts, (uint64_t)w.N * w.D);
}

/* ---- Reference ---- */

static double score_of(const vkd__ref *r, uint32_t n, uint32_t j, bool *there) {
    const uint32_t V = r->in[BANK].tensor->shape.dim[0], D = r->in[BANK].tensor->shape.dim[1];
    const uint32_t choices = r->in[CHOICES].tensor->shape.dim[1];
    const double i = r->in[CHOICES].v[(size_t)n * choices + j];
    *there = i >= 0 && i < V;
    double sum = 0;
    for (uint32_t d = 0; *there && d < D; d++)
        sum += r->in[ROWS].v[(size_t)n * D + d] * r->in[BANK].v[(size_t)i * D + d];
    return sum;
}

static double mean_of_scores(const vkd__ref *r, double temperature) {
    const vkd_shape choices = r->in[CHOICES].tensor->shape;
    double sum = 0;
    for (uint32_t n = 0; n < choices.dim[0]; n++)
        for (uint32_t j = 0; j < choices.dim[1]; j++) {
            bool there;
            const double score = score_of(r, n, j, &there);
            if (there) sum += exp(score / temperature);
        }
    return sum / ((double)choices.dim[0] * choices.dim[1]);
}

/* Row n's loss; its gradient, times unit, goes to dv where that is not NULL. */
static double row_loss(const vkd__ref *r, uint32_t n, double unit, double *dv) {
    const nce_params *p = r->node->params;
    const uint32_t choices = r->in[CHOICES].tensor->shape.dim[1];
    const uint32_t D = r->in[BANK].tensor->shape.dim[1];
    const double noise = (choices - 1.0) / p->samples, c = noise + LITTLE;
    const double T = (double)p->temperature;
    double loss = 0;
    for (uint32_t j = 0; j < choices; j++) {
        bool there;
        const double P = exp(score_of(r, n, j, &there) / T) / r->in[CONSTANT].v[0];
        if (!there) continue;
        loss -= j ? log(noise / (P + c)) : log(P / (P + c));
        const double slope = (j ? P : -c) / (P + c) / T;
        const double *row = r->in[BANK].v + (size_t)r->in[CHOICES].v[(size_t)n * choices + j] * D;
        for (uint32_t d = 0; dv && d < D; d++)
            dv[d] += unit * slope * row[d];
    }
    return loss;
}

static void reference(const vkd__ref *r) {
    const nce_params *p = r->node->params;
    const uint32_t N = r->in[ROWS].tensor->shape.dim[0], D = r->in[ROWS].tensor->shape.dim[1];
    double *dv = r->node->out_count > 1 ? r->out[1].v : NULL;
    const double now = p->samples * mean_of_scores(r, (double)p->temperature);
    if (r->in[CONSTANT].v[0] == 0 && isfinite(now)) r->in[CONSTANT].v[0] = now;
    if (dv) memset(dv, 0, (size_t)N * D * sizeof *dv);
    r->out[0].v[0] = 0;
    for (uint32_t n = 0; n < N; n++)
        r->out[0].v[0] += row_loss(r, n, 1.0 / N, dv ? dv + (size_t)n * D : NULL) / N;
    if (p->decay > 0 && isfinite(now))
        r->in[CONSTANT].v[0] =
            (double)p->decay * r->in[CONSTANT].v[0] + (1 - (double)p->decay) * now;
}

/* ---- Cases: rows, width, bank, choices ---- */

static const uint32_t sizes[][4] = {{1, 4, 1, 2},      {3, 8, 50, 9},    {5, 16, 300, 70},
                                    {64, 64, 100, 33}, {2, 128, 40, 65}, {7, 20, 33, 300},
                                    {4, 272, 10, 17},  {3, 8, 200, 20}};

/* The first ones have a constant and a gradient to hold against differences; those after them set
 * it or let it move, which differences would take for a part of the gradient: there dv is held
 * against the reference alone. */
static void build_case(vkd__case *c) {
    const uint32_t *s = sizes[c->index % VKD_COUNT(sizes)], round = c->index / VKD_COUNT(sizes);
    const double size = 1 / sqrt(s[1]);
    static const char *const whats[] = {"a constant that stays", "a constant that is set",
                                        "a constant that moves"};
    c->what = whats[round];
    const vkd_tensor v = vkd__case_f32(c, VKD_SHAPE(s[0], s[1]), -size, size);
    c->inputs[c->input_count - 1].differentiate = !round;
    const vkd_tensor bank = vkd__case_fixed(c, VKD_SHAPE(s[2], s[1]), -size, size);
    const vkd_tensor choices =
        vkd__case_i32(c, VKD_SHAPE(s[0], s[3]), round ? -1 : 0, (int32_t)s[2] + (round ? 1 : 0));
    const vkd_tensor constant =
        vkd__case_f32(c, VKD_SHAPE(1), round == 1 ? 0 : s[2], round == 1 ? 0 : 2.0 * s[2]);
    c->inputs[c->input_count - 1].differentiate = false;
    const vkd_bank_nce_desc desc = {
        .temperature = 0.2f, .decay = round == 2 ? 0.75f : 0, .samples = 2 * s[2]};
    const vkd_tensor loss = vkd_bank_nce(c->g, v, bank, choices, constant, &desc);
    vkd__case_output(c, loss);
    const vkd__node *node = vkd__producer(c->g, loss);
    if (round && node) vkd__case_output(c, node->out[1]);
    if (round) vkd__case_output(c, constant);
}

const vkd_op_def vkd_op_bank_nce = {
    .name = "bank_nce",
    .summary = "noise-contrastive loss over rows of a memory bank, with its gradient",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 3 * VKD_COUNT(sizes),
    .build_case = build_case,
};
