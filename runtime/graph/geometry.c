// SPDX-License-Identifier: Apache-2.0
#include "graph/geometry.h"

#include <stdio.h>

#include "graph/plan.h"

vkd__matmul_class vkd__matmul_classify(const vkd_profile *p, uint64_t M, uint64_t N,
                                       uint64_t batch) {
    if (M <= 32 || N <= 32) return VKD__MATMUL_NARROW;
    return M * N * batch < p->large_product ? VKD__MATMUL_SMALL : VKD__MATMUL_LARGE;
}

/* Both operands, and eight quads of padding each. */
static uint32_t shared_bytes(const vkd__tile *t) {
    return 4u * t->k * (t->m + t->n) + 2u * 8u * 16u;
}

bool vkd__tile_fits(const vkd__tile *t, uint32_t max_invocations, uint32_t max_shared) {
    if (!t->k || !t->tm || !t->tn) return false;
    const uint32_t invocations = (uint32_t)(t->m / t->tm) * (t->n / t->tn);
    /* What the kernel is written for: quads, rows of whole banks, padding after k / 8 rows; */
    if (t->m % 32 || t->n % 32 || t->k % 8 || t->tm % 4 || t->tn % 4) return false;
    if (t->m % t->tm || t->n % t->tn || !invocations) return false;
    /* every invocation moves as many quads as any other, and all that it moves stands at one place
     * of its lines. */
    const uint32_t lines[] = {t->m, t->n, t->k};
    for (size_t i = 0; i < VKD_COUNT(lines); i++)
        if (invocations % lines[i]) return false;
    if (t->m * t->k / 4u % invocations || t->n * t->k / 4u % invocations) return false;
    return invocations <= max_invocations && shared_bytes(t) <= max_shared;
}

bool vkd__tile_suits(const vkd_profile *p, const vkd__tile *t) {
    const uint32_t elements = (uint32_t)t->tm * t->tn;
    return elements <= p->max_elements &&
           shared_bytes(t) * elements <= p->max_shared_each * t->m * t->n;
}

/* More of C than this would take more than half of an invocation's registers on most devices. */
#define MOST_SUMS 64u
/* The same with what it fetches meanwhile, two values a register: RDNA 3 spilled at 112. */
#define MOST_HELD 96u

bool vkd__coop_fits(const vkd__coop *c, const vkd__coop_tile *t, uint32_t max_invocations,
                    uint32_t max_shared) {
    if (!c->m || !t->k || !t->sub_m || !t->sub_n) return false;
    const uint32_t subgroups = (uint32_t)t->sub_m * t->sub_n;
    const uint32_t invocations = subgroups * c->subgroup;
    if (invocations % c->whole) return false;
    /* Each subgroup makes whole matrices, and each invocation moves whole blocks of 4 x 4 values of
     * both operands, as many as any other; blocks lie four behind each other. */
    if (t->m % (t->sub_m * c->m) || t->n % (t->sub_n * c->n) || t->k % c->k || t->k % 16)
        return false;
    if (t->m * t->k / 16u % invocations || t->n * t->k / 16u % invocations) return false;
    const uint32_t sums = (uint32_t)t->m * t->n / invocations;
    const uint32_t fetched = ((uint32_t)t->m + t->n) * t->k / invocations;
    if (sums > MOST_SUMS || sums + fetched / 2 > MOST_HELD) return false;
    /* Both operands, each row with sixteen bytes of padding; in the end a strip of C for each
     * subgroup lies there. */
    const uint32_t operands = ((uint32_t)t->m + t->n) * (2u * t->k + 16u);
    const uint32_t strips = 4u * t->sub_m * c->m * t->n;
    return invocations <= max_invocations && (operands > strips ? operands : strips) <= max_shared;
}

/* ---- Workgroups ---- */

/* None above 256: where a subgroup size is asked for, a workgroup may have no more subgroups than
 * maxComputeWorkgroupSubgroups (32 of 8 on lavapipe). */
static const uint16_t workgroups[] = {64, 128, 256, 32, 16, 8};

static bool set_workgroup(const vkd_profile *p, uint32_t *field, uint32_t candidate) {
    if (workgroups[candidate] > p->max_invocations) return false;
    *field = workgroups[candidate];
    return true;
}

static void number_text(uint32_t value, char *out) {
    snprintf(out, VKD__SIZE_TEXT, "%u", (unsigned)value);
}

#define WORKGROUP(name, condition)                                                                 \
    static bool set_##name(vkd_profile *p, uint32_t candidate) {                                   \
        return (condition) && set_workgroup(p, &p->name##_workgroup, candidate);                   \
    }                                                                                              \
    static void name##_text(const vkd_profile *p, char *out) {                                     \
        number_text(p->name##_workgroup, out);                                                     \
    }
WORKGROUP(flat, true)
WORKGROUP(column, true)
WORKGROUP(short, true)
WORKGROUP(row, !p->direct) /* a direct kernel's long row takes one subgroup */
WORKGROUP(reduce, true)

/* ---- Matmul ---- */

/* The first are tried first. 4x4 of C take about 48 registers, 8x4 64 to 90, 8x8 128; a longer k is
 * fewer barriers for more shared memory. */
static const vkd__tile tiles[] = {{64, 64, 16, 4, 4},  {32, 32, 16, 4, 4},   {128, 64, 16, 8, 4},
                                  {128, 128, 8, 8, 8}, {64, 32, 16, 4, 4},   {64, 64, 16, 8, 4},
                                  {128, 64, 8, 8, 8},  {128, 128, 16, 8, 8}, {32, 32, 8, 4, 4}};

static bool set_tile(vkd_profile *p, vkd__matmul_class class, uint32_t candidate) {
    const vkd__tile *t = &tiles[candidate];
    if (p->direct || !vkd__tile_fits(t, p->max_invocations, p->max_shared) ||
        !vkd__tile_suits(p, t))
        return false;
    p->tile[class] = tiles[candidate];
    return true;
}

static void tile_text(const vkd__tile *t, char *out) {
    snprintf(out, VKD__SIZE_TEXT, "%ux%ux%u %ux%u", (unsigned)t->m, (unsigned)t->n, (unsigned)t->k,
             (unsigned)t->tm, (unsigned)t->tn);
}

/* Above 32 rows the sums no longer fit into a CPU's registers. */
static const vkd__direct_tile direct_tiles[] = {{32, 8}, {16, 16}, {16, 8}, {8, 16},
                                                {24, 8}, {8, 8},   {12, 16}};

static bool set_direct(vkd_profile *p, vkd__matmul_class class, uint32_t candidate) {
    if (!p->direct) return false;
    p->direct_tile[class] = direct_tiles[candidate];
    return true;
}

static void direct_text(const vkd__direct_tile *t, char *out) {
    snprintf(out, VKD__SIZE_TEXT, "%ux%u", (unsigned)t->rows, (unsigned)t->chunk);
}

/* The same of 16-bit operands through cooperative matrices. Which of them fit depends on the shape
 * of these and on the size of a subgroup: the list has some for 8 to 64 lanes. */
static const vkd__coop_tile coop_tiles[] = {
    {64, 64, 32, 2, 2},  {128, 128, 32, 2, 4}, {128, 64, 32, 2, 2},  {32, 32, 32, 1, 1},
    {64, 32, 32, 2, 1},  {64, 64, 64, 2, 2},   {128, 128, 32, 2, 2}, {64, 64, 32, 1, 2},
    {32, 64, 64, 1, 2},  {64, 64, 32, 2, 4},   {32, 32, 64, 1, 2},   {128, 64, 64, 2, 2},
    {128, 32, 64, 4, 1}, {32, 128, 64, 1, 4},  {64, 16, 64, 2, 1},   {16, 64, 64, 1, 2}};

/* What a class starts with: the first that fits. */
static const uint8_t coop_first[][7] = {
    {1, 6, 2, 0, 5, 9, 3},     /* large, on a device of many units */
    {0, 7, 5, 9, 3, 10, 4},    /* large on others, and small */
    {10, 3, 8, 4, 14, 15, 9}}; /* narrow; of 8 lanes the last alone */

static bool choose_coop(vkd__coop *c, const uint8_t *order, size_t count, uint32_t max_invocations,
                        uint32_t max_shared, vkd__matmul_class class) {
    for (size_t i = 0; i < count; i++) {
        if (!vkd__coop_fits(c, &coop_tiles[order[i]], max_invocations, max_shared)) continue;
        c->tile[class] = coop_tiles[order[i]];
        return true;
    }
    return false;
}

bool vkd__coop_choose(vkd__coop *c, bool wide, uint32_t max_invocations, uint32_t max_shared) {
    static const size_t count = VKD_COUNT(coop_first[0]);
    vkd__coop made = *c;
    const bool all =
        choose_coop(&made, coop_first[wide ? 0 : 1], count, max_invocations, max_shared,
                    VKD__MATMUL_LARGE) &&
        choose_coop(&made, coop_first[1], count, max_invocations, max_shared, VKD__MATMUL_SMALL) &&
        choose_coop(&made, coop_first[2], count, max_invocations, max_shared, VKD__MATMUL_NARROW);
    if (all) *c = made;
    return all;
}

static bool set_coop(vkd_profile *p, vkd__matmul_class class, uint32_t candidate) {
    if (!vkd__coop_fits(&p->coop, &coop_tiles[candidate], p->max_invocations, p->max_shared))
        return false;
    p->coop.tile[class] = coop_tiles[candidate];
    return true;
}

static void coop_text(const vkd__coop_tile *t, char *out) {
    snprintf(out, VKD__SIZE_TEXT, "%ux%ux%u %ux%u", (unsigned)t->m, (unsigned)t->n, (unsigned)t->k,
             (unsigned)t->sub_m, (unsigned)t->sub_n);
}

#define MATMUL(name, class)                                                                        \
    static bool set_tile_##name(vkd_profile *p, uint32_t candidate) {                              \
        return set_tile(p, class, candidate);                                                      \
    }                                                                                              \
    static void tile_##name##_text(const vkd_profile *p, char *out) {                              \
        tile_text(&p->tile[class], out);                                                           \
    }                                                                                              \
    static bool set_direct_##name(vkd_profile *p, uint32_t candidate) {                            \
        return set_direct(p, class, candidate);                                                    \
    }                                                                                              \
    static void direct_##name##_text(const vkd_profile *p, char *out) {                            \
        direct_text(&p->direct_tile[class], out);                                                  \
    }                                                                                              \
    static bool set_coop_##name(vkd_profile *p, uint32_t candidate) {                              \
        return set_coop(p, class, candidate);                                                      \
    }                                                                                              \
    static void coop_##name##_text(const vkd_profile *p, char *out) {                              \
        coop_text(&p->coop.tile[class], out);                                                      \
    }
MATMUL(large, VKD__MATMUL_LARGE)
MATMUL(small, VKD__MATMUL_SMALL)
MATMUL(narrow, VKD__MATMUL_NARROW)

/* What is worth most stands first: a small budget may not reach the end. Compilers are free to
 * contract a product's arithmetic otherwise in another specialisation, so all of its sizes count
 * as changing bits. */
#define COUNT(list) (uint32_t) VKD_COUNT(list)
const vkd__knob vkd__knobs[] = {
    {"matmul tile, large", COUNT(tiles), true, set_tile_large, tile_large_text},
    {"matmul tile, small", COUNT(tiles), true, set_tile_small, tile_small_text},
    {"matmul tile, narrow", COUNT(tiles), true, set_tile_narrow, tile_narrow_text},
    {"coopmat matmul, large", COUNT(coop_tiles), true, set_coop_large, coop_large_text},
    {"coopmat matmul, small", COUNT(coop_tiles), true, set_coop_small, coop_small_text},
    {"coopmat matmul, narrow", COUNT(coop_tiles), true, set_coop_narrow, coop_narrow_text},
    {"direct matmul, small", COUNT(direct_tiles), true, set_direct_small, direct_small_text},
    {"direct matmul, large", COUNT(direct_tiles), true, set_direct_large, direct_large_text},
    {"direct matmul, narrow", COUNT(direct_tiles), true, set_direct_narrow, direct_narrow_text},
    {"long rows workgroup", COUNT(workgroups), true, set_row, row_text},
    {"short rows workgroup", COUNT(workgroups), true, set_short, short_text},
    {"reduction workgroup", COUNT(workgroups), true, set_reduce, reduce_text},
    {"columns workgroup", COUNT(workgroups), false, set_column, column_text},
    {"element-wise workgroup", COUNT(workgroups), false, set_flat, flat_text},
};
const size_t vkd__knob_count = VKD_COUNT(vkd__knobs);
