// SPDX-License-Identifier: Apache-2.0
/* Test cases that stand beside each op. What runs over them is in runtime/check/. */
#ifndef VKD_CASE_H
#define VKD_CASE_H

#include "graph/graph.h"

#define VKD__CASE_INPUTS 8

typedef struct vkd__case_input {
    vkd_tensor tensor;
    double low, high; /* uniform between; integers: low <= value < high */
    bool differentiate;
    double special; /* with special_every > 0: every such element is this value (-inf, say) */
    uint32_t special_every;
} vkd__case_input;

struct vkd__case {
    vkd_graph *g;
    uint32_t index;
    const char *what; /* the builder says what it built: "ragged rows, masked classes" */
    vkd__case_input inputs[VKD__CASE_INPUTS];
    uint32_t input_count;
    vkd_tensor outputs[VKD__MAX_OUT]; /* what is compared */
    uint32_t output_count;
    double difference_bound; /* relative, of the gradient check; 0: 1e-6 */
    double rtol, atol;       /* for this case in place of the op's, where not 0: roundings to 16
                                bits on the way */
};

/* Inputs named "x0", "x1", ... in order; f32 ones are differentiated unless said otherwise. */
vkd_tensor vkd__case_f32(vkd__case *c, vkd_shape shape, double low, double high);
vkd_tensor vkd__case_fixed(vkd__case *c, vkd_shape shape, double low, double high);
vkd_tensor vkd__case_i32(vkd__case *c, vkd_shape shape, int32_t low, int32_t high);
vkd_tensor vkd__case_u8(vkd__case *c, vkd_shape shape);
/* Makes every `every`-th element of the last input `value`. */
void vkd__case_special(vkd__case *c, double value, uint32_t every);
void vkd__case_output(vkd__case *c, vkd_tensor t);
/* The case rounds to that type on its way: its tolerances are a few units of it. */
void vkd__case_half(vkd__case *c, vkd_dtype dtype);

/* Fills element i of input k deterministically: the same numbers on host and device. */
double vkd__case_value(const vkd__case_input *in, uint32_t k, uint64_t i, vkd_dtype dtype);

#endif
