// SPDX-License-Identifier: Apache-2.0
// A matrix (N, D) walked by columns: an invocation owns a quad of columns in one block of rows, so that what
// belongs to a column (its mean, say) is read once a block. Block b begins at row b * lead and takes every
// step-th row, within `span` rows. A CPU device's blocks are rows that lie side by side (lead = span, step =
// 1); a GPU's interleave (lead = 1, step = blocks), so that neighbours always read neighbouring words.
//
// A kernel includes io.glsl and row.glsl, has vkd_batchnorm_params `p`, and says
//
//   COLUMN_ITEMS(item) {
//       if (item < COLUMN_COUNT) ...                        // block item / COLUMN_QUADS, quad item % COLUMN_QUADS
//       COLUMN_NEXT(item)
//   }
//
// Every invocation of a workgroup turns equally often. The loops end at the bottom: one that tests at the top
// runs its body once more, masked, on lavapipe.

#define COLUMN_QUADS ((p.D + 3u) / 4u)
#define COLUMN_COUNT (p.blocks * COLUMN_QUADS)
#define COLUMN_ITEMS(item) for (uint item = gl_GlobalInvocationID.x;;)
#define COLUMN_NEXT(item)                                                                          \
    item += GROUPS_X * LOCAL_X;                                                                    \
    if (item - gl_LocalInvocationID.x >= COLUMN_COUNT) break;

uint column_begin(uint block) {
    return block * p.lead;
}
uint column_end(uint block) {
    return min(block * p.lead + p.span, p.N);
}
// Whether `rows` more rows of the block are there, from `row` on.
bool column_has(uint row, uint rows, uint end) {
    return row + (rows - 1u) * p.step < end;
}
