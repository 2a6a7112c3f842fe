// SPDX-License-Identifier: Apache-2.0
/* Blocks with lifetimes into arenas: the largest first, each into the smallest gap that the blocks
 * alive at the same time leave, in the first arena where that fits. */
#include "graph/plan.h"

#include <stdlib.h>

#define NONE 0xffffffffu

/* The placed blocks of each arena as a list in order of offset, by index. */
typedef struct lists {
    uint32_t *next;  /* by block */
    uint32_t *first; /* by arena */
} lists;

static int larger_first(const void *left, const void *right) {
    const vkd__block *a = left, *b = right;
    if (a->bytes != b->bytes) return a->bytes < b->bytes ? 1 : -1;
    if (a->first != b->first) return a->first < b->first ? -1 : 1;
    return a->id < b->id ? -1 : a->id > b->id;
}

static uint64_t best_offset(const vkd__block *blocks, const lists *l, uint32_t arena,
                            const vkd__block *wanted) {
    uint64_t end = 0, best = UINT64_MAX, smallest = UINT64_MAX;
    for (uint32_t i = l->first[arena]; i != NONE; i = l->next[i]) {
        const vkd__block *b = &blocks[i];
        if (b->last < wanted->first || wanted->last < b->first) continue;
        if (b->offset > end) {
            const uint64_t gap = b->offset - end;
            if (gap >= wanted->bytes && gap < smallest) {
                smallest = gap;
                best = end;
            }
        }
        if (b->offset + b->bytes > end) end = b->offset + b->bytes;
    }
    return best == UINT64_MAX ? end : best;
}

static void insert(const vkd__block *blocks, lists *l, uint32_t arena, uint32_t index) {
    uint32_t *link = &l->first[arena];
    while (*link != NONE && blocks[*link].offset < blocks[index].offset)
        link = &l->next[*link];
    l->next[index] = *link;
    *link = index;
}

vkd_result vkd__plan_pack(vkd_plan *p, vkd__block *blocks, size_t count) {
    lists l = {VKD_NEW(&p->memory, uint32_t, count), VKD_NEW(&p->memory, uint32_t, count)};
    p->arena_bytes = VKD_NEW(&p->memory, uint64_t, count);
    if (!l.next || !l.first || !p->arena_bytes) return VKD_E_MEMORY;
    if (count) qsort(blocks, count, sizeof *blocks, larger_first);
    for (uint32_t i = 0; i < count; i++) {
        vkd__block *b = &blocks[i];
        VKD_ASSERT(b->bytes <= p->profile.max_allocation);
        uint32_t arena = 0;
        uint64_t offset = 0;
        for (; arena < p->arena_count; arena++) {
            offset = best_offset(blocks, &l, arena, b);
            if (offset + b->bytes <= p->profile.max_allocation) break;
        }
        if (arena == p->arena_count) {
            l.first[p->arena_count++] = NONE;
            offset = 0;
        }
        b->arena = arena;
        b->offset = offset;
        insert(blocks, &l, arena, i);
        if (offset + b->bytes > p->arena_bytes[arena]) p->arena_bytes[arena] = offset + b->bytes;
    }
    return VKD_OK;
}
