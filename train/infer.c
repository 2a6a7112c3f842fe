// SPDX-License-Identifier: Apache-2.0
#include <string.h>

#include "train/session.h"

enum { IN_FLIGHT = 3 };

vkd_result vkd__infer_create(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, vkd__infer *out) {
    const vkd__split *split = train_split ? &s->data->train : &s->data->test;
    *out = (vkd__infer){.ctx = s->ctx, .classes = s->data->classes};
    out->count = train_split ? s->data->train.count : split->count;
    out->batch =
        s->recipe->evaluation.batch < out->count ? s->recipe->evaluation.batch : out->count;
    vkd_graph *graph = NULL;
    vkd_plan *plan = NULL;
    vkd_result r = vkd__graph_infer(s, m, group, train_split ? "data.train" : "data.test",
                                    split->count, out->batch, &graph);
    if (!r) r = vkd_plan_create(graph, vkd_device_profile(s->device), &plan);
    if (!r) r = vkd_program_create(s->device, plan, &out->program);
    vkd_plan_destroy(plan);
    vkd_graph_destroy(graph);
    return r;
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

static vkd_result collect(vkd__infer *i, uint32_t block, uint64_t ticket, float *logits) {
    const vkd_result r = vkd_program_wait(i->program, ticket);
    if (r) return r;
    const float *rows = vkd_program_output(i->program, ticket, "logits", NULL);
    if (!rows) return vkd__fail(i->ctx, VKD_E_DEVICE, "the logits of a batch are gone");
    const uint32_t first = block * i->batch, left = i->count - first;
    const uint32_t count = left < i->batch ? left : i->batch;
    memcpy(logits + (size_t)first * i->classes, rows, (size_t)count * i->classes * sizeof *rows);
    return VKD_OK;
}

vkd_result vkd__infer_run(vkd__infer *i, float *logits) {
    const uint32_t blocks = (uint32_t)vkd__div_up(i->count, i->batch);
    uint64_t tickets[IN_FLIGHT];
    vkd_result r = VKD_OK;
    for (uint32_t b = 0; b < blocks + IN_FLIGHT && !r; b++) {
        if (b >= IN_FLIGHT) {
            const uint32_t oldest = b - IN_FLIGHT;
            if (oldest < blocks) r = collect(i, oldest, tickets[oldest % IN_FLIGHT], logits);
        }
        if (!r && b < blocks) r = submit(i, b, &tickets[b % IN_FLIGHT]);
    }
    return r;
}

vkd_result vkd__infer_logits(vkd__session *s, const vkd__recipe_model *m, const char *group,
                             bool train_split, float **out) {
    vkd__infer infer = {0};
    *out = NULL;
    vkd_result r = vkd__infer_create(s, m, group, train_split, &infer);
    if (!r) {
        *out = vkd__alloc(s->ctx, (size_t)infer.count * infer.classes, sizeof **out);
        r = *out ? vkd__infer_run(&infer, *out) : VKD_E_MEMORY;
    }
    vkd__infer_destroy(&infer);
    return r;
}
