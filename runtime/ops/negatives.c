// SPDX-License-Identifier: Apache-2.0
/* negatives: for a row of a contrastive loss the sample itself and k samples of other classes.
 *
 *   y[n,0] = samples[n],  y[n,1+j] = table[skip_n(P_n,t(j mod m))]
 *
 * table holds all samples sorted by class, starts[c] where class c begins in it and starts[classes]
 * how many there are. m is the number of those that are not of class labels[n], skip_n takes
 * 0..m-1 to their places in the table, past those of the class, and P_n,t is a permutation of
 * 0..m-1 (base/shuffle.h) whose key is Philox at counter (n, step), key (seed, stream of name),
 * plus the turn t = j / m, rounded down. So the draws of a row are distinct while k <= m; with more
 * every other sample comes once before any comes again. They are functions of seed, name, step and
 * row: nothing needs to be kept from step to step. A label outside 0..classes-1 leaves all samples
 * to be drawn from; where there is none to draw, -1. */
#include "base/shuffle.h"
#include "ops/row.h"

enum { TABLE, STARTS, SAMPLES, LABELS, STEP };
#define CHUNK 16u

typedef struct negatives_params {
    uint32_t k, seed, stream;
} negatives_params;

vkd_tensor vkd_negatives(vkd_graph *g, vkd_tensor table, vkd_tensor starts, vkd_tensor samples,
                         vkd_tensor labels, uint32_t k, const char *name) {
    const negatives_params p = {k, g->seed, vkd__philox_stream(name)};
    return vkd__emit(g, &(vkd__emit_desc){.op = &vkd_op_negatives,
                                          .in_count = 5,
                                          .in = {table, starts, samples, labels, vkd_step(g)},
                                          .params = &p,
                                          .params_size = sizeof p});
}

static bool infer(vkd_graph *g, vkd__node *n) {
    static const char *const names[] = {"the table", "the starts", "the samples", "the labels"};
    const negatives_params *p = n->params;
    for (uint32_t i = 0; i <= LABELS; i++) {
        const vkd_shape shape = vkd_tensor_shape(g, n->in[i]);
        if (vkd_tensor_dtype(g, n->in[i]) != VKD_I32 || shape.axes != 1)
            return vkd__graph_fail(g, n, VKD_E_SHAPE, "%s must be one axis of i32, not %s",
                                   names[i], vkd__shape_text(g, shape));
    }
    const uint32_t N = vkd_tensor_shape(g, n->in[SAMPLES]).dim[0];
    if (vkd_tensor_shape(g, n->in[LABELS]).dim[0] != N ||
        vkd_tensor_shape(g, n->in[STARTS]).dim[0] < 2)
        return vkd__graph_fail(g, n, VKD_E_SHAPE,
                               "a label a sample, and the start of one class and the end are "
                               "wanted: samples %s, labels %s, starts %s",
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[SAMPLES])),
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[LABELS])),
                               vkd__shape_text(g, vkd_tensor_shape(g, n->in[STARTS])));
    if (!p->k || p->k >= 1u << 30)
        return vkd__graph_fail(g, n, VKD_E_ARGUMENT, "%u negatives a sample are not from 1 to 2^30",
                               p->k);
    vkd__node_out(g, n, 0, VKD_I32, VKD_SHAPE(N, p->k + 1));
    return true;
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const negatives_params *p = n->params;
    const uint64_t V = vkd_shape_count(vkd_tensor_shape(l->g, n->in[TABLE]));
    if (V > l->profile->max_binding / 4)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "%llu samples exceed one binding of %llu bytes on this device",
                               (unsigned long long)V, (unsigned long long)l->profile->max_binding);
    vkd__rows r;
    if (!vkd__rows_of(l, n->out[0], &r)) return false;
    for (uint64_t first = 0; first < r.rows; first += r.rows_at_once) {
        const uint64_t count = vkd__rows_count(&r, first);
        vkd__launch *launch = vkd__item_launch(l, "negatives", count * vkd__div_up(p->k, CHUNK));
        if (!launch) return false;
        vkd__bind(launch, n->in[TABLE], VKD__READ);
        vkd__bind(launch, n->in[STARTS], VKD__READ);
        vkd__row_bind(launch, n->in[SAMPLES], VKD__READ, first, count, 1);
        vkd__row_bind(launch, n->in[LABELS], VKD__READ, first, count, 1);
        vkd__bind(launch, n->in[STEP], VKD__READ);
        vkd__row_bind(launch, n->out[0], VKD__WRITE, first, count, r.length);
        const struct vkd_negatives_params push = {
            .N = (uint32_t)count,
            .k = p->k,
            .V = (uint32_t)V,
            .classes = vkd_tensor_shape(l->g, n->in[STARTS]).dim[0] - 1,
            .first = (uint32_t)first,
            .chunk = CHUNK,
            .seed = p->seed,
            .stream = p->stream,
        };
        vkd__push(launch, &push, sizeof push);
        vkd__cost(launch, 150.0 * (double)count * p->k, 8.0 * (double)count * p->k);
    }
    return true;
}

/* A place in the table as the kernel reads it: an int's bits, at most `all`. */
static uint32_t place(double start, uint32_t all) {
    return start >= 0 && start < all ? (uint32_t)start : all;
}

static void reference(const vkd__ref *r) {
    const negatives_params *p = r->node->params;
    const double *table = r->in[TABLE].v, *starts = r->in[STARTS].v;
    const uint32_t V = r->in[TABLE].tensor->shape.dim[0];
    const uint32_t classes = r->in[STARTS].tensor->shape.dim[0] - 1;
    const uint32_t all = place(starts[classes], V);
    for (uint32_t n = 0; n < r->in[SAMPLES].tensor->shape.dim[0]; n++) {
        const double label = r->in[LABELS].v[n];
        const bool known = label >= 0 && label < classes;
        const uint32_t begin = known ? place(starts[(size_t)label], all) : 0;
        const uint32_t end = known ? place(starts[(size_t)label + 1], all) : 0;
        const uint32_t own = end > begin ? end - begin : 0, m = all - own;
        double *row = r->out[0].v + (size_t)n * (p->k + 1);
        row[0] = r->in[SAMPLES].v[n];
        for (uint32_t j = 0; j < p->k; j++) {
            row[1 + j] = -1;
            if (!m) continue;
            vkd__philox key =
                vkd__philox_at(p->seed, p->stream, (uint32_t)(int32_t)r->in[STEP].v[0], n);
            for (int i = 0; i < 4; i++)
                key.v[i] += j / m;
            const uint32_t at = vkd__shuffle(key, m, j % m);
            row[1 + j] = table[at < begin ? at : at + own];
        }
    }
}

/* Samples, classes, rows, negatives. Starts are drawn too, so that some classes are empty; the last
 * one is the table's size, or in the last case 0: nothing to draw from. */
static const uint32_t sizes[][4] = {{1, 1, 2, 3},      {10, 2, 5, 4},    {40, 3, 7, 100},
                                    {300, 10, 33, 17}, {500, 4, 3, 400}, {7, 2, 4, 5}};

static void build_case(vkd__case *c) {
    const uint32_t *s = sizes[c->index];
    const bool nothing = c->index == VKD_COUNT(sizes) - 1;
    c->what = nothing ? "no samples to draw from" : "classes of all sizes";
    const vkd_tensor table = vkd__case_i32(c, VKD_SHAPE(s[0]), 0, 1000);
    const vkd_tensor starts = vkd__case_i32(c, VKD_SHAPE(s[1] + 1), 0, nothing ? 1 : (int32_t)s[0]);
    if (!nothing) vkd__case_special(c, s[0], s[1] + 1);
    const vkd_tensor samples = vkd__case_i32(c, VKD_SHAPE(s[2]), 0, 1000);
    const vkd_tensor labels = vkd__case_i32(c, VKD_SHAPE(s[2]), -1, (int32_t)s[1] + 1);
    vkd__case_output(c, vkd_negatives(c->g, table, starts, samples, labels, s[3], "draw"));
}

const vkd_op_def vkd_op_negatives = {
    .name = "negatives",
    .summary = "samples of other classes, drawn without replacement",
    .infer = infer,
    .lower = lower,
    .reference = reference,
    .case_count = VKD_COUNT(sizes),
    .build_case = build_case,
    .no_difference_test = "integers have no gradient",
};
