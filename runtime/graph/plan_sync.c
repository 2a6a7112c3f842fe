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

uint32_t vkd__plan_slices(vkd__launch *launches, size_t count) {
    uint32_t slices = 0;
    double sum = 0;
    for (size_t i = 0; i < count; i++) {
        vkd__launch *l = &launches[i];
        const bool full = i > 0 && sum + l->seconds > VKD__SLICE_SECONDS;
        if (i == 0 || full) slices++;
        sum = full ? l->seconds : sum + l->seconds;
        l->slice = slices - 1;
    }
    return slices;
}

vkd_result vkd__plan_sync(vkd_plan *p) {
    vkd_result r = vkd__plan_split(p);
    if (!r) r = vkd__plan_barriers(p);
    if (r) return r;
    for (size_t i = 0; i < p->launch_count; i++)
        p->launches[i].seconds = vkd__plan_seconds(&p->profile, &p->launches[i]);
    p->slice_count = vkd__plan_slices(p->launches, p->launch_count);
    return VKD_OK;
}
