// SPDX-License-Identifier: Apache-2.0
/* reduce: sum, mean or max over a run of neighbouring axes, which stay with size 1. The builders
 * take any set of axes apart into such runs, last run first, and reshape at the end. So every node
 * sees x as (outer, reduce, inner):
 *
 *   sum    y[o,i] = sum_k x[o,k,i]       dx[o,k,i] = dy[o,i]
 *   mean   y = sum / reduce              dx[o,k,i] = dy[o,i] / reduce
 *   max    y[o,i] = max_k x[o,k,i]       dx[o,k,i] = dy[o,i] where k is the first largest, else 0
 *
 * Over several runs the first largest of the first largest is the first of all in memory's order,
 * because the last run is reduced first.
 *
 * Long reductions are cut into chunks, whose results lie in scratch memory and are reduced by a
 * second launch: more invocations share the work, rounding errors grow less, and no binding is too
 * large. The cuts depend on shapes and profile alone, so that the same device gives the same bits.
 */
#include <math.h>

#include "ops/op.h"
#include "ops/row.h"

enum { SUM, MEAN, MAX };

typedef struct reduce_params {
    uint32_t kind, first, count; /* axes first .. first + count */
} reduce_params;

typedef struct extent {
    uint64_t outer, reduce, inner;
} extent;

static extent extent_of(vkd_shape x, const reduce_params *p) {
    extent e = {1, 1, 1};
    for (uint32_t k = 0; k < x.axes; k++) {
        if (k < p->first)
            e.outer *= x.dim[k];
        else if (k < p->first + p->count)
            e.reduce *= x.dim[k];
        else
            e.inner *= x.dim[k];
    }
    return e;
}

/* ---- Builders ---- */

/* Reduces the last run of axes that end below `below`: they are in the mask, or have size 1.
 * Returns where the run begins. */
static uint32_t reduce_run(vkd_graph *g, vkd_tensor *x, uint32_t kind, uint32_t mask,
                           uint32_t below) {
    const vkd_shape shape = vkd_tensor_shape(g, *x);
    uint32_t first = below, count = 1;
    while (first > 0 && (mask >> (first - 1) & 1 || shape.dim[first - 1] == 1))
        count *= shape.dim[--first];
    if (first == below) return below - 1; /* an axis that stays */
    const reduce_params p = {kind, first, below - first};
    if (count > 1) *x = vkd__emit1(g, &vkd_op_reduce, *x, &p, sizeof p);
    return first;
}

static vkd_tensor reduce(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep, uint32_t kind) {
    const reduce_params none = {.kind = kind};
    if (g->status || !x.id) return vkd__emit1(g, &vkd_op_reduce, x, &none, sizeof none);
    const vkd__tensor *t = vkd__tensor_get(g, x);
    const vkd_shape shape = t->shape;
    const uint32_t all = (1u << shape.axes) - 1u, mask = axes == VKD_ALL_AXES ? all : axes;
    if (mask & ~all) {
        vkd__graph_fail(g, NULL, VKD_E_ARGUMENT, "reduce('%s'): the axes 0x%x are not all in %s",
                        t->name, mask, vkd__shape_text(g, shape));
        return (vkd_tensor){0};
    }
    for (uint32_t below = shape.axes; below > 0 && !g->status;)
        below = reduce_run(g, &x, kind, mask, below);
    vkd_shape y = {.axes = 0};
    for (uint32_t k = 0; k < shape.axes; k++)
        if (keep || !(mask >> k & 1)) y.dim[y.axes++] = mask >> k & 1 ? 1 : shape.dim[k];
    return vkd_reshape(g, x, y);
}

vkd_tensor vkd_sum(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep) {
    return reduce(g, x, axes, keep, SUM);
}
vkd_tensor vkd_mean(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep) {
    return reduce(g, x, axes, keep, MEAN);
}
vkd_tensor vkd_max(vkd_graph *g, vkd_tensor x, uint32_t axes, bool keep) {
    return reduce(g, x, axes, keep, MAX);
}

/* ---- The op ---- */

static bool infer(vkd_graph *g, vkd__node *n) {
    const reduce_params *p = n->params;
    if (!vkd__all_f32(g, n)) return false;
    vkd_shape y = vkd_tensor_shape(g, n->in[0]);
    for (uint32_t k = 0; k < p->count; k++)
        y.dim[p->first + k] = 1;
    vkd__node_out(g, n, 0, VKD_F32, y);
    return true;
}

static void backward(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din) {
    const reduce_params *p = n->params;
    const vkd_shape x = vkd_tensor_shape(g, n->in[0]);
    if (p->kind == MAX) {
        const extent e = extent_of(x, p);
        din[0] =
            vkd__max_grad(g, dout[0], n->in[0], n->out[0], (uint32_t)e.reduce, (uint32_t)e.inner);
        return;
    }
    vkd_tensor dy = vkd__one_value(g, dout[0]);
    if (p->kind == MEAN) dy = vkd_scale(g, dy, 1.0f / (float)extent_of(x, p).reduce);
    din[0] = vkd__expand(g, dy, x);
}

/* ---- Lowering ---- */

/* One step from x to y: (outer, reduce, inner) to (outer, splits, inner). */
typedef struct step {
    vkd_tensor x, y; /* {0}: the scratch memory instead */
    uint32_t scratch;
    extent e;
    uint64_t chunk, splits;
    bool max;
    float scale;
} step;

static uint64_t clamp(uint64_t value, uint64_t low, uint64_t high) {
    return value < low ? low : value > high ? high : value;
}

/* Into how many chunks a reduction is cut. Rows are read by many lanes together, columns by one
 * lane each, which is what makes cutting columns worth it much sooner. On a CPU device a few
 * workgroups fill the cores and a second launch costs more than it saves. */
static uint64_t choose_splits(const vkd__lower *l, const extent *e) {
    const bool direct = l->profile->direct;
    const uint64_t most = l->profile->max_binding / sizeof(float) - 64; /* elements of a chunk */
    uint64_t splits = 1;
    if (e->inner == 1) {
        const bool few = e->outer < 512;
        if (e->reduce > (few ? 8192u : 65536u)) splits = clamp(e->reduce / 4096, 2, 1024);
    } else {
        const uint64_t items = e->outer * vkd__div_up(e->inner, 4), steps = direct ? 512 : 32;
        const uint64_t wanted = vkd__div_up(direct ? 256 : 4096, items);
        splits = clamp(e->reduce / steps, 1, clamp(wanted, vkd__div_up(e->reduce, 4096), 1024));
        if (!splits) splits = 1;
    }
    const uint64_t needed = e->reduce * e->inner <= most || most < e->inner
                                ? 1
                                : vkd__div_up(e->reduce, most / e->inner);
    return splits > needed ? splits : needed;
}

/* A part of a step: chunks first_chunk .. + chunks of outer rows first .. + rows. */
typedef struct window {
    uint64_t first, rows, first_chunk, chunks;
} window;

static void bind(vkd__lower *l, vkd__launch *launch, const step *s, bool out, uint64_t *offset,
                 uint64_t count) {
    const vkd_tensor t = out ? s->y : s->x;
    const vkd__access access = out ? VKD__WRITE : VKD__READ;
    if (!t.id) {
        vkd__bind_scratch(launch, s->scratch, access);
        return;
    }
    if (vkd_shape_count(vkd_tensor_shape(l->g, t)) * sizeof(float) <= l->profile->max_binding) {
        vkd__bind(launch, t, access);
        return;
    }
    const uint64_t first = *offset / 64 * 64;
    *offset -= first;
    vkd__bind_window(launch, t, access, first * sizeof(float), (*offset + count) * sizeof(float));
}

static bool launch_window(vkd__lower *l, const step *s, const window *w) {
    const extent *e = &s->e;
    const uint64_t rows = w->rows * w->chunks, skipped = w->first_chunk * s->chunk;
    const uint64_t reduce = e->reduce - skipped;
    const uint64_t taken = w->chunks * s->chunk < reduce ? w->chunks * s->chunk : reduce;
    uint64_t from = (w->first * e->reduce + skipped) * e->inner;
    uint64_t to = (w->first * s->splits + w->first_chunk) * e->inner;
    const bool column = e->inner > 1;
    vkd__launch *launch = column ? vkd__launch_add(l, vkd__variant(l, "reduce_column"))
                                 : vkd__row_launch(l, "reduce_row", rows, (uint32_t)s->chunk);
    if (!launch) return false;
    bind(l, launch, s, false, &from, ((w->rows - 1) * e->reduce + taken) * e->inner);
    bind(l, launch, s, true, &to, rows * e->inner);
    if (column) {
        vkd__spec(launch, 10, e->inner % 4 == 0); /* then so are all offsets */
        const uint32_t workgroup = l->profile->column_workgroup;
        vkd__spec(launch, 0, workgroup);
        vkd__grid(l, launch, vkd__div_up(rows * vkd__div_up(e->inner, 4), workgroup));
    }
    vkd__spec(launch, 11, s->max);
    const struct vkd_reduce_params push = {.rows = (vkd_u32)rows,
                                           .reduce = (vkd_u32)reduce,
                                           .inner = (vkd_u32)e->inner,
                                           .chunk = (vkd_u32)s->chunk,
                                           .splits = (vkd_u32)w->chunks,
                                           .offset_x = (vkd_u32)from,
                                           .offset_y = (vkd_u32)to,
                                           .scale = s->scale};
    vkd__push(launch, &push, sizeof push);
    const double elements = (double)(w->rows * taken * e->inner);
    vkd__cost(launch, elements, 4.0 * elements + 4.0 * (double)(rows * e->inner));
    return true;
}

/* All of a step, in as many windows as the device's largest binding asks for. */
static bool launch_step(vkd__lower *l, const step *s) {
    const extent *e = &s->e;
    const uint64_t most = l->profile->max_binding / sizeof(float), row = e->reduce * e->inner;
    uint64_t rows = e->outer, chunks = s->splits;
    if (e->outer * row > most) {
        rows = (most - 64) / row;
        if (!rows) chunks = (most - 64) / (s->chunk * e->inner);
        if (!rows) rows = 1;
    }
    if (!chunks)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "%llu elements behind the reduced axes are too many "
                               "for one binding of this device",
                               (unsigned long long)e->inner);
    for (uint64_t o = 0; o < e->outer; o += rows)
        for (uint64_t c = 0; c < s->splits; c += chunks) {
            const window w = {o, e->outer - o < rows ? e->outer - o : rows, c,
                              s->splits - c < chunks ? s->splits - c : chunks};
            if (!launch_window(l, s, &w)) return false;
        }
    return true;
}

static bool launch_steps(vkd__lower *l, step s) {
    const extent e = s.e;
    s.splits = choose_splits(l, &e);
    s.chunk = vkd__div_up(e.reduce, s.splits);
    if (s.splits > 1 && e.inner == 1) s.chunk = vkd__align_up(s.chunk, 4);
    s.splits = vkd__div_up(e.reduce, s.chunk); /* no chunk is empty */
    if (s.splits == 1) return launch_step(l, &s);
    step first = s;
    first.y = (vkd_tensor){0};
    first.scale = 1;
    first.scratch = vkd__scratch_add(l, e.outer * s.splits * e.inner * sizeof(float));
    s.x = (vkd_tensor){0};
    s.scratch = first.scratch;
    s.e.reduce = s.chunk = first.splits;
    s.splits = 1;
    return launch_step(l, &first) && launch_step(l, &s);
}

static bool lower(vkd__lower *l, const vkd__node *n) {
    const reduce_params *p = n->params;
    const extent e = extent_of(vkd_tensor_shape(l->g, n->in[0]), p);
    const float scale = p->kind == MEAN ? 1.0f / (float)e.reduce : 1.0f;
    return launch_steps(
        l, (step){.x = n->in[0], .y = n->out[0], .e = e, .max = p->kind == MAX, .scale = scale});
}

bool vkd__sum_rows(vkd__lower *l, vkd_tensor x, vkd_tensor y, uint64_t rows, uint64_t columns) {
    return launch_steps(l, (step){.x = x, .y = y, .e = {1, rows, columns}, .scale = 1});
}

bool vkd__sum_scratch_rows(vkd__lower *l, uint32_t x, vkd_tensor y, uint64_t rows,
                           uint64_t columns) {
    return launch_step(
        l,
        &(step){
            .scratch = x, .y = y, .e = {1, rows, columns}, .splits = 1, .chunk = rows, .scale = 1});
}

static void reference(const vkd__ref *r) {
    const reduce_params *p = r->node->params;
    const extent e = extent_of(r->in[0].tensor->shape, p);
    for (uint64_t o = 0; o < e.outer; o++)
        for (uint64_t i = 0; i < e.inner; i++) {
            double total = p->kind == MAX ? -INFINITY : 0;
            for (uint64_t k = 0; k < e.reduce; k++) {
                const double v = r->in[0].v[(o * e.reduce + k) * e.inner + i];
                if (p->kind != MAX)
                    total += v;
                else if (v > total || isnan(v))
                    total = v;
            }
            r->out[0].v[o * e.inner + i] = p->kind == MEAN ? total / (double)e.reduce : total;
        }
}

static void build_case(vkd__case *c) {
    static const struct {
        vkd_shape shape;
        uint32_t axes;
        bool keep;
    } cases[] = {
        {{1, {1000}}, 1, false},
        {{2, {33, 31}}, 2, true},
        {{2, {9, 129}}, 2, false},
        {{2, {129, 12}}, 1, false},
        {{2, {127, 33}}, 1, true},
        {{3, {5, 7, 9}}, 5, false},          /* two runs */
        {{5, {2, 3, 1, 5, 2}}, 2 + 8, true}, /* two runs around an axis of size 1 */
        {{4, {3, 2, 31, 4}}, 4, false},
        {{1, {20001}}, VKD_ALL_AXES, false}, /* in two launches */
        {{2, {2, 9001}}, 2, false},
        {{2, {2050, 6}}, 1, false},
        {{2, {4, 1}}, 2, false}, /* nothing to do */
    };
    const uint32_t kind = c->index % 3, which = c->index / 3;
    const vkd_tensor x = vkd__case_f32(c, cases[which].shape, -1, 1);
    vkd__case_output(c, reduce(c->g, x, cases[which].axes, cases[which].keep, kind));
}

const vkd_op_def vkd_op_reduce = {
    .name = "reduce",
    .summary = "sum, mean or max over axes",
    .infer = infer,
    .backward = backward,
    .lower = lower,
    .reference = reference,
    .case_count = 3 * 12,
    .build_case = build_case,
};
