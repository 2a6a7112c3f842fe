// SPDX-License-Identifier: Apache-2.0
#include "check/ceiling.h"

#include <stdlib.h>
#include <string.h>

#include "ops/op.h"

/* ---- One measurement ---- */

static double seconds_so_far(const vkd_program *p, const char *kernel, vkd_profile_row *rows,
                             uint32_t count) {
    double sum = 0;
    count = vkd_program_profile_rows(p, rows, count);
    for (uint32_t i = 0; i < count; i++)
        if (!kernel || !strncmp(rows[i].kernel, kernel, strlen(kernel))) sum += rows[i].seconds;
    return sum;
}

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static vkd_result run_steps(vkd_ctx *ctx, vkd_program *p, const char *kernel, uint32_t runs,
                            double *median) {
    const uint32_t launches = vkd_program_profile_rows(p, NULL, 0);
    vkd_profile_row *rows = vkd__alloc(ctx, launches, sizeof *rows);
    double *seconds = vkd__alloc(ctx, runs + 1, sizeof *seconds);
    vkd_result r = rows && seconds ? VKD_OK : VKD_E_MEMORY;
    double before = 0;
    for (uint32_t i = 0; !r && i <= runs; i++) {
        uint64_t ticket = 0;
        r = vkd_program_submit(p, &ticket);
        if (!r) r = vkd_program_wait(p, ticket);
        if (r) break;
        const double now = seconds_so_far(p, kernel, rows, launches);
        seconds[i] = now - before;
        before = now;
    }
    if (!r) {
        qsort(seconds + 1, runs, sizeof *seconds, by_value); /* the first step warmed up */
        *median = seconds[1 + runs / 2];
    }
    vkd__free(ctx, rows);
    vkd__free(ctx, seconds);
    return r;
}

vkd_result vkd__measure(vkd_ctx *ctx, vkd_device *device, vkd_graph *g, const char *kernel,
                        uint32_t runs, double *seconds) {
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    vkd_result r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    if (!r) r = vkd_program_create(device, plan, &program);
    if (!r) r = vkd_program_profile(program, true);
    if (!r) r = run_steps(ctx, program, kernel, runs, seconds);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    return r;
}

/* ---- The two probes, as graphs of one node ---- */

typedef struct probe {
    uint32_t invocations, turns;
} probe;

static bool infer(vkd_graph *g, vkd__node *n) {
    const probe *p = n->params;
    const uint32_t each = n->in_count ? 16 : 4; /* floats that an invocation writes */
    vkd__node_out(g, n, 0, VKD_F32, VKD_SHAPE(p->invocations * each));
    return true;
}

static bool lower_flops(vkd__lower *l, const vkd__node *n) {
    const probe *p = n->params;
    vkd__launch *launch = vkd__launch_add(l, "ceiling_flops");
    if (!launch) return false;
    vkd__bind(launch, n->out[0], VKD__WRITE);
    /* Values stay finite and normal: a fixed point near 1. */
    vkd__push(launch, &(struct vkd_ceiling_params){p->turns, 0.999f, 0.001f},
              sizeof(struct vkd_ceiling_params));
    vkd__grid(l, launch, p->invocations / l->profile->flat_workgroup);
    vkd__cost(launch, 16.0 * 3 * 4 * 2 * p->turns * p->invocations, 16.0 * p->invocations);
    return true;
}

static bool lower_copy(vkd__lower *l, const vkd__node *n) {
    const probe *p = n->params;
    vkd__launch *launch = vkd__launch_add(l, vkd__variant(l, "ceiling_copy"));
    if (!launch) return false;
    vkd__bind(launch, n->in[0], VKD__READ);
    vkd__bind(launch, n->out[0], VKD__WRITE);
    vkd__grid(l, launch, p->invocations / l->profile->flat_workgroup);
    vkd__cost(launch, 0, 128.0 * p->invocations);
    return true;
}

static void reference(const vkd__ref *r) {
    (void)r; /* measured for its time alone; no test compares its values */
}

static const vkd_op_def op_flops = {
    .name = "ceiling_flops",
    .summary = "multiply-adds without memory",
    .infer = infer,
    .lower = lower_flops,
    .reference = reference,
};

static const vkd_op_def op_copy = {
    .name = "ceiling_copy",
    .summary = "a copy without arithmetic",
    .infer = infer,
    .lower = lower_copy,
    .reference = reference,
};

double vkd__ceiling_flops_graph(vkd_graph *g, bool cpu) {
    const probe p = {cpu ? 16384u : 1u << 20, cpu ? 64 : 256};
    const vkd_tensor y =
        vkd__emit(g, &(vkd__emit_desc){.op = &op_flops, .params = &p, .params_size = sizeof p});
    vkd_output(g, "y", vkd_slice(g, y, 0, 0, 1));
    return 16.0 * 3 * 4 * 2 * p.turns * p.invocations;
}

double vkd__ceiling_copy_graph(vkd_graph *g, uint64_t bytes) {
    /* Beyond 64 MiB each way no cache holds it any more, and every device can bind that. */
    const uint64_t most = 128u << 20;
    if (bytes > most) bytes = most;
    /* 128 bytes an invocation; whole workgroups of any size a profile has. */
    const probe p = {.invocations = (uint32_t)vkd__align_up(vkd__div_up(bytes, 128), 512)};
    const vkd_tensor x = vkd_state(g, "x", VKD_F32, VKD_SHAPE(p.invocations * 16));
    const vkd_tensor y = vkd__emit(
        g, &(vkd__emit_desc){
               .op = &op_copy, .in_count = 1, .in = {x}, .params = &p, .params_size = sizeof p});
    vkd_output(g, "y", vkd_slice(g, y, 0, 0, 1));
    return 128.0 * p.invocations;
}

static vkd_result measure_flops(vkd_ctx *ctx, vkd_device *device, vkd_graph *g, uint64_t bytes,
                                double *gflops) {
    (void)bytes;
    const double work = vkd__ceiling_flops_graph(g, vkd_device_profile(device)->direct);
    double seconds = 0;
    const vkd_result r = vkd__measure(ctx, device, g, "ceiling_flops", 5, &seconds);
    if (!r) *gflops = work / seconds / 1e9;
    return r;
}

static vkd_result measure_copy(vkd_ctx *ctx, vkd_device *device, vkd_graph *g, uint64_t bytes,
                               double *gbytes) {
    const double work = vkd__ceiling_copy_graph(g, bytes);
    double seconds = 0;
    const vkd_result r = vkd__measure(ctx, device, g, "ceiling_copy", 5, &seconds);
    if (!r) *gbytes = work / seconds / 1e9;
    return r;
}

typedef vkd_result (*measurement)(vkd_ctx *, vkd_device *, vkd_graph *, uint64_t bytes, double *);

static vkd_result with_graph(vkd_ctx *ctx, vkd_device *device, measurement measure, uint64_t bytes,
                             double *out) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "ceiling"}, &g);
    if (!r) r = measure(ctx, device, g, bytes, out);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}

vkd_result vkd__ceiling_flops(vkd_ctx *ctx, vkd_device *device, double *gflops) {
    return with_graph(ctx, device, measure_flops, 0, gflops);
}

vkd_result vkd__ceiling_copy(vkd_ctx *ctx, vkd_device *device, uint64_t bytes, double *gbytes) {
    return with_graph(ctx, device, measure_copy, bytes, gbytes);
}
