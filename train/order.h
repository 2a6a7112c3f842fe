// SPDX-License-Identifier: Apache-2.0
/* The order in which a stage sees its samples: new for each epoch. It follows from seed, stream and
 * epoch alone, so that a resumed run needs nothing but the epoch's number and a control sees what
 * its student sees. */
#ifndef VKD_ORDER_H
#define VKD_ORDER_H

#include "base/field.h"

typedef struct vkd__order_desc {
    uint32_t seed;
    const char *name;                /* gives the stream */
    const int32_t *labels;           /* of the split */
    uint32_t first, end;             /* samples first..end-1 take part */
    const vkd__u32s *classes, *omit; /* of these classes where the list has any, and of none of
                                        those; NULL: no list */
    uint32_t batch;
    /* 0: an epoch is a permutation. Else its batches have so many samples of each of
     * batch / per_class classes, one class after the other; it must divide the batch. */
    uint32_t per_class;
} vkd__order_desc;

typedef struct vkd__order {
    uint32_t seed, stream, batch, per_class;
    uint32_t *pool;  /* (count) sample numbers that take part, ascending; with per_class by class */
    uint32_t *index; /* the epoch's: batch after batch */
    uint32_t count;
    uint32_t steps; /* whole batches of an epoch; 0 where there is none */
    uint64_t epoch; /* of index; UINT64_MAX before the first */
    /* With per_class: */
    uint32_t classes, most;       /* of one class at most so many groups of per_class in a batch */
    uint32_t *start;              /* (classes + 1) of each class in pool */
    uint32_t *left, *next, *here; /* (classes) groups and samples to come, groups in the batch */
    uint32_t *deck;               /* (count) the epoch's permutation of each class */
} vkd__order;

/* Errors: VKD_E_MEMORY. */
vkd_result vkd__order_init(vkd_ctx *ctx, vkd__order *o, const vkd__order_desc *desc);
/* Permutations of the given numbers, which may repeat. Errors: VKD_E_MEMORY. */
vkd_result vkd__order_from(vkd_ctx *ctx, vkd__order *o, uint32_t seed, const char *name,
                           const uint32_t *pool, uint32_t count, uint32_t batch);
void vkd__order_term(vkd_ctx *ctx, vkd__order *o);
/* The samples of one epoch: batch b of `steps` begins at b * batch. Borrowed until the next call.
 */
const uint32_t *vkd__order_epoch(vkd__order *o, uint64_t epoch);

#endif
