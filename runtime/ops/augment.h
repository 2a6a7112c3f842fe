// SPDX-License-Identifier: Apache-2.0
/* Augmentation is two ops: augment_draw draws twelve numbers for each image, augment applies them.
 */
#ifndef VKD_AUGMENT_H
#define VKD_AUGMENT_H

#include "ops/op.h"

/* One image's numbers, i32. Pixel (y, x) of the result shows the image at
 *   (y_first + yy y + yx x, x_first + xy y + xx x) / 2^16,
 * times gain / 2^16, plus offset / 2^16; but 0 for cut_top <= y < cut_bottom and cut_left <= x <
 * cut_right. */
typedef enum vkd__augment_number {
    VKD__AUGMENT_Y_FIRST,
    VKD__AUGMENT_YY,
    VKD__AUGMENT_YX,
    VKD__AUGMENT_GAIN,
    VKD__AUGMENT_X_FIRST,
    VKD__AUGMENT_XY,
    VKD__AUGMENT_XX,
    VKD__AUGMENT_OFFSET,
    VKD__AUGMENT_CUT_TOP,
    VKD__AUGMENT_CUT_LEFT,
    VKD__AUGMENT_CUT_BOTTOM,
    VKD__AUGMENT_CUT_RIGHT
} vkd__augment_number;

#define VKD__AUGMENT_SIDE 2048u /* pixels at most: coordinates fit into 32 bits */

/* The description in the kernel's units, but for seed and stream. */
struct vkd_augment_draw_params vkd__augment_most(const vkd_augment_desc *desc, vkd_shape image);
/* (N, 12) i32. */
vkd_tensor vkd__augment_draw(vkd_graph *g, const struct vkd_augment_draw_params *p);
/* The numbers of one image. */
void vkd__augment_drawn(const struct vkd_augment_draw_params *p, uint32_t step, uint32_t image,
                        int32_t out[VKD_AUGMENT_NUMBERS]);
/* Applies (N, 12) numbers to images (N, H, W, C). */
vkd_tensor vkd__augment_apply(vkd_graph *g, vkd_tensor x, vkd_tensor numbers,
                              const vkd_augment_desc *desc);

#endif
