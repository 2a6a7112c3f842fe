// SPDX-License-Identifier: Apache-2.0
/* The layers that the vision architectures are made of, over images (N, H, W, C). Each makes its
 * parameters as "<group>.<at>.<name>.weight" and so on, with the names that torchvision gives them.
 *
 * Start values are torchvision's: convolutions Kaiming normal over fan_out with the gain of ReLU,
 * their biases 0; batchnorm weight 1, bias 0, running mean 0, running variance 1; fully connected
 * layers as PyTorch's Linear. Weight decay leaves biases and batchnorms alone. */
#ifndef VKD_LAYERS_H
#define VKD_LAYERS_H

#include "models/model.h"

typedef struct vkd__conv {
    const char *at;   /* path in front of both names, without its last dot; NULL: none */
    const char *name; /* of the convolution */
    const char *norm; /* of the batchnorm behind it; NULL: there is none */
    uint32_t out;
    uint32_t kernel;         /* odd; padded by kernel / 2, so that stride 1 keeps the size */
    uint32_t stride, groups; /* 0 is 1 */
    bool bias;
    vkd_activation activation;
    vkd_tensor residual; /* of the result's shape, added before the activation; {0}: none */
} vkd__conv;

/* activation(norm(conv(x)) + residual). In training the batchnorm takes the batch's statistics and
 * moves the running ones; otherwise it is folded into the convolution. */
vkd_tensor vkd__layer_conv(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, const vkd__conv *c);
/* A batchnorm that stands by itself: activation(norm(x)). */
vkd_tensor vkd__layer_norm(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, const char *at,
                           const char *name, vkd_activation activation);
/* (N, D) to (N, out). */
vkd_tensor vkd__layer_linear(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, const char *name,
                             uint32_t out, vkd_activation activation);
/* The mean over the pixels, tap "pool" (N, C), and the classifier `name`, tap "logits"; of what it
 * sees, each value is dropped with probability `dropout` in training. */
void vkd__layer_head(vkd_graph *g, vkd__model_io *io, vkd_tensor x, const char *name,
                     float dropout);
/* In training, each value is dropped with probability p. Names of masks have no group: a control
 * draws the student's. */
vkd_tensor vkd__layer_dropout(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, float p,
                              const char *name);
/* In training, each sample's x becomes 0 with probability p, and is divided by 1 - p otherwise:
 * stochastic depth, where x is a block's branch. Huang, Sun, Liu, Sedra, Weinberger,
 * arXiv:1603.09382, who multiply by 1 - p in evaluation instead. */
vkd_tensor vkd__layer_drop_path(vkd_graph *g, const vkd__model_io *io, vkd_tensor x, float p,
                                const char *name);
/* 2 x 2 maxima, stride 2; a last odd row or column falls away. */
vkd_tensor vkd__layer_pool(vkd_graph *g, vkd_tensor x);

/* "stage<stage>.block<block>", and "stage<stage>.out" too where it is the stage's last. */
vkd_tensor vkd__tap_block(vkd_graph *g, vkd__model_io *io, uint32_t stage, uint32_t block,
                          bool last, vkd_tensor t);

/* At least 1: `channels` times the width, rounded. */
uint32_t vkd__widen(uint32_t channels, float width);

/* For vkd__model_def.check: the sample is an image that `halvings` poolings leave something of. */
vkd_result vkd__check_image(vkd_ctx *ctx, const char *what, const vkd_shape *sample,
                            uint32_t halvings);

#endif
