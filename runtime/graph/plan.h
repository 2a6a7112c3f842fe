// SPDX-License-Identifier: Apache-2.0
/* The plan: what runs, in which order, where each tensor lies, where barriers stand. Plain data
 * made without a GPU. Passes, each a function in its own file:
 * - order: which nodes are needed, whose storage a view shares (plan_order.c)
 * - elide: store tensors to their places; values that are made where they belong (plan_elide.c)
 * - lower: nodes to launches, through each op (plan_lower.c; what ops call: plan_launch.c)
 * - place: lifetimes to offsets in the arenas, bindings to places (plan_place.c, plan_pack.c)
 * - sync: long launches to pieces (plan_split.c), reads and writes to barriers, predicted time to
 *   slices (plan_sync.c)
 * - print: text (plan_print.c) */
#ifndef VKD_PLAN_H
#define VKD_PLAN_H

#include "graph/geometry.h"
#include "graph/graph.h"

/* ---- What the planner knows of a device ------------------------------------------------------ */

struct vkd_profile {
    char name[64];
    bool direct;       /* CPU devices: the `direct` kernels; else `tile` */
    uint32_t subgroup; /* direct kernels: lanes of a workgroup */
    /* Invocations of a workgroup, powers of two: */
    uint32_t flat_workgroup;   /* element-wise kernels */
    uint32_t column_workgroup; /* sums over all but the last axis: a quad of columns each */
    uint32_t row_workgroup;    /* base row kernels: at most as many on one row */
    uint32_t short_workgroup;  /* row kernels where rows have less than 64 elements */
    uint32_t reduce_workgroup; /* one workgroup that reduces over everything */
    vkd__tile tile[VKD__MATMUL_CLASSES];
    /* What an invocation of a tile may take, for enough of them to run side by side: elements of C,
     * which are registers, and bytes of shared memory. */
    uint32_t max_elements, max_shared_each;
    vkd__direct_tile direct_tile[VKD__MATMUL_CLASSES];
    vkd__coop coop;       /* in place of `tile` for products of mixed graphs */
    uint32_t fill_groups; /* workgroups of a product below which the device idles: K is split */
    /* Elements of C from which a product counts as large. It belongs to the device, not to the tile
     * that was tuned last: a product keeps its class. */
    uint64_t large_product;
    uint32_t max_groups[3];
    uint32_t max_invocations;
    uint32_t max_shared;     /* bytes */
    uint64_t max_binding;    /* bytes of one storage buffer binding */
    uint64_t max_texels;     /* elements of a texel buffer view; direct kernels read vec4 texels */
    uint64_t max_allocation; /* bytes of one arena */
    double gflops, gbytes;   /* rough: per second, in 1e9, for slicing and estimates */
    double launch_seconds;
};

/* ---- Launches ---------------------------------------------------------------------------------
 */

#define VKD__MAX_BINDINGS 10
#define VKD__MAX_SPEC 32
#define VKD__SPEC_IDS 33 /* ids of specialization constants are below */
#define VKD__PUSH_BYTES 128
#define VKD__SPEC_GRID 30 /* shaders/lib/grid.glsl */

/* What a submission should take at most, and the longest launch that is left whole. */
#define VKD__SLICE_SECONDS 0.1
#define VKD__SPLIT_SECONDS 0.5

typedef enum vkd__access { VKD__READ = 1, VKD__WRITE = 2, VKD__READ_WRITE = 3 } vkd__access;

typedef enum vkd__space {
    VKD__SPACE_ARENA, /* transient; index is the arena */
    VKD__SPACE_STORE, /* index is the store's entry (a group, for its members) */
    VKD__SPACE_INPUT, /* the step's input block */
    VKD__SPACE_DUMMY  /* an absent input: 256 bytes of zeros */
} vkd__space;

typedef struct vkd__binding {
    uint32_t tensor; /* graph tensor id, or scratch id with the top bit set; 0: dummy */
    vkd__access access;
    uint64_t window_offset, window_bytes; /* part of the tensor; window_bytes 0: all of it */
    /* Filled by the place pass: */
    vkd__space space;
    uint32_t index;
    uint64_t offset, bytes; /* bytes is rounded up to 16 */
} vkd__binding;

typedef struct vkd__launch {
    const char *kernel; /* "softmax", or "softmax.direct": a name in the kernel table */
    uint32_t node;
    const char *label; /* the tensor it makes */
    uint32_t subgroup; /* lanes that each subgroup must have, all there; 0: as the driver likes */
    uint32_t groups[3];
    bool piece;       /* of a larger grid, beginning at this group; its spec gives the whole: */
    uint32_t base[3]; /* VKD__SPEC_GRID and the two that follow */
    uint32_t binding_count;
    vkd__binding bindings[VKD__MAX_BINDINGS];
    uint32_t spec_count;
    uint32_t spec_id[VKD__MAX_SPEC];
    uint32_t spec[VKD__MAX_SPEC];
    uint32_t push_bytes;
    uint8_t push[VKD__PUSH_BYTES];
    double flops, traffic; /* traffic in bytes */
    /* Filled by the barrier pass: */
    bool barrier;             /* one memory barrier before it */
    uint32_t barrier_binding; /* the first binding that asks for it, */
    uint32_t barrier_after;   /* and the latest launch that this binding waits for */
    double seconds;           /* predicted */
    uint32_t slice;
} vkd__launch;

typedef struct vkd__place {
    vkd__space space;
    uint32_t index;
    uint64_t offset;
} vkd__place;

typedef struct vkd__plan_io {
    const char *name;
    vkd_dtype dtype;
    vkd_shape shape;
    uint64_t bytes;
    uint64_t block_offset; /* input: in the input block; output: in the output block */
    vkd__place source;     /* output: where its values lie after the step */
    float value;           /* input: start value of a () f32 */
    bool constant, is_step;
} vkd__plan_io;

typedef struct vkd__scratch {
    uint64_t bytes;
    uint32_t launch; /* first launch that uses it; it lives until the node's last */
} vkd__scratch;

struct vkd_plan {
    vkd_ctx *ctx;
    vkd__arena memory;      /* all that follows */
    const vkd_graph *graph; /* retained: its tensors and nodes live as long as the plan */
    vkd_store *store;
    const char *name;
    vkd_profile profile;
    vkd__launch *launches;
    size_t launch_count, launch_capacity;
    vkd__scratch *scratch;
    size_t scratch_count, scratch_capacity;
    uint64_t *arena_bytes;
    uint32_t arena_count;
    vkd__plan_io *inputs, *outputs;
    uint32_t input_count, output_count;
    uint64_t input_bytes, output_bytes;
    vkd__place *places; /* by graph tensor id: where it lies (space DUMMY: nowhere) */
    uint32_t *roots; /* by graph tensor id: the tensor whose storage it shares; itself if no view */
    uint32_t tensor_count;
    bool *needed; /* by node */
    bool *elided; /* by node: a placement whose values are made in place; it launches nothing */
    uint32_t node_count;
    uint32_t slice_count;
    vkd_result status; /* the first failure of an op's lower */
    vkd_plan_info info;
};

/* ---- What an op's `lower` may call ---- */

struct vkd__lower {
    vkd_plan *plan;
    const vkd_graph *g;
    const vkd_profile *profile;
    uint32_t node;
};

/* Whether this node runs "<kernel>.direct": the profile is direct, the kernel has that variant, and
 * every f32 input of the node fits a texel view (direct kernels read their f32 inputs through
 * RGBA32F texel buffers, sixteen bytes at a time: the fast path of CPU devices). */
bool vkd__direct(const vkd__lower *l, const char *kernel);
/* Appends a launch of a kernel, by its full name. NULL on failure (no memory). The pointer is valid
 * until the next launch. Workgroup x (spec id 0) starts as profile->flat_workgroup, y and z as 1.
 */
vkd__launch *vkd__launch_add(vkd__lower *l, const char *kernel);
/* Binds the next binding number. A {0} tensor binds zeros, which can only be read. */
void vkd__bind(vkd__launch *launch, vkd_tensor t, vkd__access access);
void vkd__bind_window(vkd__launch *launch, vkd_tensor t, vkd__access access, uint64_t offset_bytes,
                      uint64_t bytes);
void vkd__bind_scratch(vkd__launch *launch, uint32_t scratch, vkd__access access);
uint32_t vkd__scratch_add(vkd__lower *l, uint64_t bytes);
void vkd__spec(vkd__launch *launch, uint32_t id, uint32_t value); /* sets or replaces */
void vkd__push(vkd__launch *launch, const void *params, size_t size);
/* One-dimensional grid of at most max_groups[0]; kernels stride over the rest. */
void vkd__grid(vkd__lower *l, vkd__launch *launch, uint64_t groups);
void vkd__cost(vkd__launch *launch, double flops, double traffic);
/* Fails the plan (not the graph: another profile may do) with "<op>('<in0>', ...): " in front.
 * Always returns false, so that lower can `return vkd__lower_fail(...)`. */
bool vkd__lower_fail(vkd__lower *l, vkd_result r, const char *format, ...) VKD__PRINTF(3, 4);

/* Element-wise work on `count` elements is cut into windows of at most this many elements (a
 * multiple of 64 that keeps offsets 256-byte aligned), so that no binding exceeds the device's
 * limit. */
uint64_t vkd__window_elements(const vkd_profile *p, size_t element_size);
/* Rows of `row_bytes`: how many of them fit into one binding, keeping offsets 256-byte aligned. 0:
 * not even an aligned run of rows fits; the op should fail the graph with a sentence. */
uint64_t vkd__window_rows(const vkd_profile *p, uint64_t row_bytes, uint64_t rows);

/* The kernel table, generated from shaders/ by the build. */
typedef struct vkd__kernel {
    const char *name;      /* "softmax" or "softmax.direct" */
    const uint32_t *words; /* SPIR-V */
    size_t word_count;
} vkd__kernel;
extern const vkd__kernel vkd__kernels[];
extern const size_t vkd__kernel_count;
const vkd__kernel *vkd__kernel_find(const char *name);

static inline uint64_t vkd__tensor_bytes(const vkd__tensor *t) {
    return vkd_shape_count(t->shape) * vkd_dtype_size(t->dtype);
}

/* A piece of storage and the epochs through which it lives, both ends included. */
typedef struct vkd__block {
    uint32_t id;
    uint64_t bytes;
    uint32_t first, last;
    uint32_t arena; /* given by the packing */
    uint64_t offset;
} vkd__block;
/* Gives each block a place such that no two overlap in space and time; sorts the blocks. A block
 * larger than max_allocation is the caller's mistake. Fills arena_bytes and arena_count. */
vkd_result vkd__plan_pack(vkd_plan *p, vkd__block *blocks, size_t count);
/* Cuts launches that are predicted to run longer than VKD__SPLIT_SECONDS into pieces. */
vkd_result vkd__plan_split(vkd_plan *p);
/* Predicted from the profile's rates. */
double vkd__plan_seconds(const vkd_profile *profile, const vkd__launch *l);
/* Gives launches their slices, in order, from their predicted seconds; returns how many. */
uint32_t vkd__plan_slices(vkd__launch *launches, size_t count);
/* Sets the launches' barriers from the places of their bindings. */
vkd_result vkd__plan_barriers(vkd_plan *p);

/* The passes. */
vkd_result vkd__plan_order(vkd_plan *p);
vkd_result vkd__plan_elide(vkd_plan *p);
vkd_result vkd__plan_lower(vkd_plan *p);
vkd_result vkd__plan_place(vkd_plan *p);
vkd_result vkd__plan_sync(vkd_plan *p);

#endif
