// SPDX-License-Identifier: Apache-2.0
/* Lowering of batchnorm and its gradient. Each walks x twice: once for sums over the rows of each
 * channel, which leave results of blocks of rows in scratch memory for a second launch to add up in
 * order, and once element by element. An invocation owns four channels of one block
 * (shaders/lib/columns.glsl). */
#include "ops/batchnorm.h"

/* How the rows are cut: into windows that fit into a binding, these into blocks. */
typedef struct cut {
    vkd__rows rows;
    uint32_t D, quads, workgroup;
    bool direct;
    bool shared;     /* a workgroup leaves one result, not each of its blocks */
    uint64_t blocks; /* of a window, at most */
} cut;

/* A CPU device's cores are filled by a few dozen workgroups, and a block's beginning costs as much
 * as a few rows; a GPU wants tens of thousands of invocations, and neighbours to read together. */
static cut cut_of(const vkd__lower *l, const vkd__rows *rows, const char *kernel, bool sums) {
    cut c = {.rows = *rows, .D = rows->length, .direct = vkd__direct(l, kernel)};
    c.quads = (uint32_t)vkd__div_up(c.D, 4);
    c.workgroup = l->profile->column_workgroup;
    const uint64_t items = c.direct ? 2048 : sums ? 65536 : 262144;
    c.blocks = vkd__div_up(items, c.quads);
    const uint64_t most = vkd__div_up(rows->rows_at_once, c.direct ? 32 : 8);
    if (c.blocks > most) c.blocks = most;
    if (!sums || c.direct) return c;
    c.workgroup = l->profile->row_workgroup;
    const uint32_t lines = c.workgroup / c.quads;
    c.shared = lines > 1 && c.workgroup % c.quads == 0;
    if (!c.shared && c.blocks > 1024) c.blocks = 1024;
    return c;
}

static struct vkd_batchnorm_params window_of(const cut *c, uint64_t count) {
    uint64_t blocks = c->blocks < count ? c->blocks : count;
    const uint64_t block = vkd__div_up(count, blocks);
    if (c->direct) blocks = vkd__div_up(count, block);
    return (struct vkd_batchnorm_params){.N = (uint32_t)count,
                                         .D = c->D,
                                         .blocks = (uint32_t)blocks,
                                         .lead = c->direct ? (uint32_t)block : 1,
                                         .span = (uint32_t)(c->direct ? block : count),
                                         .step = c->direct ? 1 : (uint32_t)blocks};
}

static uint64_t results_of(const cut *c, const struct vkd_batchnorm_params *p) {
    return c->shared ? vkd__div_up((uint64_t)p->blocks * c->quads, c->workgroup) : p->blocks;
}

/* Scratch memory for the results of all windows, `width` quads for each four channels; makes blocks
 * fewer where it would not fit into a binding. */
static bool add_scratch(vkd__lower *l, cut *c, uint32_t width, uint32_t *scratch) {
    const uint64_t windows = vkd__div_up(c->rows.rows, c->rows.rows_at_once);
    const uint64_t result = 16ull * width * c->quads,
                   most = l->profile->max_binding / result / windows;
    if (!most)
        return vkd__lower_fail(l, VKD_E_SHAPE,
                               "the sums of %u channels over %llu windows do not fit into a "
                               "binding of %llu bytes, the most on this device",
                               c->D, (unsigned long long)windows,
                               (unsigned long long)l->profile->max_binding);
    if (c->blocks > most) c->blocks = most;
    const struct vkd_batchnorm_params full = window_of(c, c->rows.rows_at_once);
    *scratch = vkd__scratch_add(l, windows * results_of(c, &full) * result);
    return true;
}

static vkd__launch *launch_columns(vkd__lower *l, const char *kernel, const cut *c,
                                   const struct vkd_batchnorm_params *p) {
    vkd__launch *launch = vkd__launch_add(l, vkd__variant(l, kernel));
    if (!launch) return NULL;
    vkd__spec(launch, 0, c->workgroup);
    vkd__spec(launch, 3, 1);
    vkd__spec(launch, 10, c->D % 4 == 0);
    vkd__push(launch, p, sizeof *p);
    vkd__grid(l, launch, vkd__div_up((uint64_t)p->blocks * c->quads, c->workgroup));
    return launch;
}

/* Rows first .. + count; {0} binds zeros. */
static void bind_rows(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t first,
                      uint64_t count, uint32_t D) {
    if (t.id)
        vkd__row_bind(launch, t, access, first, count, D);
    else
        vkd__bind(launch, t, access);
}

static vkd__launch *launch_results(vkd__lower *l, const char *kernel, const cut *c,
                                   uint64_t results, uint32_t scratch) {
    vkd__launch *launch = vkd__row_launch(l, kernel, c->quads, (uint32_t)(4 * results));
    if (launch) vkd__bind_scratch(launch, scratch, VKD__READ);
    return launch;
}

/* ---- Statistics ---- */

static bool lower_combine(vkd__lower *l, const vkd__node *n, const cut *c, uint64_t results,
                          uint32_t scratch) {
    const vkd__batchnorm *p = n->params;
    vkd__launch *launch = launch_results(l, "batchnorm_combine", c, results, scratch);
    if (!launch) return false;
    vkd__bind(launch, n->in[BN_RUNNING_MEAN], VKD__READ);
    vkd__bind(launch, n->in[BN_RUNNING_VAR], VKD__READ);
    vkd__bind(launch, n->out[BN_MEAN], VKD__WRITE);
    vkd__bind(launch, n->out[BN_RSTD], VKD__WRITE);
    vkd__bind(launch, n->in[BN_RUNNING_MEAN], VKD__READ_WRITE);
    vkd__bind(launch, n->in[BN_RUNNING_VAR], VKD__READ_WRITE);
    vkd__push(launch,
              &(struct vkd_batchnorm_combine_params){(uint32_t)results, c->D, (float)c->rows.rows,
                                                     p->eps, p->momentum},
              sizeof(struct vkd_batchnorm_combine_params));
    const double quads = (double)(results * c->quads);
    vkd__cost(launch, 30 * quads, 48 * quads);
    return true;
}

static bool lower_statistics(vkd__lower *l, const vkd__node *n, const vkd__rows *rows) {
    cut c = cut_of(l, rows, "batchnorm_stats", true);
    uint32_t scratch;
    if (!add_scratch(l, &c, 3, &scratch)) return false;
    uint64_t results = 0;
    for (uint64_t first = 0; first < rows->rows; first += rows->rows_at_once) {
        const uint64_t count = vkd__rows_count(rows, first);
        struct vkd_batchnorm_params p = window_of(&c, count);
        p.first = (uint32_t)results;
        vkd__launch *launch = launch_columns(l, "batchnorm_stats", &c, &p);
        if (!launch) return false;
        bind_rows(launch, n->in[BN_X], VKD__READ, first, count, c.D);
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
        vkd__spec(launch, 12, c.shared);
        vkd__cost(launch, 5.0 * (double)count * c.D, 4.0 * (double)count * c.D);
        results += results_of(&c, &p);
    }
    return lower_combine(l, n, &c, results, scratch);
}

/* ---- y ---- */

bool vkd__batchnorm_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__batchnorm *b = n->params;
    vkd__rows rows;
    if (!vkd__rows_of(l, n->in[BN_X], &rows)) return false;
    if (b->training && !lower_statistics(l, n, &rows)) return false;
    const cut c = cut_of(l, &rows, "batchnorm", false);
    for (uint64_t first = 0; first < rows.rows; first += rows.rows_at_once) {
        const uint64_t count = vkd__rows_count(&rows, first);
        struct vkd_batchnorm_params p = window_of(&c, count);
        p.eps = b->eps;
        vkd__launch *launch = launch_columns(l, "batchnorm", &c, &p);
        if (!launch) return false;
        bind_rows(launch, n->in[BN_X], VKD__READ, first, count, c.D);
        bind_rows(launch, n->in[BN_RESIDUAL], VKD__READ, first, count, c.D);
        vkd__bind(launch, n->in[BN_GAMMA], VKD__READ);
        vkd__bind(launch, n->in[BN_BETA], VKD__READ);
        vkd__bind(launch, b->training ? n->out[BN_MEAN] : n->in[BN_RUNNING_MEAN], VKD__READ);
        vkd__bind(launch, b->training ? n->out[BN_RSTD] : n->in[BN_RUNNING_VAR], VKD__READ);
        bind_rows(launch, n->out[BN_Y], VKD__WRITE, first, count, c.D);
        vkd__spec(launch, 11, b->activation);
        vkd__spec(launch, 13, n->in[BN_RESIDUAL].id != 0);
        vkd__spec(launch, 14, b->training);
        const double elements = (double)count * c.D;
        vkd__cost(launch, 4 * elements, (n->in[BN_RESIDUAL].id ? 12 : 8) * elements);
    }
    return true;
}

/* ---- Gradient ---- */

static void bind_channels(vkd__launch *launch, const vkd__node *n) {
    for (uint32_t i = BG_GAMMA; i <= BG_SPREAD; i++)
        vkd__bind(launch, n->in[i], VKD__READ);
}

static bool lower_sums(vkd__lower *l, const vkd__node *n, const vkd__rows *rows) {
    const vkd__batchnorm *b = n->params;
    cut c = cut_of(l, rows, "batchnorm_sums", true);
    uint32_t scratch;
    if (!add_scratch(l, &c, 2, &scratch)) return false;
    uint64_t results = 0;
    for (uint64_t first = 0; first < rows->rows; first += rows->rows_at_once) {
        const uint64_t count = vkd__rows_count(rows, first);
        struct vkd_batchnorm_params p = window_of(&c, count);
        p.first = (uint32_t)results;
        p.eps = b->eps;
        vkd__launch *launch = launch_columns(l, "batchnorm_sums", &c, &p);
        if (!launch) return false;
        bind_rows(launch, n->in[BG_DY], VKD__READ, first, count, c.D);
        bind_rows(launch, n->in[BG_X], VKD__READ, first, count, c.D);
        bind_rows(launch, n->in[BG_Y], VKD__READ, first, count, c.D);
        bind_channels(launch, n);
        vkd__bind_scratch(launch, scratch, VKD__WRITE);
        /* Without dz the kernel writes none, yet declares that it may: the results once more. */
        if (b->with_dz)
            bind_rows(launch, n->out[BG_DZ], VKD__WRITE, first, count, c.D);
        else
            vkd__bind_scratch(launch, scratch, VKD__WRITE);
        vkd__spec(launch, 11, b->activation);
        vkd__spec(launch, 12, c.shared);
        vkd__spec(launch, 13, n->in[BG_Y].id != 0);
        vkd__spec(launch, 14, b->training);
        vkd__spec(launch, 15, b->with_dz);
        const double elements = (double)count * c.D;
        vkd__cost(launch, 8 * elements,
                  (8 + 4 * (n->in[BG_Y].id != 0) + 4 * b->with_dz) * elements);
        results += results_of(&c, &p);
    }
    vkd__launch *launch = launch_results(l, "column_sum", &c, results, scratch);
    if (!launch) return false;
    vkd__bind(launch, n->out[BG_DGAMMA], VKD__WRITE);
    vkd__bind(launch, n->out[BG_DBETA], VKD__WRITE);
    vkd__push(launch, &(struct vkd_column_sum_params){(uint32_t)results, c.D},
              sizeof(struct vkd_column_sum_params));
    vkd__cost(launch, 8.0 * (double)(results * c.quads), 32.0 * (double)(results * c.quads));
    return true;
}

bool vkd__batchnorm_grad_lower(vkd__lower *l, const vkd__node *n) {
    const vkd__batchnorm *b = n->params;
    vkd__rows rows;
    if (!vkd__rows_of(l, n->in[BG_X], &rows) || !lower_sums(l, n, &rows)) return false;
    const cut c = cut_of(l, &rows, "batchnorm_grad", false);
    /* Where dz is stored by then, it is read in place of dy and y. */
    const vkd_tensor dy = b->with_dz ? n->out[BG_DZ] : n->in[BG_DY];
    const vkd_tensor y = b->with_dz ? (vkd_tensor){0} : n->in[BG_Y];
    for (uint64_t first = 0; first < rows.rows; first += rows.rows_at_once) {
        const uint64_t count = vkd__rows_count(&rows, first);
        struct vkd_batchnorm_params p = window_of(&c, count);
        p.eps = b->eps;
        p.share = 1.0f / (float)rows.rows;
        vkd__launch *launch = launch_columns(l, "batchnorm_grad", &c, &p);
        if (!launch) return false;
        bind_rows(launch, dy, VKD__READ, first, count, c.D);
        bind_rows(launch, n->in[BG_X], VKD__READ, first, count, c.D);
        bind_rows(launch, y, VKD__READ, first, count, c.D);
        bind_channels(launch, n);
        vkd__bind(launch, n->out[BG_DGAMMA], VKD__READ);
        vkd__bind(launch, n->out[BG_DBETA], VKD__READ);
        bind_rows(launch, n->out[BG_DX], VKD__WRITE, first, count, c.D);
        vkd__spec(launch, 11, b->with_dz ? VKD_ACT_NONE : b->activation);
        vkd__spec(launch, 13, y.id != 0);
        vkd__spec(launch, 14, b->training);
        const double elements = (double)count * c.D;
        vkd__cost(launch, 8 * elements, (12 + 4 * (y.id != 0)) * elements);
    }
    return true;
}
