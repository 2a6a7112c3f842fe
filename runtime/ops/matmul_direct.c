// SPDX-License-Identifier: Apache-2.0
#include "ops/matmul.h"

/* How far into 16 bytes a row may begin: the residue of its length, or unknown (4). */
static uint32_t residue(uint32_t length, uint32_t stride, uint32_t batch) {
    return batch > 1 && stride % 4 ? 4 : length % 4;
}

/* The direct kernel's tile is ROWS x 4*COL_LANES. Narrow C: the lanes that columns leave over
 * divide K. A short K wants a short chunk; few rows, a low tile. */
void vkd__matmul_size_direct(vkd__lower *l, vkd__launch *launch, vkd__layout layout,
                             const vkd__matmul_part *q) {
    const uint32_t lanes = l->profile->subgroup, M = q->push.M, N = q->push.N, K = q->push.K;
    uint32_t columns = lanes;
    while (columns > 1 && 2 * columns >= N)
        columns /= 2;
    const uint32_t walked = (K + lanes / columns - 1) / (lanes / columns);
    const vkd__direct_tile *t =
        &l->profile->direct_tile[vkd__matmul_classify(l->profile, M, N, q->push.batch)];
    const uint32_t quads = (uint32_t)vkd__align_up(M, 4), short_chunk = walked <= 4 ? 4 : 8;
    const uint32_t rows = quads < t->rows ? quads : t->rows;
    const uint32_t chunk = walked <= 24 && short_chunk < t->chunk ? short_chunk : t->chunk;
    vkd__spec(launch, 0, lanes);
    vkd__spec(launch, 3, rows);
    vkd__spec(launch, 4, columns);
    vkd__spec(launch, 5, chunk);
    vkd__spec(launch, 14,
              residue(layout == TN ? q->push.row_a : K, q->push.stride_a, q->push.batch));
    vkd__spec(launch, 15, residue(layout == NT ? K : N, q->push.stride_b, q->push.batch));
    vkd__spec(launch, 16, residue(N, q->push.stride_c, q->push.batch));
    vkd__spec(launch, 17, K % (chunk * (lanes / columns)) != 0);
    /* A workgroup has a price on a CPU, so there are a few dozen, each with an equal share of
     * tiles. */
    const uint64_t tiles = vkd__div_up(M, rows) * vkd__div_up(N, 4 * columns) * q->push.batch;
    const uint64_t share = vkd__div_up(tiles, 64);
    vkd__grid(l, launch, vkd__div_up(tiles, share));
}
