// SPDX-License-Identifier: Apache-2.0
/* The sizes that kernels are launched with, apart from the algorithms: what a profile holds, what
 * the table of devices starts from, and what may be tried in its place.
 *
 * A product's sizes depend on its class, so that one choice serves all shapes that behave alike. */
#ifndef VKD_GEOMETRY_H
#define VKD_GEOMETRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

enum { VKD__MAX_CANDIDATES = 16, VKD__SIZE_TEXT = 32 };

typedef enum vkd__matmul_class {
    VKD__MATMUL_LARGE,  /* large tiles alone fill the device */
    VKD__MATMUL_SMALL,  /* they do not: smaller ones spread the work, or K is split */
    VKD__MATMUL_NARROW, /* one side of C is 32 or less */
    VKD__MATMUL_CLASSES
} vkd__matmul_class;

vkd__matmul_class vkd__matmul_classify(const vkd_profile *p, uint64_t M, uint64_t N,
                                       uint64_t batch);

/* The shared-memory kernel: a workgroup makes m x n of C, in steps of k; an invocation tm x tn,
 * multiples of four. m and n are multiples of 32, k is 8, 16 or 32. */
typedef struct vkd__tile {
    uint16_t m, n, k, tm, tn;
} vkd__tile;

/* The kernel without shared memory: rows of C that a subgroup makes (fewer where M is less), and
 * values of k that it takes in a turn (fewer where K is short). Multiples of four. */
typedef struct vkd__direct_tile {
    uint16_t rows, chunk;
} vkd__direct_tile;

/* The kernel of cooperative matrices: a workgroup makes m x n of C, in steps of k; it is sub_m x
 * sub_n subgroups, each of which makes an equal part out of the device's matrices. */
typedef struct vkd__coop_tile {
    uint16_t m, n, k, sub_m, sub_n;
} vkd__coop_tile;

/* Cooperative matrices, for products of 16-bit operands with f32 sums. */
typedef struct vkd__coop {
    uint32_t m, n, k;  /* of the matrices that the device multiplies; 0: none */
    uint32_t subgroup; /* lanes that hold a matrix together */
    uint32_t whole;    /* workgroups are multiples of this: what the device calls its subgroup size,
                          whatever size is asked for */
    bool f16, bf16;    /* types of operands */
    vkd__coop_tile tile[VKD__MATMUL_CLASSES];
} vkd__coop;

/* Whether the kernel can work with such a tile, and its invocations and shared memory fit a device.
 */
bool vkd__tile_fits(const vkd__tile *t, uint32_t max_invocations, uint32_t max_shared);
/* Whether its invocations take no more than the profile lets them. */
bool vkd__tile_suits(const vkd_profile *p, const vkd__tile *t);
/* Whether the kernel of cooperative matrices can work with a tile on this device. */
bool vkd__coop_fits(const vkd__coop *c, const vkd__coop_tile *t, uint32_t max_invocations,
                    uint32_t max_shared);
/* Sets a tile for each class, the first of the list that fits. false, and nothing set: none does
 * for one of them. `wide`: a device of many units, whose large products have large tiles. */
bool vkd__coop_choose(vkd__coop *c, bool wide, uint32_t max_invocations, uint32_t max_shared);

/* One thing about a profile that may be tried otherwise. */
typedef struct vkd__knob {
    const char *name; /* "matmul tile, large" */
    uint32_t count;   /* of candidates, at most VKD__MAX_CANDIDATES, the most promising first */
    /* Whether another choice may change the last bits of results: it adds in another order. */
    bool changes_bits;
    /* Sets the candidate; false, and nothing set, where the device cannot run it or this profile
     * never launches what it is about. */
    bool (*set)(vkd_profile *p, uint32_t candidate);
    /* What the profile holds, "64x64x16 4x4": no other choice of this knob has the same text. */
    void (*text)(const vkd_profile *p, char out[VKD__SIZE_TEXT]);
} vkd__knob;
extern const vkd__knob vkd__knobs[];
extern const size_t vkd__knob_count;

/* Whether the profile launches what the knob is about. */
bool vkd__knob_applies(const vkd__knob *k, const vkd_profile *p);
/* All that apply, as "element-wise workgroup=64; short rows workgroup=128". */
void vkd__sizes_text(const vkd_profile *p, vkd__text *out);
/* Sets what such a text says; what it does not name becomes the table's. On failure the profile is
 * as it was. Errors: VKD_E_ARGUMENT: no such knob, or not a size of the table or a candidate that
 * the device can run. */
vkd_result vkd__sizes_apply(vkd_ctx *ctx, const vkd_profile *table, const char *text,
                            vkd_profile *p);

#endif
