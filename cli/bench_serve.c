// SPDX-License-Identifier: Apache-2.0
/* The other half is tests/peers/run. One line in is one line out:
 *
 *     ROW 0        make this row ready; answers what the device gives at best, measured now
 *     ROW STEPS    so many steps back to back; answers the seconds of one, by the host's clock
 *
 * A row stays ready until another one is named, so that its turns pay for no pipeline. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/platform.h"
#include "check/ceiling.h"
#include "cli/bench.h"

/* A row's program. */
typedef struct ready {
    const bench_row *row; /* NULL: none */
    vkd_store *store;
    vkd_program *program;
} ready;

static void ready_term(ready *p) {
    vkd_program_destroy(p->program);
    vkd_store_destroy(p->store);
    *p = (ready){0};
}

/* As many steps under way as a training loop has. */
static vkd_result run_steps(vkd_program *program, uint32_t steps, double *seconds) {
    uint64_t ticket = 0;
    vkd_result r = VKD_OK;
    const double start = vkd__seconds();
    for (uint32_t i = 0; i < steps && !r; i++)
        r = vkd_program_submit(program, &ticket);
    if (!r) r = vkd_program_wait(program, ticket);
    *seconds = (vkd__seconds() - start) / steps;
    return r;
}

static vkd_result ready_init(vkd_ctx *ctx, vkd_device *device, const bench_row *row, ready *p) {
    vkd_graph *g = NULL;
    vkd_plan *plan = NULL;
    double unused = 0;
    vkd_result r = bench_graph(ctx, row, &p->store, &g);
    if (!r) r = vkd_plan_create(g, vkd_device_profile(device), &plan);
    if (!r) r = vkd_program_create(device, plan, &p->program);
    if (!r) r = run_steps(p->program, 3, &unused); /* drivers compile at the first launch */
    vkd_plan_destroy(plan);
    vkd_graph_destroy(g);
    if (r)
        ready_term(p);
    else
        p->row = row;
    return r;
}

static vkd_result print_line(vkd_ctx *ctx, json_t *line) {
    const bool ok = line && json_dumpf(line, stdout, JSON_COMPACT) == 0 && putchar('\n') != EOF &&
                    fflush(stdout) == 0;
    json_decref(line);
    return ok ? VKD_OK : vkd__fail(ctx, VKD_E_FILE, "cannot write to standard output");
}

static vkd_result introduce(vkd_ctx *ctx, vkd_device *device, const char *only) {
    json_t *rows = json_array();
    for (size_t i = 0; i < bench_row_count; i++) {
        const bench_row *r = &bench_rows[i];
        if (!bench_wants(r, only)) continue;
        json_t *teacher = json_array(), *student = json_array();
        for (const uint32_t *w = r->teacher; w && *w; w++)
            json_array_append_new(teacher, json_integer(*w));
        for (const uint32_t *w = r->student; w && *w; w++)
            json_array_append_new(student, json_integer(*w));
        json_array_append_new(
            rows,
            json_pack("{s:i, s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:b, s:f, s:f,"
                      " s:o, s:o}",
                      "row", (int)i, "name", r->name, "work", r->work, "m", (int)r->m, "n",
                      (int)r->n, "k", (int)r->k, "size", (int)r->size, "stride", (int)r->stride,
                      "kernel", (int)r->kernel, "groups", (int)r->groups, "dilation",
                      (int)r->dilation, "batch", (int)r->batch, "multiplies",
                      (int)bench_multiplies(r), "flops", r->flops, "bytes", r->bytes, "teacher",
                      teacher, "student", student));
    }
    json_t *all = bench_describe(ctx, device);
    json_object_set_new(all, "rows", rows);
    return print_line(ctx, all);
}

/* Measured when the row is, because a shared machine is not equally fast all the time. */
static vkd_result print_ceiling(vkd_ctx *ctx, vkd_device *device, const bench_row *row) {
    double gflops = 0, gbytes = 0;
    vkd_result r = vkd__ceiling_flops(ctx, device, &gflops);
    if (!r) r = vkd__ceiling_copy(ctx, device, (uint64_t)row->bytes, &gbytes);
    return r ? r
             : print_line(ctx, json_pack("{s:f, s:f}", "ceiling_gflops", gflops, "ceiling_gbytes",
                                         gbytes));
}

static vkd_result answer(vkd_ctx *ctx, vkd_device *device, const char *line, ready *p) {
    char *end = NULL;
    const unsigned long index = strtoul(line, &end, 10);
    const char *second = end;
    const unsigned long steps = strtoul(second, &end, 10);
    if (end == second || *end != '\n' || index >= bench_row_count || steps > 1000000)
        return vkd__fail(ctx, VKD_E_ARGUMENT,
                         "bench --serve: '%.*s' must be a row below %zu and a number of steps",
                         (int)strcspn(line, "\n"), line, bench_row_count);
    vkd_result r = VKD_OK;
    if (p->row != &bench_rows[index]) {
        ready_term(p);
        r = ready_init(ctx, device, &bench_rows[index], p);
    }
    if (!r && !steps) return print_ceiling(ctx, device, p->row);
    double seconds = 0;
    if (!r) r = run_steps(p->program, (uint32_t)steps, &seconds);
    return r ? r : print_line(ctx, json_pack("{s:f}", "seconds", seconds));
}

vkd_result bench_serve(vkd_ctx *ctx, vkd_device *device, const char *only) {
    ready p = {0};
    char line[64];
    vkd_result r = introduce(ctx, device, only);
    while (!r && fgets(line, sizeof line, stdin))
        r = answer(ctx, device, line, &p);
    ready_term(&p);
    return r;
}
