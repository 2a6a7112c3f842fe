// SPDX-License-Identifier: Apache-2.0
/* The graph's inside: tensors, nodes, the definition of an op, and what an op may call.
 *
 * Knows no Vulkan and names no op: a node points at its op's definition. Nodes stand in the order
 * in which they were built, and that order is the meaning where a node changes a store tensor. */
#ifndef VKD_GRAPH_H
#define VKD_GRAPH_H

#include "base/base.h"
#include "graph/store.h"

#define VKD__MAX_IN 8
#define VKD__MAX_OUT 4

typedef enum vkd__home {
    VKD__HOME_NODE,  /* made by a node, lives in a transient arena */
    VKD__HOME_INPUT, /* written by the host before a step: inputs, settings, constants */
    VKD__HOME_STORE  /* persistent */
} vkd__home;

typedef struct vkd__tensor {
    const char *name; /* never NULL; "softmax.3" where nobody named it */
    vkd_dtype dtype;
    vkd_shape shape;
    vkd__home home;
    uint32_t node;   /* HOME_NODE: index of the node that makes it */
    uint32_t entry;  /* HOME_STORE: index in the store */
    bool constant;   /* HOME_INPUT: never written again after creation */
    float value;     /* HOME_INPUT: start value of a () f32 */
    bool needs_grad; /* a parameter, or made from one with a way for the gradient to flow */
} vkd__tensor;

typedef struct vkd_op_def vkd_op_def;

typedef struct vkd__node {
    const vkd_op_def *op;
    uint32_t in_count, out_count;
    vkd_tensor in[VKD__MAX_IN]; /* id 0: an optional input that is absent */
    vkd_tensor out[VKD__MAX_OUT];
    const void *params; /* the op's own struct, in the graph's arena */
    uint32_t writes;    /* bit i: in[i] is a store tensor that the node changes in place */
} vkd__node;

typedef struct vkd__output {
    const char *name;
    vkd_tensor tensor;
} vkd__output;

/* Elements of a flat group, `count` of them from `at` on; multiples of VKD__GROUP_ALIGN. */
typedef struct vkd__stretch {
    uint64_t at, count;
} vkd__stretch;

/* What of its group a gradient is of: the parameters that the loss depends on, as runs that do not
 * touch. Optimisers leave all others alone, decay included. */
typedef struct vkd__reach {
    vkd_tensor gradient;
    const vkd__stretch *runs; /* in the graph's arena, ascending */
    uint32_t run_count;
} vkd__reach;

struct vkd_graph {
    vkd_ctx *ctx;
    vkd_store *store;
    const char *name;
    uint32_t seed;
    uint32_t references; /* its maker's and its plans': plans outlive the maker's */
    vkd__arena arena;
    vkd_result status; /* the first mistake */
    char error[1024];
    vkd__tensor *tensors; /* [0] is the invalid tensor */
    size_t tensor_count, tensor_capacity;
    vkd__node *nodes;
    size_t node_count, node_capacity;
    vkd__output *outputs;
    size_t output_count, output_capacity;
    vkd__reach *reaches; /* of the gradients that vkd_gradient has made */
    size_t reach_count, reach_capacity;
    vkd_tensor step;   /* vkd_step, {0} until asked for */
    vkd_dtype compute; /* of products: VKD_F32, or a 16-bit type in a mixed graph */
    /* Set by the op that makes 16-bit tensors: x in f32, for readers that know no other type. */
    vkd_tensor (*widen)(vkd_graph *g, vkd_tensor x);
};

/* Row-major values of one tensor for a reference, all types as double. */
typedef struct vkd__values {
    const vkd__tensor *tensor;
    double *v;
} vkd__values;

/* Everything a reference may look at. Absent inputs have v == NULL. in[i].v may be changed exactly
 * where the node's writes bit i is set. step is what vkd_step would give. */
typedef struct vkd__ref {
    const vkd_graph *graph;
    const vkd__node *node;
    vkd__values in[VKD__MAX_IN];
    vkd__values out[VKD__MAX_OUT];
} vkd__ref;

typedef struct vkd__lower vkd__lower; /* graph/plan.h */
typedef struct vkd__case vkd__case;   /* graph/case.h */

/* An op answers these questions, in one file, runtime/ops/<op>.c, registered by one line of
 * runtime/ops/ops.def. */
struct vkd_op_def {
    const char *name;
    const char *summary; /* one line for `vkdistill list ops` */
    /* Gives out_count, and dtype and shape of each out[i] through vkd__node_out; or calls
     * vkd__graph_fail and returns false. */
    bool (*infer)(vkd_graph *g, vkd__node *n);
    /* Emits nodes for the gradients: dout[i] is {0} where nothing flows back; leaves din[i] at {0}
     * where no gradient flows. Called only for a node with needs_grad. NULL: no gradient at all. */
    void (*backward)(vkd_graph *g, const vkd__node *n, const vkd_tensor *dout, vkd_tensor *din);
    /* Makes `summand`, of out[0]'s shape, a part of what the node computes, where its kernel adds
     * that for nothing; else false. NULL: never. */
    bool (*take_summand)(vkd__node *n, vkd_tensor summand);
    /* Node to kernel launches. NULL with is_view. */
    bool (*lower)(vkd__lower *l, const vkd__node *n);
    /* The meaning: double precision, plain loops. */
    void (*reference)(const vkd__ref *r);
    /* Bit i: in[i] may have 16 bits. All such inputs then have one type; where their types differ,
     * and for all other inputs, 16-bit tensors are widened in front of the node. */
    uint32_t takes_half;
    /* out[0] is in[0]'s storage under another shape: nothing is launched. */
    bool is_view;
    /* The launch may put out[0] into in[0]'s storage when nobody needs in[0] afterwards; its
     * kernel uses VKD_IN_PLACE and VKD_OUT_PLACE. */
    bool in_place;
    /* What the node changes in the store is no reason to run it: it happens only where a result is
     * needed for something else. */
    bool writes_aside;
    /* in[0]'s values belong at `*(const uint64_t *)params` bytes into in[1], a store tensor: the
     * planner lets in[0]'s maker write there and launches nothing, or else the op copies. What lies
     * behind the values up to the next multiple of sixteen bytes is padding and may become zero. */
    bool is_placement;
    /* |got - want| <= atol + rtol*|want| for the GPU against the reference; 0: 1e-5 and 1e-5. */
    double rtol, atol;
    /* Test cases, for the suites, selftest and bench: builds case c->index, 0 <= index < count. */
    uint32_t case_count;
    void (*build_case)(vkd__case *c);
    /* Skips the test of gradients by central differences (kinks, integers): says why, else NULL. */
    const char *no_difference_test;
};

/* Builders' half: allocates params, fills inputs, then vkd__emit runs infer and appends the node.
 * vkd__emit returns out[0], or {0} when the graph is failed. A {0} input makes the graph fail
 * unless bit i of optional is set. */
typedef struct vkd__emit_desc {
    const vkd_op_def *op;
    uint32_t in_count;
    vkd_tensor in[VKD__MAX_IN];
    uint32_t optional; /* bit i: in[i] may be {0} */
    uint32_t writes;
    const void *params; /* copied */
    size_t params_size;
} vkd__emit_desc;
vkd_tensor vkd__emit(vkd_graph *g, const vkd__emit_desc *desc);
/* The node that made t, for ops with several outputs; NULL for a leaf or {0}. Borrowed until the
 * next node is built. */
const vkd__node *vkd__producer(const vkd_graph *g, vkd_tensor t);

/* Gives a node that exists another input (a leaf, or made by an earlier node) and another output,
 * which a gradient may use: so a fused loss computes its gradient in the pass that computes its
 * value. Returns {0}, and changes nothing, when `extra` is made later. */
vkd_tensor vkd__node_extend(vkd_graph *g, const vkd__node *n, uint32_t slot, vkd_tensor extra,
                            vkd_dtype dtype, vkd_shape shape);

/* Inside infer: declares output i. */
void vkd__node_out(vkd_graph *g, vkd__node *n, uint32_t i, vkd_dtype dtype, vkd_shape shape);
/* Sticky failure; the message gets "<op>('<in0>', '<in1>'): " in front when n is not NULL. Always
 * returns false, so that infer can `return vkd__graph_fail(...)`. */
bool vkd__graph_fail(vkd_graph *g, const vkd__node *n, vkd_result r, const char *format, ...)
    VKD__PRINTF(4, 5);

/* A plan keeps its graph's memory alive, for shadow mode. */
void vkd__graph_retain(const vkd_graph *graph);
void vkd__graph_release(const vkd_graph *graph);

const vkd__tensor *vkd__tensor_get(const vkd_graph *g, vkd_tensor t);
/* "(2, 3)"; the buffer is in the graph's arena. */
const char *vkd__shape_text(vkd_graph *g, vkd_shape shape);
/* What a shape has that no tensor may have ("no elements"); NULL for a good one. Sizes that pass
 * can be multiplied and counted in 64 bits, those of f32 and i32 also in 32. */
const char *vkd__shape_fault(vkd_shape shape, vkd_dtype dtype);
static inline bool vkd__is_half(vkd_dtype dtype) {
    return dtype == VKD_F16 || dtype == VKD_BF16;
}
static inline bool vkd__is_real(vkd_dtype dtype) {
    return dtype == VKD_F32 || vkd__is_half(dtype);
}
/* v as a tensor of that type holds it. */
double vkd__rounded(vkd_dtype dtype, double v);
bool vkd__shape_equal(vkd_shape a, vkd_shape b);
/* NumPy's rule; false when they do not fit. */
bool vkd__shape_broadcast(vkd_shape a, vkd_shape b, vkd_shape *out);
/* (..., last): the product of all axes but the last, and the last (1 for ()). */
uint64_t vkd__shape_rows(vkd_shape shape);
uint32_t vkd__shape_last(vkd_shape shape);

/* The flat tensor (P) of a group's parameters; closes the group. {0} and a failed graph if the
 * group has no parameter. */
vkd_tensor vkd__group_flat(vkd_graph *g, const char *group);
/* What a gradient reaches; NULL for one that vkd_gradient did not make, which is of all. */
const vkd__reach *vkd__reach_of(const vkd_graph *g, vkd_tensor gradient);
/* A store tensor as a graph leaf by entry index. */
vkd_tensor vkd__store_leaf(vkd_graph *g, uint32_t entry);

/* Every node, in order, in double precision on the host: a second, slow device. `values` has one
 * array for each tensor id, filled for leaves by the caller and for nodes by this; store tensors
 * are changed in place. Tensors of one group share memory as on the device: see host.c. */
typedef struct vkd__host vkd__host;
vkd_result vkd__host_create(const vkd_graph *g, vkd__host **out);
void vkd__host_destroy(vkd__host *h);
double *vkd__host_values(vkd__host *h, vkd_tensor t);
void vkd__host_run(vkd__host *h);
/* From now on 16-bit results keep their full precision: what central differences need. */
void vkd__host_exact(vkd__host *h);
/* One node alone, for shadow mode. */
void vkd__host_run_node(vkd__host *h, uint32_t node);

#endif
