// SPDX-License-Identifier: Apache-2.0
#include "cli/overhead.h"

#include <stdlib.h>

#include "base/platform.h"
#include "gpu/report.h"

enum { LAUNCHES = 20, RUNS = 201, WARM_UP = 20, STEP_RUNS = 15, STEP_WARM_UP = 5 };

static int by_value(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *v, size_t count) {
    qsort(v, count, sizeof *v, by_value);
    return v[count / 2];
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
        out->submit = median(submit, RUNS);
        out->empty = median(empty, RUNS);
    }
    vkd__free(ctx, submit);
    vkd__free(ctx, empty);
    return r;
}

/* A chain, so that every launch waits for the one before it, as in training. */
static void build(vkd_graph *g, uint32_t launches) {
    vkd_tensor x = vkd_input(g, "x", VKD_F32, VKD_SHAPE(256));
    for (uint32_t i = 0; i < launches; i++)
        x = vkd_tanh(g, x);
    vkd_output(g, "y", x);
}

/* A whole step, submitted and waited for: what a launch costs must not depend on how many are in
 * one command buffer. */
static vkd_result measure_step(vkd_program *program, uint32_t launches, double *seconds) {
    double times[STEP_RUNS];
    vkd_result r = VKD_OK;
    for (int i = -STEP_WARM_UP; i < STEP_RUNS && !r; i++) {
        uint64_t ticket = 0;
        const double start = vkd__seconds();
        r = vkd_program_submit(program, &ticket);
        if (!r) r = vkd_program_wait(program, ticket);
        if (i >= 0) times[i] = vkd__seconds() - start;
    }
    if (!r) *seconds = median(times, STEP_RUNS) / launches;
    return r;
}

static vkd_result make_program(vkd_ctx *ctx, vkd_device *device, vkd_store *store,
                               uint32_t launches, vkd_program **out) {
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd_graph_create(ctx, store, &(vkd_graph_desc){.name = "overhead"}, &g);
    if (!r) {
        build(g, launches);
        r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    }
    if (!r) r = vkd_program_create(device, plan, out);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    return r;
}

vkd_result cli_overhead_measure(vkd_ctx *ctx, vkd_device *device, cli_overhead *out) {
    static const uint32_t steps[CLI_OVERHEAD_STEPS] = {LAUNCHES, 100, 1000};
    *out = (cli_overhead){.launches = LAUNCHES};
    vkd_store *store = NULL;
    vkd_result r = vkd_store_create(ctx, &store);
    for (int i = 0; i < CLI_OVERHEAD_STEPS && !r; i++) {
        vkd_program *program = NULL;
        out->step_launches[i] = steps[i];
        r = make_program(ctx, device, store, steps[i], &program);
        if (!r && !i) r = measure(ctx, device, program, out);
        if (!r) r = measure_step(program, steps[i], &out->step_launch[i]);
        vkd_program_destroy(program);
    }
    vkd_store_destroy(store);
    return r;
}

void cli_overhead_print(const cli_overhead *o, FILE *to) {
    fprintf(to, "launches: ");
    for (int i = 0; i < CLI_OVERHEAD_STEPS; i++)
        fprintf(to, "%s%.1f us each in a step of %u", i ? ", " : "", 1e6 * o->step_launch[i],
                (unsigned)o->step_launches[i]);
    fprintf(to, "\n");
}
