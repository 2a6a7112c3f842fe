// SPDX-License-Identifier: Apache-2.0
#include <stdio.h>
#include <string.h>

#include "base/platform.h"
#include "check/race.h"
#include "check/tune.h"
#include "graph/plan.h"

/* One candidate: its sizes, and the recorded program once it has entered the race. */
typedef struct runner {
    vkd_profile profile;
    vkd_program *program;
} runner;

typedef struct contest {
    vkd_ctx *ctx;
    vkd_device *device;
    vkd_graph *graph;
    const char *kernel;
    vkd__race race;
    runner runner[VKD__MAX_CANDIDATES + 1];
} contest;

/* Every distinct choice of the knob, the one that stands first. */
static uint32_t line_up(const vkd__knob *knob, const vkd_profile *p, runner *out) {
    uint32_t count = 1;
    char text[VKD__SIZE_TEXT], other[VKD__SIZE_TEXT];
    out[0].profile = *p;
    knob->text(p, text);
    for (uint32_t i = 0; i < knob->count && count <= VKD__MAX_CANDIDATES; i++) {
        vkd_profile next = *p;
        if (!knob->set(&next, i)) continue;
        knob->text(&next, other);
        if (!strcmp(text, other)) continue;
        out[count++].profile = next;
    }
    return count;
}

static vkd_result kernel_seconds(const contest *c, const vkd_program *p, double *out) {
    vkd_profile_row few[16], *rows = few;
    const uint32_t count = vkd_program_profile_rows(p, NULL, 0);
    if (count > VKD_COUNT(few) && !(rows = vkd__alloc(c->ctx, count, sizeof *rows)))
        return VKD_E_MEMORY;
    vkd_program_profile_rows(p, rows, count);
    *out = 0;
    for (uint32_t i = 0; i < count; i++)
        if (!strncmp(rows[i].kernel, c->kernel, strlen(c->kernel))) *out += rows[i].seconds;
    if (rows != few) vkd__free(c->ctx, rows);
    return VKD_OK;
}

/* Seconds of one step, the mean of so many, by the device's clock. */
static vkd_result sample(const contest *c, vkd_program *p, uint32_t steps, double *seconds) {
    double before = 0, after = 0;
    vkd_result r = kernel_seconds(c, p, &before);
    for (uint32_t i = 0; !r && i < steps; i++) {
        uint64_t ticket = 0;
        r = vkd_program_submit(p, &ticket);
        if (!r) r = vkd_program_wait(p, ticket);
    }
    if (!r) r = kernel_seconds(c, p, &after);
    *seconds = (after - before) / steps;
    return r;
}

/* The first step is where drivers compile, and caches are cold. */
static vkd_result enter(contest *c, runner *who) {
    vkd_plan *plan = NULL;
    double cold = 0;
    vkd_result r = vkd_plan_create(c->graph, &who->profile, &plan);
    if (!r) r = vkd_program_create(c->device, plan, &who->program);
    vkd_plan_destroy(plan);
    if (!r) r = vkd_program_profile(who->program, true);
    if (!r) r = sample(c, who->program, 1, &cold);
    return r;
}

/* Samples below a millisecond are mostly the clock's own noise. */
static uint32_t steps_for(double seconds) {
    const double steps = seconds > 0 ? 1e-3 / seconds : 1;
    return steps > 8 ? 8 : steps < 1 ? 1 : (uint32_t)steps;
}

static vkd_result hold(contest *c, double budget) {
    const double end = vkd__seconds() + budget;
    for (;;) {
        const double start = vkd__seconds();
        const uint32_t i = vkd__race_next(&c->race, end - start);
        if (i == VKD__RACE_OVER) return VKD_OK;
        double seconds = 0;
        vkd_result r = c->runner[i].program ? VKD_OK : enter(c, &c->runner[i]);
        /* On a slow device the first step alone may have taken all there is. */
        if (!r && vkd__seconds() >= end) return VKD_OK;
        if (!r) r = sample(c, c->runner[i].program, c->race.steps, &seconds);
        if (r && i && r != VKD_E_DEVICE_LOST && r != VKD_E_MEMORY) {
            /* A candidate that a driver refuses is not one; that the table's runs is another's
             * concern. */
            vkd__race_drop(&c->race, i);
            continue;
        }
        if (r) return r;
        vkd__race_add(&c->race, i, seconds, vkd__seconds() - start);
        if (!i && c->race.runner[0].samples == 1) c->race.steps = steps_for(seconds);
    }
}

static void report(const contest *c, const vkd__knob *knob, vkd_profile *p, vkd__tuned *out) {
    const uint32_t winner = vkd__race_winner(&c->race);
    snprintf(out->name, sizeof out->name, "%s", knob->name);
    knob->text(p, out->table);
    *p = c->runner[winner].profile;
    knob->text(p, out->chosen);
    out->table_ns = (uint64_t)(1e9 * vkd__race_median(&c->race, 0) + 0.5);
    out->chosen_ns = (uint64_t)(1e9 * vkd__race_median(&c->race, winner) + 0.5);
    out->tried = c->race.entered;
    out->candidates = c->race.count;
}

static vkd_result with_store(contest *c, const vkd__knob *knob, bool full, double budget) {
    vkd_store *store = NULL;
    vkd_result r = vkd_store_create(c->ctx, &store);
    if (!r) r = vkd_graph_create(c->ctx, store, &(vkd_graph_desc){.name = knob->name}, &c->graph);
    if (!r && vkd__tune_build(c->graph, &c->runner[0].profile, knob->name, full, &c->kernel))
        r = hold(c, budget);
    for (uint32_t i = 0; i < c->race.count; i++)
        vkd_program_destroy(c->runner[i].program);
    vkd_graph_destroy(c->graph);
    vkd_store_destroy(store);
    return r;
}

vkd_result vkd__tune_knob(vkd_device *device, const vkd__knob *knob, bool full, double budget,
                          vkd_profile *p, vkd__tuned *out) {
    vkd_ctx *ctx = vkd__device_ctx(device);
    contest *c = vkd__alloc(ctx, 1, sizeof *c);
    if (!c) return VKD_E_MEMORY;
    c->ctx = ctx;
    c->device = device;
    c->race = vkd__race_start(line_up(knob, p, c->runner));
    const vkd_result r = with_store(c, knob, full, budget);
    if (!r) report(c, knob, p, out);
    vkd__free(ctx, c);
    return r;
}
