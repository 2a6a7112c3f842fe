// SPDX-License-Identifier: Apache-2.0
/* Push constants, one struct for each kernel family, read by C and GLSL: one definition, so that
 * host and shader cannot drift. Only 4-byte scalars, at most 128 bytes. They are baked into the
 * recorded command buffer: what a schedule changes is a () tensor in the input block instead. */
#ifndef VKD_PARAMS_H
#define VKD_PARAMS_H

#ifdef VKD_GLSL
#define vkd_u32 uint
#define vkd_i32 int
#define vkd_f32 float
#else
#include <stdint.h>
typedef uint32_t vkd_u32;
typedef int32_t vkd_i32;
typedef float vkd_f32;
#endif

/* C[b] = act(A[b] B[b] + bias + residual) (+ C[b]), row-major, f32. */
struct vkd_matmul_params {
    vkd_u32 M, N, K;
    vkd_u32 batch;
    vkd_u32 stride_a, stride_b, stride_c; /* elements from one batch item to the next; 0 repeats */
    vkd_u32 row_a, first_a;               /* TN: A is columns first_a.. of rows of row_a elements */
    vkd_u32 splits, chunk; /* K in `splits` parts of `chunk` each, the last may be less */
};

/* C = act(the sum of `splits` partial results, `count` elements apart, + bias + residual) (+ C),
 * with rows of N. */
struct vkd_matmul_finish_params {
    vkd_u32 count, N, splits;
};

/* Result pixels, each a sum over taps of a gathered image times a weight. Row m is pixel (n, y, x)
 * of a grid; tap (r, s) reads image pixel (y * step_y + base_y + r * tap_y, ...), zeros outside. */
struct vkd_conv2d_params {
    vkd_u32 M, N, K; /* pixels; channels of a group's result; taps * channels of a group's image */
    vkd_u32 groups;
    vkd_u32 grid_h, grid_w;
    vkd_u32 in_h, in_w, in_c;
    vkd_i32 step_y, step_x, base_y, base_x, tap_y, tap_x;
    vkd_u32 out_first, out_image, out_row, out_pixel; /* elements of the result */
    /* Elements of the weight: from one group, line (a result channel, or where TRANSPOSED a channel
     * of the image) and tap to the next. */
    vkd_u32 w_first, w_group, w_line, w_row, w_tap;
};

/* The weight's gradient: (M, N) for each group, summed over K pixels of the result. */
struct vkd_conv2d_weight_params {
    vkd_u32 M, N, K; /* channels of a group's result; taps * channels of a group's image; pixels */
    vkd_u32 groups;
    vkd_u32 in_h, in_w, in_c, dy_c;
    vkd_i32 step_y, step_x, base_y, base_x, tap_y, tap_x;
    vkd_u32 splits, chunk; /* K in `splits` parts of `chunk` each, the last may be less */
};

/* Images out of images: items are four channels of a pixel, or one where four does not divide them.
 */
struct vkd_image_params {
    vkd_u32 items;
};
/* What pooling makes of a window; how many pixels an average is divided by. */
#define VKD_POOL_INCLUDE 0u /* all of the kernel's */
#define VKD_POOL_EXCLUDE 1u /* those inside the image */
#define VKD_POOL_BINS 2u    /* windows are the bins of adaptive pooling */
#define VKD_POOL_MAX 3u
#define VKD_POOL_MAX_PLACES 4u

/* Row kernels without scalars of their own: (N, V). */
struct vkd_row_params {
    vkd_u32 N, V;
};

/* Layer normalisation over rows of D. Its column sums go over `block` rows each; `first` is the
 * index of the launch's first block. */
struct vkd_layernorm_params {
    vkd_u32 N, D;
    vkd_f32 eps;
};
struct vkd_layernorm_columns_params {
    vkd_u32 N, D, block, first;
};
struct vkd_column_sum_params {
    vkd_u32 blocks, D;
};

/* Batch normalisation over the columns of (N, D): the window's rows in blocks (lib/columns.glsl).
 * `first` is the index of the launch's first result, share is 1 / rows of the whole. */
struct vkd_batchnorm_params {
    vkd_u32 N, D, blocks, lead, span, step, first;
    vkd_f32 eps, share;
};
/* Of `results` blocks with `rows` rows in all. */
struct vkd_batchnorm_combine_params {
    vkd_u32 results, D;
    vkd_f32 rows, eps, momentum;
};
/* N lines of a weight, D elements each, of which the first is line `first` of the whole. */
struct vkd_batchnorm_fold_params {
    vkd_u32 N, D, first;
    vkd_f32 eps;
};

/* x / max(norm, eps). */
struct vkd_l2_normalize_params {
    vkd_u32 N, D;
    vkd_f32 eps;
};

/* `first` is the tensor's element at which the window begins. */
struct vkd_dropout_params {
    vkd_u32 count, first, seed, stream;
    vkd_f32 p, scale;
};

/* What is drawn for each of `count` images; the most of each number: whole pixels, and where a size
 * is given in parts of 2^16; angles in parts of 2^28. `flip` is a probability in parts of 2^24; the
 * ra_ are RandAugment's, at its magnitude. */
#define VKD_AUGMENT_NUMBERS 12u /* of one image: ops/augment.h */
#define VKD_AUGMENT_OPS 8u      /* the most of RandAugment's in one image */
struct vkd_augment_draw_params {
    vkd_u32 count, seed, stream, height, width;
    vkd_u32 crop, flip, shift, angle, scale, shear, cutout, brightness, contrast;
    vkd_u32 ra_ops, ra_angle, ra_shear, ra_move_y, ra_move_x, ra_brightness, ra_contrast;
};
/* Images of this window; each is worked on in `chunks` parts of `span` quads. */
struct vkd_augment_params {
    vkd_u32 images, chunks, span;
};

/* N rows of V, of which the first is row `first` of the whole. */
struct vkd_shuffle_rest_params {
    vkd_u32 N, V, first, seed, stream;
};

/* N indices into a table of V rows, of which the window holds `rows` from `first` on. */
struct vkd_gather_params {
    vkd_u32 N, D, V, first, rows;
};

/* N packed rows of 2 k + 1 values; log_share is added to the rest's logarithm for one class. */
struct vkd_topk_expand_params {
    vkd_u32 N, V, k;
    vkd_f32 temperature, log_share;
};

/* Samples of `sample_size` bytes; the window holds `rows` samples of V from `first` on. */
struct vkd_batch_params {
    vkd_u32 count, sample_size, V, first, rows;
    vkd_f32 scale;
    vkd_f32 mean0, mean1, mean2, mean3;
    vkd_f32 std0, std1, std2, std3;
};

/* `first` is the index of the launch's first result. */
struct vkd_argmax_params {
    vkd_u32 N, V, first;
};
struct vkd_squares_params {
    vkd_u32 quads, chunks, first; /* four elements each; chunks of VKD_SQUARES_CHUNK quads */
};
#define VKD_SQUARES_CHUNK 1024u
struct vkd_guard_params {
    vkd_u32 chunks;
    vkd_f32 max_norm;
    vkd_u32 growth_interval; /* of a scaled loss */
};
struct vkd_loss_scale_params {
    vkd_f32 initial;
};

/* Elements of the window, of which the first `decayed` get weight decay. */
struct vkd_sgd_params {
    vkd_u32 count, decayed;
    vkd_f32 momentum, weight_decay;
};
struct vkd_ema_params {
    vkd_u32 count;
};
struct vkd_adamw_params {
    vkd_u32 count, decayed;
    vkd_f32 beta1, beta2, rest1, rest2; /* rest = 1 - beta */
    vkd_f32 eps, weight_decay;
};

/* The fused row losses: N rows of V classes in this window, of which the first is row `first` of
 * the whole; share is 1 / rows of the whole. a and b: ce smoothing; kd_jsd beta and the form's
 * factor; dkd alpha and beta. */
struct vkd_loss_params {
    vkd_u32 N, V;
    vkd_u32 first;
    vkd_u32 t_squared;
    vkd_f32 share;
    vkd_f32 a, b;
    vkd_u32 k; /* of kd_topk */
};

/* All pairs of N rows of D elements; rows of the matrices (N, N) are `stride` elements apart. */
struct vkd_pairs_params {
    vkd_u32 N, D, stride;
    vkd_f32 scale;
};

/* Rows v (N, 4 quads) against `choices` rows of a bank each, of which the window holds `rows` from
 * `first` on; each row's choices fall into `splits` chunks. Results are those of part `part` and
 * the next ones, (N) or (N, 4 quads) each. */
struct vkd_bank_nce_params {
    vkd_u32 N, choices, first, rows;
    vkd_u32 splits, chunk, part;
    vkd_f32 sharpness;    /* 1 / temperature */
    vkd_f32 noise, floor; /* m Pn, and that with the little that is added to it */
    vkd_f32 share;        /* 1 / N */
};
/* constant = mean of `count` sums over `entries` terms, times factor; keep 0: where it is 0. */
struct vkd_bank_constant_params {
    vkd_u32 count;
    vkd_f32 factor; /* samples / entries */
    vkd_f32 keep;
};
/* N rows of D. */
struct vkd_bank_update_params {
    vkd_u32 N, D, first, rows;
    vkd_f32 keep;
};

/* k samples out of V for each of N rows, of which the first is row `first` of the whole. */
struct vkd_negatives_params {
    vkd_u32 N, k, V, classes, first;
    vkd_u32 chunk; /* draws of an invocation */
    vkd_u32 seed, stream;
};

/* N rows of V, of which the first is row `first` of the whole. */
struct vkd_one_hot_params {
    vkd_u32 N, V;
    vkd_u32 first;
};

/* y = value; count elements, storage padded to a multiple of four. */
struct vkd_fill_params {
    vkd_u32 count;
    vkd_f32 value;
};

struct vkd_cast_params {
    vkd_u32 count;
};

struct vkd_place_params {
    vkd_u32 count;
};

/* 16 * 3 * 4 multiply-adds a turn and invocation. */
struct vkd_ceiling_params {
    vkd_u32 turns;
    vkd_f32 a, b;
};

/* y = f(x); factor is the scale's. */
struct vkd_unary_params {
    vkd_u32 count;
    vkd_f32 factor;
};

/* Up to five axes, innermost first; strides and offsets in elements. */
#define VKD_STRIDED_AXES 5
struct vkd_strided_params {
    vkd_u32 count;
    vkd_u32 dim[VKD_STRIDED_AXES];
    vkd_u32 stride_a[VKD_STRIDED_AXES];
    vkd_u32 stride_b[VKD_STRIDED_AXES];
    vkd_u32 offset_a, offset_b, offset_y;
};

/* x is (outer, reduce, inner). Row r of a launch is chunk r % splits of outer row r / splits. */
struct vkd_reduce_params {
    vkd_u32 rows, reduce, inner, chunk, splits;
    vkd_u32 offset_x, offset_y; /* elements, in the bindings */
    vkd_f32 scale;              /* of the result */
};

#endif
