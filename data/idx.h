// SPDX-License-Identifier: Apache-2.0
/* The IDX format of the MNIST family: two zero bytes, a type, the number of axes, each dimension as
 * 32 bits big-endian, then the values, the last axis contiguous. Of the types only unsigned bytes
 * (0x08) are read. Plain or packed with gzip.
 * Layout: LeCun, Cortes, Burges, "The MNIST database of handwritten digits", section on formats. */
#ifndef VKD_IDX_H
#define VKD_IDX_H

#include "base/base.h"

typedef struct vkd__idx {
    vkd_shape shape; /* as the file says; dim[0] counts samples */
    uint32_t kept;   /* of those, the first ones */
    uint8_t *values; /* (kept, dim[1], ...), freed with vkd__free */
} vkd__idx;

/* Reads bytes in memory; `name` is for messages. At least `low` and at most `high` axes (5 at
 * most), no dimension zero; the first `most` samples are kept, 0 for all, and the whole file is
 * checked. On failure *out holds nothing. Errors: VKD_E_DATA, VKD_E_MEMORY. */
vkd_result vkd__idx_parse(vkd_ctx *ctx, const char *name, const void *bytes, size_t size,
                          uint32_t low, uint32_t high, uint32_t most, vkd__idx *out);

#endif
