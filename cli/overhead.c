// SPDX-License-Identifier: Apache-2.0
#include "cli/overhead.h"

#include <stdlib.h>

#include "base/platform.h"
#include "gpu/report.h"

enum { LAUNCHES = 20, RUNS = 201, WARM_UP = 20 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v) {
    qsort(v, RUNS, sizeof *v, by_value);
    return v[RUNS / 2];
}

/* Each waits for the step before, so that nothing stands in a queue. The two take turns, so that
 * whatever else the machine does meets both. */
static vkd_result measure(vkd_ctx *ctx, vkd_device *device, vkd_program *program,
                          cli_overhead *out) {
    double *submit = vkd__alloc(ctx, RUNS, sizeof *submit);
    double *empty = vkd__alloc(ctx, RUNS, sizeof *empty);
    vkd_result r = submit && empty ? VKD_OK : VKD_E_MEMORY;
    for (int i = -WARM_UP; i < RUNS && !r; i++) {
        uint64_t ticket = 0;
        double nothing = 0;
        const double start = vkd__seconds();
        r = vkd_program_submit(program, &ticket);
        const double step = vkd__seconds() - start;
        if (!r) r = vkd_program_wait(program, ticket);
        if (!r) r = vkd__device_submit_empty(device, &nothing);
        if (i < 0) continue;
        submit[i] = step;
        empty[i] = nothing;
    }
    if (!r) {
        out->submit = median(submit);
        out->empty = median(empty);
    }
    vkd__free(ctx, submit);
    vkd__free(ctx, empty);
    return r;
}

/* A chain, so that every launch waits for the one before it, as in training. */
static void build(vkd_graph *g) {
    vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(256));
    for (int i = 0; i < LAUNCHES; i++)
        x = vkd_tanh(g, x);
    vkd_output(g, "y", x);
}

vkd_result cli_overhead_measure(vkd_ctx *ctx, vkd_device *device, cli_overhead *out) {
    vkd_store *store = NULL;
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_program *program = NULL;
    *out = (cli_overhead){0};
    vkd_result r = vkd_store_create(ctx, &store);
    if (!r) r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "overhead"}, &g);
    if (!r) {
        build(g);
        r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    }
    if (!r) out->launches = vkd_plan_get_info(plan).launches;
    if (!r) r = vkd_program_create(device, plan, &program);
    if (!r) r = measure(ctx, device, program, out);
    vkd_program_destroy(program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    vkd_store_destroy(store);
    return r;
}
