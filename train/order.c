// SPDX-License-Identifier: Apache-2.0
/* Fisher and Yates's shuffle, drawn by Philox. A draw below n is bits * n / 2^32, whose bias is
 * under n / 2^32: for a million samples less than a four-thousandth of the chance itself. */
#include "train/order.h"

#include <string.h>

#include "base/philox.h"

static bool omitted(int32_t label, const uint32_t *omit, uint32_t omit_count) {
    for (uint32_t i = 0; i < omit_count; i++)
        if (label >= 0 && (uint32_t)label == omit[i]) return true;
    return false;
}

static vkd_result create(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                         uint32_t capacity) {
    *o = (vkd__order){.seed = seed, .stream = vkd__philox_stream(name), .epoch = UINT64_MAX};
    o->pool = vkd__alloc(ctx, capacity, sizeof *o->pool);
    o->index = vkd__alloc(ctx, capacity, sizeof *o->index);
    if (o->pool && o->index) return VKD_OK;
    vkd__order_term(ctx, o);
    return VKD_E_MEMORY;
}

vkd_result vkd__order_from(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const uint32_t *pool, uint32_t count) {
    const vkd_result r = create(ctx, o, seed, name, count);
    if (r) return r;
    memcpy(o->pool, pool, count * sizeof *pool);
    o->count = count;
    return VKD_OK;
}

vkd_result vkd__order_init(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const int32_t *labels, uint32_t samples, const uint32_t *omit,
                           uint32_t omit_count) {
    const vkd_result r = create(ctx, o, seed, name, samples);
    if (r) return r;
    for (uint32_t i = 0; i < samples; i++)
        if (!omitted(labels[i], omit, omit_count)) o->pool[o->count++] = i;
    return VKD_OK;
}

void vkd__order_term(vkd_ctx *ctx, vkd__order *o) {
    vkd__free(ctx, o->pool);
    vkd__free(ctx, o->index);
    *o = (vkd__order){0};
}

const uint32_t *vkd__order_epoch(vkd__order *o, uint64_t epoch) {
    if (epoch == o->epoch) return o->index;
    memcpy(o->index, o->pool, o->count * sizeof *o->index);
    vkd__philox bits = {{0}};
    for (uint32_t i = 0; i + 1 < o->count; i++) {
        if (i % 4 == 0) bits = vkd__philox_at(o->seed, o->stream, (uint32_t)epoch, i / 4);
        const uint32_t left = o->count - i;
        const uint32_t j = i + (uint32_t)(((uint64_t)bits.v[i % 4] * left) >> 32);
        const uint32_t swap = o->index[i];
        o->index[i] = o->index[j];
        o->index[j] = swap;
    }
    o->epoch = epoch;
    return o->index;
}
