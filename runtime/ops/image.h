// SPDX-License-Identifier: Apache-2.0
/* What ops share that make each pixel of an image out of pixels of another: pooling and padding of
 * images (N, H, W, C). */
#ifndef VKD_IMAGE_H
#define VKD_IMAGE_H

#include "ops/op.h"

/* Inside infer: false, and the graph failed, where in[i] is no f32 tensor (N, H, W, C). Sides are
 * at most 65535, so that a product of two of them fits into 32 bits. */
bool vkd__image_check(vkd_graph *g, const vkd__node *n, uint32_t i);
bool vkd__image_check_side(vkd_graph *g, const vkd__node *n, uint64_t side);

/* Launches that gather `to` from `from`, in windows of images that bindings can hold. The kernel
 * includes shaders/lib/image.glsl, which has the first constants. */
typedef struct vkd__image_walk {
    const char *kernel; /* without variant */
    vkd_tensor from, to;
    /* i32, of the size of `from` where it is read, of `to` where it is written; 0: the kernel knows
     * none. With {0} it is bound to something that the kernel does not touch. */
    vkd__access places_access;
    vkd_tensor places;
    uint32_t spec[8]; /* constants 16 and on: what the kernel itself declares */
    double flops;     /* of one element of `to` */
} vkd__image_walk;
bool vkd__image_lower(vkd__lower *l, const vkd__image_walk *w);

#endif
