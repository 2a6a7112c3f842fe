// SPDX-License-Identifier: Apache-2.0
/* What the convolutions share. With images (N, H, W, C), a weight (O, R, S, C / groups) and results
 * (N, Y, X, O), three ops are each other's gradients:
 *   conv2d            results = image * weight       conv2d.c
 *   conv2d_transpose  image = results *^T weight     conv2d_transpose.c
 *   conv2d_weight     weight = image^T results       conv2d_weight.c
 * The first two gather pixels (conv2d_launch.c; the second residue by residue, conv2d_residues.c),
 * the third sums over them. */
#ifndef VKD_CONV2D_H
#define VKD_CONV2D_H

#include "ops/op.h"

typedef struct vkd__conv2d {
    uint32_t stride[2], padding[2], dilation[2]; /* height, width */
    uint32_t groups;
    uint32_t activation;
    uint32_t size[2];   /* of the image: asked for by conv2d_transpose */
    uint32_t kernel[2]; /* R, S: asked for by conv2d_weight */
    /* Completed by infer: */
    uint32_t images, image[3], result[3]; /* H, W, C; Y, X, O */
} vkd__conv2d;

/* Inputs of conv2d and conv2d_transpose behind the two that are multiplied. */
enum { CONV2D_BIAS = 2, CONV2D_RESIDUAL };

/* Emits the op with the description's defaults filled in; gelu and silu stand apart where a
 * gradient will be asked for, because it needs what they are applied to. */
vkd_tensor vkd__conv2d_emit(vkd_graph *g, const vkd_op_def *op, vkd_tensor x, vkd_tensor weight,
                            const vkd_conv2d_desc *desc, const uint32_t *size);
/* The three as gradients: no bias, residual or activation. */
vkd_tensor vkd__conv2d_of(vkd_graph *g, vkd_tensor image, vkd_tensor weight, const vkd__conv2d *p);
vkd_tensor vkd__conv2d_transpose_of(vkd_graph *g, vkd_tensor result, vkd_tensor weight,
                                    const vkd__conv2d *p);
vkd_tensor vkd__conv2d_weight_of(vkd_graph *g, vkd_tensor image, vkd_tensor result,
                                 const vkd__conv2d *p);
/* dz of what the activation was applied to, and the gradients of bias and residual. */
vkd_tensor vkd__conv2d_backward_z(vkd_graph *g, const vkd__node *n, vkd_tensor dy, vkd_tensor *din);

/* Inside infer: checks weight against the image's and the result's channels; fills in channels. */
bool vkd__conv2d_check(vkd_graph *g, vkd__node *n, vkd_shape image, vkd_shape weight);
/* The same for what is added to a result, or image, of shape `y`. */
bool vkd__conv2d_check_added(vkd_graph *g, const vkd__node *n, vkd_shape y);
/* (size + 2 padding - dilation (kernel - 1) - 1) / stride + 1 along an axis; 0 where the kernel is
 * larger than the padded image. */
uint32_t vkd__conv2d_steps(const vkd__conv2d *p, uint32_t axis, uint32_t size, uint32_t kernel);

/* References: calls `visit` for each pair of an image's element and a result's element that a
 * weight's element joins. */
typedef struct vkd__conv2d_walk {
    const vkd__conv2d *p;
    void (*visit)(void *user, uint64_t image, uint64_t weight, uint64_t result);
    void *user;
} vkd__conv2d_walk;
void vkd__conv2d_each(const vkd__conv2d_walk *w);

/* Begins a result with its bias and residual. */
void vkd__conv2d_reference_added(const vkd__ref *r);

/* ---- Gathering (conv2d_launch.c) ---- */

/* One launch: pixels of the grid, from images of the node's first input. */
typedef struct vkd__gather {
    struct vkd_conv2d_params push;
    uint32_t channels, taps_w;
    uint32_t
        gap[2]; /* blocks of the result of which a pixel is computed, the others zeroed; or 0 */
    bool transposed, direct;
    uint64_t in_offset, in_bytes, out_offset, out_bytes;
} vkd__gather;
/* From images of size `in` into results of `out_channels`; fills in what does not depend on the
 * grid. */
vkd__gather vkd__gather_begin(const vkd__conv2d *p, const uint32_t in[3], uint32_t out_channels,
                              bool direct, uint32_t first, uint32_t images);
bool vkd__gather_lower(vkd__lower *l, const vkd__node *n, const vkd__gather *q);

bool vkd__conv2d_lower(vkd__lower *l, const vkd__node *n);
bool vkd__conv2d_transpose_lower(vkd__lower *l, const vkd__node *n);
/* Whether some pixels meet no tap and get nothing else, so that zeros are all that they need. */
bool vkd__conv2d_transpose_has_gaps(const vkd__node *n);
/* So many images that their two tensors fit into a binding each; fails the plan where not one
 * does. */
bool vkd__conv2d_window(vkd__lower *l, const vkd__conv2d *p, bool direct, uint32_t *images);
/* The tiles that the kernels begin with: like those of large products. */
void vkd__conv2d_size_tile(vkd__lower *l, vkd__launch *launch, uint32_t M, uint32_t N, uint32_t Z);
/* Direct: `channels` limits the chunk of k; 0 where anything may. Returns what LANES / COL_LANES *
 * KC came out as. */
uint32_t vkd__conv2d_size_direct(vkd__lower *l, vkd__launch *launch, uint32_t M, uint32_t N,
                                 uint32_t Z, uint32_t channels);
/* The rows of a direct tile for M, near the `preferred` number: those that leave the least undone.
 */
uint32_t vkd__conv2d_rows(uint32_t M, uint32_t preferred);
/* Kernels that compute runs of a row's pixels: how many pixels such a run of the result has, and
 * rows and taps with which they are worth it. */
enum { VKD__CONV2D_RUN_LEAST = 4, VKD__CONV2D_RUN_TAPS = 8 };
uint32_t vkd__conv2d_run_length(uint32_t row);

/* ---- Depthwise (conv2d_depth.c) ---- */
/* One filter a channel, few enough taps, channels in whole quads. */
bool vkd__conv2d_is_depth(const vkd__conv2d *p);
/* For a launch of conv2d_depth: fills in how it counts, runs of pixels. */
void vkd__conv2d_size_depth(vkd__lower *l, vkd__launch *launch, const vkd__conv2d *p,
                            struct vkd_conv2d_params *push, uint32_t taps_w);
/* Lowers a window of conv2d_weight: images from `first` on. */
bool vkd__conv2d_weight_depth(vkd__lower *l, const vkd__node *n, uint32_t first, uint32_t images);

/* Whether 4 does not divide n. */
static inline bool vkd__conv2d_ragged(uint32_t n) {
    return n % 4 != 0;
}

enum { VKD__CONV2D_CASE_BIAS = 1, VKD__CONV2D_CASE_RESIDUAL = 2 };

/* Cases of all three: shapes that each of their tests walks through. */
typedef struct vkd__conv2d_case {
    uint32_t image[4], out, kernel[2];
    uint32_t stride[2], padding[2], dilation[2], groups;
    vkd_activation activation;
    uint32_t added; /* VKD__CONV2D_CASE_... */
    const char *what;
} vkd__conv2d_case;
extern const vkd__conv2d_case vkd__conv2d_cases[];
#define VKD__CONV2D_CASES 27
vkd_conv2d_desc vkd__conv2d_case_desc(const vkd__conv2d_case *k);
vkd_shape vkd__conv2d_case_result(const vkd__conv2d_case *k);

#endif
