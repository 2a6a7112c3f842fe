// SPDX-License-Identifier: Apache-2.0
/* The order in which a stage sees its samples: a new permutation for each epoch. It follows from
 * seed, stream and epoch alone, so that a resumed run needs nothing but the epoch's number and a
 * control sees what its student sees. */
#ifndef VKD_ORDER_H
#define VKD_ORDER_H

#include "base/base.h"

typedef struct vkd__order {
    uint32_t *pool;  /* (count) sample numbers that take part, ascending */
    uint32_t *index; /* (count) the epoch's permutation of the pool */
    uint32_t count;
    uint32_t seed, stream;
    uint64_t epoch; /* of index; UINT64_MAX before the first */
} vkd__order;

/* All samples 0..samples-1 whose label is not among the omitted classes. `name` gives the stream.
 * Errors: VKD_E_MEMORY. */
vkd_result vkd__order_init(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const int32_t *labels, uint32_t samples, const uint32_t *omit,
                           uint32_t omit_count);
/* The given numbers, which may repeat. Errors: VKD_E_MEMORY. */
vkd_result vkd__order_from(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const uint32_t *pool, uint32_t count);
void vkd__order_term(vkd_ctx *ctx, vkd__order *o);
/* The permutation of one epoch, (count) sample numbers; borrowed until the next call. */
const uint32_t *vkd__order_epoch(vkd__order *o, uint64_t epoch);

#endif
