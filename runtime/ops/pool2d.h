// SPDX-License-Identifier: Apache-2.0
/* What the poolings share: images (N, H, W, C) to images (N, Y, X, C), each pixel out of a window.
 */
#ifndef VKD_POOL2D_H
#define VKD_POOL2D_H

#include "ops/image.h"

typedef struct vkd__pool2d {
    uint32_t kind;                             /* VKD_POOL_... of shaders/params.h */
    uint32_t kernel[2], stride[2], padding[2]; /* height, width; of bins: 1, 1, 0 */
    uint32_t size[2];                          /* bins: of the result; gradients: of the image */
} vkd__pool2d;

/* The description with its defaults filled in. */
vkd__pool2d vkd__pool2d_of(const vkd_pool2d_desc *desc, uint32_t kind);
/* Inside infer: checks all, and gives the result's shape. */
bool vkd__pool2d_infer(vkd_graph *g, const vkd__node *n, vkd_shape *result);
/* Emits the gradient: dy, and of the largest the places, to the gradient of an image of x's shape.
 */
vkd_tensor vkd__pool2d_grad(vkd_graph *g, const vkd_op_def *op, const vkd__node *n, vkd_tensor dy,
                            vkd_tensor places);
bool vkd__pool2d_grad_infer(vkd_graph *g, vkd__node *n);
bool vkd__pool2d_lower(vkd__lower *l, const vkd__node *n);
bool vkd__pool2d_grad_lower(vkd__lower *l, const vkd__node *n);

/* References: rows (axis 0) or columns first .. end - 1 of the image under window i, inside the
 * image; `size` and `windows` are the image's and the result's. */
typedef struct vkd__window {
    uint32_t first, end;
} vkd__window;
vkd__window vkd__pool2d_window(const vkd__pool2d *p, uint32_t axis, uint32_t i, uint32_t size,
                               uint32_t windows);
/* Calls `visit` for each window of each image and each channel, in order. */
typedef struct vkd__pool2d_at {
    const vkd__ref *r;
    const vkd__pool2d *p;
    uint64_t image;           /* element of the image's first pixel, with the channel */
    uint64_t result;          /* element of the window */
    uint32_t width, channels; /* of the image */
    vkd__window rows, columns;
    int64_t first_row, first_column; /* of the window, perhaps outside */
} vkd__pool2d_at;
void vkd__pool2d_each(const vkd__ref *r, vkd_shape image, vkd_shape result,
                      void (*visit)(const vkd__pool2d_at *at));

/* Cases of both. */
typedef struct vkd__pool2d_case {
    uint32_t image[4];
    vkd_pool2d_desc desc;
    const char *what;
} vkd__pool2d_case;
#define VKD__POOL2D_CASES 12
extern const vkd__pool2d_case vkd__pool2d_cases[];

#endif
