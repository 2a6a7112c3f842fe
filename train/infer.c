// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "train/session.h"

enum { IN_FLIGHT = 3 };

/* Takes the graph over. */
static vkd_result make_program(const vkd__session *s, vkd_graph *graph, vkd__infer *out) {
    vkd_plan *plan = NULL;
    vkd_result r = vkd_plan_create(graph, vkd_device_profile(s->device), &plan);
    if (!r) r = vkd_program_create(s->device, plan, &out->program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    return r;
}

static uint32_t batch_of(const vkd__session *s, uint32_t count) {
    return s->recipe->evaluation.batch < count ? s->recipe->evaluation.batch : count;
}

vkd_result vkd__infer_create(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, vkd__infer *out) {
    const uint32_t count = train_split ? s->data->train.count : s->data->test.count;
    *out = (vkd__infer){.ctx = s->ctx,
                        .output = "logits",
                        .count = count,
                        .batch = batch_of(s, count),
                        .width = s->data->classes};
    vkd_graph *graph = NULL;
    const vkd_result r = vkd__graph_infer(s, m, group, train_split ? "data.train" : "data.test",
                                          count, out->batch, &graph);
    return r ? r : make_program(s, graph, out);
}

vkd_result vkd__infer_create_tap(vkd__session *s, const vkd__recipe_model *m, const char *group,
                                 const char *tap, bool train_split, uint32_t batch,
                                 vkd__infer *out) {
    const uint32_t count = train_split ? s->data->train.count : s->data->test.count;
    *out = (vkd__infer){.ctx = s->ctx, .output = "features", .count = count, .batch = batch};
    vkd_graph *graph = NULL;
    const vkd_result r = vkd__graph_tap(s, m, group, tap, train_split ? "data.train" : "data.test",
                                        count, batch, &out->width, &graph);
    return r ? r : make_program(s, graph, out);
}

void vkd__infer_destroy(vkd__infer *i) {
    vkd_program_destroy(i->program);
    *i = (vkd__infer){0};
}

/* The last block may reach past the split; its spare rows repeat sample 0 and are not copied. */
static vkd_result submit(vkd__infer *i, uint32_t block, uint64_t *ticket) {
    int32_t *indices = vkd_program_input(i->program, "indices");
    if (!indices) return vkd__fail(i->ctx, VKD_E_DEVICE, "no room for the indices of a batch");
    for (uint32_t k = 0; k < i->batch; k++) {
        const uint64_t sample = (uint64_t)block * i->batch + k;
        indices[k] = sample < i->count ? (int32_t)(i->first + sample) : 0;
    }
    return vkd_program_submit(i->program, ticket);
}

static vkd_result collect(vkd__infer *i, uint32_t block, uint64_t ticket, float *to) {
    const vkd_result r = vkd_program_wait(i->program, ticket);
    if (r) return r;
    const float *rows = vkd_program_output(i->program, ticket, i->output, NULL);
    if (!rows) return vkd__fail(i->ctx, VKD_E_DEVICE, "the %s of a batch are gone", i->output);
    const uint32_t first = block * i->batch, left = i->count - first;
    const uint32_t count = left < i->batch ? left : i->batch;
    memcpy(to + (size_t)first * i->width, rows, (size_t)count * i->width * sizeof *rows);
    return VKD_OK;
}

vkd_result vkd__infer_run(vkd__infer *i, float *rows) {
    const uint32_t blocks = (uint32_t)vkd__div_up(i->count, i->batch);
    uint64_t tickets[IN_FLIGHT];
    vkd_result r = VKD_OK;
    for (uint32_t b = 0; b < blocks + IN_FLIGHT && !r; b++) {
        if (b >= IN_FLIGHT) {
            const uint32_t oldest = b - IN_FLIGHT;
            if (oldest < blocks) r = collect(i, oldest, tickets[oldest % IN_FLIGHT], rows);
        }
        if (!r && b < blocks) r = submit(i, b, &tickets[b % IN_FLIGHT]);
    }
    return r;
}

/* All of a split into memory of its own. */
static vkd_result run_all(vkd__session *s, vkd__infer *infer, float **out) {
    *out = vkd__alloc(s->ctx, (size_t)infer->count * infer->width, sizeof **out);
    return *out ? vkd__infer_run(infer, *out) : VKD_E_MEMORY;
}

vkd_result vkd__infer_logits(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, float **out) {
    vkd__infer infer = {0};
    *out = NULL;
    vkd_result r = vkd__infer_create(s, m, group, train_split, &infer);
    if (!r) r = run_all(s, &infer, out);
    vkd__infer_destroy(&infer);
    return r;
}

vkd_result vkd__infer_tap(vkd__session *s, const vkd__recipe_model *m, const char *group,
                          const char *tap, float **out, uint32_t *width) {
    vkd__infer infer = {0};
    *out = NULL;
    vkd_result r =
        vkd__infer_create_tap(s, m, group, tap, false, batch_of(s, s->data->test.count), &infer);
    *width = infer.width;
    if (!r) r = run_all(s, &infer, out);
    vkd__infer_destroy(&infer);
    return r;
}
