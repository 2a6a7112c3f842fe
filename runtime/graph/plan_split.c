// SPDX-License-Identifier: Apache-2.0
/* A launch that would run too long becomes several, each a piece of its grid.
 *
 * No watchdog may see one dispatch at work for seconds, and a submission can only be cut between
 * dispatches. Kernels stride by the groups of the whole grid (shaders/lib/grid.glsl), so a group
 * does the same work in a piece as in the whole, and every bit stays as it was. Barriers come
 * afterwards and treat the pieces as launches like any others; one more barrier is nothing beside
 * the time of a piece. A grid of few groups cannot be cut finer than into its groups. */
#include "graph/plan.h"

#define MOST_PIECES 1024u

double vkd__plan_seconds(const vkd_profile *profile, const vkd__launch *l) {
    const double compute = l->flops / (profile->gflops * 1e9);
    const double memory = l->traffic / (profile->gbytes * 1e9);
    return (compute > memory ? compute : memory) + profile->launch_seconds;
}

static uint32_t longest_axis(const vkd__launch *l) {
    uint32_t axis = 0;
    for (uint32_t i = 1; i < 3; i++)
        if (l->groups[i] > l->groups[axis]) axis = i;
    return axis;
}

static uint32_t piece_count(const vkd_profile *profile, const vkd__launch *l) {
    const double seconds = vkd__plan_seconds(profile, l);
    if (seconds <= VKD__SPLIT_SECONDS) return 1;
    const uint32_t groups = l->groups[longest_axis(l)];
    const uint32_t most = groups < MOST_PIECES ? groups : MOST_PIECES;
    const double want = seconds / VKD__SLICE_SECONDS;
    return want < most ? (uint32_t)want + 1 : most;
}

static vkd__launch piece_of(const vkd__launch *whole, uint32_t axis, uint32_t i, uint32_t count) {
    vkd__launch piece = *whole;
    const uint64_t groups = whole->groups[axis];
    const uint32_t first = (uint32_t)(groups * i / count);
    const uint32_t end = (uint32_t)(groups * (i + 1) / count);
    piece.piece = true;
    piece.base[axis] = first;
    piece.groups[axis] = end - first;
    for (uint32_t k = 0; k < 3; k++)
        vkd__spec(&piece, VKD__SPEC_GRID + k, whole->groups[k]);
    const double share = (double)piece.groups[axis] / (double)groups;
    piece.flops *= share;
    piece.traffic *= share;
    return piece;
}

vkd_result vkd__plan_split(vkd_plan *p) {
    size_t total = 0;
    for (size_t i = 0; i < p->launch_count; i++)
        total += piece_count(&p->profile, &p->launches[i]);
    if (total == p->launch_count) return VKD_OK;
    vkd__launch *all = vkd__alloc(p->ctx, total, sizeof *all);
    if (!all) return VKD_E_MEMORY;
    size_t at = 0;
    for (size_t i = 0; i < p->launch_count; i++) {
        const vkd__launch *whole = &p->launches[i];
        const uint32_t count = piece_count(&p->profile, whole), axis = longest_axis(whole);
        if (count == 1) all[at++] = *whole;
        for (uint32_t k = 0; count > 1 && k < count; k++)
            all[at++] = piece_of(whole, axis, k, count);
    }
    vkd__free(p->ctx, p->launches);
    p->launches = all;
    p->launch_count = p->launch_capacity = total;
    return VKD_OK;
}
