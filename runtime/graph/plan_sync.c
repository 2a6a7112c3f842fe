// SPDX-License-Identifier: Apache-2.0
/* Reads and writes to barriers, predicted time to slices.
 *
 * A launch waits for what came before it when it reads what was written, or writes what was read or
 * written, since the last barrier. Bytes are compared, not tensors, so that storage used twice
 * counts as what it is. One barrier waits for everything, so it clears the record. */
#include "graph/plan.h"

/* What a launch touched since the last barrier. */
typedef struct touch {
    uint32_t launch;
    const vkd__binding *binding;
} touch;

static bool conflict(const vkd__binding *a, const vkd__binding *b) {
    if (!((a->access | b->access) & VKD__WRITE)) return false;
    if (a->space != b->space || a->index != b->index) return false;
    return a->offset < b->offset + b->bytes && b->offset < a->offset + a->bytes;
}

static void set_barrier(vkd__launch *l, const touch *record, size_t count) {
    for (uint32_t k = 0; k < l->binding_count && !l->barrier; k++)
        for (size_t i = count; i-- > 0 && !l->barrier;)
            if (l->bindings[k].space != VKD__SPACE_DUMMY &&
                conflict(&l->bindings[k], record[i].binding)) {
                l->barrier = true;
                l->barrier_binding = k;
                l->barrier_after = record[i].launch;
            }
}

vkd_result vkd__plan_barriers(vkd_plan *p) {
    touch *record = vkd__alloc(p->ctx, p->launch_count * VKD__MAX_BINDINGS, sizeof *record);
    if (!record) return VKD_E_MEMORY;
    size_t count = 0;
    for (uint32_t i = 0; i < p->launch_count; i++) {
        vkd__launch *l = &p->launches[i];
        l->barrier = false;
        set_barrier(l, record, count);
        if (l->barrier) count = 0;
        for (uint32_t k = 0; k < l->binding_count; k++)
            if (l->bindings[k].space != VKD__SPACE_DUMMY)
                record[count++] = (touch){i, &l->bindings[k]};
    }
    vkd__free(p->ctx, record);
    return VKD_OK;
}

#define SLICE_SECONDS 0.1

static void set_slices(vkd_plan *p) {
    const vkd_profile *profile = &p->profile;
    double sum = 0;
    for (size_t i = 0; i < p->launch_count; i++) {
        vkd__launch *l = &p->launches[i];
        const double compute = l->flops / (profile->gflops * 1e9);
        const double memory = l->traffic / (profile->gbytes * 1e9);
        l->seconds = (compute > memory ? compute : memory) + profile->launch_seconds;
        const bool full = i > 0 && sum + l->seconds > SLICE_SECONDS;
        if (i == 0 || full) p->slice_count++;
        sum = full ? l->seconds : sum + l->seconds;
        l->slice = p->slice_count - 1;
    }
}

vkd_result vkd__plan_sync(vkd_plan *p) {
    const vkd_result r = vkd__plan_barriers(p);
    if (!r) set_slices(p);
    return r;
}
